"""Registry, gate, line and stops against a model that counts by hand, over generated histories."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from skep.errors import IllegalTransition
from skep.model.agent import Face
from skep.model.codec import decode, encode
from skep.model.events import (
    ROOT,
    AgentAdmitted,
    AgentEnded,
    AgentMarked,
    AgentRunning,
    AgentStopping,
    AgentWaiting,
    BranchReopened,
    BranchShut,
    Event,
    LatchClosed,
    LatchOpened,
    Record,
)
from skep.model.registry import Registry, from_pages, to_pages
from skep.model.states import Mark, State, StopStep, StopVerb, Strength, WaitReason
from skep.model.swarm import SwarmState
from tests.model.mutants import AdmitsAnybody, AdmitsTheShut, GivesNoTurns, GivesSlotsBackTwice
from tests.model.reference import LIVE, Reference, Row
from tests.model.telling import born, group, next_record, queued, rooted

CHOICE = st.integers(0, 1_000)
ENDS = {
    State.STARTING: [State.FAILED, State.LOST],
    State.RUNNING: [State.DONE, State.FAILED, State.LOST],
    State.WAITING: [State.INTERRUPTED, State.KILLED, State.FAILED],
    State.QUEUED: [State.INTERRUPTED, State.KILLED],
    State.STOPPING: [State.INTERRUPTED, State.KILLED, State.TIMED_OUT],
}


class Histories(RuleBasedStateMachine):
    """Does what an engine may do, in any order, and compares after every event."""

    make: Callable[[], SwarmState] = SwarmState

    @initialize(slots=st.integers(1, 4), sizes=st.lists(st.integers(1, 5), max_size=3))
    def begin(self, slots: int, sizes: list[int]) -> None:
        self.registry = Registry(self.make())
        self.shadow = SwarmState()
        self.restored: SwarmState | None = None
        self.watch = self.registry.watch()
        self.reference = Reference(slots)
        self.count = {True: 0, False: 0}
        self.tell(born(slots), rooted())
        for number, size in enumerate(sizes, 1):
            self.ask(ROOT, is_group=True)
            for _ in range(size):
                self.ask(f"g{number}", is_group=False)

    def ask(self, parent: str, *, is_group: bool) -> None:
        self.count[is_group] += 1
        name = f"{'g' if is_group else 'a'}{self.count[is_group]}"
        state = State.WAITING if is_group else State.QUEUED
        self.tell(group(name, parent) if is_group else queued(name, parent))
        self.reference.add(Row(name, parent, is_group, state))
        if not is_group:
            self.reference.new.append(name)

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

    def pick(self, choice: int, *states: State, groups: bool | None = None) -> Row | None:
        rows = [
            row
            for row in self.reference.rows
            if row.state in states and row.name != ROOT and (groups is None or row.group is groups)
        ]
        return rows[choice % len(rows)] if rows else None

    @rule(choices=st.lists(CHOICE, min_size=1, max_size=5), is_group=st.booleans())
    def ask_for_agents(self, choices: list[int], is_group: bool) -> None:
        for choice in choices:
            parents = [
                row.name
                for row in self.reference.rows
                if row.group and row.state in LIVE and not self.reference.is_shut(row.name)
            ]
            if parents and len(self.reference.rows) < 30:
                self.ask(parents[choice % len(parents)], is_group=is_group)

    @rule(most=st.integers(1, 4))
    def admit(self, most: int) -> None:
        for _ in range(most):
            with self.registry.read() as state:
                agent = state.line.next()
                full = state.slots_free <= 0
            assert (agent is None) == (not self.reference.ready())
            if agent is None or full:
                return
            row = self.reference.row(agent)
            self.tell(AgentAdmitted(agent))
            self.reference.watch_fairness()
            self.reference.serve(agent)
            row.state = State.RUNNING if row.state is State.WAITING else State.STARTING

    @rule(choices=st.lists(CHOICE, min_size=1, max_size=6))
    def work_for_a_while(self, choices: list[int]) -> None:
        """What a swarm does all day: somebody begins, somebody is done or comes back, the next one is admitted."""
        for choice in choices:
            self.admit(4)
            self.run(choice)
            row = self.pick(choice, State.RUNNING)
            if row is not None and choice % 3:
                self.tell(AgentEnded(row.name, State.DONE, 0))
                row.state, row.marked = State.DONE, None
                self.reference.ended(row.name)
            elif row is not None:
                self.wait_for_another_try(choice)

    @rule(choice=CHOICE)
    def run(self, choice: int) -> None:
        row = self.pick(choice, State.STARTING)
        if row is not None:
            self.tell(AgentRunning(row.name, (choice,)))
            row.state = State.RUNNING

    @rule(choice=CHOICE)
    def wait_for_another_try(self, choice: int) -> None:
        row = self.pick(choice, State.RUNNING)
        if row is not None:
            self.tell(AgentWaiting(row.name, WaitReason.SLOT, "try 2 of 3"))
            row.state, row.marked = State.WAITING, None
            self.reference.holders.remove(row.name)
            self.reference.back.append(row.name)

    @rule(choice=CHOICE, mark=st.sampled_from([None, Mark.QUIET, Mark.STALE, Mark.DEAD]))
    def mark(self, choice: int, mark: Mark | None) -> None:
        row = self.pick(choice, State.RUNNING)
        if row is not None:
            self.tell(AgentMarked(row.name, mark, "no output"))
            row.marked = {None: None, Mark.QUIET: Face.QUIET}.get(mark, Face.STALE)

    @rule(choice=CHOICE, end=CHOICE)
    def end(self, choice: int, end: int) -> None:
        row = self.pick(choice, *LIVE)
        if row is not None and not self.reference.live_children(row.name):
            ends = ENDS[row.state]
            row_end = ends[end % len(ends)]
            self.tell(AgentEnded(row.name, row_end))
            row.state, row.marked = row_end, None
            self.reference.ended(row.name)

    @rule(choice=CHOICE, verb=st.sampled_from(StopVerb))
    def stop_step_by_step(self, choice: int, verb: StopVerb) -> None:
        row = self.pick(choice, State.STARTING, State.RUNNING, State.WAITING, State.STOPPING)
        if row is not None and row.step < StopStep.KILL:
            step = StopStep(min(max(row.step + 1, 1) + choice % 2, StopStep.KILL))
            self.tell(AgentStopping(row.name, step, verb, "you", "asked"))
            row.state, row.step, row.marked = State.STOPPING, step, None
            for line in (self.reference.new, self.reference.back):
                if row.name in line:
                    line.remove(row.name)

    @rule(choice=CHOICE, whole=st.booleans(), window=st.booleans())
    def shut(self, choice: int, whole: bool, window: bool) -> None:
        row = self.pick(choice, *LIVE)
        if row is not None:
            self.tell(BranchShut(row.name, whole, StopVerb.INTERRUPT, "you", 5.0 if window else None))
            self.reference.shut = [one for one in self.reference.shut if one[0] != row.name]
            self.reference.shut.append((row.name, whole))

    @precondition(lambda self: self.reference.shut)
    @rule(choice=CHOICE)
    def take_back(self, choice: int) -> None:
        shut = self.reference.shut.pop(choice % len(self.reference.shut))
        self.tell(BranchReopened(shut[0], "you"))

    @rule(choice=CHOICE, strength=st.sampled_from(Strength))
    def hold(self, choice: int, strength: Strength) -> None:
        scopes = [*(row.name for row in self.reference.rows if row.state in LIVE), ""]
        scope = scopes[choice % len(scopes)]
        self.tell(LatchClosed(scope, strength, "lunch", "you"))
        if (scope, strength) not in self.reference.latches:
            self.reference.latches.append((scope, strength))

    @precondition(lambda self: self.reference.latches)
    @rule(choice=CHOICE)
    def release(self, choice: int) -> None:
        scope, strength = self.reference.latches.pop(choice % len(self.reference.latches))
        self.tell(LatchOpened(scope, Strength(strength), "you"))

    @rule()
    def release_everything(self) -> None:
        """Most histories hold too much: this lets them go on."""
        for scope, strength in self.reference.latches:
            self.tell(LatchOpened(scope, Strength(strength), "you"))
        for agent, _ in self.reference.shut:
            self.tell(BranchReopened(agent, "you"))
        self.reference.latches, self.reference.shut = [], []

    @rule()
    def read_back_a_checkpoint(self) -> None:
        """From here on a second state goes on from the pages alone."""
        self.restored = from_pages(self.registry.pages())

    @rule()
    def serve_everybody_who_is_ready(self) -> None:
        """The positions that are shown now are the order in which a copy of this swarm serves them."""
        other = from_pages(self.registry.pages())
        expected = other.line.positions()
        served = []
        while (agent := other.line.next()) is not None:
            if other.slots_free <= 0:
                other.created = born(len(expected) + self.reference.slots)
            other.fold(next_record(other, AgentAdmitted(agent)))
            served.append(agent)
        assert served == expected
        assert sorted(served) == sorted(self.reference.ready())

    @invariant()
    def everything_is_as_counted_by_hand(self) -> None:
        if not hasattr(self, "reference"):
            return
        self.reference.watch_fairness()
        pages = self.registry.pages()
        assert to_pages(self.shadow) == pages
        with self.registry.read() as state:
            assert state.slots_used == len(self.reference.holders) <= self.reference.slots
            assert set(state.agents) == {row.name for row in self.reference.rows}
            for row in self.reference.rows:
                assert state.agents[row.name].state is row.state
                assert state.agents[row.name].slot is (row.name in self.reference.holders)
                assert state.face(state.agents[row.name]) is self.reference.face(row)
                assert state.composition(row.name) == self.reference.tally(row.name)
            in_line = self.reference.back + self.reference.new
            assert sorted(state.line.held()) == sorted(one for one in in_line if self.reference.is_held(one))
            assert sorted(state.line.positions()) == sorted(self.reference.ready())
            positions = state.line.positions(), state.line.held()
        if self.restored is not None:
            assert to_pages(self.restored) == pages
            assert (self.restored.line.positions(), self.restored.line.held()) == positions


def _run(machine: type[Histories], examples: int, phases: Sequence[Phase] = tuple(Phase)) -> None:
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=examples,
            stateful_step_count=30,
            deadline=None,
            database=None,
            print_blob=False,
            report_multiple_bugs=False,
            phases=phases,
        ),
    )


def test_any_history_is_as_counted_by_hand():
    _run(Histories, 40)


@pytest.mark.parametrize("mutant", [AdmitsAnybody, GivesNoTurns, GivesSlotsBackTwice, AdmitsTheShut])
def test_the_comparison_catches(mutant: type[SwarmState]):
    machine = type(f"Histories{mutant.__name__}", (Histories,), {"make": mutant})
    with pytest.raises((AssertionError, IllegalTransition)):
        _run(machine, 2_000, [Phase.generate])
