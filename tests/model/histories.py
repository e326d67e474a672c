"""A machine that does with a swarm whatever an engine may do, in any order, beside one that counts by hand."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from skep.errors import IllegalTransition
from skep.model.agent import Face
from skep.model.codec import decode, encode
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
    BranchReopened,
    BranchShut,
    EngineStarted,
    Event,
    LatchClosed,
    LatchOpened,
    Record,
    Reopened,
    SwarmEnded,
    TurnCompleted,
)
from skep.model.registry import Registry, from_pages, to_pages
from skep.model.states import DriverKind, Mark, State, StopStep, StopVerb, Strength, WaitReason
from skep.model.swarm import SwarmState
from tests.model.comparison import compare
from tests.model.reference import LIVE, Reference, Row
from tests.model.telling import born, group, next_record, queued, rooted

CHOICE = st.integers(0, 999)
CHOICES = st.lists(CHOICE, min_size=1, max_size=8)
WORK = st.lists(CHOICE, max_size=8)
"""What is done after something has changed for everybody."""
MODELS = ("", "p/big", "q/small", "q/large")
"""What an agent may be: a command, or a conversation with one of these."""
ACCOUNTS = {"p": ("p/main",), "q": ("q/one", "q/two")}
CAPS = st.fixed_dictionaries({}, optional={"p": st.integers(1, 2), "q": st.integers(1, 3)})
MOST = 24
"""Agents in one history."""
ENDS = {
    State.STARTING: [State.FAILED, State.LOST],
    State.RUNNING: [State.DONE, State.FAILED, State.OVER_LIMIT, State.LOST],
    State.WAITING: [State.INTERRUPTED, State.KILLED, State.FAILED, State.DONE],
    State.QUEUED: [State.INTERRUPTED, State.KILLED],
    State.STOPPING: [State.INTERRUPTED, State.KILLED, State.TIMED_OUT],
}
ENDED = [state for state in State if state not in LIVE]
WAITS = [
    (WaitReason.KEY, True),
    (WaitReason.KEY, False),
    (WaitReason.CHILD, False),
    (WaitReason.APPROVAL, False),
    (WaitReason.GATE, False),
    (WaitReason.GATE, False),
    (WaitReason.BUDGET, False),
]
MARKS = {None: None, Mark.QUIET: Face.QUIET, Mark.STALE: Face.STALE, Mark.SPINNING: Face.SPINNING}


class Histories(RuleBasedStateMachine):
    """One history of a swarm. Whatever changes it is one step, and after each step all is compared."""

    make: type[SwarmState] = SwarmState
    """Another one is a mutant: it must not pass what is counted by hand, however consistent it is in itself."""
    steps = 0
    """Steps so far, over all histories of this class."""

    @initialize(
        slots=st.integers(1, 4), caps=CAPS, sizes=st.lists(st.lists(CHOICE, max_size=5), min_size=1, max_size=3)
    )
    def begin(self, slots: int, caps: dict[str, int], sizes: list[list[int]]) -> None:
        self.registry = Registry(self.make())
        self.shadow = self.make()
        self.restored: SwarmState | None = None
        self.reference = Reference(slots, caps, ACCOUNTS)
        self.count = {"a": 0, "g": 0}
        self.tell(born(slots), _engine(1, caps), rooted())
        self.reference.add(Row(ROOT, None, DriverKind.GROUP, state=State.WAITING, reason=WaitReason.CHILD))
        for number, choices in enumerate(sizes, 1):
            self.ask_for_group(ROOT)
            for choice in choices:
                self.ask(f"g{number}", MODELS[choice % 4])

    def teardown(self) -> None:
        if hasattr(self, "reference"):
            self.compare_pages()

    # -- agents and slots ------------------------------------------------------------------------------------

    @rule(choices=CHOICES)
    def ask_for_agents(self, choices: list[int]) -> None:
        if self.reference.over:
            self.reopen(0, [])
        for choice in choices:
            places = self.places()
            groups = [name for name in places if self.reference.row(name).group]
            if groups and choice % 5 == 0:
                self.ask_for_group(groups[choice // 5 % len(groups)])
            elif places:
                self.ask(places[choice % len(places)], MODELS[choice // 7 % 4])

    @rule(work=st.lists(CHOICE, min_size=4, max_size=16))
    def work(self, work: list[int]) -> None:
        """What a swarm does all day: agents begin, take turns, wait, come back and end; others are admitted."""
        acts = (self.finish, self.finish, self.wait, self.come_back, self.take_a_turn, self.finish)
        for choice in work:
            self.admit(4)
            self.run(choice)
            acts[choice % 6](choice // 6)

    @rule(most=st.integers(1, 4))
    def admit(self, most: int) -> None:
        for _ in range(most):
            with self.registry.read() as state:
                agent = state.next_in_line()
            free = len(self.reference.holders()) < self.reference.slots
            assert (agent is not None) == (free and bool(self.reference.servable))
            if agent is None or self.reference.over:
                return
            self.tell(AgentAdmitted(agent))
            self.reference.serve(agent)
            self.compare()

    def run(self, choice: int) -> None:
        if row := self.pick(choice, State.STARTING):
            self.tell(AgentRunning(row.name, (choice,)))
            row.state = State.RUNNING
            self.compare()

    def finish(self, choice: int) -> None:
        if row := self.worker(choice, of=lambda row: not self.reference.live_below(row.name)):
            self.ends(row, State.DONE)

    def wait(self, choice: int) -> None:
        """For something, with the slot or without it; a command only ever waits for its next try."""
        if row := self.worker(choice):
            reason, keeps = WAITS[choice % len(WAITS)] if row.model else (WaitReason.SLOT, False)
            self.waits(row, reason, keeps=keeps)

    @rule(choice=CHOICE)
    def wait_for_another_slot(self, choice: int) -> None:
        if row := self.worker(choice):
            self.waits(row, WaitReason.SLOT)

    @rule(choices=CHOICES)
    def wait_for_all_sorts_of_things(self, choices: list[int]) -> None:
        for choice in choices:
            self.wait(choice)

    @rule(choice=CHOICE)
    def lose_patience(self, choice: int) -> None:
        """A slot that was kept for a key goes to somebody else."""
        if row := self.pick(choice, State.WAITING, of=lambda row: row.slot):
            self.waits(row, WaitReason.KEY)

    def come_back(self, choice: int) -> None:
        """At once for who kept the slot, else at the front of the line."""
        row = self.pick(choice, State.WAITING, of=lambda row: not (row.group or row.reason is WaitReason.SLOT))
        if row is not None and row.slot:
            self.tell(AgentRunning(row.name))
            row.state, row.reason = State.RUNNING, None
            self.compare()
        elif row is not None:
            self.waits(row, WaitReason.SLOT)

    @rule(choices=CHOICES)
    def come_back_in_turn(self, choices: list[int]) -> None:
        for choice in choices:
            self.come_back(choice)

    @rule(choice=CHOICE)
    def take_a_turn(self, choice: int) -> None:
        if row := self.worker(choice, of=lambda row: bool(row.model)):
            row.turns += 1
            self.tell(TurnCompleted(row.name, row.turns, {"role": "assistant"}, "stop", "p-1", 10, 1, cost=5))
            self.compare()

    @rule(choice=CHOICE)
    def ask_a_person_or_hear_the_answer(self, choice: int) -> None:
        if row := self.pick(choice, State.RUNNING, State.WAITING, of=lambda row: bool(row.model)):
            asked = ApprovalAsked(row.name, "h1", "terminal", "$ make", {}, 99.0)
            self.tell(ApprovalAnswered(row.name, "h1", True, "you") if row.asks else asked)
            row.asks = not row.asks
            self.compare()

    @rule(choice=CHOICE, mark=st.sampled_from(list(MARKS)))
    def mark(self, choice: int, mark: Mark | None) -> None:
        if row := self.worker(choice):
            self.tell(AgentMarked(row.name, mark, "no output"))
            row.marked = MARKS[mark]
            self.compare()

    # -- ends, and what goes on after them -------------------------------------------------------------------

    @rule(choice=CHOICE)
    def end(self, choice: int) -> None:
        if row := self.pick(choice, *LIVE, of=lambda row: not self.reference.live_below(row.name)):
            self.ends(row, ENDS[row.state][choice % len(ENDS[row.state])])

    @rule(dice=st.integers(0, 4), goes_on=st.booleans(), work=WORK)
    def end_everything(self, dice: int, goes_on: bool, work: list[int]) -> None:
        """Leaves first, then the root, then the swarm; now and then, for not much can happen afterwards."""
        if dice or self.reference.over:
            return
        for row in self.reference.rows[::-1]:
            if row.live:
                self.ends(row, ENDS[row.state][0])
        self.tell(SwarmEnded("interrupted"))
        self.reference.over, self.reference.latches = True, []
        self.compare()
        if goes_on:
            self.reopen(0, work)

    @rule(choice=CHOICE, work=WORK)
    def reopen(self, choice: int, work: list[int]) -> None:
        """A group that had ended holds others again; of a swarm that had ended it is the root."""
        reference = self.reference
        rows = [row for row in reference.rows if row.group and not row.live]
        rows = [row for row in rows if row.parent is None or reference.row(row.parent).live]
        if rows:
            row = reference.row(ROOT) if reference.over else rows[choice % len(rows)]
            self.tell(Reopened(row.name, "you"))
            reference.reopens(row)
            self.compare()
        self.work(work)

    @rule(choice=CHOICE)
    def resume(self, choice: int) -> None:
        """Somebody goes on with the conversation of an agent that has ended, and a second time nobody can."""
        row = self.pick(choice, *ENDED, of=lambda row: bool(row.model))
        # Whatever became of the root, it stays the top.
        places = [*self.places(), *([] if self.reference.is_shut(ROOT) else [ROOT])]
        if row is None or not places or len(self.reference.rows) >= MOST:
            return
        if not row.resumed:
            row.resumed = True
            self.ask(places[choice % len(places)], row.model, row.name)
        self.refused(AgentQueued("again", places[0], "again", DriverKind.CHAT, "goal", {}, row.name))

    # -- stops -----------------------------------------------------------------------------------------------

    @rule(choices=st.lists(CHOICE, min_size=1, max_size=3), verb=st.sampled_from(StopVerb))
    def stop_step_by_step(self, choices: list[int], verb: StopVerb) -> None:
        states = (State.STARTING, State.RUNNING, State.WAITING, State.STOPPING)
        for choice in choices:
            if row := self.pick(choice, *states, of=lambda row: row.step < StopStep.KILL):
                step = StopStep(min(max(row.step + 1, 1) + choice % 2, StopStep.KILL))
                self.tell(AgentStopping(row.name, step, verb, "you", "asked"))
                self.reference.stops(row, step)
                self.refused(AgentStopping(row.name, step, verb, "you", "asked again"))

    @rule(choice=CHOICE, whole=st.booleans(), window=st.booleans(), work=WORK)
    def shut(self, choice: int, whole: bool, window: bool, work: list[int]) -> None:
        if row := self.pick(choice, *LIVE):
            self.tell(BranchShut(row.name, whole, StopVerb.INTERRUPT, "you", 5.0 if window else None))
            self.reference.shut[row.name] = whole
            self.refused(queued("late", row.name))
        self.work(work)

    @precondition(lambda self: self.reference.shut)
    @rule(choice=CHOICE, work=WORK)
    def take_back(self, choice: int, work: list[int]) -> None:
        agent = list(self.reference.shut)[choice % len(self.reference.shut)]
        self.tell(BranchReopened(agent, "you"))
        del self.reference.shut[agent]
        self.compare()
        self.work(work)

    # -- holds -----------------------------------------------------------------------------------------------

    @rule(choice=CHOICE, strength=st.sampled_from(Strength), work=WORK)
    def hold(self, choice: int, strength: Strength, work: list[int]) -> None:
        scopes = self.reference.scopes(choice // 250)
        self.holds(scopes[choice % len(scopes)], strength)
        self.work(work)

    @rule(provider=st.sampled_from(list(ACCOUNTS)), strength=st.sampled_from(Strength), work=WORK)
    def hold_all_accounts(self, provider: str, strength: Strength, work: list[int]) -> None:
        for account in ACCOUNTS[provider]:
            self.holds(f"account:{account}", strength)
        self.work(work)

    @precondition(lambda self: self.reference.latches)
    @rule(choice=CHOICE, work=WORK)
    def release(self, choice: int, work: list[int]) -> None:
        scope, strength = self.reference.latches.pop(choice % len(self.reference.latches))
        self.tell(LatchOpened(scope, strength, "you"))
        self.compare()
        self.work(work)

    @precondition(lambda self: self.reference.latches or self.reference.shut)
    @rule(work=WORK)
    def release_everything(self, work: list[int]) -> None:
        """Most histories hold too much: this lets them go on."""
        for scope, strength in self.reference.latches:
            self.tell(LatchOpened(scope, strength, "you"))
        for agent in self.reference.shut:
            self.tell(BranchReopened(agent, "you"))
        self.reference.latches, self.reference.shut = [], {}
        self.compare()
        self.work(work)

    # -- engines and checkpoints -----------------------------------------------------------------------------

    @rule(caps=CAPS, work=WORK)
    def start_another_engine(self, caps: dict[str, int], work: list[int]) -> None:
        """It knows other limits; who has a slot keeps it."""
        self.tell(_engine(2, caps))
        self.reference.caps = caps
        self.compare()
        self.work(work)

    @rule()
    def read_back_a_checkpoint(self) -> None:
        """From here on a second state goes on from the pages alone."""
        self.compare_pages()
        if self.make is SwarmState:
            self.restored = from_pages(self.registry.pages())
        self.compare()

    @rule()
    def serve_everybody_who_is_ready(self) -> None:
        """The positions that are shown now are the order in which a copy of this swarm serves them."""
        if self.reference.over or self.make is not SwarmState:
            return
        other = from_pages(self.registry.pages())
        expected = other.line.positions()
        other.caps, other.created = {}, born(len(expected) + self.reference.slots)
        served = []
        while (agent := other.next_in_line()) is not None:
            other.fold(next_record(other, AgentAdmitted(agent)))
            served.append(agent)
        assert served == expected
        assert sorted(served) == sorted(self.reference.ready)

    # -- inside ----------------------------------------------------------------------------------------------

    def pick(self, choice: int, *states: State, of: Callable[[Row], bool] = lambda row: True) -> Row | None:
        if self.reference.over:
            return None
        rows = [row for row in self.reference.rows if row.state in states and row.name != ROOT and of(row)]
        return rows[choice % len(rows)] if rows else None

    def worker(self, choice: int, of: Callable[[Row], bool] = lambda row: True) -> Row | None:
        """Somebody who runs; if nobody does, somebody who can."""
        row = self.pick(choice, State.RUNNING, of=of)
        if row is None:
            self.admit(1)
            self.run(choice)
        return row or self.pick(choice, State.RUNNING, of=of)

    def places(self) -> list[str]:
        """Below whom somebody may be asked for."""
        reference = self.reference
        if reference.over or len(reference.rows) >= MOST:
            return []
        rows = [row for row in reference.rows if row.live and row.kind is not DriverKind.COMMAND]
        return [row.name for row in rows if not reference.is_shut(row.name)]

    def ask(self, parent: str, model: str, resumes: str = "") -> None:
        self.count["a"] += 1
        name = f"a{self.count['a']}"
        kind = DriverKind.CHAT if model else DriverKind.COMMAND
        chat = AgentQueued(name, parent, name, kind, "goal", {"model": model}, resumes)
        self.tell(chat if model else queued(name, parent))
        self.reference.add(Row(name, parent, kind, model))
        self.compare()

    def ask_for_group(self, parent: str) -> None:
        self.count["g"] += 1
        name = f"g{self.count['g']}"
        self.tell(group(name, parent))
        self.reference.add(Row(name, parent, DriverKind.GROUP, "", State.WAITING, WaitReason.CHILD))
        self.compare()

    def waits(self, row: Row, reason: WaitReason, *, keeps: bool = False) -> None:
        self.tell(AgentWaiting(row.name, reason, "because", keeps))
        self.reference.waits(row, reason, keeps=keeps)
        self.compare()

    def ends(self, row: Row, state: State) -> None:
        self.tell(AgentEnded(row.name, state))
        self.reference.ends(row, state)
        self.compare()

    def holds(self, scope: str, strength: Strength) -> None:
        if not self.reference.over:
            self.tell(LatchClosed(scope, strength, "lunch", "you"))
            if (scope, strength) not in self.reference.latches:
                self.reference.latches.append((scope, strength))
            self.compare()

    def tell(self, *events: Event) -> None:
        for event in events:
            with self.registry.read() as state:
                record = next_record(state, event)
            self.registry.fold([record])
            # The journal keeps bytes: what is folded from them must be the same.
            kept = Record(record.seq, record.time, decode(encode(record.event)))
            self.shadow.fold(kept)
            if self.restored is not None:
                self.restored.fold(kept)

    def refused(self, event: Event) -> None:
        """What may not be is refused, and has changed nothing."""
        with self.registry.read() as state:
            record = next_record(state, event)
        with pytest.raises(IllegalTransition):
            self.registry.fold([record])
        self.compare()

    # -- comparing -------------------------------------------------------------------------------------------

    def compare(self) -> None:
        """Everything is as counted by hand."""
        type(self).steps += 1
        self.reference.look()
        with self.registry.read() as state:
            compare(state, self.reference)
            if self.restored is not None:
                assert self.restored.line.positions() == state.line.positions()
                assert self.restored.line.held() == state.line.held()

    def compare_pages(self) -> None:
        """The journal and a checkpoint both tell the same story."""
        pages = self.registry.pages()
        assert to_pages(self.shadow) == pages
        if self.restored is not None:
            assert to_pages(self.restored) == pages


def _engine(pid: int, caps: dict[str, int]) -> EngineStarted:
    return EngineStarted(pid, pid > 1, caps, {provider: list(names) for provider, names in ACCOUNTS.items()})
