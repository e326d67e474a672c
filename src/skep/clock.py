"""Time is injected: the system's clock in production, a virtual one wherever time is tested."""

from __future__ import annotations

import asyncio
import heapq
import itertools
import threading
import time
from typing import Protocol


class Clock(Protocol):
    """What every timed part of skep asks for the time."""

    def time(self) -> float:
        """Seconds since the epoch, for what people read and the journal keeps."""

    def monotonic(self) -> float:
        """Seconds that never run backwards, for ages, graces and deadlines."""

    async def sleep(self, seconds: float) -> None:
        """Wait for so many seconds of this clock."""


class SystemClock:
    """The machine's own clock."""

    def time(self) -> float:
        """Seconds since the epoch."""
        return time.time()

    def monotonic(self) -> float:
        """Seconds since some fixed moment."""
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        """Wait in real time."""
        await asyncio.sleep(seconds)


class VirtualClock:
    """A clock that stands still until it is told to advance; sleepers wake in order of their deadlines.

    ``advance`` may be called from any thread; each sleeper wakes in its own event loop.
    """

    def __init__(self, start: float = 1_700_000_000.0) -> None:
        self._lock = threading.Lock()
        self._now = 0.0
        self._start = start
        self._order = itertools.count()
        self._sleepers: list[tuple[float, int, asyncio.AbstractEventLoop, asyncio.Future[None]]] = []

    def time(self) -> float:
        """Virtual seconds since the epoch."""
        return self._start + self._now

    def monotonic(self) -> float:
        """Virtual seconds since this clock was made."""
        return self._now

    async def sleep(self, seconds: float) -> None:
        """Wait until somebody has advanced the clock by so much."""
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        loop = asyncio.get_running_loop()
        future: asyncio.Future[None] = loop.create_future()
        with self._lock:
            heapq.heappush(self._sleepers, (self._now + seconds, next(self._order), loop, future))
        await future

    def advance(self, seconds: float) -> None:
        """Move time on and wake everyone whose moment has come."""
        with self._lock:
            self._now += seconds
            due = []
            while self._sleepers and self._sleepers[0][0] <= self._now:
                due.append(heapq.heappop(self._sleepers))
        for _, _, loop, future in due:
            if not loop.is_closed():
                loop.call_soon_threadsafe(_wake, future)

    def jump(self, seconds: float) -> None:
        """Move the wall clock alone, forwards or backwards, as a suspend of the machine or a person does."""
        with self._lock:
            self._start += seconds

    @property
    def sleepers(self) -> int:
        """How many sleep now."""
        with self._lock:
            return sum(not sleeper[3].done() for sleeper in self._sleepers)


def _wake(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
