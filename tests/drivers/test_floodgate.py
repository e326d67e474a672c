"""All output together has its share of the loop's time, in turns, and a trickle need not wait for it."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Iterator

import pytest

from skep.drivers.floodgate import BURST, SHARE, Credit, Floodgate
from skep.drivers.reader import TRICKLE_BURST, Reader

LIMIT = 10.0


class Time:
    """A clock in the hand of the test."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_credit_comes_back_at_its_rate_and_no_further_than_its_limit() -> None:
    clock = Time()
    credit = Credit(clock, rate=0.5, limit=2.0)
    assert credit.left == 2.0
    clock.now += 1_000
    assert (credit.left, credit.debt_ends_in) == (2.0, 0.0)
    credit.spend(3.0)
    assert (credit.left, credit.debt_ends_in) == (-1.0, 2.0)
    clock.now += 1
    assert (credit.left, credit.debt_ends_in) == (-0.5, 1.0)
    clock.now += 2
    assert credit.left == 0.5


async def test_a_gate_whose_time_is_spent_opens_when_it_has_come_back() -> None:
    gate = Floodgate()
    loop = asyncio.get_running_loop()
    assert gate.is_open
    began = loop.time()
    gate.spend(BURST + 0.05 * SHARE)
    assert not gate.is_open
    opened: asyncio.Future[float] = loop.create_future()

    def turn() -> bool:
        opened.set_result(loop.time())
        return False

    gate.queue(turn)
    async with asyncio.timeout(LIMIT):
        assert await opened - began >= 0.05
    assert gate.is_open


async def test_who_waits_is_let_through_in_turn() -> None:
    gate = Floodgate()
    seen: list[str] = []
    done = asyncio.Event()

    def who(name: str):
        def turn() -> bool:
            seen.append(name)
            gate.spend(BURST * 2)
            if len(seen) == 9:
                done.set()
            return len(seen) < 9

        return turn

    turns = [who(name) for name in "abc"]
    for turn in turns:
        gate.queue(turn)
    assert not gate.is_open, "whoever comes now comes after them"
    async with asyncio.timeout(LIMIT):
        await done.wait()
    assert "".join(seen) == "abcabcabc"
    for turn in turns:
        gate.leave(turn)
        gate.leave(turn)


@pytest.fixture
def pipes() -> Iterator[list[tuple[int, int]]]:
    made = [os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK) for _ in range(2)]
    yield made
    for _, writing in made:
        os.close(writing)


async def test_a_trickle_is_read_while_a_flood_waits_and_the_flood_waits_in_its_pipe(
    pipes: list[tuple[int, int]],
) -> None:
    gate = Floodgate()
    seen: list[bytes] = []
    heard = asyncio.Event()

    def hear(data: bytes) -> None:
        if data.startswith(b"flood"):  # is costly: it uses up what its reader has for itself
            until = time.perf_counter() + 3 * TRICKLE_BURST
            while time.perf_counter() < until:
                pass
        seen.append(data)
        heard.set()

    async def next_one() -> bytes:
        async with asyncio.timeout(LIMIT):
            await heard.wait()
        heard.clear()
        return seen[-1]

    (flooded, flood), (trickled, trickle) = pipes
    one, other = Reader(flooded, hear, gate), Reader(trickled, hear, gate)
    gate.spend(3_600)  # somebody has taken an hour
    os.write(trickle, b"drop")
    assert await next_one() == b"drop"
    os.write(flood, b"flood 1")
    assert await next_one() == b"flood 1"
    os.write(flood, b"flood 2")
    os.write(trickle, b"another drop")
    assert await next_one() == b"another drop"
    assert seen == [b"drop", b"flood 1", b"another drop"]
    await one.drain()
    assert seen[-1] == b"flood 2", "it was not lost"
    one.close()
    other.close()
