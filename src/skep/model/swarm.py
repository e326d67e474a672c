"""The state of a swarm as a pure fold over its events: no lock, no clock, no I/O; replay gives it again."""

from __future__ import annotations

from collections.abc import Callable

from skep.errors import IllegalTransition
from skep.model.agent import Agent, Spend, face_of
from skep.model.events import (
    ROOT,
    AgentAdmitted,
    AgentEnded,
    AgentMarked,
    AgentQueued,
    AgentRunning,
    AgentStopping,
    AgentWaiting,
    ApprovalAnswered,
    ApprovalAsked,
    AttemptStruck,
    BranchReopened,
    BranchShut,
    EngineStarted,
    Event,
    LatchClosed,
    LatchOpened,
    MessageAdded,
    Record,
    Reopened,
    SwarmCreated,
    SwarmEnded,
    ToolEnded,
    TurnCompleted,
)
from skep.model.holds import SWARM_SCOPE, Latch, Scope, ScopeKind, Shut
from skep.model.slots import Slots
from skep.model.states import DriverKind, State, StopVerb, Strength, WaitReason


class SwarmState(Slots):
    """Everything that the events of one swarm say about it."""

    def __init__(self) -> None:
        super().__init__()
        self.seq = 0
        """Number of the last event folded."""
        self.time = 0.0
        self.created_at = 0.0
        self.engine_pid: int | None = None
        self.status: str | None = None
        """``done``, ``failed`` or ``interrupted`` once the swarm has ended."""
        self.ended_at: float | None = None
        self.shape = 0
        """Changes when agents were added, a hold changed or the swarm as a whole did."""

    # -- folding ---------------------------------------------------------------------------------------------

    def fold(self, record: Record) -> None:
        """Take one more event in.

        Raises:
            IllegalTransition: the event is not allowed now; nothing has changed then.
        """
        kind = type(record.event)
        if record.seq != self.seq + 1:
            raise IllegalTransition(f"event {record.seq} cannot follow event {self.seq}")
        if (self.created is None) != (kind is SwarmCreated):
            raise IllegalTransition("a swarm is created once, and before everything else")
        if self.status is not None and kind not in (EngineStarted, Reopened):
            raise IllegalTransition("the swarm has ended")
        _FOLDS[kind](self, record.event, record)
        self.shape += kind in _SHAPING
        self.seq = record.seq
        self.time = record.time

    def _created(self, event: SwarmCreated, record: Record) -> None:
        self.created = event
        self.created_at = record.time

    def _engine(self, event: EngineStarted, record: Record) -> None:
        self.engine_pid = event.pid
        self.caps = dict(event.caps)
        self.accounts = {provider: tuple(names) for provider, names in event.accounts.items()}
        self._hold_again(SWARM_SCOPE)

    def _queued(self, event: AgentQueued, record: Record) -> None:
        if event.agent in self.agents:
            raise IllegalTransition(f"agent {event.agent} is there already")
        parent = self.agents.get(event.parent) if event.parent is not None else None
        if (parent is None) != (event.agent == ROOT) or (parent is None) != (event.parent is None):
            raise IllegalTransition(f"agent {event.agent} needs a parent that is there")
        if parent is not None:
            # Whatever became of the root, it stays the top: who resumes somebody may stand under it.
            ended = parent.ended and not (event.resumes and parent.id == ROOT)
            if ended or self.shut_over(parent.id) is not None:
                raise IllegalTransition(f"agent {parent.id} takes no more children")
        before = self._resumable(event.resumes) if event.resumes else None
        group = event.driver is DriverKind.GROUP
        agent = Agent(
            id=event.agent,
            parent=event.parent,
            name=event.name,
            driver=event.driver,
            goal=event.goal,
            spec=event.spec,
            depth=parent.depth + 1 if parent else 0,
            order=record.seq,
            branch=event.agent if parent is None or parent.id == ROOT else parent.branch,
            # A group holds others: it needs no slot, so there is nothing to wait in line for.
            state=State.WAITING if group else State.QUEUED,
            reason=WaitReason.CHILD if group else None,
            since=record.time,
            queued_at=record.time,
            started_at=record.time if group else None,
            resumes=event.resumes,
        )
        self._join(agent, face_of(agent))
        if before is not None:
            before.resumed_by = agent.id
            self.touched.add(before.id)
        if not group:
            face = self.face(agent)
            self._enter_line(agent, agent.order, front=False)
            self._recount(agent, face)

    def _admitted(self, event: AgentAdmitted, record: Record) -> None:
        agent = self._agent(event.agent)
        if agent.id not in self.line or self.line.is_parked(agent.id):
            raise IllegalTransition(f"agent {agent.id} is not in the line")
        if self.slots_free <= 0 or self.is_full(agent.provider):
            raise IllegalTransition(f"no slot is free for {agent.id}")
        back = agent.state is State.WAITING
        self.line.serve(agent.id)
        self._move(agent, State.RUNNING if back else State.STARTING, record.time)
        agent.reason = None
        agent.detail = ""
        agent.attempt += 1
        agent.started_at = agent.started_at if agent.started_at is not None else record.time
        self._take_slot(agent)

    def _running(self, event: AgentRunning, record: Record) -> None:
        agent = self._agent(event.agent)
        if agent.state is State.STARTING or (agent.state is State.WAITING and agent.slot):
            self._move(agent, State.RUNNING, record.time)
        elif agent.state not in (State.RUNNING, State.STOPPING):
            raise IllegalTransition(f"agent {agent.id} cannot run: it is {agent.state}")
        agent.pids = event.pids
        agent.detail = ""
        self.touched.add(agent.id)

    def _waiting(self, event: AgentWaiting, record: Record) -> None:
        agent = self._agent(event.agent)
        if agent.id in self.line or agent.driver is DriverKind.GROUP:
            raise IllegalTransition(f"agent {agent.id} waits already, and for nothing else")
        if event.keeps_slot and not agent.slot:
            raise IllegalTransition(f"agent {agent.id} has no slot to keep")
        same = agent.state is State.WAITING and agent.reason is event.reason
        self._move(agent, State.WAITING, agent.since if same else record.time, reason=event.reason)
        agent.detail = event.detail
        agent.pids = ()
        self._clear_mark(agent)
        if not event.keeps_slot:
            self._give_slot_back(agent)
        if event.reason is WaitReason.SLOT:
            before = self.face(agent)
            self._enter_line(agent, record.seq, front=True)
            self._recount(agent, before)

    def _turned(self, event: TurnCompleted, record: Record) -> None:
        agent = self._live(event.agent)
        if event.turn != agent.turns + 1:
            raise IllegalTransition(f"turn {event.turn} of {agent.id} cannot follow turn {agent.turns}")
        cost, unpriced = (event.cost, 0) if event.cost is not None else (0, 1)
        agent.turns = event.turn
        agent.tokens_in += event.tokens_in
        agent.tokens_out += event.tokens_out
        agent.cost += cost
        agent.unpriced += unpriced
        agent.key = event.key
        agent.calls = dict(event.calls)
        self._spent(agent, Spend(1, event.tokens_in, event.tokens_out, cost, unpriced))

    def _struck(self, event: AttemptStruck, record: Record) -> None:
        agent = self._live(event.agent)
        agent.struck += 1
        agent.tokens_in += event.tokens_in
        agent.tokens_out += event.tokens_out
        agent.cost += event.cost or 0
        agent.unsettled += not event.settled
        used = Spend(0, event.tokens_in, event.tokens_out, event.cost or 0, 0, int(not event.settled))
        if used != Spend():
            self._spent(agent, used)
        self.touched.add(agent.id)

    def _told(self, event: MessageAdded, record: Record) -> None:
        self._live(event.agent)

    def _tool_ended(self, event: ToolEnded, record: Record) -> None:
        agent = self._live(event.agent)
        # A new one each time: a checkpoint that is being written may still look at the old one.
        agent.calls = {call: words for call, words in agent.calls.items() if call != event.call}

    def _asked(self, event: ApprovalAsked, record: Record) -> None:
        agent = self._live(event.agent)
        before = self.face(agent)
        agent.question = {
            **event.question,
            "hash": event.hash,
            "tool": event.tool,
            "headline": event.headline,
            "until": event.until,
        }
        self._recount(agent, before)

    def _answered(self, event: ApprovalAnswered, record: Record) -> None:
        agent = self._live(event.agent)
        if agent.question is None or agent.question.get("hash") != event.hash:
            raise IllegalTransition(f"agent {agent.id} does not ask that")
        before = self.face(agent)
        agent.question = None
        self._recount(agent, before)

    def _marked(self, event: AgentMarked, record: Record) -> None:
        agent = self._agent(event.agent)
        if not agent.slot:
            raise IllegalTransition(f"agent {agent.id} holds no slot: there is nothing to watch")
        before = self.face(agent)
        agent.mark = event.mark
        agent.evidence = event.evidence
        self._recount(agent, before)

    def _closed(self, event: LatchClosed, record: Record) -> None:
        if Scope.read(event.scope).kind is ScopeKind.BRANCH:
            self._holding(event.scope)
        key = (event.scope, event.strength)
        old = self.latches.get(key)
        since = old.since if old is not None else record.time
        self.latches[key] = Latch(event.scope, event.strength, event.reason, event.who, since, event.until)
        self._hold_again(event.scope)

    def _opened(self, event: LatchOpened, record: Record) -> None:
        if self.latches.pop((event.scope, event.strength), None) is None:
            raise IllegalTransition("there is no such latch")
        self._hold_again(event.scope)

    def _shut(self, event: BranchShut, record: Record) -> None:
        agent = self._holding(event.agent)
        old = self.shuts.get(agent.id)
        since = old.since if old is not None else record.time
        self.shuts[agent.id] = Shut(agent.id, event.branch, event.verb, event.who, since, event.until)
        for one in self.subtree(agent.id) if event.branch else (agent,):
            if not one.ended and one.asked_at is None:
                one.asked_at = record.time
                one.asked_by = event.who
            self.touched.add(one.id)
        self._hold_again(agent.id)

    def _reopened(self, event: BranchReopened, record: Record) -> None:
        if event.agent not in self.shuts:
            raise IllegalTransition(f"agent {event.agent} is not shut")
        shut = self.shuts.pop(event.agent)
        agent = self._agent(event.agent)
        for one in self.subtree(agent.id) if shut.branch else (agent,):
            if one.stop_step is None and self.shut_over(one.id) is None:
                one.asked_at = None
                one.asked_by = ""
            self.touched.add(one.id)
        self._hold_again(event.agent)

    def _stopping(self, event: AgentStopping, record: Record) -> None:
        agent = self._agent(event.agent)
        if agent.stop_step is not None and event.step <= agent.stop_step:
            raise IllegalTransition(f"the ladder of {agent.id} only goes down")
        if agent.state is not State.STOPPING:
            self._move(agent, State.STOPPING, record.time)
            agent.stop_verb = event.verb
            agent.stop_who = event.who
            agent.stop_cause = event.cause
            if agent.asked_at is None:
                agent.asked_at, agent.asked_by = record.time, event.who
            agent.delivered_at = record.time
        elif event.verb is StopVerb.KILL:
            agent.stop_verb = event.verb
            agent.stop_who = event.who
            agent.stop_cause = event.cause
        agent.stop_step = event.step
        agent.rungs = (*agent.rungs, (event.step, record.time, event.who))
        agent.question = None  # there is nothing to allow any more
        self._clear_mark(agent)
        self.touched.add(agent.id)

    def _ended(self, event: AgentEnded, record: Record) -> None:
        if not event.state.ended:
            raise IllegalTransition(f"{event.state} is no end state")
        agent = self._agent(event.agent)
        lost = event.state is State.LOST and agent.driver is not DriverKind.GROUP
        if self.live_below(agent.id) and not lost:
            # Who is lost could not tell its children; those that had not begun keep their places in line.
            raise IllegalTransition(f"agent {agent.id} has live children")
        self._move(agent, event.state, record.time)
        self._give_slot_back(agent)
        agent.reason = None
        agent.mark = None
        agent.evidence = ""
        agent.detail = ""
        agent.pids = ()
        agent.question = None
        agent.ended_at = record.time
        agent.exit_code = event.exit_code
        agent.signal = event.signal
        agent.error = event.error
        agent.result = event.result
        agent.diagnostic = event.diagnostic
        agent.lines = event.lines
        agent.size = event.size
        if event.state is not State.LOST:
            agent.calls = {}  # what has no result was cut short with it; of what was lost nobody knows
        if agent.parent == ROOT and not self.live_below(agent.id):
            self.line.forget_branch(agent.id)
        # A hold over what has ended holds nothing: it would only stand in the banner.
        gone = [self.latches.pop((agent.id, strength), None) for strength in Strength]
        gone_shut = self.shuts.pop(agent.id, None)
        self.shape += gone_shut is not None or any(gone)

    def _reopen(self, event: Reopened, record: Record) -> None:
        agent = self._agent(event.agent)
        group = agent.driver is DriverKind.GROUP
        if agent.parent is not None and (not group or self.agents[agent.parent].ended):
            raise IllegalTransition(f"agent {agent.id} holds nobody any more")
        if not agent.ended:
            raise IllegalTransition(f"agent {agent.id} has not ended")
        self.shuts.pop(agent.id, None)
        if agent.parent is None:
            self.status = self.ended_at = None
        if group:
            before = self.face(agent)
            agent.state, agent.reason, agent.since = State.WAITING, WaitReason.CHILD, record.time
            agent.ended_at = agent.error = agent.result = None
            agent.stop_step = agent.stop_verb = agent.asked_at = agent.delivered_at = None
            agent.stop_who = agent.stop_cause = agent.asked_by = ""
            agent.rungs = ()
            self._recount(agent, before)

    def _over(self, event: SwarmEnded, record: Record) -> None:
        root = self.agents.get(ROOT)
        if root is None or not root.ended or self.live_below(ROOT):
            raise IllegalTransition("a swarm ends after its agents")
        self.status = event.status
        self.ended_at = record.time
        self.latches.clear()  # a hold over what has ended holds nothing

    def _resumable(self, agent: str) -> Agent:
        """An ended conversation that nobody goes on with yet."""
        one = self._agent(agent)
        if not one.ended or one.driver is not DriverKind.CHAT or one.resumed_by:
            raise IllegalTransition(f"agent {agent} cannot be resumed")
        return one

    def _holding(self, agent: str) -> Agent:
        """An agent that has not ended, or the root, which holds what resumes others after its end."""
        one = self._agent(agent)
        if one.ended and not self.live_below(agent):
            raise IllegalTransition(f"agent {agent} has ended")
        return one

    def adopt(self, agent: Agent) -> None:
        """Take in an agent from a checkpoint; parents come before their children, the line before all."""
        if agent.slot:
            self._take_slot(agent)
        self._join(agent, self.face(agent))
        used = Spend(agent.turns, agent.tokens_in, agent.tokens_out, agent.cost, agent.unpriced, agent.unsettled)
        if used != Spend():
            self._spent(agent, used)


# Each fold takes its own event type, which the key of the table guarantees.
_FOLDS: dict[type[Event], Callable[..., None]] = {
    SwarmCreated: SwarmState._created,
    EngineStarted: SwarmState._engine,
    AgentQueued: SwarmState._queued,
    AgentAdmitted: SwarmState._admitted,
    AgentRunning: SwarmState._running,
    AgentWaiting: SwarmState._waiting,
    TurnCompleted: SwarmState._turned,
    AttemptStruck: SwarmState._struck,
    ToolEnded: SwarmState._tool_ended,
    MessageAdded: SwarmState._told,
    ApprovalAsked: SwarmState._asked,
    ApprovalAnswered: SwarmState._answered,
    AgentMarked: SwarmState._marked,
    LatchClosed: SwarmState._closed,
    LatchOpened: SwarmState._opened,
    BranchShut: SwarmState._shut,
    BranchReopened: SwarmState._reopened,
    AgentStopping: SwarmState._stopping,
    AgentEnded: SwarmState._ended,
    Reopened: SwarmState._reopen,
    SwarmEnded: SwarmState._over,
}
_SHAPING = frozenset(
    {
        SwarmCreated,
        EngineStarted,
        AgentQueued,
        LatchClosed,
        LatchOpened,
        BranchShut,
        BranchReopened,
        Reopened,
        SwarmEnded,
    }
)
