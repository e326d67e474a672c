"""What scripts read of conversations: own figures, totals that never count twice, and who decides the end."""

from __future__ import annotations

import pytest

from skep.model.agent import Live
from skep.model.events import (
    ROOT,
    AgentAdmitted,
    AgentEnded,
    AgentQueued,
    AgentRunning,
    AgentStopping,
    AgentWaiting,
    ApprovalAnswered,
    ApprovalAsked,
    EngineStarted,
    Event,
    Json,
    TurnCompleted,
)
from skep.model.report import run_document, states_count, status_of, tree_document
from skep.model.states import DriverKind, State, StopStep, StopVerb, WaitReason
from skep.model.swarm import SwarmState
from tests.model.telling import START, born, next_record, queued, started


def _chat(agent: str, parent: str | None = ROOT, *, depth: int = 0, role: str = "") -> AgentQueued:
    spec: dict[str, Json] = {"model": "sim/large", "cwd": "/"}
    if depth:
        spec["depth"] = depth
    if role:
        spec["role"] = role
    return AgentQueued(agent, parent, agent, DriverKind.CHAT, f"do {agent}", spec)


def _turn(agent: str, number: int, cost: int | None) -> TurnCompleted:
    return TurnCompleted(agent, number, {}, "stop", "sim-2", 100, 10, cost=cost)


def _group() -> AgentQueued:
    return AgentQueued(ROOT, None, "billing", DriverKind.GROUP, "", {})


def _told(*events: Event, slots: int = 9) -> SwarmState:
    state = SwarmState()
    for event in (born(slots), *events):
        state.fold(next_record(state, event))
    return state


def _row(state: SwarmState, agent: str) -> dict[str, Json]:
    rows = tree_document(state, START + 100, lambda one: Live(), lambda one: None)
    return next(row for row in rows if row["id"] == agent)


def test_an_agent_tells_its_own_figures_and_the_swarm_the_sum_of_all() -> None:
    state = _told(_chat(ROOT, None, role="orchestrator"), *started(ROOT), _chat("a1", depth=1), *started("a1"))
    for event in (_turn(ROOT, 1, 1_000), _turn("a1", 1, 250_000), _turn(ROOT, 2, 500)):
        state.fold(next_record(state, event))
    document = run_document(state, START + 100, lambda one: None)
    root, child = document["agents"]
    figures = ("turns", "tokens_in", "tokens_out", "cost_usd", "key", "model", "role")
    assert [root[name] for name in figures] == [2, 200, 20, 0.0015, "sim-2", "sim/large", "orchestrator"]
    assert [child[name] for name in figures] == [1, 100, 10, 0.25, "sim-2", "sim/large", "leaf"]
    totals = document["totals"]
    assert (totals["tokens_in"], totals["tokens_out"], totals["cost_usd"]) == (300, 30, 0.2515)
    assert (totals["agents"], totals["states"]) == (2, {"running": 2})


def test_one_turn_of_unknown_price_makes_a_cost_unknown() -> None:
    state = _told(_group(), _chat("a1"), *started("a1"), _chat("a2"), *started("a2"))
    for event in (_turn("a1", 1, None), _turn("a1", 2, 700), _turn("a2", 1, 700)):
        state.fold(next_record(state, event))
    document = run_document(state, START, lambda one: None)
    assert [row["cost_usd"] for row in document["agents"]] == [None, 0.0007]
    assert document["totals"]["cost_usd"] is None
    assert document["totals"]["tokens_in"] == 300


def test_commands_have_no_figures_of_conversations() -> None:
    state = _told(_group(), queued("a1"), *started("a1"))
    (row,) = run_document(state, START, lambda one: None)["agents"]
    assert {row[name] for name in ("turns", "tokens_in", "tokens_out", "cost_usd", "key", "model", "role")} == {
        None
    }


def test_a_group_at_the_top_is_no_agent_and_a_conversation_is() -> None:
    assert states_count(_told(_group(), _chat("a1"))) == {"queued": 1}
    assert states_count(_told(_chat(ROOT, None))) == {"queued": 1}


@pytest.mark.parametrize(
    ("root", "child", "status"),
    [
        (State.DONE, State.FAILED, "done"),
        (State.DONE, State.INTERRUPTED, "done"),
        (State.FAILED, State.DONE, "failed"),
        (State.INTERRUPTED, State.FAILED, "interrupted"),
        (State.OVER_LIMIT, State.DONE, "failed"),
    ],
)
def test_only_what_the_operator_asked_for_decides(root: State, child: State, status: str) -> None:
    state = _told(_chat(ROOT, None), *started(ROOT), _chat("a1", depth=1), *started("a1"))
    assert status_of(state) == "running"
    for agent, end in (("a1", child), (ROOT, root)):
        if end is State.INTERRUPTED:
            stop = AgentStopping(agent, StopStep.SOFT, StopVerb.INTERRUPT, "you", "interrupted by you")
            state.fold(next_record(state, stop))
        state.fold(next_record(state, AgentEnded(agent, end)))
    assert status_of(state) == status


def test_the_failure_of_one_goal_is_the_failure_of_the_swarm() -> None:
    ends = [AgentEnded("a1", State.DONE), AgentEnded("a2", State.FAILED), AgentEnded(ROOT, State.FAILED)]
    state = _told(_group(), _chat("a1"), *started("a1"), _chat("a2"), *started("a2"), *ends)
    assert status_of(state) == "failed"


def test_whoever_asks_waits_for_an_approval_until_it_is_answered() -> None:
    state = _told(_chat(ROOT, None), *started(ROOT), ApprovalAsked(ROOT, "h", "terminal", "$ make", {}))
    asking = {"reason": "approval", "position": None, "held_by": None, "detail": "$ make"}
    assert _row(state, ROOT)["waiting"] == asking
    state.fold(next_record(state, AgentWaiting(ROOT, WaitReason.APPROVAL, "$ make")))
    assert _row(state, ROOT)["waiting"] == asking
    state.fold(next_record(state, ApprovalAnswered(ROOT, "h", True, "you")))
    state.fold(next_record(state, AgentWaiting(ROOT, WaitReason.SLOT, "")))
    assert _row(state, ROOT)["waiting"]["reason"] == "slot"  # type: ignore[index]


def test_whoever_is_queued_behind_the_keys_of_its_provider_waits_for_a_key() -> None:
    state = _told(
        EngineStarted(1, caps={"sim": 1}), _group(), _chat("a1"), _chat("a2"), queued("c"), AgentAdmitted("a1")
    )
    assert _row(state, "a2")["waiting"] == {
        "reason": "key",
        "position": 1,
        "held_by": None,
        "detail": "1 agent of sim runs, as many as its keys take",
    }
    assert _row(state, "c")["waiting"]["reason"] == "slot"  # type: ignore[index]
    state.fold(next_record(state, AgentRunning("a1")))
    state.fold(next_record(state, AgentEnded("a1", State.DONE)))
    assert _row(state, "a2")["waiting"]["reason"] == "slot"  # type: ignore[index]
