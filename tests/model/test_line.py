"""Who is served next: those who come back, then the branches in turn, each in its own order."""

from __future__ import annotations

import json
import pickle
from itertools import combinations, zip_longest

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from skep.model.line import Line
from tests.model.mutants import OneQueue, SharesPerPool, Stack


def _line(**branches: int) -> Line:
    """A line with so many agents in each branch; they arrived in turn, branch by branch."""
    line = Line()
    for branch_order, (branch, count) in enumerate(branches.items(), 1):
        for number in range(1, count + 1):
            line.add(f"{branch}{number}", 10 * branch_order + number, branch=branch, branch_order=branch_order)
    return line


def _serve_all(line: Line) -> list[str]:
    served = []
    while (agent := line.next()) is not None:
        line.serve(agent)
        served.append(agent)
    return served


def test_within_a_branch_the_first_to_come_is_the_first_to_be_served():
    assert _serve_all(_line(a=4)) == ["a1", "a2", "a3", "a4"]


def test_branches_take_turns_however_long_they_are():
    assert _serve_all(_line(a=5, b=2, c=1)) == ["a1", "b1", "c1", "a2", "b2", "a3", "a4", "a5"]


def test_a_branch_that_comes_late_gets_its_share_and_no_more():
    line = _line(a=6)
    for _ in range(3):
        line.serve(line.next())
    for number in (1, 2, 3):
        line.add(f"b{number}", 90 + number, branch="b", branch_order=9)
    assert _serve_all(line) == ["b1", "a4", "b2", "a5", "b3", "a6"]


def test_a_branch_that_was_held_does_not_save_up_turns():
    line = _line(a=6, b=4)
    for agent in ("b1", "b2", "b3", "b4"):
        line.park(agent)
    for _ in range(4):
        line.serve(line.next())
    for agent in ("b4", "b3", "b2", "b1"):
        line.release(agent)
    assert _serve_all(line) == ["b1", "a5", "b2", "a6", "b3", "b4"]


def test_who_comes_back_goes_before_everybody_new_in_the_order_of_coming_back():
    line = _line(a=2, b=2)
    for agent in ("a1", "b1"):
        line.serve(agent)
    line.add("b1", 101, branch="b", branch_order=2, front=True)
    line.add("a1", 102, branch="a", branch_order=1, front=True)
    assert line.positions() == ["b1", "a1", "a2", "b2"]
    assert _serve_all(line) == ["b1", "a1", "a2", "b2"]


def test_coming_back_costs_the_branch_no_turn():
    line = _line(a=3, b=3)
    line.serve("a1")
    for number in range(5):
        line.add("a1", 100 + number, branch="a", branch_order=1, front=True)
        line.serve("a1")
    assert _serve_all(line) == ["b1", "a2", "b2", "a3", "b3"]


def test_nobody_who_is_held_is_served_and_everybody_keeps_the_place():
    line = _line(a=4)
    line.park("a1")
    line.park("a3")
    assert line.positions() == ["a2", "a4"]
    assert line.held() == ["a1", "a3"]
    line.serve("a2")
    line.release("a3")
    line.release("a1")
    assert _serve_all(line) == ["a1", "a3", "a4"]


def test_a_line_of_only_held_agents_serves_nobody():
    line = _line(a=2)
    line.park("a1")
    line.park("a2")
    assert line.next() is None
    assert (len(line), line.parked) == (2, 2)


def test_holding_and_releasing_a_thousand_times_leaves_nothing_behind():
    line = _line(a=30, b=30)
    line.next()
    before = len(pickle.dumps(line))
    for _ in range(1_000):
        for agent in list(line):
            line.park(agent)
        for agent in list(line):
            line.release(agent)
    assert len(pickle.dumps(line)) < before * 1.1


def test_branches_that_are_over_leave_nothing_behind():
    line = Line()
    for number in range(500):
        line.add(f"a{number}", number, branch=f"a{number}", branch_order=number)
    for agent in _serve_all(line):
        line.forget_branch(agent)
    assert len(pickle.dumps(line)) < len(pickle.dumps(Line())) + 200


def test_a_line_from_a_checkpoint_goes_on_as_the_one_that_wrote_it():
    """A branch that nobody stands in is not kept; when somebody comes, held, both must say the same of it."""
    line = _line(a=3, b=1)
    for agent in ("a1", "b1", "a2"):
        line.serve(agent)
    again = Line.restore(line.state(), frozenset())
    for one in (line, again):
        one.serve("a3")
        one.add("b2", 91, branch="b", branch_order=2, parked=True)
        one.add("c1", 92, branch="c", branch_order=3)
    assert again.state() == line.state()
    for one in (line, again):
        one.release("b2")
    assert again.state() == line.state()
    assert _serve_all(again) == _serve_all(line) == ["b2", "c1"]


_STEPS = st.lists(
    st.tuples(
        st.sampled_from(["add", "add", "add held", "come back", "serve", "serve", "park", "release", "leave"]),
        st.integers(0, 40),
    ),
    max_size=60,
)


@settings(max_examples=150, deadline=None, database=None)
@given(_STEPS)
def test_the_positions_are_the_order_of_service_and_survive_a_checkpoint(steps: list[tuple[str, int]]):
    line = Line()
    out: list[str] = []
    for number, (step, choice) in enumerate(steps, 1):
        standing = sorted(line)
        branch = choice % 4
        if step.startswith("add"):
            held = step == "add held"
            line.add(f"{branch}-{number}", number, branch=str(branch), branch_order=branch, parked=held)
        elif step == "come back" and out:
            agent = out.pop(choice % len(out))
            line.add(agent, number, branch=agent[0], branch_order=int(agent[0]), front=True)
        elif step == "serve" and (agent := line.next()) is not None:
            assert not line.is_parked(agent)
            line.serve(agent)
            out.append(agent)
        elif standing and step in ("park", "release", "leave"):
            agent = standing[choice % len(standing)]
            {"park": line.park, "release": line.release, "leave": line.remove}[step](agent)
    held = line.held()
    expected = line.positions()
    assert sorted(held + expected) == sorted(line)
    kept = json.loads(json.dumps(line.state()))
    again = Line.restore(kept, frozenset(held))
    assert again.state() == kept
    assert (again.positions(), again.held()) == (expected, held)
    assert _serve_all(line) == expected
    assert _serve_all(again) == expected
    expected = line.held()
    assert again.held() == expected
    for agent in held:
        line.release(agent)
        again.release(agent)
    assert _serve_all(line) == _serve_all(again) == expected
    assert again.state() == line.state()


# -- fairness over branches whose agents need different pools ---------------------------------------------------


_NEEDS = st.lists(st.lists(st.sampled_from("xyz"), max_size=8), min_size=1, max_size=4)
"""For each branch the pools that its agents need, in the order of their arrival."""


def _check_the_rounds(kind: type[Line], needs: list[list[str]]) -> None:
    """Nobody else comes and no pool is full: in each round every branch has one turn, whatever its agents need."""
    line = kind()
    rows: list[list[str]] = []
    for order, pools in enumerate(needs, 1):
        rows.append([f"{order}-{number}{pool}" for number, pool in enumerate(pools)])
        for number, (agent, pool) in enumerate(zip(rows[-1], pools, strict=True)):
            line.add(agent, 100 * order + number, branch=str(order), branch_order=order, pool=pool)
    assert _serve_all(line) == [agent for turns in zip_longest(*rows) for agent in turns if agent is not None]


@settings(max_examples=300, deadline=None, database=None)
@given(_NEEDS)
def test_a_branch_has_one_share_however_many_pools_its_agents_need(needs: list[list[str]]):
    _check_the_rounds(Line, needs)


def test_who_could_not_be_served_because_a_pool_was_full_saves_up_no_turns_and_loses_no_place():
    line = Line()
    asked = [*(["a1x", "a2x", "a3x", "a4x"]), *(["b1x", "b2x", "b3y"]), *(["c1y", "c2x"]), "b4x"]
    for number, agent in enumerate(asked):
        order = "abc".index(agent[0])
        line.add(agent, number, branch=agent[0], branch_order=order, pool=agent[2])
    served = []
    for _ in range(6):
        served.append(line.next({"y"}))
        line.serve(served[-1])
    assert served == ["a1x", "b1x", "c2x", "a2x", "b2x", "a3x"]
    again = Line.restore(json.loads(json.dumps(line.state())), frozenset())
    for one in (line, again):
        assert one.positions() == ["b3y", "c1y", "a4x", "b4x"]
        assert _serve_all(one) == ["b3y", "c1y", "a4x", "b4x"]


_ACTS = st.lists(
    st.tuples(
        st.sampled_from(["add", "add", "serve", "serve", "serve", "full", "park", "release", "back"]),
        st.integers(0, 999),
    ),
    min_size=20,
    max_size=120,
)


class _Rounds:
    """A line that is told what happens, beside counts of how often each branch was served."""

    def __init__(self, kind: type[Line]) -> None:
        self.line = kind()
        self.full: set[str] = set()
        self.needs: dict[str, str] = {}
        self.new: list[str] = []
        self.out: list[str] = []
        self.ahead: dict[tuple[str, str], int] = {}

    def act(self, number: int, what: str, choice: int) -> None:
        branch, pool = str(choice % 3), "xy"[choice // 3 % 2]
        if what == "add":
            agent = f"{branch}-{number}"
            self.needs[agent] = pool
            self.new.append(agent)
            self.line.add(agent, number, branch=branch, branch_order=int(branch), pool=pool)
        elif what == "full":
            self.full ^= {pool}
        elif what == "serve":
            self.serve()
        elif what == "back" and self.out:
            agent = self.out.pop(choice % len(self.out))
            self.line.add(
                agent, number, branch=agent[0], branch_order=int(agent[0]), pool=self.needs[agent], front=True
            )
        elif what in ("park", "release") and len(self.line):
            getattr(self.line, what)(sorted(self.line)[choice % len(self.line)])

    def serve(self) -> None:
        servable = self.servable()
        branches = sorted({agent[0] for agent in servable})
        self.ahead = {pair: self.ahead.get(pair, 0) for pair in combinations(branches, 2)}
        agent = self.line.next(self.full)
        if agent is None:
            assert not servable, "somebody could be served and was not"
            return
        self.line.serve(agent)
        self.out.append(agent)
        if agent in self.new:
            self.new.remove(agent)
            assert agent == next(one for one in servable if one[0] == agent[0]), "not the first of its branch"
            for first, second in self.ahead:
                self.ahead[first, second] += (agent[0] == first) - (agent[0] == second)
            assert all(abs(count) <= 2 for count in self.ahead.values()), f"unfair: {self.ahead}"

    def servable(self) -> list[str]:
        """Who is new and can be served now, in the order of arrival."""
        ready = [agent for agent in self.new if not self.line.is_parked(agent)]
        return [agent for agent in ready if self.needs[agent] not in self.full]


def _check_the_shares(kind: type[Line], acts: list[tuple[str, int]]) -> None:
    """Of two branches that have somebody to serve all the while, neither gets further ahead than two turns.

    Two, not one: a branch that joins in the middle of a round may have its turn in it and begin the next.
    """
    rounds = _Rounds(kind)
    for number, (what, choice) in enumerate(acts, 1):
        rounds.act(number, what, choice)


@settings(max_examples=300, deadline=None, database=None)
@given(_ACTS)
def test_branches_share_alike_while_pools_are_full_now_and_then(acts: list[tuple[str, int]]):
    _check_the_shares(Line, acts)


@pytest.mark.parametrize("mutant", [SharesPerPool, OneQueue, Stack])
def test_lines_that_are_unfair_are_caught(mutant: type[Line]):
    quick = settings(max_examples=2_000, deadline=None, database=None, phases=[Phase.generate])
    with pytest.raises(AssertionError):
        quick(given(_NEEDS)(lambda needs: _check_the_rounds(mutant, needs)))()
    with pytest.raises(AssertionError):
        quick(given(_ACTS)(lambda acts: _check_the_shares(mutant, acts)))()
