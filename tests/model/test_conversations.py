"""Turns, spend, questions, pools and caps, as the events of a swarm tell them."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skep.errors import IllegalTransition
from skep.model.agent import Face
from skep.model.events import (
    ROOT,
    AgentAdmitted,
    AgentEnded,
    AgentQueued,
    AgentRunning,
    AgentWaiting,
    ApprovalAnswered,
    ApprovalAsked,
    AttemptStruck,
    EngineStarted,
    Event,
    MessageAdded,
    ToolEnded,
    TurnCompleted,
)
from skep.model.line import Line
from skep.model.registry import from_pages, to_pages
from skep.model.states import DriverKind, State, StopStep, WaitReason
from tests.model.telling import Story, everything, group, replayed, started, stopping


def chatting(agent: str, parent: str = ROOT, provider: str = "sim") -> AgentQueued:
    return AgentQueued(agent, parent, agent, DriverKind.CHAT, "goal", {"model": f"{provider}/any"})


def turn(agent: str, number: int, *, cost: int | None = 10, tokens: int = 100) -> TurnCompleted:
    return TurnCompleted(agent, number, {"role": "assistant"}, "stop", "sim-1", tokens, 7, 0, cost, 1.0)


def asked(agent: str, hash: str = "h1") -> ApprovalAsked:
    return ApprovalAsked(agent, hash, "terminal", "$ make", {"command": "make"}, 99.0)


def waits(agent: str, reason: WaitReason, *, keeps: bool = False) -> AgentWaiting:
    return AgentWaiting(agent, reason, "because", keeps)


def check(story: Story) -> None:
    """The journal and a checkpoint both give what was told."""
    assert everything(replayed(story.records)) == everything(story.state)
    again = from_pages(to_pages(story.state))
    assert everything(again)[:-1] == everything(story.state)[:-1]
    assert {a: story.state.spend(a) for a in story.state.agents} == {a: again.spend(a) for a in again.agents}
    assert again.provider_slots == {p: n for p, n in story.state.provider_slots.items() if n}
    assert again.caps == story.state.caps


def test_what_an_agent_spends_is_spent_by_all_above_it_and_counted_once():
    story = Story(group("g"), chatting("a", "g"), chatting("b", "a"), *started("a"), *started("b"))
    story.tell(turn("a", 1), turn("b", 1, cost=None), turn("b", 2, cost=5), turn("a", 2, tokens=1))
    state = story.state
    assert (state.agents["a"].turns, state.agents["a"].tokens_in, state.agents["a"].cost) == (2, 101, 20)
    b = state.agents["b"]
    assert (b.turns, b.cost, b.unpriced, b.key) == (2, 5, 1, "sim-1")
    for agent in ("g", ROOT, "a"):
        spend = state.spend(agent)
        assert (spend.turns, spend.tokens_in, spend.tokens_out) == (4, 301, 28)
        assert (spend.cost, spend.unpriced) == (25, 1)
    assert state.spend("b").turns == 2
    check(story)


@pytest.mark.parametrize("number", [0, 1, 3])
def test_turns_come_one_after_the_other(number: int):
    story = Story(chatting("a"), *started("a"))
    story.tell(turn("a", 1))
    with pytest.raises(IllegalTransition, match="cannot follow"):
        story.tell(turn("a", number))
    story.tell(turn("a", 2))
    check(story)


@pytest.mark.parametrize(
    "event",
    [
        turn("a", 1),
        AttemptStruck("a", 1, "sim-1", "server", "no"),
        ToolEnded("a", 1, "c1", "terminal", True, "x"),
        MessageAdded("a", 1, "x"),
        asked("a"),
        ApprovalAnswered("a", "h1", True, "you"),
    ],
    ids=lambda event: event.kind,
)
def test_nothing_is_told_of_an_agent_that_has_ended(event: Event):
    story = Story(chatting("a"), *started("a"))
    story.tell(AgentEnded("a", State.DONE))
    with pytest.raises(IllegalTransition):
        story.tell(event)
    check(story)


def test_who_asks_shows_it_until_the_answer():
    story = Story(chatting("a"), *started("a"))
    story.tell(waits("a", WaitReason.APPROVAL), asked("a"))
    assert story.state.composition(ROOT) == {Face.ASKS: 1}
    with pytest.raises(IllegalTransition, match="does not ask that"):
        story.tell(ApprovalAnswered("a", "other", True, "you"))
    check(story)
    story.tell(ApprovalAnswered("a", "h1", True, "you"))
    with pytest.raises(IllegalTransition, match="does not ask that"):
        story.tell(ApprovalAnswered("a", "h1", True, "you"))
    check(story)


def test_who_asks_while_something_else_of_it_runs_shows_that_it_asks():
    story = Story(chatting("a"), *started("a"), asked("a"))
    assert story.state.composition(ROOT) == {Face.ASKS: 1}
    story.tell(ApprovalAnswered("a", "h1", False, "you"))
    assert story.state.composition(ROOT) == {Face.RUNNING: 1}
    check(story)


@pytest.mark.parametrize(
    "end", [stopping("a", StopStep.SOFT), AgentEnded("a", State.FAILED)], ids=lambda e: e.kind
)
def test_a_question_ends_with_its_agent(end: Event):
    story = Story(chatting("a"), *started("a"), asked("a"))
    story.tell(end)
    assert story.state.agents["a"].question is None
    with pytest.raises(IllegalTransition):
        story.tell(ApprovalAnswered("a", "h1", True, "you"))
    assert Face.ASKS not in story.state.composition(ROOT)
    check(story)


def test_a_wait_that_keeps_its_slot_can_lose_it_and_shows_how_long_it_has_waited():
    story = Story(chatting("a"), *started("a"))
    story.tell(waits("a", WaitReason.KEY, keeps=True))
    since = story.state.agents["a"].since
    assert story.state.slots_used == 1
    story.tell(waits("a", WaitReason.KEY))
    assert story.state.slots_used == 0
    assert story.state.agents["a"].since == since
    with pytest.raises(IllegalTransition, match="no slot to keep"):
        story.tell(waits("a", WaitReason.KEY, keeps=True))
    with pytest.raises(IllegalTransition):
        story.tell(AgentRunning("a"))
    story.tell(waits("a", WaitReason.SLOT))
    assert story.state.agents["a"].since > since
    story.tell(AgentAdmitted("a"))
    assert (story.state.agents["a"].state, story.state.agents["a"].detail) == (State.RUNNING, "")
    check(story)


def test_no_more_of_a_provider_hold_a_slot_than_its_cap_and_others_pass_by():
    story = Story(*(chatting(f"a{n}") for n in range(4)), *(chatting(f"b{n}", provider="two") for n in range(2)))
    story.tell(EngineStarted(1, caps={"sim": 2}))
    for agent in ("a0", "a1"):
        assert story.state.next_in_line() == agent
        story.tell(AgentAdmitted(agent))
    assert story.state.is_full("sim")
    assert story.state.next_in_line() == "b0"
    with pytest.raises(IllegalTransition, match="no slot is free"):
        story.tell(AgentAdmitted("a2"))
    check(story)
    story.tell(AgentAdmitted("b0"), AgentRunning("a0"), waits("a0", WaitReason.CHILD))
    assert story.state.next_in_line() == "a2"
    story.tell(AgentAdmitted("a2"), waits("a0", WaitReason.SLOT))
    assert story.state.next_in_line() == "b1", "who comes back to a full provider holds nobody up"
    story.tell(AgentRunning("a1"), AgentEnded("a1", State.DONE))
    assert story.state.next_in_line() == "a0", "who came back goes first"
    check(story)


def test_a_new_engine_brings_its_own_caps():
    story = Story(chatting("a"), chatting("b"))
    story.tell(EngineStarted(1, caps={"sim": 1}), AgentAdmitted("a"))
    assert story.state.next_in_line() is None
    story.tell(EngineStarted(2, recovered=True, caps={"sim": 2}))
    assert story.state.next_in_line() == "b"
    check(story)


STEPS = st.lists(
    st.tuples(st.sampled_from(["add", "add", "back", "serve", "serve", "park", "release"]), st.integers(0, 99)),
    max_size=60,
)
FULL = st.sets(st.sampled_from(["", "x", "y"]))


@settings(max_examples=150, deadline=None, database=None)
@given(STEPS, FULL)
def test_a_line_with_pools_serves_whom_it_would_serve_if_the_full_ones_were_not_there(
    steps: list[tuple[str, int]], full: set[str]
):
    """Passing a pool over changes nothing for the others: who comes back first, then branches in their turn."""
    pools = ["", "x", "y"]
    line = Line()
    pool_of: dict[str, str] = {}
    out: list[str] = []
    for number, (step, choice) in enumerate(steps, 1):
        standing = sorted(line)
        branch, pool = choice % 4, pools[choice // 4 % 3]
        if step == "add":
            name = f"{branch}-{number}"
            pool_of[name] = pool
            line.add(name, number, branch=str(branch), branch_order=branch, pool=pool)
        elif step == "back" and out:
            agent = out.pop(choice % len(out))
            order = int(agent.partition("-")[0])
            line.add(agent, number, branch=str(order), branch_order=order, pool=pool_of[agent], front=True)
        elif step == "serve" and (agent := line.next()) is not None:
            line.serve(agent)
            out.append(agent)
        elif standing and step in ("park", "release"):
            {"park": line.park, "release": line.release}[step](standing[choice % len(standing)])
    held = frozenset(line.held())
    again = Line.restore(line.state(), held)
    assert again.state() == line.state()
    assert again.positions() == line.positions()
    wanted = [agent for agent in line.positions() if pool_of[agent] not in full]
    for one in (line, again):
        served = []
        while (agent := one.next(full)) is not None:
            assert pool_of[agent] not in full
            assert agent not in held
            one.serve(agent)
            served.append(agent)
        assert sorted(served) == sorted(wanted)
        if not full:
            assert served == wanted
    assert line.state() == again.state()
