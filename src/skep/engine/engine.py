"""One swarm at work: what is asked for is decided in one place, and what hosts report is taken in there too."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial

from skep import __version__
from skep.clock import Clock
from skep.drivers.ending import to_the_end
from skep.engine.alarms import Alarms
from skep.engine.approvals import Approvals
from skep.engine.deadlines import Deadlines
from skep.engine.delegation import Delegation
from skep.engine.diagnostics import Diagnostics
from skep.engine.endings import Endings
from skep.engine.gate import Accounts, Gate
from skep.engine.heartbeat import TICK, Heartbeat
from skep.engine.ladder import Ladder
from skep.engine.ledger import Decision, Effect, Ledger
from skep.engine.permits import AgentPermits
from skep.engine.recovery import take_over
from skep.engine.resumption import Resumption
from skep.engine.seats import Seats
from skep.engine.verbs import Verbs
from skep.errors import IllegalTransition, NotFound, SkepError
from skep.model.agent import Agent
from skep.model.events import (
    ROOT,
    AgentAdmitted,
    AgentQueued,
    AgentRunning,
    EngineStarted,
    Json,
    SwarmCreated,
)
from skep.model.launch import AgentAsk, EngineSettings, Launch
from skep.model.logs import TailChunk, log_path, read_log
from skep.model.permits import Assignment, Ended, Host, Left, Permits, Report, Started, Uncommitted
from skep.model.states import DriverKind, OnStale, State, StopStep, StopVerb, Strength

MakeHost = Callable[[asyncio.TaskGroup, Permits], Host]
"""Makes the host of an engine; its tasks live in the group, its agents ask the permits."""

NEWS = 0.25
"""Seconds between two rounds of live figures (4 Hz is what a screen can use)."""

HEARTBEAT = "heartbeat"
"""Who steers and stops agents that do not get on."""

_log = logging.getLogger(__name__)


class Engine:
    """The engine of one swarm folder. It is made in the loop that runs it.

    Any thread may read the registry, ask ``verbs`` and ``permits.ask_for``, and call ``take`` and ``has_ended``:
    each of them decides inside of the one critical section of the swarm. The coroutines belong to the loop.
    """

    def __init__(
        self,
        ledger: Ledger,
        clock: Clock,
        settings: EngineSettings,
        make_host: MakeHost,
        *,
        caps: Mapping[str, int] | None = None,
        accounts: Mapping[str, tuple[str, ...]] | None = None,
        pools: Accounts | None = None,
        strict: bool = False,
    ) -> None:
        """``caps`` and ``accounts`` are known of providers; ``pools`` is told what holds an account."""
        self.ledger = ledger
        self.registry = ledger.registry
        self.folder = ledger.folder
        self._clock = clock
        self._settings = settings
        self._make_host = make_host
        self._caps = dict(caps or {})
        """Provider → how many of its agents may run at once."""
        self._accounts = {name: list(known) for name, known in (accounts or {}).items()}
        """Provider → the accounts whose keys its agents may use."""
        self._strict = strict
        """Raise on an illegal transition instead of logging it (tests)."""
        self._alarms = Alarms(ledger, clock, strict=strict)
        self._gate = Gate(self._alarms, clock, self._let_go, pools)
        self._ladder = Ladder(self._alarms, settings, self._control, self._after)
        self._deadlines = Deadlines(self._alarms, clock, self._timed_out)
        self._heartbeat = Heartbeat(clock, settings, self._act_on)
        self._diagnostics = Diagnostics(ledger.folder, ledger.registry)
        self._seats = Seats(ledger, self._alarms, self._deadlines, self._admit)
        self._delegation = Delegation(ledger, settings, self._seats)
        self._approvals = Approvals(ledger, self._alarms, settings.approval_timeout)
        self._endings = Endings(
            ledger,
            self._gate,
            self._ladder,
            self._seats,
            self._deadlines,
            self._delegation,
            self._approvals,
            self._finish,
        )
        self._resumption = Resumption(ledger, settings, self._caps, self._accounts)
        self.permits = AgentPermits(
            ledger, self._seats, self._delegation, self._approvals, self._resumption, self._admit
        )
        self._over = asyncio.Event()
        self._reopened = asyncio.Event()
        self.verbs = Verbs(
            ledger,
            self._gate,
            self._ladder,
            self._approvals,
            self._resumption,
            self._seats,
            self._admit,
            self._reopened.set,
        )
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
            decision.emit(EngineStarted(os.getpid(), caps=self._caps, accounts=self._accounts))
            top = launch.root or AgentAsk(id=ROOT, name=launch.name, driver=DriverKind.GROUP, goal=launch.name)
            decision.emit(AgentQueued(ROOT, None, top.name, top.driver, top.goal, _spec_of(top)))
            for ask in launch.agents:
                decision.emit(AgentQueued(ask.id, ask.parent, ask.name, ask.driver, ask.goal, _spec_of(ask)))
            for ask in reversed(launch.agents):
                if ask.driver is DriverKind.GROUP:
                    self._endings.after(decision, ask.id)  # one that holds nobody is over before it began
            self._admit(decision)
        await self.ledger.settle(decision.seq, patient=False)

    async def recover(self, *, go: bool = False) -> None:
        """Take over a swarm whose engine died (see :mod:`skep.engine.recovery`); returns once that is durable."""
        with self.ledger.decide() as decision:
            take_over(
                decision,
                self._gate,
                self._ladder,
                self._endings.after,
                caps=self._caps,
                accounts=self._accounts,
                go=go,
            )
            self._admit(decision)
        await self.ledger.settle(decision.seq, patient=False)

    async def run(self) -> None:
        """Work until every agent has ended; ends what runs if cancelled. May be run again for a reopened swarm."""
        self._set_closing(False)
        self._over.clear()
        self._reopened.clear()
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
                with self.ledger.decide() as decision:
                    if decision.state.status is not None:
                        self._over.set()
                    self._admit(decision)  # what was asked for while nothing ran
                await self._over.wait()
            finally:
                self._set_closing(True)
                for task in working:
                    task.cancel()
                await to_the_end(self._host.close())

    def has_ended(self) -> bool:
        """True once the swarm has ended, and while nobody has reopened it."""
        with self.registry.read() as state:
            return state.status is not None

    async def reopened(self) -> None:
        """Wait until an agent goes on in a swarm that had ended."""
        await self._reopened.wait()

    # -- verbs -----------------------------------------------------------------------------------------------

    # Each is decided at once, as ``self.verbs`` does it from any thread, and returns when that is durable.

    async def pause(self, scope: str, strength: Strength, reason: str, who: str, seconds: float | None) -> int:
        """Hold new spawns, or turns too, in a scope (empty: the whole swarm); returns the number of the event."""
        return await self._settled(self.verbs.pause(scope, strength, reason, who, seconds))

    async def unpause(self, scope: str, strength: Strength, who: str) -> int:
        """Release such a hold; returns the number of the event, 0 if there was none."""
        return await self._settled(self.verbs.unpause(scope, strength, who))

    async def stop(
        self, agent: str, *, branch: bool, verb: StopVerb, who: str, window: float = 0.0
    ) -> tuple[int, list[str]]:
        """Stop an agent or a branch; returns the number of the last event and the agents that it takes along."""
        seq, agents = self.verbs.stop(agent, branch=branch, verb=verb, who=who, window=window)
        return await self._settled(seq), agents

    async def take_back(self, agent: str, who: str) -> int:
        """Undo a stop in its window."""
        return await self._settled(self.verbs.take_back(agent, who))

    async def answer(self, agent: str, hash: str, *, allow: bool, who: str) -> int:
        """Allow or deny what an agent asks; the hash says what one has read."""
        return await self._settled(self.verbs.answer(agent, hash, allow=allow, who=who))

    async def hurry(self, agent: str, *, branch: bool, kill: bool, who: str) -> tuple[int, list[str]]:
        """One rung further down the ladder, or straight to the kill."""
        seq, agents = self.verbs.hurry(agent, branch=branch, kill=kill, who=who)
        return await self._settled(seq), agents

    async def resume(self, agent: str, message: str, who: str) -> tuple[int, str]:
        """Go on with the conversation of an ended agent; returns the event's number and the new agent's id."""
        await self._resumption.check(agent)
        seq, new = self.verbs.resume(agent, message, who)
        return await self._settled(seq), new

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

    async def uncommitted(self, folders: Sequence[str]) -> Uncommitted:
        """What these folders hold that is in no commit, as the host says on which they are."""
        return await self._host.uncommitted(folders) if self._host is not None else Uncommitted()

    # -- admission -------------------------------------------------------------------------------------------

    def _let_go(self, decision: Decision) -> None:
        """A latch was opened: who was held goes on, and what was only kept open for a person ends."""
        state = decision.state
        open_ones = [one for one in state.agents.values() if one.driver is DriverKind.GROUP and not one.ended]
        for group in reversed(open_ones):
            self._endings.after(decision, group.id)
        if state.agents[ROOT].ended:
            self._endings.end_swarm(decision)
        self._admit(decision)
        decision.then(self._seats.look_again)

    def _admit(self, decision: Decision) -> None:
        """Fill the free slots from the line: checked and reserved in the same critical section."""
        state = decision.state
        if self._seats.closing:
            return
        while (agent := state.next_in_line()) is not None:
            decision.emit(AgentAdmitted(agent))
            one = state.agents[agent]
            decision.then(self._start(one, one.attempt))

    def _start(self, one: Agent, generation: int) -> Effect:
        """What follows an admission: its clock runs, and it begins, or goes on if it had given its slot back."""
        goes_on = self._seats.admitted(one.id, generation)

        async def effect() -> None:
            self._run_clock(one, generation)
            if goes_on is not None:
                await goes_on()
            elif self._host is not None:
                log = str(log_path(self.folder, one))
                await self._host.submit(
                    Assignment(
                        one.id, generation, one.driver, one.spec, log, one.name, one.goal, one.branch, one.resumes
                    )
                )

        return effect

    def _run_clock(self, one: Agent, generation: int) -> None:
        timeout = one.spec.get("timeout")
        if isinstance(timeout, int | float) and timeout > 0:
            with self.ledger.decide() as decision:
                if one.slot and one.attempt == generation:  # else it has ended or waits by now
                    self._deadlines.start(decision, one.id, float(timeout))

    # -- what hosts say --------------------------------------------------------------------------------------

    async def _take_reports(self, host: Host) -> None:
        number = 0
        while True:
            number, reports = await host.pull(number)
            self.take(reports)

    def take(self, reports: Sequence[Report]) -> int:
        """Take in what a host says, in one decision, and admit who can be; any thread.

        Returns the number of the last event, 0 if nothing came of it.
        """
        explained = {r.agent: self._diagnostics.keep(r) for r in reports if isinstance(r, Ended)}
        with self.ledger.decide() as decision:
            for report in reports:
                with self._refusing(f"the report {report}"):
                    self._take(decision, report, explained.get(report.agent))
            self._admit(decision)
        return decision.seq

    def _take(self, decision: Decision, report: Report, diagnostic: str | None) -> None:
        one = decision.state.agents.get(report.agent)
        if one is None or one.ended or not self._seats.is_of(one, report.generation):
            _log.debug("a late report was refused: %s", report)
            return
        if isinstance(report, Started):
            if one.state is not State.WAITING:  # else it has failed meanwhile, and waits for its next try
                decision.emit(AgentRunning(one.id, report.pids))
        elif isinstance(report, Left):
            self._ladder.left(decision, one.id, report.evidence)
        else:
            self._endings.end(decision, one, report, diagnostic)

    def _after(self, decision: Decision, agent: str) -> None:
        """What the ladder ended, or a group that it reached, has come to its end."""
        self._endings.after(decision, agent)

    async def _finish(self) -> None:
        if self.has_ended():  # else it was reopened since
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
            try:
                pulses = await host.pulses()
                with self.ledger.decide() as decision:
                    self._heartbeat.tick(decision, pulses)
            except Exception:
                if self._strict:
                    raise
                _log.exception("a heartbeat failed")  # what it watches goes on

    def _act_on(self, decision: Decision, agent: Agent, action: OnStale, evidence: str) -> None:
        """What an agent that does not get on has coming, by its definition or the swarm's settings."""
        if action is OnStale.STEER:
            note = f"no progress is seen here: {evidence}. If something keeps you, say what, or go another way."
            decision.then(partial(self._steer, agent.id, agent.attempt, note))
            return
        who = f"{HEARTBEAT}: {evidence}"
        self._ladder.ask(decision, agent.id, branch=True, verb=StopVerb(action.value), who=who)

    async def _steer(self, agent: str, generation: int, note: str) -> None:
        try:
            if self._host is not None:
                await self._host.steer(agent, generation, note, HEARTBEAT)
        except SkepError as error:
            _log.info("the note to %s was not taken: %s", agent, error)  # it has ended meanwhile

    def _timed_out(self, agent: str, cause: str, decision: Decision) -> None:
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

    async def _settled(self, seq: int) -> int:
        await self.ledger.settle(seq)
        return seq

    def _set_closing(self, closing: bool) -> None:
        with self.registry.read():  # no decision is under way: from now on none admits, or may again
            self._seats.closing = closing


def _spec_of(ask: AgentAsk) -> dict[str, Json]:
    asked = ask.command or ask.chat
    spec: dict[str, Json] = asked.model_dump(mode="json", exclude_defaults=True) if asked is not None else {}
    return {**spec, "log": ask.log} if ask.log is not None else spec
