"""Sixty-four threads, each with its own event loop, over a few keys: no cap is passed and nothing leaks."""

from __future__ import annotations

import asyncio
import random
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

from skep.clock import SystemClock
from skep.keys import Key, Outcome, Pool, Secret
from tests.keys.pools import MODEL, in_flight

THREADS = 64
TURNS = 15
OUTCOMES = [Outcome.OK, Outcome.SERVER, Outcome.CONNECTION, Outcome.REFUSED, Outcome.rate_limited(0.002)]


class Umpire:
    """Counts by itself who holds what."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._held: Counter[str] = Counter()
        self.most: Counter[str] = Counter()
        self.reported: Counter[tuple[str, Outcome]] = Counter()

    def took(self, label: str) -> None:
        with self._lock:
            self._held[label] += 1
            self.most[label] = max(self.most[label], self._held[label])

    def gives(self, label: str, outcome: Outcome) -> None:
        with self._lock:
            self._held[label] -= 1
            self.reported[label, outcome] += 1


def race(cap: int, keys: int) -> tuple[Pool, Umpire]:
    pool = Pool(
        "simulator",
        "http://127.0.0.1:8399/v1",
        [Key(f"sim-{number}", Secret(f"key-{number}")) for number in range(1, keys + 1)],
        SystemClock(),
        max_concurrency=cap,
        seed=1,
    )
    umpire = Umpire()
    start = threading.Barrier(THREADS)

    async def agent(number: int) -> None:
        rng = random.Random(number)
        avoid = None
        for turn in range(TURNS):
            lease = pool.take(MODEL, f"agent {number}", "root", avoid=avoid)
            if lease is None:
                waits = asyncio.ensure_future(pool.wait(MODEL, f"agent {number}", "root", avoid=avoid))
                if turn % 5 == 4:  # some give up, now and then in the very moment of success
                    await asyncio.sleep(0)
                    waits.cancel()
                try:
                    lease = await waits
                except asyncio.CancelledError:
                    continue
            umpire.took(lease.label)
            await asyncio.sleep(0)
            outcome = rng.choice(OUTCOMES)
            lease.report(outcome)
            lease.report(Outcome.UNAUTHORIZED)
            umpire.gives(lease.label, outcome)
            lease.release()
            lease.release()
            avoid = lease.label if outcome is not Outcome.OK else None
            pool.snapshot()

    def run(number: int) -> None:
        start.wait(20)
        asyncio.run(asyncio.wait_for(agent(number), 30))

    with ThreadPoolExecutor(THREADS) as threads:
        for done in [threads.submit(run, number) for number in range(THREADS)]:
            done.result(40)
    return pool, umpire


def test_no_cap_is_passed_and_nothing_is_left_behind():
    pool, umpire = race(cap=3, keys=4)
    assert max(umpire.most.values()) <= 3
    assert set(umpire.most) == {"sim-1", "sim-2", "sim-3", "sim-4"}
    assert set(in_flight(pool).values()) == {0}
    assert pool.snapshot().waiters == 0
    assert all(not view.holders for view in pool.snapshot().keys)


def test_every_report_is_counted_once_on_its_own_key():
    pool, umpire = race(cap=2, keys=2)
    for view in pool.snapshot().keys:
        reports = {outcome: umpire.reported[view.label, outcome] for outcome in OUTCOMES}
        assert view.successes == reports[Outcome.OK]
        assert view.failures == reports[Outcome.SERVER] + reports[Outcome.CONNECTION]
        assert view.rate_limited == reports[OUTCOMES[-1]]
        assert sum(reports.values()) > 0
