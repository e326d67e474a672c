"""Everything that is due at some moment, in one heap and one task, on the injected clock."""

from __future__ import annotations

import asyncio
import heapq
import itertools
import logging
from collections.abc import Callable

from skep.clock import Clock

_log = logging.getLogger(__name__)


class Alarm:
    """One thing that is due; cancelling it is cheap."""

    __slots__ = ("call",)

    def __init__(self, call: Callable[[], None]) -> None:
        self.call: Callable[[], None] | None = call

    @property
    def cancelled(self) -> bool:
        """True if it will not ring (again)."""
        return self.call is None

    def cancel(self) -> None:
        """Never ring; no error if it has rung."""
        self.call = None


class Alarms:
    """Rings alarms in the order of their moments. To be used from the engine's loop only.

    An alarm that fails is logged and the others ring on; with ``strict`` (tests) it ends :meth:`run`.
    """

    def __init__(self, clock: Clock, *, strict: bool = False) -> None:
        self._clock = clock
        self._strict = strict
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
            while self._heap and (self._heap[0][2].cancelled or self._heap[0][0] <= self._clock.monotonic()):
                self._ring(heapq.heappop(self._heap)[2])
            if self._heap:
                await self._sleep_until(self._heap[0][0])
            else:
                await self._earlier.wait()

    def _ring(self, alarm: Alarm) -> None:
        call = alarm.call
        alarm.cancel()
        if call is None:
            return
        try:
            call()
        except Exception:
            if self._strict:
                raise
            _log.exception("an alarm failed")

    async def _sleep_until(self, due: float) -> None:
        """Sleep until this moment, or until an earlier alarm was set."""
        sleep = asyncio.ensure_future(self._sleep(due))
        earlier = asyncio.ensure_future(self._earlier.wait())
        try:
            await asyncio.wait({sleep, earlier}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            sleep.cancel()
            earlier.cancel()

    async def _sleep(self, due: float) -> None:
        # Asked for here, for this runs a moment after the task was made and the clock may have moved on.
        await self._clock.sleep(due - self._clock.monotonic())
