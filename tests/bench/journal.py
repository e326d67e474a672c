"""How fast the journal is: appends, acknowledgements, proven reads, opening with and without a checkpoint."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from skep.journal import Journal, JournalReader, Row, verify

BODY = b'{"agent":"a-0123","event":"progress","text":"' + b"x" * 140 + b'"}'
MANY = 1_000_000
BATCH = 5_000
SINGLE = 1_000


class Stopwatch:
    """Seconds of wall clock and of this process's CPU."""

    wall = cpu = 0.0


@contextmanager
def stopwatch() -> Iterator[Stopwatch]:
    watch = Stopwatch()
    wall, cpu = time.perf_counter(), time.process_time()
    yield watch
    watch.wall, watch.cpu = time.perf_counter() - wall, time.process_time() - cpu


def ignore(_: object) -> None:
    """Listen to nothing."""


def open_journal(folder: Path) -> Journal:
    return Journal(folder, on_durable=ignore, on_trouble=print)


def in_bulk(journal: Journal) -> None:
    batches = [[Row(first + k, 1.7e9 + k, BODY) for k in range(BATCH)] for first in range(1, MANY, BATCH)]
    with stopwatch() as watch:
        for batch in batches:
            journal.append(batch)
        journal.wait(MANY)
    print(
        f"append, {BATCH:,} rows a call: {MANY / watch.wall:,.0f} rows/s, {MANY / watch.cpu:,.0f} per CPU second"
    )


def one_by_one(journal: Journal) -> None:
    delays = []
    with stopwatch() as watch:
        for seq in range(MANY + 1, MANY + SINGLE + 1):
            asked = time.perf_counter()
            journal.append([Row(seq, 1.7e9, BODY)])
            journal.wait(seq)
            delays.append(time.perf_counter() - asked)
    delays.sort()
    print(
        f"append, one row a commit: {watch.cpu / SINGLE * 1e6:,.0f} us CPU,"
        f" p50 {delays[SINGLE // 2] * 1e3:.2f} ms,"
        f" p99 {delays[SINGLE * 99 // 100] * 1e3:.2f} ms until acknowledged"
    )


def read_all(folder: Path) -> None:
    count = 0
    with stopwatch() as watch, JournalReader(folder) as reader:
        while page := reader.read(count):
            count = page[-1].seq
    print(f"read, pages of 1,000, every row proven: {count / watch.wall:,.0f} rows/s, {watch.wall:.1f} s for all")


def main(folder: Path) -> None:
    journal = open_journal(folder)
    in_bulk(journal)
    one_by_one(journal)
    journal.close()
    read_all(folder)
    with stopwatch() as watch:
        verify(folder)
    print(f"verify: {watch.wall:.1f} s")
    with stopwatch() as watch:
        journal = open_journal(folder)
    print(f"open without a checkpoint: {watch.wall:.2f} s")
    with stopwatch() as watch:
        journal.checkpoint(journal.last, [bytes(100_000)] * 50)
        journal.append([Row(journal.last + 1, 1.7e9, BODY)])
        journal.wait(journal.last + 1)
    print(f"checkpoint of 5 MB: {watch.wall * 1e3:.0f} ms")
    journal.close()
    with stopwatch() as watch:
        journal = open_journal(folder)
    print(f"open with a checkpoint: {watch.wall * 1e3:.1f} ms")
    journal.close()


def run() -> None:
    """Print the figures, one a line."""
    print("\nThe journal: a million rows of 187 bytes")
    with tempfile.TemporaryDirectory(prefix="skep-") as place:
        main(Path(place))
