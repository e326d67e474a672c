"""How much happened in the last minute, kept in whole seconds so that it takes little room at any rate."""

from __future__ import annotations

from collections import deque

SPAN = 60
"""Seconds that are kept; the present one is among them."""


class Minute:
    """A count that forgets what is over a minute old. Times are monotonic seconds."""

    __slots__ = ("_seconds", "_total")

    def __init__(self) -> None:
        self._seconds: deque[list[int]] = deque()  # [second, count], oldest first
        self._total = 0

    def add(self, count: int, now: float) -> None:
        """Count so much at this moment."""
        second = int(now)
        if self._seconds and self._seconds[-1][0] == second:
            self._seconds[-1][1] += count
        else:
            self._forget(second)
            self._seconds.append([second, count])
        self._total += count

    def total(self, now: float) -> int:
        """What was counted in the minute that ends now."""
        self._forget(int(now))
        return self._total

    def _forget(self, second: int) -> None:
        while self._seconds and self._seconds[0][0] <= second - SPAN:
            self._total -= self._seconds.popleft()[1]
