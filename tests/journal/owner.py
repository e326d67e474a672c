"""A process that owns a journal, writes until it is killed, and prints each number as it is acknowledged."""

from __future__ import annotations

import itertools
import os
import random
import resource
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from skep.errors import SkepError
from skep.journal import FolderLock, Journal
from tests.journal.listening import rows
from tests.journal.mutants import AcknowledgesFirst


def say(word: object) -> None:
    os.write(1, f"{word}\n".encode())


def ignore(_: object) -> None:
    """Listen to nothing."""


def write_for_ever(folder: Path, kind: type[Journal]) -> None:
    chance = random.Random(7)
    with FolderLock(folder), kind(folder, on_durable=say, on_trouble=ignore) as journal:
        seq = journal.last
        for _ in itertools.count():
            count = chance.randint(1, 40)
            journal.append(rows(seq + 1, seq + count))
            seq += count
            if chance.random() < 0.05:
                journal.checkpoint(seq, [b"page" * 500] * 3)
            journal.wait(seq - 200)


def hold(folder: Path) -> None:
    """Hold the lock, beside a child that inherits what it can and outlives this process."""
    with FolderLock(folder):
        child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=0, close_fds=False)
        say(child.pid)
        child.wait()


def fill_the_disk(folder: Path) -> None:
    """Meet a real refusal of the file system in the middle of a write, then make room."""
    _, ceiling = resource.getrlimit(resource.RLIMIT_FSIZE)

    def make_room(error: SkepError | None) -> None:
        say(type(error).__name__)
        resource.setrlimit(resource.RLIMIT_FSIZE, (ceiling, ceiling))

    with Journal(folder, on_durable=say, on_trouble=make_room) as journal:
        resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, ceiling))
        journal.append(rows(1, 3000))
        journal.append(rows(3001, 3010))


if __name__ == "__main__":
    folder = Path(sys.argv[2])
    match sys.argv[1]:
        case "write":
            write_for_ever(folder, Journal)
        case "write too early":
            write_for_ever(folder, AcknowledgesFirst)
        case "hold":
            hold(folder)
        case "fill":
            fill_the_disk(folder)
