"""Everything that is due at some moment, in one heap and one task, on the injected clock."""

from __future__ import annotations

import asyncio
import heapq
import itertools
from collections.abc import Callable

from skep.clock import Clock


class Alarm:
    """One thing that is due; cancelling it is cheap."""

    __slots__ = ("call", "cancelled")

    def __init__(self, call: Callable[[], None]) -> None:
        self.call = call
        self.cancelled = False

    def cancel(self) -> None:
        """Never ring; no error if it has rung."""
        self.cancelled = True


class Alarms:
    """Rings alarms in the order of their moments. To be used from the engine's loop only."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._heap: list[tuple[float, int, Alarm]] = []
        self._order = itertools.count()
        self._earlier = asyncio.Event()

    def after(self, seconds: float, call: Callable[[], None]) -> Alarm:
        """Ring in so many seconds."""
        alarm = Alarm(call)
        due = self._clock.monotonic() + max(0.0, seconds)
        if not self._heap or due < self._heap[0][0]:
            self._earlier.set()
        heapq.heappush(self._heap, (due, next(self._order), alarm))
        return alarm

    async def run(self) -> None:
        """Ring until cancelled."""
        while True:
            self._earlier.clear()
            now = self._clock.monotonic()
            while self._heap and (self._heap[0][0] <= now or self._heap[0][2].cancelled):
                _, _, alarm = heapq.heappop(self._heap)
                if not alarm.cancelled:
                    alarm.call()
            if not self._heap:
                await self._earlier.wait()
                continue
            if self._heap[0][0] <= now:
                continue
            await self._sleep(self._heap[0][0] - now)

    async def _sleep(self, seconds: float) -> None:
        """Sleep so long, or until an earlier alarm was set."""
        sleep = asyncio.ensure_future(self._clock.sleep(seconds))
        earlier = asyncio.ensure_future(self._earlier.wait())
        try:
            await asyncio.wait({sleep, earlier}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            sleep.cancel()
            earlier.cancel()
