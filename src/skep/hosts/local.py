"""The local host: agents as tasks of one event loop, in the engine's own process."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from skep.clock import Clock
from skep.drivers.base import Driver
from skep.drivers.command import CommandDriver, output_for
from skep.errors import SkepError
from skep.model.agent import Live
from skep.model.launch import EngineSettings
from skep.model.logs import TailChunk
from skep.model.permits import Assignment, Ended, Left, Permits, Pulse, Report, Started
from skep.model.states import State, StopStep
from skep.warden.client import Warden

LEFT_AFTER = 2.0
"""Seconds after the last rung when a host says what is still there."""


class LocalHost:
    """Runs agents here; must be opened inside the task group that owns its tasks."""

    def __init__(
        self,
        tasks: asyncio.TaskGroup,
        permits: Permits,
        clock: Clock,
        settings: EngineSettings,
        start_warden: Callable[[], Awaitable[Warden]],
    ) -> None:
        self._tasks = tasks
        self._permits = permits
        self._clock = clock
        self._settings = settings
        self._start_warden = start_warden
        self._warden: Warden | None = None
        self._warden_lock = asyncio.Lock()
        self._drivers: dict[str, Driver] = {}
        self._running: dict[str, asyncio.Task[None]] = {}
        self._reports: list[Report] = []
        self._number = 0
        self._reported = asyncio.Event()
        self._moved: set[str] = set()

    async def submit(self, assignment: Assignment) -> None:
        """Start an agent, or let one go on that waits for its slot; what happens comes as reports."""
        task = self._tasks.create_task(self._run(assignment), name=f"agent {assignment.agent}")
        self._running[assignment.agent] = task

    async def control(self, agent: str, generation: int, step: StopStep) -> None:
        """Carry out a rung of the ladder; unknown or ended agents are ignored."""
        driver = self._drivers.get(agent)
        if driver is None or driver.generation != generation:
            return
        driver.stop(step)
        if step is StopStep.KILL:
            self._tasks.create_task(self._say_left(agent, driver), name=f"what is left of {agent}")

    def abandon(self, agent: str) -> None:
        """End an agent that only waits for a slot: its task is cancelled, nothing of it runs."""
        task = self._running.get(agent)
        if task is not None:
            task.cancel()

    async def pull(self, ack: int) -> tuple[int, Sequence[Report]]:
        """Wait for reports after number ``ack``."""
        while self._number <= ack:
            self._reported.clear()
            await self._reported.wait()
        news = self._reports[-(self._number - ack) :]
        self._reports = list(news)
        return self._number, news

    def news(self) -> list[tuple[str, Live]]:
        """Live figures that changed since the last call."""
        moved, self._moved = self._moved, set()
        return [(agent, self._drivers[agent].live()) for agent in moved if agent in self._drivers]

    async def pulses(self) -> Sequence[Pulse]:
        """The heartbeat of every agent that runs here."""
        return [
            Pulse(agent, driver.generation, await driver.alive(), driver.idle)
            for agent, driver in list(self._drivers.items())
        ]

    def tail(self, agent: str, first: int, limit: int) -> TailChunk | None:
        """Output of an agent that runs here."""
        driver = self._drivers.get(agent)
        return driver.tail(first, limit) if driver is not None else None

    async def close(self) -> None:
        """End everything that still runs and wait until it is gone."""
        if self._warden is not None:
            await self._warden.close()
            self._warden = None
        for task in list(self._running.values()):
            task.cancel()

    async def _run(self, assignment: Assignment) -> None:
        agent = assignment.agent
        end: Ended | None = None
        try:
            output = output_for(
                assignment,
                ring_lines=self._settings.output_ring_lines,
                cap_bytes=self._settings.output_cap_bytes,
            )
            driver = CommandDriver(assignment, output, await self._a_warden(), self._clock, self._moved.add)
            self._drivers[agent] = driver
            end = await driver.run(self._permits, self._started(agent))
        except (SkepError, OSError, ValueError) as error:
            end = Ended(agent, assignment.generation, State.FAILED, error=str(error))
        finally:
            self._drivers.pop(agent, None)
            self._running.pop(agent, None)
            self._moved.discard(agent)
            if end is not None:
                self._report(end)

    def _started(self, agent: str) -> Callable[[int, tuple[int, ...]], None]:
        return lambda generation, pids: self._report(Started(agent, generation, pids))

    def _report(self, report: Report) -> None:
        self._reports.append(report)
        self._number += 1
        self._reported.set()

    async def _a_warden(self) -> Warden:
        """The warden that runs now; a new one if there is none or the last one was lost."""
        async with self._warden_lock:
            if self._warden is None:
                warden = await self._start_warden()
                warden.on_lost(lambda: self._forget(warden))
                self._warden = warden
            return self._warden

    def _forget(self, warden: Warden) -> None:
        if self._warden is warden:
            self._warden = None

    async def _say_left(self, agent: str, driver: Driver) -> None:
        task = self._running.get(agent)
        if task is None:
            return
        timer = asyncio.ensure_future(self._clock.sleep(LEFT_AFTER))
        try:
            await asyncio.wait({task, timer}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            timer.cancel()
        if self._drivers.get(agent) is driver:
            self._report(Left(agent, driver.generation, driver.left()))
