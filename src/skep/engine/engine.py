"""One swarm at work: what is asked for is decided in one place, and what hosts report is taken in there too."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial

from skep import __version__
from skep.clock import Clock
from skep.drivers.ending import to_the_end
from skep.engine.alarms import Alarms
from skep.engine.approvals import Approvals
from skep.engine.deadlines import Deadlines
from skep.engine.delegation import Delegation
from skep.engine.gate import Gate
from skep.engine.heartbeat import TICK, Heartbeat
from skep.engine.ladder import Ladder
from skep.engine.ledger import Decision, Ledger
from skep.engine.permits import AgentPermits
from skep.engine.recovery import take_over
from skep.engine.seats import Seats
from skep.errors import IllegalTransition, NotFound
from skep.model.agent import Agent
from skep.model.events import (
    ROOT,
    AgentAdmitted,
    AgentEnded,
    AgentQueued,
    AgentRunning,
    AgentWaiting,
    EngineStarted,
    Json,
    SwarmCreated,
    SwarmEnded,
)
from skep.model.launch import AgentAsk, EngineSettings, Launch
from skep.model.logs import TailChunk, log_path, read_log
from skep.model.permits import Assignment, Ended, Host, Left, Permits, Report, Started
from skep.model.report import group_end, status_of
from skep.model.states import DriverKind, State, StopStep, StopVerb, Strength, WaitReason

MakeHost = Callable[[asyncio.TaskGroup, Permits], Host]
"""Makes the host of an engine; its tasks live in the group, its agents ask the permits."""

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
        make_host: MakeHost,
        *,
        caps: Mapping[str, int] | None = None,
        strict: bool = False,
    ) -> None:
        self.ledger = ledger
        self.registry = ledger.registry
        self.folder = ledger.folder
        self._clock = clock
        self._settings = settings
        self._make_host = make_host
        self._caps = dict(caps or {})
        """Provider → how many of its agents may run at once."""
        self._strict = strict
        """Raise on an illegal transition instead of logging it (tests)."""
        self._alarms = Alarms(clock, strict=strict)
        self._gate = Gate(ledger, self._alarms, clock, self._admit)
        self._ladder = Ladder(ledger, self._alarms, settings, self._control, self._after_end)
        self._deadlines = Deadlines(self._alarms, clock, self._timed_out)
        self._heartbeat = Heartbeat(clock, settings, self._stale)
        self._seats = Seats(ledger, self._alarms, self._deadlines, self._admit)
        self._delegation = Delegation(ledger, settings, self._seats)
        self._approvals = Approvals(ledger, self._alarms, settings.approval_timeout)
        self.permits = AgentPermits(ledger, self._seats, self._delegation, self._approvals, self._admit)
        self._ending: dict[str, Ended] = {}
        """Agents that have ended but for children that still have to."""
        self._over = asyncio.Event()
        self._host: Host | None = None

    # -- beginning and end -----------------------------------------------------------------------------------

    async def launch(self, launch: Launch) -> None:
        """Create the swarm with all its agents in one decision; returns once it is durable.

        Raises IllegalTransition if there is a swarm already, NoSpace if the journal cannot be written.
        """
        with self.ledger.decide() as decision:
            decision.emit(
                SwarmCreated(
                    launch.swarm,
                    launch.name,
                    launch.cwd,
                    launch.max_running,
                    launch.fail_fast,
                    __version__,
                    launch.settings.simulated is not None,
                )
            )
            decision.emit(EngineStarted(os.getpid(), caps=self._caps))
            top = launch.root or AgentAsk(id=ROOT, name=launch.name, driver=DriverKind.GROUP, goal=launch.name)
            decision.emit(AgentQueued(ROOT, None, top.name, top.driver, top.goal, _spec_of(top)))
            for ask in launch.agents:
                decision.emit(AgentQueued(ask.id, ask.parent, ask.name, ask.driver, ask.goal, _spec_of(ask)))
            for ask in reversed(launch.agents):
                if ask.driver is DriverKind.GROUP:
                    self._after_end(decision, ask.id)  # one that holds nobody is over before it began
            self._admit(decision)
        await self.ledger.settle(decision.seq, patient=False)

    async def recover(self, *, go: bool = False) -> None:
        """Take over a swarm whose engine died (see :mod:`skep.engine.recovery`); returns once that is durable."""
        with self.ledger.decide() as decision:
            take_over(decision, self._gate, self._ladder, self._after_end, caps=self._caps, go=go)
            self._admit(decision)
        await self.ledger.settle(decision.seq, patient=False)

    async def run(self) -> None:
        """Work until every agent has ended; ends what runs if cancelled."""
        async with asyncio.TaskGroup() as tasks:
            self._host = self._make_host(tasks, self.permits)
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
                self._seats.closing = True
                for task in working:
                    task.cancel()
                await to_the_end(self._host.close())

    # -- verbs -----------------------------------------------------------------------------------------------

    async def pause(self, scope: str, strength: Strength, reason: str, who: str, seconds: float | None) -> int:
        """Hold new spawns under an agent (empty: the whole swarm); returns the number of the event."""
        with self.ledger.decide() as decision:
            self._gate.close(decision, scope, strength, reason, who, seconds)
        return await self._settled(decision)

    async def unpause(self, scope: str, strength: Strength, who: str) -> int:
        """Release such a hold; returns the number of the event, 0 if there was none."""
        with self.ledger.decide() as decision:
            seq = self._gate.open(decision, scope, strength, who)
        await self._settled(decision)
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
            decision.then(self._seats.reopened)
        return await self._settled(decision)

    async def answer(self, agent: str, hash: str, *, allow: bool, who: str) -> int:
        """Allow or deny what an agent asks; the hash says what one has read."""
        with self.ledger.decide() as decision:
            self._approvals.answer(decision, agent, hash, allow=allow, who=who)
        return await self._settled(decision)

    async def hurry(self, agent: str, *, branch: bool, kill: bool, who: str) -> tuple[int, list[str]]:
        """One rung further down the ladder, or straight to the kill."""
        with self.ledger.decide() as decision:
            agents = self._ladder.hurry(decision, agent, branch=branch, kill=kill, who=who)
            self._admit(decision)
        return await self._settled(decision), agents

    def tail(self, agent: str, first: int, limit: int) -> TailChunk:
        """Output of an agent, from its host while it runs, else from its log. Raises NotFound."""
        chunk = self.tail_now(agent, first, limit)
        return chunk if chunk is not None else self.tail_logged(agent, first, limit)

    def tail_logged(self, agent: str, first: int, limit: int) -> TailChunk:
        """Output of an agent from its log, which takes a while; any thread. Raises NotFound."""
        one = self.registry.agent(agent)
        if one is None:
            raise NotFound(f"there is no agent {agent}", mend="skep tree lists them")
        path = log_path(self.folder, one)
        return read_log(path, one.lines, first, limit) if path is not None else TailChunk(0, ())

    def tail_now(self, agent: str, first: int, limit: int) -> TailChunk | None:
        """Output of an agent from its host; None if it does not run there."""
        return self._host.tail(agent, first, limit) if self._host is not None else None

    # -- admission -------------------------------------------------------------------------------------------

    def _admit(self, decision: Decision) -> None:
        """Fill the free slots from the line: checked and reserved in the same critical section."""
        state = decision.state
        if self._seats.closing:
            return
        while (agent := state.next_in_line()) is not None:
            decision.emit(AgentAdmitted(agent))
            one = state.agents[agent]
            decision.then(self._start(one, one.attempt))

    def _start(self, one: Agent, generation: int) -> Callable[[], Awaitable[None]]:
        async def effect() -> None:
            timeout = one.spec.get("timeout")
            if isinstance(timeout, int | float) and timeout > 0:
                self._deadlines.start(one.id, float(timeout))
            if not self._seats.admitted(one.id, generation) and self._host is not None:
                log = str(log_path(self.folder, one))
                await self._host.submit(
                    Assignment(one.id, generation, one.driver, one.spec, log, one.name, one.goal, one.branch)
                )

        return effect

    # -- what hosts say --------------------------------------------------------------------------------------

    async def _take_reports(self, host: Host) -> None:
        number = 0
        while True:
            number, reports = await host.pull(number)
            with self.ledger.decide() as decision:
                for report in reports:
                    with self._refusing(f"the report {report}"):
                        self._take(decision, report)
                self._admit(decision)

    def _take(self, decision: Decision, report: Report) -> None:
        one = decision.state.agents.get(report.agent)
        if one is None or one.ended or one.attempt != report.generation:
            _log.debug("a late report was refused: %s", report)
            return
        if isinstance(report, Started):
            if one.state is not State.WAITING:  # else it has failed meanwhile, and waits for its next try
                decision.emit(AgentRunning(one.id, report.pids))
        elif isinstance(report, Left):
            self._ladder.left(decision, one.id, report.evidence)
        else:
            self._end(decision, one, report)

    def _end(self, decision: Decision, one: Agent, end: Ended) -> None:
        if decision.state.live_below(one.id):
            # It has ended, its children have not: they go first, and its own end is told when they are gone.
            self._ending[one.id] = end
            self._deadlines.forget(one.id)
            if one.state is State.STARTING:
                decision.emit(AgentRunning(one.id))
            if one.state is State.RUNNING:  # nothing of it runs any more: others may have its slot
                decision.emit(AgentWaiting(one.id, WaitReason.CHILD, "its end waits for that of its children"))
            for child in list(one.children):
                if not decision.state.agents[child].ended:
                    who = f"the end of {one.name}"
                    self._ladder.ask(decision, child, branch=True, verb=StopVerb.INTERRUPT, who=who)
            return
        state, error = end.state, end.error
        if one.state is State.STOPPING and one.stop_verb is not None:
            state, error = one.stop_verb.end, one.stop_cause or error
        elif one.state is State.STARTING and state is not State.FAILED:
            decision.emit(AgentRunning(one.id))
        lines, size = (end.live.lines, end.live.size) if end.live is not None else (0, 0)
        decision.emit(
            AgentEnded(one.id, state, end.exit_code, end.signal, error, end.result, lines, size, end.report)
        )
        self._after_end(decision, one.id, end)
        created = decision.state.created
        if state in (State.FAILED, State.TIMED_OUT) and created is not None and created.fail_fast:
            self._skip_the_rest(decision, one)

    def _skip_the_rest(self, decision: Decision, failed: Agent) -> None:
        """Fail fast: what has not started ends without having run; what runs goes on to its end."""
        for agent in decision.state.line.positions() + decision.state.line.held():
            if decision.state.agents[agent].turns or decision.state.live_below(agent):
                continue  # a conversation that is under way
            tried = decision.state.agents[agent].attempt
            said = "not tried again" if tried else "skipped"
            decision.emit(AgentEnded(agent, State.INTERRUPTED, error=f"{said}: {failed.name} failed"))
            self._after_end(decision, agent)

    def _after_end(self, decision: Decision, agent: str, end: Ended | None = None) -> None:
        """An agent has ended (or a group may): tidy up, and end those above it that wait for nobody else."""
        state = decision.state
        if state.agents[agent].ended:
            self._tidy(decision, agent, end)
        for one in state.ancestors(agent):
            if one.ended:
                if one.id == ROOT and state.status is None:
                    decision.emit(SwarmEnded(status_of(state)))
                    decision.then(self._finish)
                continue
            if state.live_below(one.id):
                break
            if one.driver is DriverKind.GROUP:
                stopped = one.stop_verb.end if one.state is State.STOPPING and one.stop_verb is not None else None
                decision.emit(
                    AgentEnded(one.id, stopped or group_end(state, one.id), error=one.stop_cause or None)
                )
                self._after_end(decision, one.id)
            elif one.id in self._ending:
                self._end(decision, one, self._ending.pop(one.id))
            break

    def _tidy(self, decision: Decision, agent: str, end: Ended | None) -> None:
        self._seats.forget(agent)
        self._deadlines.forget(agent)
        self._ladder.forget(agent)
        self._approvals.forget(agent)
        self._delegation.ended(decision, agent, end)
        self._ending.pop(agent, None)
        decision.then(partial(self._forget_live, agent))

    async def _forget_live(self, agent: str) -> None:
        self.registry.forget_live((agent,))

    async def _finish(self) -> None:
        self._over.set()

    # -- clocks ----------------------------------------------------------------------------------------------

    async def _tell_news(self, host: Host) -> None:
        while True:
            await self._clock.sleep(NEWS)
            news = host.news()
            if news:
                self.registry.tell_live(news)

    async def _beat(self, host: Host) -> None:
        while True:
            await self._clock.sleep(TICK)
            pulses = await host.pulses()
            with self._refusing("a heartbeat"), self.ledger.decide() as decision:
                self._heartbeat.tick(decision, pulses)

    def _stale(self, decision: Decision, agent: Agent, evidence: str) -> None:
        if self._settings.on_stale in ("interrupt", "kill"):
            self._ladder.ask(
                decision,
                agent.id,
                branch=True,
                verb=StopVerb(self._settings.on_stale),
                who=f"heartbeat: {evidence}",
            )

    def _timed_out(self, agent: str, cause: str) -> None:
        with self.ledger.decide() as decision:
            self._ladder.time_out(decision, agent, cause)

    # -- inside ----------------------------------------------------------------------------------------------

    @contextmanager
    def _refusing(self, what: str) -> Iterator[None]:
        """An illegal transition raises in tests; else it is refused and logged, and the engine goes on."""
        try:
            yield
        except IllegalTransition:
            if self._strict:
                raise
            _log.exception("%s was refused", what)

    async def _control(self, agent: str, generation: int, step: StopStep) -> None:
        if self._host is not None:
            await self._host.control(agent, generation, step)

    async def _settled(self, decision: Decision) -> int:
        await self.ledger.settle(decision.seq)
        return decision.seq


def _spec_of(ask: AgentAsk) -> dict[str, Json]:
    asked = ask.command or ask.chat
    spec: dict[str, Json] = asked.model_dump(mode="json", exclude_defaults=True) if asked is not None else {}
    return {**spec, "log": ask.log} if ask.log is not None else spec
