"""Everything that is due at some moment, in one heap and one task, on the injected clock."""

from __future__ import annotations

import asyncio
import heapq
import itertools
import logging
from collections.abc import Callable

from skep.clock import Clock
from skep.engine.ledger import Decision, Ledger

Ring = Callable[[Decision], None]
"""What an alarm does, inside of the decision that is open when it rings."""

_log = logging.getLogger(__name__)


class Alarm:
    """One thing that is due; cancelling it is cheap."""

    __slots__ = ("ring",)

    def __init__(self, ring: Ring) -> None:
        self.ring: Ring | None = ring

    @property
    def cancelled(self) -> bool:
        """True if it will not ring (again)."""
        return self.ring is None

    def cancel(self) -> None:
        """Never ring; no error if it has rung."""
        self.ring = None


class Alarms:
    """Rings alarms in the order of their moments: set inside of decisions, in any thread, they ring in the loop.

    What is due together rings in one decision, and only there is it looked at whether an alarm was cancelled: who
    cancels one inside of a decision is never overtaken by it. One that fails is logged and the others ring on;
    with ``strict`` (tests) it ends :meth:`run`.
    """

    def __init__(self, ledger: Ledger, clock: Clock, *, strict: bool = False) -> None:
        self._ledger = ledger
        self._clock = clock
        self._strict = strict
        self._heap: list[tuple[float, int, Alarm]] = []
        self._order = itertools.count()
        self._earlier = asyncio.Event()

    def after(self, decision: Decision, seconds: float, ring: Ring) -> Alarm:
        """Ring in so many seconds."""
        alarm = Alarm(ring)
        due = self._clock.monotonic() + max(0.0, seconds)
        if not self._heap or due < self._heap[0][0]:
            decision.soon(self._earlier.set)
        heapq.heappush(self._heap, (due, next(self._order), alarm))
        return alarm

    async def run(self) -> None:
        """Ring until cancelled."""
        while True:
            self._earlier.clear()
            due = self._ring_all()
            if due is None:
                await self._earlier.wait()
            else:
                await self._sleep_until(due)

    def _ring_all(self) -> float | None:
        """Ring what is due by now; the moment of the first that is not, None if there is none."""
        with self._ledger.decide() as decision:
            while self._heap and (self._heap[0][2].cancelled or self._heap[0][0] <= self._clock.monotonic()):
                self._ring(decision, heapq.heappop(self._heap)[2])
            return self._heap[0][0] if self._heap else None

    def _ring(self, decision: Decision, alarm: Alarm) -> None:
        ring = alarm.ring
        alarm.cancel()
        if ring is None:
            return
        try:
            ring(decision)
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
