"""Processes as the kernel knows them: found by a variable in their environment, held by a pidfd until they end."""

from __future__ import annotations

import os
import re
import select
import signal
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

from tests.whole.waiting import LIMIT, deadline, readable


def carriers(entry: str) -> set[int]:
    """Living processes with a variable that begins so, as in ``SKEP_AGENT=k3x9ab/``."""
    return {pid for pid, variable in _variables() if variable.startswith(entry)}


def marked(swarm: str) -> dict[str, set[int]]:
    """The living processes of each agent of a swarm, by the marker that they carry."""
    found: dict[str, set[int]] = {}
    for pid, variable in _variables():
        name, _, value = variable.partition("=")
        of, _, agent = value.partition("/")
        if (name, of) == ("SKEP_AGENT", swarm):
            found.setdefault(agent, set()).add(pid)
    return found


def _variables() -> Iterator[tuple[int, str]]:
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit() and int(folder.name) != os.getpid():
            with suppress(OSError):  # it has just ended, or it is somebody else's
                content = (folder / "environ").read_bytes()
                yield from ((int(folder.name), os.fsdecode(variable)) for variable in content.split(b"\0"))


async def ended(pids: Iterable[int], limit: float = LIMIT) -> None:
    """Wait until these processes have ended."""
    async with deadline(f"the end of the processes {sorted(pids)}", limit):
        for pid in pids:
            with suppress(ProcessLookupError), Held(pid) as held:
                await readable(held.descriptor)


async def nothing_left(entry: str, limit: float = LIMIT) -> None:
    """Wait until no process carries such a variable; each that does is waited for until it ends."""
    async with deadline(f"the end of all that carry {entry}", limit):
        while found := carriers(entry):
            await ended(found, limit)


async def end_all(entry: str) -> None:
    """Kill whatever carries such a variable, until nothing does."""
    async with deadline(f"the end of all that carry {entry}"):
        while found := carriers(entry):
            for pid in found:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            await ended(found)


class Held:
    """A process by its pidfd, which no other process can come to mean."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.descriptor = os.pidfd_open(pid)

    def __enter__(self) -> Held:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self.descriptor)

    @property
    def lives(self) -> bool:
        return not select.select([self.descriptor], [], [], 0)[0]


def lives(pid: int) -> bool:
    """Whether there is such a process that has not ended."""
    try:
        with Held(pid) as held:
            return held.lives
    except ProcessLookupError:
        return False


def most_memory(pid: int) -> int:
    """Bytes that a process has held in memory at most so far."""
    match = re.search(r"^VmHWM:\s+(\d+) kB$", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    assert match is not None
    return int(match[1]) * 1024
