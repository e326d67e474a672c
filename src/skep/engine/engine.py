"""One swarm at work: what is asked for is decided in one place, and what hosts report is taken in there too."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Awaitable, Callable
from functools import partial

from skep import __version__
from skep.clock import Clock
from skep.engine.alarms import Alarm, Alarms
from skep.engine.deadlines import Deadlines
from skep.engine.heartbeat import TICK, Heartbeat
from skep.engine.ladder import Ladder
from skep.engine.ledger import Decision, Ledger
from skep.errors import IllegalTransition, NotFound, Refused
from skep.hosts.local import LocalHost
from skep.model.agent import Agent, Face
from skep.model.events import (
    ROOT,
    AgentAdmitted,
    AgentEnded,
    AgentQueued,
    AgentRunning,
    AgentWaiting,
    EngineStarted,
    Json,
    LatchClosed,
    LatchOpened,
    SwarmCreated,
    SwarmEnded,
)
from skep.model.holds import SWARM_SCOPE
from skep.model.launch import AgentAsk, EngineSettings, Launch
from skep.model.logs import TailChunk, log_path, read_log
from skep.model.permits import Assignment, Ended, Left, Report, Started
from skep.model.report import group_end, status_of
from skep.model.states import DriverKind, State, StopStep, StopVerb, Strength, WaitReason
from skep.warden.client import Warden

NEWS = 0.25
"""Seconds between two rounds of live figures (4 Hz is what a screen can use)."""

_log = logging.getLogger(__name__)


class Engine:
    """The engine of one swarm folder. Made in the loop that runs it; ``decide`` and the registry: any thread."""

    def __init__(
        self,
        ledger: Ledger,
        clock: Clock,
        settings: EngineSettings,
        start_warden: Callable[[], Awaitable[Warden]],
        *,
        strict: bool = False,
    ) -> None:
        self.ledger = ledger
        self.registry = ledger.registry
        self.folder = ledger.folder
        self._clock = clock
        self._settings = settings
        self._start_warden = start_warden
        self._strict = strict
        """Raise on an illegal transition instead of logging it (tests)."""
        self._alarms = Alarms(clock)
        self._ladder = Ladder(ledger, self._alarms, settings, self._control, self._after_end)
        self._deadlines = Deadlines(self._alarms, clock, self._timed_out)
        self._heartbeat = Heartbeat(clock, settings, self._stale)
        self._returning: dict[str, asyncio.Future[int]] = {}
        self._latch_alarms: dict[tuple[str, Strength], Alarm] = {}
        self._over = asyncio.Event()
        self._host: LocalHost | None = None

    # -- beginning and end -----------------------------------------------------------------------------------

    async def launch(self, launch: Launch) -> None:
        """Create the swarm with all its agents in one decision; returns once it is durable."""
        with self.ledger.decide() as decision:
            decision.emit(
                SwarmCreated(
                    launch.swarm, launch.name, launch.cwd, launch.max_running, launch.fail_fast, __version__
                )
            )
            decision.emit(EngineStarted(os.getpid()))
            decision.emit(AgentQueued(ROOT, None, launch.name, DriverKind.GROUP, launch.name, {}))
            for ask in launch.agents:
                decision.emit(AgentQueued(ask.id, ask.parent, ask.name, ask.driver, ask.goal, _spec_of(ask)))
            self._admit(decision)
        await self.ledger.settle(decision.state.seq)

    async def recover(self, *, go: bool = False) -> None:
        """Take over a swarm whose engine died: what ran is lost, what waited waits, and it starts held.

        Nothing restarts by itself: unless ``go``, the whole swarm is held until it is unpaused. Doing this twice,
        also after a crash in the middle, ends in the same state.
        """
        with self.ledger.decide() as decision:
            state = decision.state
            decision.emit(EngineStarted(os.getpid(), recovered=True))
            if not go and (SWARM_SCOPE, Strength.SPAWNS) not in state.latches:
                decision.emit(
                    LatchClosed(SWARM_SCOPE, Strength.SPAWNS, "recovered after its engine died", "recovery")
                )
            for one in [a for a in state.subtree(ROOT) if not a.ended][::-1]:
                if one.driver is DriverKind.GROUP or one.id in state.line:
                    continue
                if one.state is State.STOPPING and one.stop_verb is not None:
                    decision.emit(AgentEnded(one.id, one.stop_verb.end, error=one.stop_cause))
                else:
                    decision.emit(AgentEnded(one.id, State.LOST, error="its engine died while it ran"))
                self._after_end(decision, one.id)
            self._ladder.resume(decision)
            for latch in list(state.latches.values()):
                self._resume_later(latch.scope, latch.strength, latch.until)
            self._admit(decision)
        await self.ledger.settle(decision.state.seq)

    async def run(self) -> None:
        """Work until every agent has ended; ends what runs if cancelled."""
        async with asyncio.TaskGroup() as tasks:
            self._host = LocalHost(tasks, self, self._clock, self._settings, self._start_warden)
            working = [
                tasks.create_task(work, name=name)
                for name, work in (
                    ("effects", self.ledger.run_effects()),
                    ("alarms", self._alarms.run()),
                    ("reports", self._take_reports(self._host)),
                    ("news", self._tell_news(self._host)),
                    ("heartbeat", self._beat(self._host)),
                )
            ]
            try:
                with self.registry.read() as state:
                    if state.status is not None:
                        self._over.set()
                await self._over.wait()
            finally:
                for task in working:
                    task.cancel()
                await self._host.close()

    # -- verbs -----------------------------------------------------------------------------------------------

    async def pause(self, scope: str, strength: Strength, reason: str, who: str, seconds: float | None) -> int:
        """Hold new spawns under an agent (empty: the whole swarm); returns the number of the event."""
        with self.ledger.decide() as decision:
            if scope != SWARM_SCOPE:
                self._live_agent(decision, scope)
            until = decision.now + seconds if seconds is not None else None
            seq = decision.emit(LatchClosed(scope, strength, reason, who, until))
            self._resume_later(scope, strength, until)
        await self.ledger.settle(seq)
        return seq

    async def unpause(self, scope: str, strength: Strength, who: str) -> int:
        """Release such a hold; 0 if there was none."""
        with self.ledger.decide() as decision:
            seq = self._open(decision, scope, strength, who)
        await self.ledger.settle(seq)
        return seq

    async def stop(
        self, agent: str, *, branch: bool, verb: StopVerb, who: str, window: float = 0.0
    ) -> tuple[int, list[str]]:
        """Stop an agent or a branch; returns the number of the last event and the agents that it takes along."""
        with self.ledger.decide() as decision:
            agents = self._ladder.ask(decision, agent, branch=branch, verb=verb, who=who, window=window)
            self._admit(decision)
        return await self._settled(decision), agents

    async def take_back(self, agent: str, who: str) -> int:
        """Undo a stop in its window."""
        with self.ledger.decide() as decision:
            self._ladder.take_back(decision, agent, who)
            self._admit(decision)
        return await self._settled(decision)

    async def hurry(self, agent: str, *, branch: bool, kill: bool, who: str) -> tuple[int, list[str]]:
        """One rung further down the ladder, or straight to the kill."""
        with self.ledger.decide() as decision:
            agents = self._ladder.hurry(decision, agent, branch=branch, kill=kill, who=who)
            self._admit(decision)
        return await self._settled(decision), agents

    def tail(self, agent: str, first: int, limit: int) -> TailChunk:
        """Output of an agent, from its host while it runs, else from its log. Raises NotFound."""
        if self._host is not None:
            chunk = self._host.tail(agent, first, limit)
            if chunk is not None:
                return chunk
        one = self.registry.agent(agent)
        if one is None:
            raise NotFound(f"there is no agent {agent}", mend="skep tree lists them")
        path = log_path(self.folder, one)
        return read_log(path, one.lines, first, limit) if path is not None else TailChunk(0, ())

    # -- permits ---------------------------------------------------------------------------------------------

    async def slot(self, agent: str, generation: int, why: str) -> int:
        """Give the slot back and come back at the front of the line (:class:`skep.model.permits.Permits`)."""
        with self.ledger.decide() as decision:
            state = decision.state
            one = state.agents[agent]
            failing_fast = state.created is not None and state.created.fail_fast and self._failed(state.tallies)
            shut = state.shut_over(agent)
            if (
                one.state is not State.RUNNING
                or one.attempt != generation
                or failing_fast
                or (shut is not None and shut.until is None)
            ):
                raise Refused(f"{one.name} may not try again", why="it is being stopped")
            decision.emit(AgentWaiting(agent, WaitReason.SLOT, why))
            self._deadlines.hold(agent)
            future: asyncio.Future[int] = asyncio.get_running_loop().create_future()
            self._returning[agent] = future
            self._admit(decision)
        return await future

    # -- admission -------------------------------------------------------------------------------------------

    def _admit(self, decision: Decision) -> None:
        """Fill the free slots from the line: checked and reserved in the same critical section."""
        state = decision.state
        while state.slots_free > 0 and (agent := state.line.next()) is not None:
            decision.emit(AgentAdmitted(agent))
            one = state.agents[agent]
            timeout = one.spec.get("timeout")
            if isinstance(timeout, int | float) and timeout > 0:
                self._deadlines.start(agent, float(timeout))
            decision.then(self._start(one, one.attempt))

    def _start(self, one: Agent, generation: int) -> Callable[[], Awaitable[None]]:
        path = log_path(self.folder, one)
        assignment = Assignment(one.id, generation, one.driver, one.spec, str(path))

        async def effect() -> None:
            future = self._returning.pop(assignment.agent, None)
            if future is not None and not future.done():
                future.set_result(generation)
            elif self._host is not None:
                await self._host.submit(assignment)

        return effect

    # -- what hosts say --------------------------------------------------------------------------------------

    async def _take_reports(self, host: LocalHost) -> None:
        number = 0
        while True:
            number, reports = await host.pull(number)
            with self.ledger.decide() as decision:
                for report in reports:
                    try:
                        self._take(decision, report)
                    except IllegalTransition:
                        if self._strict:
                            raise
                        _log.exception("a report was refused: %s", report)
                self._admit(decision)

    def _take(self, decision: Decision, report: Report) -> None:
        one = decision.state.agents[report.agent]
        if one.ended or one.attempt != report.generation:
            _log.info("a late report of %s was refused: %s", one.id, report)
            return
        if isinstance(report, Started):
            decision.emit(AgentRunning(one.id, report.pids))
        elif isinstance(report, Left):
            self._ladder.left(decision, one.id, report.evidence)
        else:
            self._end(decision, one, report)

    def _end(self, decision: Decision, one: Agent, end: Ended) -> None:
        state, error = end.state, end.error
        if one.state is State.STOPPING and one.stop_verb is not None:
            state, error = one.stop_verb.end, one.stop_cause
        elif one.state is State.STARTING and state is not State.FAILED:
            decision.emit(AgentRunning(one.id))
        lines, size = (end.live.lines, end.live.size) if end.live is not None else (0, 0)
        decision.emit(AgentEnded(one.id, state, end.exit_code, end.signal, error, end.result, lines, size))
        self._after_end(decision, one.id)
        created = decision.state.created
        if state in (State.FAILED, State.TIMED_OUT) and created is not None and created.fail_fast:
            self._skip_the_rest(decision, one)

    def _skip_the_rest(self, decision: Decision, failed: Agent) -> None:
        """Fail fast: what has not started ends without having run; what runs goes on to its end."""
        for agent in list(decision.state.line):
            decision.emit(AgentEnded(agent, State.INTERRUPTED, error=f"skipped: {failed.name} failed"))
            self._after_end(decision, agent)

    def _after_end(self, decision: Decision, agent: str) -> None:
        """An agent has ended (or a group may): tidy up, and end the groups above that have nobody left."""
        state = decision.state
        if state.agents[agent].ended:
            returning = self._returning.pop(agent, None)
            if returning is not None:
                returning.cancel()  # it waited for its slot: nothing of it runs, its task just ends
            self._deadlines.forget(agent)
            self._ladder.forget(agent)
            decision.then(partial(self._forget_live, agent))
        for one in state.ancestors(agent):
            if one.driver is not DriverKind.GROUP or one.ended:
                continue
            if state.live_below(one.id):
                break
            stopped = one.state is State.STOPPING and one.stop_verb is not None
            end = one.stop_verb.end if stopped and one.stop_verb is not None else group_end(state, one.id)
            decision.emit(AgentEnded(one.id, end, error=one.stop_cause or None))
            self._ladder.forget(one.id)
            if one.id == ROOT:
                decision.emit(SwarmEnded(status_of(state)))
                decision.then(self._finish)

    async def _forget_live(self, agent: str) -> None:
        self.registry.forget_live((agent,))

    async def _finish(self) -> None:
        self._over.set()

    # -- clocks ----------------------------------------------------------------------------------------------

    async def _tell_news(self, host: LocalHost) -> None:
        while True:
            await self._clock.sleep(NEWS)
            news = host.news()
            if news:
                self.registry.tell_live(news)

    async def _beat(self, host: LocalHost) -> None:
        while True:
            await self._clock.sleep(TICK)
            pulses = await host.pulses()
            with self.ledger.decide() as decision:
                self._heartbeat.tick(decision, pulses)

    def _stale(self, decision: Decision, agent: Agent, evidence: str) -> None:
        if self._settings.on_stale in ("interrupt", "kill"):
            self._ladder.ask(
                decision,
                agent.id,
                branch=False,
                verb=StopVerb(self._settings.on_stale),
                who=f"heartbeat: {evidence}",
            )

    def _timed_out(self, agent: str, cause: str) -> None:
        with self.ledger.decide() as decision:
            self._ladder.time_out(decision, agent, cause)

    def _resume_later(self, scope: str, strength: Strength, until: float | None) -> None:
        key = (scope, strength)
        old = self._latch_alarms.pop(key, None)
        if old is not None:
            old.cancel()
        if until is not None:
            self._latch_alarms[key] = self._alarms.after(
                until - self._clock.time(), lambda: self._resume(scope, strength)
            )

    def _resume(self, scope: str, strength: Strength) -> None:
        with self.ledger.decide() as decision:
            self._open(decision, scope, strength, "its end time")

    # -- inside ----------------------------------------------------------------------------------------------

    def _open(self, decision: Decision, scope: str, strength: Strength, who: str) -> int:
        self._resume_later(scope, strength, None)
        if (scope, strength) not in decision.state.latches:
            return 0
        seq = decision.emit(LatchOpened(scope, strength, who))
        self._admit(decision)
        return seq

    async def _control(self, agent: str, generation: int, step: StopStep) -> None:
        if self._host is not None:
            await self._host.control(agent, generation, step)

    async def _settled(self, decision: Decision) -> int:
        seq = decision.records[-1].seq if decision.records else 0
        await self.ledger.settle(seq)
        return seq

    @staticmethod
    def _failed(tallies: dict[str, dict[Face, int]]) -> bool:
        return tallies.get(ROOT, {}).get(Face.FAILED, 0) > 0

    @staticmethod
    def _live_agent(decision: Decision, agent: str) -> Agent:
        one = decision.state.agents.get(agent)
        if one is None:
            raise NotFound(f"there is no agent {agent}", mend="skep tree lists them")
        if one.ended:
            raise Refused(f"{one.name} has ended", why=f"it is {one.state}")
        return one


def _spec_of(ask: AgentAsk) -> dict[str, Json]:
    spec: dict[str, Json] = (
        ask.command.model_dump(mode="json", exclude_defaults=True) if ask.command is not None else {}
    )
    return {**spec, "log": ask.log} if ask.log is not None else spec
