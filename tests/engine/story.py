"""What holds of every swarm at every moment, counted by hand: from its state, and from its events in order."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from skep.model.events import AgentAdmitted, AgentEnded, AgentQueued, BranchReopened, BranchShut, Record, Reopened
from skep.model.launch import EngineSettings
from skep.model.states import DriverKind, State, WaitReason
from skep.model.swarm import SwarmState


def check_state(state: SwarmState) -> None:
    """No slot too many, and everybody is in exactly one place."""
    holders = [one for one in state.agents.values() if one.slot]
    counted = f"{state.slots_used} slots are counted as used, {len(holders)} are"
    assert len(holders) == state.slots_used <= state.max_running, counted
    used = Counter(one.provider for one in holders)
    for provider, cap in state.caps.items():
        assert used[provider] == state.provider_slots.get(provider, 0) <= cap, f"{provider} is over its cap"
    for one in state.agents.values():
        places = [
            one.id in state.line,
            one.slot,
            one.ended,
            one.driver is DriverKind.GROUP and not one.ended,
            one.state is State.WAITING and not one.slot and one.reason not in (WaitReason.SLOT, None),
            one.state is State.STOPPING and not one.slot,
        ]
        if one.driver is DriverKind.GROUP:
            assert not one.slot
            assert one.id not in state.line
        else:
            assert sum(places) == 1, f"{one.id} ({one.state}, {one.reason}) is in the places {places}"
        if one.state in (State.STARTING, State.RUNNING):
            assert one.slot, f"{one.id} runs without a slot"
        assert (one.state is State.WAITING) == (one.reason is not None), f"{one.id} does not say what it waits for"
        if one.state is State.QUEUED or one.reason is WaitReason.SLOT:
            assert one.id in state.line
    ready, held = state.line.positions(), state.line.held()
    assert sorted(ready + held) == sorted(state.line), "a position is missing, or there twice"
    assert all(state.is_held(agent) for agent in held)
    for agent in ready:
        assert not state.is_held(agent), f"{agent} is ready although something holds it"


def check_story(records: Sequence[Record], settings: EngineSettings) -> SwarmState:
    """Nobody was asked for or admitted under a tombstone, nor beyond a limit; returns the state at the end."""
    state = SwarmState()
    parents: dict[str, str | None] = {}
    shut: dict[str, bool] = {}
    delegated = Counter[str | None]()
    for record in records:
        event = record.event
        if isinstance(event, AgentQueued):
            parents[event.agent] = event.parent
            delegated[event.parent] += bool(event.spec.get("depth")) and not event.resumes
            assert int(str(event.spec.get("depth", 0))) <= settings.max_depth
        if isinstance(event, AgentQueued | AgentAdmitted):
            over = _shut_over(event.agent, parents, shut)
            assert over is None, f"event {record.seq}: {event.kind} of {event.agent} under {over}, which is shut"
        elif isinstance(event, BranchShut):
            shut[event.agent] = event.branch
        elif isinstance(event, BranchReopened | AgentEnded | Reopened):
            shut.pop(event.agent, None)
        state.fold(record)
        assert state.slots_used <= state.max_running
        assert all(state.provider_slots.get(provider, 0) <= cap for provider, cap in state.caps.items())
    assert delegated.total() <= settings.max_agents, f"{delegated.total()} agents were delegated"
    most = max(delegated.values())
    assert not settings.max_children or most <= settings.max_children, f"{most} agents were delegated by one"
    check_state(state)
    return state


def _shut_over(agent: str, parents: dict[str, str | None], shut: dict[str, bool]) -> str | None:
    at: str | None = agent
    while at is not None:
        if at in shut and (shut[at] or at == agent):
            return at
        at = parents[at]
    return None
