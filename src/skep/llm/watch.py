"""Time limits of all open requests, kept by one task for as long as there are any."""

from __future__ import annotations

import asyncio
from typing import Protocol

from skep.clock import Clock

_EARLY = 1e-6  # seconds; closer than this is there


class Timed(Protocol):
    """Something with a time limit that may only move away, or begin anew in full."""

    def left(self, now: float) -> float:
        """Seconds until it is overdue."""

    def expire(self) -> None:
        """It is overdue."""


class Watch:
    """Expires whatever is overdue. Exact: none of the limits is shorter than ``shortest`` when it begins."""

    def __init__(self, clock: Clock, shortest: float) -> None:
        self._clock = clock
        self._shortest = shortest
        self._timed: dict[Timed, None] = {}
        self._task: asyncio.Task[None] | None = None

    def add(self, timed: Timed) -> None:
        """Watch it from now on."""
        self._timed[timed] = None
        if self._task is None:
            self._task = asyncio.create_task(self._run(), name="clocks of model requests")

    def remove(self, timed: Timed) -> None:
        """Watch it no longer."""
        self._timed.pop(timed, None)
        if not self._timed and self._task is not None:
            self._task.cancel()
            self._task = None

    async def _run(self) -> None:
        while True:
            now = self._clock.monotonic()
            pause = self._shortest
            for timed in tuple(self._timed):
                left = timed.left(now)
                if left <= _EARLY:
                    timed.expire()
                else:
                    pause = min(pause, left)
            await self._clock.sleep(pause)
