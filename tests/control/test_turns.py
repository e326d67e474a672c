"""Clients have the loop by turns: one piece at a time, who used least first, and together never all of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from skep.clock import VirtualClock
from skep.control.turns import LIGHT_SECONDS, SHARE, Account, Turns
from tests.control.listed import rounds

PIECE = 0.002
"""Seconds that a piece of work takes here."""


class Rounds:
    """Counts how often the event loop has gone round."""

    def __init__(self) -> None:
        self.count = 0
        self._loop = asyncio.get_running_loop()
        self._next = self._loop.call_soon(self._went)

    def _went(self) -> None:
        self.count += 1
        self._next = self._loop.call_soon(self._went)

    def close(self) -> None:
        self._next.cancel()


class Work:
    """Pieces of work that take virtual time, and when each of them was done."""

    def __init__(self, clock: VirtualClock, turns: Turns) -> None:
        self.clock = clock
        self.turns = turns
        self.done: list[tuple[str, float]] = []
        self.rounds = Rounds()
        self.at: list[int] = []

    async def piece(self, who: str, account: Account, seconds: float = PIECE) -> None:
        async with self.turns.turn(account):
            self.clock.advance(seconds)
            self.at.append(self.rounds.count)
            self.done.append((who, self.clock.monotonic()))

    async def greedy(self, who: str, account: Account) -> None:
        while True:
            await self.piece(who, account)

    async def until(self, condition: Callable[[], bool]) -> None:
        """Let time pass, also that in which nobody of these works."""
        async with asyncio.timeout(20):
            while not condition():
                await rounds(4)
                self.clock.advance(0.0005)

    def by(self, who: str) -> int:
        return sum(name == who for name, _ in self.done)


@asynccontextmanager
async def working(clock: VirtualClock, kind: type[Turns] = Turns) -> AsyncIterator[Work]:
    turns = kind(clock, clock.monotonic)
    work = Work(clock, turns)
    try:
        yield work
    finally:
        work.rounds.close()
        turns.close()


@asynccontextmanager
async def crowd(work: Work, count: int) -> AsyncIterator[list[Account]]:
    """So many who always want the next turn, eight times each, as a client may have eight calls under way."""
    accounts = [Account() for _ in range(count)]
    tasks = [
        asyncio.create_task(work.greedy(f"greedy {number}", account))
        for number, account in enumerate(accounts)
        for _ in range(8)
    ]
    try:
        yield accounts
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


# -- the claims, as checks that a mutant can fail ----------------------------------------------------------------


async def check_one_at_a_time(kind: type[Turns]) -> None:
    async with working(VirtualClock(), kind) as work, crowd(work, 20):
        await work.until(lambda: len(work.done) >= 400)
        assert all(later > earlier for earlier, later in zip(work.at, work.at[1:], strict=False))


async def check_share(kind: type[Turns]) -> None:
    async with working(VirtualClock(), kind) as work, crowd(work, 10):
        await work.until(lambda: len(work.done) >= 500)  # what is saved up for a start is used up by then
        before, begun = len(work.done), work.clock.monotonic()
        await work.until(lambda: work.clock.monotonic() >= begun + 4.0)
        used = (len(work.done) - before) * PIECE
        assert used / (work.clock.monotonic() - begun) <= SHARE * 1.05


async def check_fairness(kind: type[Turns]) -> None:
    async with working(VirtualClock(), kind) as work, crowd(work, 5):
        await work.until(lambda: len(work.done) >= 1_000)
        shares = [work.by(f"greedy {number}") for number in range(5)]
        assert max(shares) - min(shares) <= 0.1 * sum(shares)
        # Somebody who asks for a fifth of what they do waits for few of them, again and again.
        modest = Account()
        for _ in range(30):
            before = len(work.done)
            asking = asyncio.create_task(work.piece("modest", modest))
            await work.until(asking.done)
            assert len(work.done) - before <= 4
            begun = work.clock.monotonic()
            await work.until(lambda: work.clock.monotonic() >= begun + 0.1)  # noqa: B023


async def check_light(kind: type[Turns]) -> None:
    async with working(VirtualClock(), kind) as work, crowd(work, 40):
        await work.until(lambda: len(work.done) >= 3_000)  # by then all of these have used much
        light = Account()
        for _ in range(int(LIGHT_SECONDS / PIECE) - 1):
            before = len(work.done)
            await work.piece("light", light)  # nothing moves the clock: a turn that waits for it never comes
            assert len(work.done) - before <= 40  # one of each, should all be light again
        small = Account()
        for _ in range(30):
            before = work.rounds.count
            async with work.turns.turn(small, small=True):
                assert work.rounds.count == before


async def check_cancelled(kind: type[Turns]) -> None:
    clock = VirtualClock()
    async with working(clock, kind) as work:
        first, second, third = Account(), Account(), Account()
        async with work.turns.turn(first):
            waiting = [asyncio.create_task(work.piece(str(n), one)) for n, one in enumerate((second, third))]
            await rounds(3)
        # The turn has been given to this one, which is cancelled before it could take it.
        waiting[0].cancel()
        await rounds(3)
        assert [name for name, _ in work.done] == ["1"]
        await asyncio.wait_for(work.piece("again", first), 5)
        await asyncio.gather(*waiting, return_exceptions=True)


async def check_alone(kind: type[Turns]) -> None:
    async with working(VirtualClock(), kind) as work:
        account = Account()
        for _ in range(10):
            await work.piece("alone", account, 0.0)
        assert all(later > earlier for earlier, later in zip(work.at, work.at[1:], strict=False))


CHECKS = [check_one_at_a_time, check_alone, check_share, check_fairness, check_light, check_cancelled]


@pytest.mark.parametrize("check", CHECKS)
async def test_turns(check: Callable[[type[Turns]], object]):
    await check(Turns)  # type: ignore[misc]


# -- mutants -----------------------------------------------------------------------------------------------------


class NoTurns(Turns):
    """Everybody goes at once."""

    @asynccontextmanager
    async def turn(self, account: Account) -> AsyncIterator[None]:
        await asyncio.sleep(0)
        yield


class Hogs(Turns):
    """Whoever has the turn and is alone keeps the loop."""

    @asynccontextmanager
    async def turn(self, account: Account) -> AsyncIterator[None]:
        yield


class NoRest(Turns):
    """Nothing is ever left to the engine."""

    def charge(self, account: Account, spent: float) -> None:
        account.charge(spent, self._clock.monotonic())


class FirstComeFirstServed(Turns):
    """Who asks most is served most."""

    def charge(self, account: Account, spent: float) -> None:
        super().charge(Account(), spent)


class NobodyIsLight(Turns):
    """Also those who ask for next to nothing wait until all is made up for."""

    def charge(self, account: Account, spent: float) -> None:
        super().charge(account, spent)
        account.light_until = float("inf")


class KeepsTheTurn(Turns):
    """A turn that was given to somebody who has gone is nobody's any more."""

    async def _wait(self, account: Account, *, light: bool) -> None:
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._light.append(turn)
        await turn


@pytest.mark.parametrize(
    ("check", "mutant"),
    [
        (check_one_at_a_time, NoTurns),
        (check_alone, Hogs),
        (check_share, NoRest),
        (check_fairness, FirstComeFirstServed),
        (check_light, NobodyIsLight),
        (check_cancelled, KeepsTheTurn),
    ],
)
async def test_each_check_sees_its_fault(check: Callable[[type[Turns]], object], mutant: type[Turns]):
    with pytest.raises((AssertionError, TimeoutError)):
        async with asyncio.timeout(3):
            await check(mutant)  # type: ignore[misc]


async def test_work_that_waits_is_counted_step_by_step_and_keeps_nobody_waiting(clock: VirtualClock):
    async with working(clock) as work:
        account, gate = Account(), asyncio.Event()

        async def two_steps() -> str:
            clock.advance(0.5)
            await gate.wait()
            clock.advance(0.25)
            return "done"

        running = asyncio.create_task(work.turns.metered(account, two_steps()))
        await rounds(3)
        assert not account.is_light(clock.monotonic())
        clock.advance(1_000.0)
        other = asyncio.create_task(work.piece("other", Account()))
        await rounds(5)
        assert other.done()
        gate.set()
        assert await running == "done"
        assert not account.is_light(clock.monotonic())


async def test_what_fails_or_is_cancelled_in_the_middle_is_itself_told(clock: VirtualClock):
    async with working(clock) as work:
        seen: list[str] = []

        async def fails() -> None:
            await asyncio.sleep(0)
            raise LookupError("x")

        async def waits() -> None:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                seen.append("cancelled")
                raise

        with pytest.raises(LookupError):
            await work.turns.metered(Account(), fails())
        running = asyncio.create_task(work.turns.metered(Account(), waits()))
        await rounds(3)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        assert running.cancelled()
        assert seen == ["cancelled"]
