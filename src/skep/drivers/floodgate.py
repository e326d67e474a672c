"""How much of the event loop's time the reading of output may take: all readers of an engine share it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

SHARE = 0.4
"""Part of the loop's time for all output together, as soon as it is more than a trickle. What has to wait for it
waits in its pipe, and its program with it: nothing is lost, and the rest of the engine has its time."""

BURST = 0.005
"""Seconds that may be spent at once after a rest."""


class Credit:
    """Seconds that may be spent: they come back at a rate, by the clock that is given, up to a limit."""

    def __init__(self, time: Callable[[], float], rate: float, limit: float) -> None:
        self._time = time
        self._rate = rate
        self._limit = limit
        self._left = limit
        self._at = time()

    @property
    def left(self) -> float:
        """What may be spent now; less than nothing if more than that was."""
        now = self._time()
        self._left = min(self._limit, self._left + (now - self._at) * self._rate)
        self._at = now
        return self._left

    @property
    def debt_ends_in(self) -> float:
        """Seconds until there is something to spend."""
        return max(0.0, -self.left / self._rate)

    def spend(self, seconds: float) -> None:
        """Spend, more than there is if need be."""
        self._left = self.left - seconds


class Floodgate:
    """Lets readers through one after the other, as far as their time goes."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._credit = Credit(self._loop.time, SHARE, BURST)
        self._line: dict[Callable[[], bool], None] = {}
        self._timer: asyncio.TimerHandle | None = None

    @property
    def is_open(self) -> bool:
        """Whether nobody waits and there is time left."""
        return not self._line and self._credit.left > 0

    def spend(self, seconds: float) -> None:
        """Take note of time that was spent on output, in line or past it."""
        self._credit.spend(seconds)

    def queue(self, turn: Callable[[], bool]) -> None:
        """Have ``turn`` called when it is its turn; if it returns True it is put at the end of the line again."""
        self._line[turn] = None
        self._schedule()

    def leave(self, turn: Callable[[], bool]) -> None:
        """Wait no longer; harmless if it does not."""
        self._line.pop(turn, None)

    def _schedule(self) -> None:
        if self._line and self._timer is None:
            self._timer = self._loop.call_later(self._credit.debt_ends_in, self._let_through)

    def _let_through(self) -> None:
        self._timer = None
        while self._line and self._credit.left > 0:
            turn = next(iter(self._line))
            del self._line[turn]
            if turn():
                self._line[turn] = None
        self._schedule()
