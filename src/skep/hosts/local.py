"""The local host: agents as tasks of one event loop, in the engine's own process."""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import traceback
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial

from skep.clock import Clock
from skep.drivers.base import Driver
from skep.drivers.chat import ChatDriver, Models
from skep.drivers.command import CommandDriver, output_for
from skep.drivers.output import Output
from skep.drivers.program import Programs
from skep.errors import BadInput, NotFound, Refused, SkepError
from skep.hosts.uncommitted import Git
from skep.model.agent import Live
from skep.model.launch import ChatSpec, CommandSpec, EngineSettings
from skep.model.logs import TailChunk
from skep.model.permits import Assignment, Ended, Left, Permits, Pulse, Report, Started, Uncommitted
from skep.model.states import DriverKind, State, StopStep
from skep.warden.client import Warden

LEFT_AFTER = 2.0
"""Seconds after the last rung when a host says what is still there …"""
LEFT_AGAIN = (0.5, 60.0)
"""… and again if that has changed: after the shorter of these, then twice that, and so on, up to the longer."""

logger = logging.getLogger(__name__)


class LocalHost:
    """Runs agents here; must be opened inside the task group that owns its tasks."""

    def __init__(
        self,
        tasks: asyncio.TaskGroup,
        permits: Permits,
        clock: Clock,
        settings: EngineSettings,
        start_warden: Callable[[], Awaitable[Warden]],
        *,
        models: Models | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        """``models`` is what chat agents talk to; ``environment`` the whole one of the programs of their tools."""
        self._tasks = tasks
        self._permits = permits
        self._clock = clock
        self._settings = settings
        self._start_warden = start_warden
        self._models = models
        self._environment = dict(environment or {})
        self._programs = Programs(self._a_warden)
        self._git = Git(self._programs, clock, self._environment)
        self._warden: Warden | None = None
        self._lost: Warden | None = None
        self._warden_lock = asyncio.Lock()
        self._closed = False
        self._starting: dict[str, Assignment] = {}
        self._starter: asyncio.Task[None] | None = None
        self._drivers: dict[str, Driver] = {}
        self._running: dict[str, asyncio.Task[None]] = {}
        self._reports: list[Report] = []
        self._number = 0
        self._reported = asyncio.Event()
        self._moved: set[str] = set()

    async def submit(self, assignment: Assignment) -> None:
        """Start an agent; what happens comes as reports. From here on it can be controlled.

        Of many that are submitted at once the first one is at work before the last one is made.
        """
        self._starting[assignment.agent] = assignment
        if self._starter is None or self._starter.done():
            self._starter = self._tasks.create_task(self._start_all(), name="starter")

    async def _start_all(self) -> None:
        while self._starting:
            assignment = self._starting.pop(next(iter(self._starting)))
            agent = assignment.agent
            try:
                driver, output = self._driver_for(assignment)
            except (SkepError, OSError, ValueError) as error:
                self._report(Ended(agent, assignment.generation, State.FAILED, error=str(error)))
            else:
                self._drivers[agent] = driver
                task = self._tasks.create_task(self._run(agent, driver), name=f"agent {agent}")
                # A task that is cancelled before it began never gets to its own end.
                task.add_done_callback(partial(_close, output))
                self._running[agent] = task
            await asyncio.sleep(0)

    async def control(self, agent: str, generation: int, step: StopStep) -> None:
        """Carry out a rung of the ladder; unknown or ended agents are ignored."""
        if self._starting.pop(agent, None) is not None:
            self._report(Ended(agent, generation, State.FAILED, error="stopped before it started"))
            return
        driver = self._drivers.get(agent)
        # A driver that was just admitted again may not know its new generation yet; an older one is meant for what
        # it was before.
        if driver is None or generation < driver.generation:
            return
        driver.generation = generation
        driver.stop(step)
        if step is StopStep.KILL:
            self._tasks.create_task(self._say_left(agent, driver), name=f"what is left of {agent}")

    async def steer(self, agent: str, generation: int, note: str, who: str) -> None:
        """Put a note before its model at its next turn. Raises NotFound, and Refused where nobody reads notes."""
        driver = self._drivers.get(agent)
        if driver is None or generation < driver.generation:
            raise NotFound(f"the agent {agent} does not run here")
        driver.steer(note, who)

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
        # Emptied in place: the drivers hold on to this very set.
        moved = list(self._moved)
        self._moved.clear()
        return [(agent, self._drivers[agent].live()) for agent in moved if agent in self._drivers]

    async def pulses(self) -> Sequence[Pulse]:
        """The heartbeat of every agent that runs here."""
        return [await _pulse_of(agent, driver) for agent, driver in list(self._drivers.items())]

    async def uncommitted(self, folders: Sequence[str]) -> Uncommitted:
        """What these folders hold that is in no commit."""
        return await self._git.uncommitted(folders)

    def tail(self, agent: str, first: int, limit: int) -> TailChunk | None:
        """Output of an agent that runs here."""
        driver = self._drivers.get(agent)
        return driver.tail(first, limit) if driver is not None else None

    async def close(self) -> None:
        """End everything that still runs and wait until it is gone."""
        self._closed = True
        self._starting.clear()
        async with self._warden_lock:  # a warden that is being started just now is ended as well
            for warden in (self._lost, self._warden):
                if warden is not None:
                    await warden.close()
            self._warden = self._lost = None
        for task in list(self._running.values()):
            task.cancel()

    def _driver_for(self, assignment: Assignment) -> tuple[Driver, Output]:
        chat = assignment.driver is DriverKind.CHAT
        (ChatSpec if chat else CommandSpec).of(assignment.spec)  # before its file is made
        if chat and self._models is None:
            raise BadInput("no models are set up here", where=assignment.name)
        output = output_for(
            assignment, ring_lines=self._settings.output_ring_lines, cap_bytes=self._settings.output_cap_bytes
        )
        if not chat or self._models is None:
            return CommandDriver(assignment, output, self._programs, self._clock, self._moved.add), output
        try:
            driver = ChatDriver(
                assignment,
                output,
                self._permits,
                self._models,
                self._programs,
                self._clock,
                self._moved.add,
                self._environment,
            )
        except BaseException:
            output.close()
            raise
        return driver, output

    async def _run(self, agent: str, driver: Driver) -> None:
        end: Ended | None = None
        try:
            end = await driver.run(self._permits, self._started(agent))
        except (SkepError, OSError) as error:
            end = Ended(agent, driver.generation, State.FAILED, error=str(error))
        except Exception as error:  # noqa: BLE001
            # One agent's fault is not that of the others, nor of the swarm. Its words may quote a request.
            logger.error("the driver of %s failed\n%s", agent, self._without_keys(traceback.format_exc()))
            said = self._without_keys(f"its driver failed: {error!r}")
            end = Ended(agent, driver.generation, State.FAILED, error=said)
        finally:
            del self._drivers[agent]
            del self._running[agent]
            self._moved.discard(agent)
            if end is not None:
                self._report(_explained(end, driver))

    def _without_keys(self, text: str) -> str:
        return self._models.hide(text) if self._models is not None else text

    def _started(self, agent: str) -> Callable[[int, tuple[int, ...]], None]:
        return lambda generation, pids: self._report(Started(agent, generation, pids))

    def _report(self, report: Report) -> None:
        self._reports.append(report)
        self._number += 1
        self._reported.set()

    async def _a_warden(self) -> Warden:
        """The warden that runs now; a new one if there is none or the last one was lost.

        Raises Refused when this host is closing, WardenLost when none can be started.
        """
        async with self._warden_lock:
            if self._closed:
                raise Refused("nothing new is started: the engine ends")
            if self._lost is not None:
                # Its last act is to sweep what carries the swarm's mark: nothing new may start before that.
                await self._lost.close()
                self._lost = None
            if self._warden is None:
                warden = await self._start_warden()
                warden.on_lost(lambda: self._lose(warden))
                self._warden = warden
            return self._warden

    def _lose(self, warden: Warden) -> None:
        logger.error("the warden was lost; its guards end what runs, and another one is started when it is needed")
        if self._warden is warden:
            self._warden, self._lost = None, warden

    async def _say_left(self, agent: str, driver: Driver) -> None:
        task = self._running.get(agent)
        if task is None:
            return
        said: str | None = None
        pause, (following, longest) = LEFT_AFTER, LEFT_AGAIN
        while True:
            timer = asyncio.ensure_future(self._clock.sleep(pause))
            try:
                await asyncio.wait({task, timer}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                timer.cancel()
            if self._drivers.get(agent) is not driver:
                return
            left = driver.left()
            if left != said:
                said = left
                self._report(Left(agent, driver.generation, left))
            pause, following = following, min(following * 2, longest)


def _close(output: Output, task: asyncio.Task[None]) -> None:
    output.close()


async def _pulse_of(agent: str, driver: Driver) -> Pulse:
    """A driver whose pulse fails does not answer; the others are asked all the same."""
    try:
        return await driver.pulse()
    except Exception as error:
        logger.exception("the pulse of %s failed", agent)
        return Pulse(agent, driver.generation, False, None, mute=f"its driver failed: {error!r}")


def _explained(end: Ended, driver: Driver) -> Ended:
    """With what the agent was doing, if it came to no good end; to fail at that harms nobody."""
    if end.state is State.DONE:
        return end
    try:
        return dataclasses.replace(end, diagnosis=driver.diagnosis())
    except Exception:
        logger.exception("the end of %s is not explained", end.agent)
        return end
