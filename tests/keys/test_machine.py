"""The pool against a pool kept with pencil and paper, over generated histories in virtual time."""

from __future__ import annotations

import asyncio
from collections import Counter

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

from skep.clock import VirtualClock
from skep.keys import KeyState, Lease, Outcome, OutcomeKind, Pool
from tests.keys.pools import pool, settled
from tests.keys.reference import (
    Attempt,
    AvoidsNothing,
    KnowsNoEpisodes,
    NotSticky,
    PardonsNobody,
    Reference,
    WakesEarly,
    Want,
)

CHOICE = st.integers(0, 1_000)
MODELS = ["big", "small"]


class Histories(RuleBasedStateMachine):
    """Does what attempts may do, in any order, and compares after every act."""

    reference_class: type[Reference] = Reference

    @initialize(keys=st.integers(1, 4), cap=st.sampled_from([None, 1, 1, 2, 3]), seed=st.integers(0, 3))
    def begin(self, keys: int, cap: int | None, seed: int) -> None:
        self.loop = asyncio.new_event_loop()
        self.clock = VirtualClock()
        self.pool: Pool = pool(keys, cap, clock=self.clock, seed=seed)
        self.reference = self.reference_class([f"sim-{number}" for number in range(1, keys + 1)], cap)
        self.leases: list[tuple[Lease, Attempt]] = []
        self.waiters: list[tuple[asyncio.Task[Lease], Want]] = []  # in order of arrival
        self.moments = 0  # so many may have moved to another key, and then gave up

    def teardown(self) -> None:
        if not hasattr(self, "loop"):
            return
        try:
            for task, _ in self.waiters:
                task.cancel()
            for lease, _ in self.leases:
                lease.release()
            self.settle()
            view = self.pool.snapshot()
            assert [key.in_flight for key in view.keys] == [0] * len(view.keys)
            assert view.waiters == self.clock.sleepers == 0
        finally:
            self.loop.close()

    def settle(self) -> None:
        self.loop.run_until_complete(settled())

    def want(self, choice: int, agent: int, avoid: bool) -> Want:
        labels = self.reference.labels
        return Want(
            MODELS[choice % 2],
            f"agent {agent}",
            f"branch {agent % 3}",
            labels[choice % len(labels)] if avoid else None,
        )

    def accept(self, want: Want, lease: Lease) -> None:
        assert lease.label in self.reference.choices(want)
        assert (lease.model, lease.agent, lease.branch) == (want.model, want.agent, want.branch)
        assert lease.granted_at == self.clock.monotonic()
        self.leases.append((lease, self.reference.grant(want, lease.number, lease.label)))

    def serve(self) -> None:
        """What came free has gone to those who can use it, who came first first, and nothing was kept back."""
        self.settle()
        served = [waiter for waiter in self.waiters if waiter[0].done()]
        for task, want in sorted(served, key=lambda waiter: waiter[0].result().number):
            first = next(waiter for waiter in self.waiters if self.reference.choices(waiter[1]))
            assert first == (task, want)
            self.accept(want, task.result())
            self.waiters.remove(first)
        assert not any(self.reference.choices(want) for _, want in self.waiters)

    def pick(self, choice: int) -> tuple[Lease, Attempt]:
        return self.leases[choice % len(self.leases)]

    @rule(choice=CHOICE, agent=st.integers(0, 5), avoid=st.booleans())
    def take(self, choice: int, agent: int, avoid: bool) -> None:
        want = self.want(choice, agent, avoid)
        expected = self.reference.choices(want)
        lease = self.pool.take(want.model, want.agent, want.branch, avoid=want.avoid)
        assert (lease is not None) == bool(expected)
        if lease is not None:
            self.accept(want, lease)
        self.serve()

    @rule(wishes=st.lists(st.tuples(CHOICE, st.integers(0, 5), st.booleans()), min_size=1, max_size=6))
    def wait(self, wishes: list[tuple[int, int, bool]]) -> None:
        for wish in wishes:
            want = self.want(*wish)
            task = self.loop.create_task(self.pool.wait(want.model, want.agent, want.branch, avoid=want.avoid))
            self.waiters.append((task, want))
        self.serve()

    @precondition(lambda self: self.leases)
    @rule(
        choice=CHOICE,
        kind=st.sampled_from([*OutcomeKind, OutcomeKind.RATE_LIMITED, OutcomeKind.UNAUTHORIZED]),
        retry_after=st.sampled_from([None, None, 0.0, 0.5, 7.0, 64.0]),
    )
    def report(self, choice: int, kind: OutcomeKind, retry_after: float | None) -> None:
        lease, attempt = self.pick(choice)
        lease.report(Outcome(kind, retry_after))
        self.reference.report(attempt, kind.value, retry_after)
        self.serve()

    @precondition(lambda self: self.leases)
    @rule(choices=st.lists(CHOICE, min_size=1, max_size=4))
    def release(self, choices: list[int]) -> None:
        for choice in choices:
            lease, attempt = self.pick(choice)
            lease.release()
            attempt.released = True
            self.serve()

    @precondition(lambda self: self.waiters)
    @rule(choices=st.lists(CHOICE, min_size=1, max_size=3))
    def give_up(self, choices: list[int]) -> None:
        for choice in choices:
            if self.waiters:
                task, _ = self.waiters.pop(choice % len(self.waiters))
                task.cancel()
        self.serve()

    @precondition(lambda self: self.waiters and self.leases)
    @rule(choice=CHOICE, gone=CHOICE)
    def give_up_while_a_key_comes_free(self, choice: int, gone: int) -> None:
        """The one who left may have had the key for a moment; that may leave a trace, but nothing else."""
        lease, attempt = self.pick(choice)
        task, want = self.waiters.pop(gone % len(self.waiters))
        lease.release()
        attempt.released = True
        task.cancel()
        self.reference.vague.add(want.agent)
        self.moments += want.avoid is not None
        self.serve()
        assert task.cancelled()

    @rule(seconds=st.sampled_from([0.25, 1.0, 4.5, 5.0, 10.0, 60.0, 300.0]))
    def let_time_pass(self, seconds: float) -> None:
        self.clock.advance(seconds)
        self.reference.now += seconds
        self.serve()

    @precondition(lambda self: any(rest.until > self.reference.now for rest in self.reference.rests))
    @rule(early=st.booleans())
    def let_a_rest_end(self, early: bool) -> None:
        end = min(rest.until for rest in self.reference.rests if rest.until > self.reference.now)
        self.let_time_pass(end - self.reference.now - (0.25 if early else 0))

    @precondition(lambda self: self.leases)
    @rule(kind=st.sampled_from([OutcomeKind.RATE_LIMITED, OutcomeKind.UNAUTHORIZED]), most=st.integers(1, 6))
    def storm(self, kind: OutcomeKind, most: int) -> None:
        """What is in flight fails, one after the other."""
        for choice in range(min(most, len(self.leases))):
            self.report(-1 - choice, kind, None)
            self.release([-1 - choice])

    @invariant()
    def everything_is_as_kept_by_hand(self) -> None:
        if not hasattr(self, "reference"):
            return
        reference, view = self.reference, self.pool.snapshot()
        assert view.waiters == len(self.waiters)
        for key in view.keys:
            assert key.in_flight == reference.load(key.label)
            assert reference.cap is None or key.in_flight <= reference.cap
            open_here = [one for one in reference.attempts if one.label == key.label and not one.released]
            assert key.holders == Counter(one.branch for one in open_here)
            for name in ("successes", "failures", "rate_limited"):
                assert getattr(key, name) == reference.counts.get((key.label, name), 0)
            assert 0 <= key.rotations - reference.counts.get((key.label, "rotations"), 0) <= self.moments
            rests = [r.until for r in reference.rests if r.label == key.label and r.until > reference.now]
            if key.label in reference.quarantined:
                assert key.state is KeyState.QUARANTINED
            else:
                assert key.state is (KeyState.COOLING if rests else KeyState.OK)
        for model in MODELS:
            free = reference.choices(Want(model, "nobody", "nowhere", None))
            assert (self.pool.why(model, "nobody").words == "") == bool(free)


def _run(machine: type[Histories], examples: int, phases: tuple[Phase, ...] = tuple(Phase)) -> None:
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
            derandomize=Phase.shrink not in phases,
        ),
    )


def test_any_history_is_as_kept_by_hand():
    _run(Histories, 30)


@pytest.mark.parametrize("other", [NotSticky, AvoidsNothing, KnowsNoEpisodes, WakesEarly, PardonsNobody])
def test_the_comparison_notices_other_rules(other: type[Reference]):
    machine = type(f"Histories{other.__name__}", (Histories,), {"reference_class": other})
    with pytest.raises((AssertionError, StopIteration)):
        _run(machine, 2_000, (Phase.generate,))
