"""How the clients of an engine share its event loop: a piece at a time, by turns, and never all of it."""

from __future__ import annotations

import asyncio
import heapq
import itertools
import math
import types
from collections import deque
from collections.abc import AsyncIterator, Callable, Coroutine, Generator
from contextlib import asynccontextmanager
from typing import Any, Final, TypeVar

from skep.clock import Clock

T = TypeVar("T")

SHARE: Final = 0.5
"""Most of the loop's time that all clients together may use, in the long run."""

BURST_SECONDS: Final = 0.1
"""So much of it may be used at once after a rest, so that a client that comes in has its picture at once."""

LIGHT_SHARE: Final = SHARE / 64
"""Of the loop's time. A client that uses less does not wait for what others have used to be made up for."""

LIGHT_SECONDS: Final = 0.05
"""So much of the loop's time a client has used lightly after a rest: enough for many verbs, whatever others do."""

HALF_LIFE: Final = 1.0
"""Seconds in which half of what a client has used is forgotten."""

LONGEST_REST: Final = 0.25
"""Seconds for which clients wait at most for what was used to be made up for."""


class Account:
    """What one client has used of the loop lately; who has used least comes next."""

    __slots__ = ("_at", "_used", "light_until")

    def __init__(self) -> None:
        self._used = 1e-6
        self._at = 0.0
        self.light_until = float("-inf")
        """When all that was used will have been used lightly."""

    def charge(self, spent: float, now: float) -> None:
        """So many seconds more."""
        self._used = self._used * 0.5 ** ((now - self._at) / HALF_LIFE) + spent
        self._at = now
        self.light_until = max(self.light_until, now) + spent / LIGHT_SHARE

    def is_light(self, now: float) -> bool:
        """True if it has used little."""
        return self.light_until - now < LIGHT_SECONDS / LIGHT_SHARE

    @property
    def rank(self) -> float:
        """Whose is lower has used less, now and as long as neither uses more: both forget at the same pace."""
        return math.log2(self._used) + self._at / HALF_LIFE


class Turns:
    """Hands out turns. A turn is a piece of work without an await in it; between two of them the loop goes round.

    Whatever clients ask for, and however many of them do, the engine's own work waits for one such piece at most,
    and for the small ones of those clients that ask for little, who wait for nobody.
    """

    def __init__(self, clock: Clock, meter: Callable[[], float]) -> None:
        """``meter`` counts the seconds that this thread has worked."""
        self._clock = clock
        self._meter = meter
        self.strangers = Account()
        """That of all clients that came just now: whoever comes again and again gains nothing by it."""
        self._taken = False
        self._light: deque[asyncio.Future[None]] = deque()
        """Those who have used little lately; they go first."""
        self._line: list[tuple[float, int, asyncio.Future[None]]] = []
        self._order = itertools.count()
        self._due = float("-inf")
        """When the time that was used is made up for by time that was left to the engine."""
        self._pause: asyncio.Task[None] | None = None

    @asynccontextmanager
    async def turn(self, account: Account, *, small: bool = False) -> AsyncIterator[None]:
        """Wait for a turn, and have it within the block; ``small``: it takes well under a millisecond."""
        now = self._clock.monotonic()
        light = account.is_light(now)
        at_once = small and light
        if not at_once:
            if self._taken or self._light or (not light and (self._line or now < self._due)):
                await self._wait(account, light=light)
            self._taken = True
        begun = self._meter()
        try:
            yield
        finally:
            self.charge(account, self._meter() - begun)
            if not at_once:
                self._end()

    async def metered(self, account: Account, work: Coroutine[Any, Any, T]) -> T:
        """See work through that waits for other things; what it takes of the loop is counted step by step."""
        return await _metered(work, self._meter, lambda spent: self.charge(account, spent))

    def close(self) -> None:
        """Stop the pause that may be on; no client may be left."""
        if self._pause is not None:
            self._pause.cancel()

    def charge(self, account: Account, spent: float) -> None:
        """Count so many seconds that were used outside of a turn."""
        now = self._clock.monotonic()
        account.charge(spent, now)
        self._due = min(max(self._due, now - spent - BURST_SECONDS) + spent / SHARE, now + LONGEST_REST)

    async def _wait(self, account: Account, *, light: bool) -> None:
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        if light:
            self._light.append(turn)
        else:
            heapq.heappush(self._line, (account.rank, next(self._order), turn))
        if not self._taken:
            self._hand_on()
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self._hand_on()  # it came too late for this one
            raise

    def _end(self) -> None:
        if self._light or self._line:
            self._hand_on()
        else:
            # Not at once: also whoever is alone with its work has to let the loop go round.
            asyncio.get_running_loop().call_soon(self._hand_on)

    def _hand_on(self) -> None:
        """The turn is free: for who has used little, or else least, now or once what was used is made up for."""
        self._taken = False
        while self._light:
            if not (turn := self._light.popleft()).done():
                self._give(turn)
                return
        while self._line and self._line[0][2].done():
            heapq.heappop(self._line)
        if not self._line or self._pause is not None:
            return
        rest = self._due - self._clock.monotonic()
        if rest > 0:
            self._pause = asyncio.create_task(self._rest(rest), name="a pause of the clients")
        else:
            self._give(heapq.heappop(self._line)[2])

    def _give(self, turn: asyncio.Future[None]) -> None:
        self._taken = True
        turn.set_result(None)

    async def _rest(self, seconds: float) -> None:
        await self._clock.sleep(seconds)
        self._pause = None
        if not self._taken:
            self._hand_on()


@types.coroutine
def _metered(
    work: Coroutine[Any, Any, T], now: Callable[[], float], tell: Callable[[float], None]
) -> Generator[Any, Any, T]:
    """Do ``work``, and tell after each of its steps how long that took."""
    came: object = None
    raised: BaseException | None = None
    while True:
        begun = now()
        try:
            waits_for = work.send(came) if raised is None else work.throw(raised)
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return]
        finally:
            tell(now() - begun)
        came = raised = None
        try:
            came = yield waits_for
        except BaseException as error:  # noqa: BLE001
            raised = error  # the work is told, and says what becomes of it
