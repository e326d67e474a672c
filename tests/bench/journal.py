"""How fast the journal is: appends, acknowledgements, proven reads, and a swarm taken up from it after a crash."""

from __future__ import annotations

import asyncio
import itertools
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from skep.clock import SystemClock
from skep.control.archive import ArchiveLink
from skep.engine.ledger import CHECKPOINT_EVERY, Ledger
from skep.journal import Journal, JournalReader, Row, verify
from skep.model.codec import encode
from skep.model.events import AgentAdmitted, AgentRunning, Event, Record, TurnCompleted
from skep.model.registry import to_pages
from skep.model.swarm import SwarmState
from tests.model.telling import born, queued, rooted

BODY = b'{"agent":"a-0123","event":"progress","text":"' + b"x" * 140 + b'"}'
MANY = 1_000_000
BATCH = 5_000
SINGLE = 1_000
AGENTS = 1_000
RECOVERED = (10_000, 1_000_000)
SAID = {"role": "assistant", "content": "a line of what a model says " * 6}


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


def events() -> Iterator[Event]:
    """What happens to a swarm of a thousand agents: they begin, and then each takes turn after turn, for ever."""
    names = [f"a{number}" for number in range(1, AGENTS + 1)]
    yield from (born(AGENTS), rooted())
    for name in names:
        yield from (queued(name), AgentAdmitted(name), AgentRunning(name, (4711,)))
    for turn in itertools.count(1):
        for name in names:
            yield TurnCompleted(name, turn, SAID, "stop", "key-1", 1_200, 80, 1_000, 310, 2.5)


def crashed(folder: Path, count: int, checkpoint: int | None) -> None:
    """A swarm to which so much has happened, and whose last checkpoint is of this event."""
    state = SwarmState()
    numbered = zip(range(1, count + 1), events(), strict=False)
    with open_journal(folder) as journal:
        while batch := [Record(seq, 1.7e9 + seq, event) for seq, event in itertools.islice(numbered, BATCH)]:
            journal.append([Row(record.seq, record.time, encode(record.event)) for record in batch])
            journal.wait(batch[-1].seq)
            if checkpoint is not None and batch[0].seq <= checkpoint:
                for record in batch:
                    state.fold(record)
                if state.seq == checkpoint:
                    journal.checkpoint(checkpoint, to_pages(state))


async def taken_up(folder: Path) -> tuple[float, int]:
    """Seconds from the opening of the folder to a registry that is complete, and the events in it."""
    with stopwatch() as watch:
        ledger = Ledger(folder, SystemClock())
    seq = ledger.registry.seq
    ledger.close()
    return watch.wall, seq


def recover(count: int) -> None:
    """What it takes to take such a swarm up, and to look at it; without a checkpoint and with the usual one."""
    since = min(CHECKPOINT_EVERY, count // 2)
    for checkpoint, words in ((None, "no checkpoint"), (count - since, f"checkpoint {since:,} events back")):
        with tempfile.TemporaryDirectory(prefix="skep-") as place:
            crashed(Path(place), count, checkpoint)
            with stopwatch() as watch:
                asyncio.run(ArchiveLink.open(Path(place), SystemClock()).close())
            seconds, seq = asyncio.run(taken_up(Path(place)))
            assert seq == count
            print(f"recovery of {count:,} events, {words}: {seconds:.2f} s; only looked at: {watch.wall:.2f} s")


def run() -> None:
    """Print the figures, one a line."""
    print("\nThe journal: a million rows of 187 bytes")
    with tempfile.TemporaryDirectory(prefix="skep-") as place:
        main(Path(place))
    print(f"\nRecovery: from the folder to the registry, {AGENTS:,} agents")
    for count in RECOVERED:
        recover(count)
