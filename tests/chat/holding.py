"""What holds of every swarm of chat agents, at each of its events and at its end."""

from __future__ import annotations

import asyncio
from collections import defaultdict

from skep.model.events import (
    AgentAdmitted,
    AgentEnded,
    AgentQueued,
    AgentWaiting,
    Record,
    Reopened,
    ToolEnded,
    TurnCompleted,
)
from skep.model.registry import from_pages, to_pages
from skep.model.states import State, WaitReason
from skep.model.swarm import SwarmState
from tests.chat.conftest import ChatHive

OURS = ("agent ", "conversation of ", "what is left of ", "clocks of model requests")


def check(hive: ChatHive) -> None:
    """A swarm that has ended: its history was legal at every step, and nothing of it is left."""
    records = hive.records()
    state = replay(records)
    assert to_pages(state) == hive.registry.pages(), "the journal tells another story than the registry"
    assert all(one.ended for one in state.agents.values())
    assert state.slots_used == 0
    assert not any(state.provider_slots.values())
    assert len(state.line) == 0
    check_calls(records)
    check_left(hive)


def check_left(hive: ChatHive) -> None:
    """No request, no lease, no task, no process of it is left."""
    assert all(simulator.ledger.open == 0 for simulator in hive.simulators.values())
    for pool in hive.models.pools.values():
        view = pool.snapshot()
        assert sum(key.in_flight for key in view.keys) == 0, "a lease was not given back"
        assert view.waiters == 0
    left = [task.get_name() for task in asyncio.all_tasks() if task.get_name().startswith(OURS)]
    assert not left, f"tasks were left: {left}"
    assert hive.living() == ()


def replay(records: list[Record]) -> SwarmState:
    """The state of these events; looked at after each of them."""
    state = SwarmState()
    holders: set[str] = set()
    ended: set[str] = set()
    returned: dict[str, int] = {}
    for record in records:
        event = record.event
        if isinstance(event, AgentAdmitted):
            _check_turn(state, event.agent, returned)
        elif isinstance(event, AgentWaiting) and event.reason is WaitReason.SLOT:
            returned[event.agent] = record.seq
        state.fold(record)
        if isinstance(event, AgentAdmitted):
            holders.add(event.agent)
        elif isinstance(event, AgentEnded) or (isinstance(event, AgentWaiting) and not event.keeps_slot):
            holders.discard(event.agent)
        if isinstance(event, AgentEnded):
            assert event.agent not in ended
            ended.add(event.agent)
        elif isinstance(event, Reopened):
            ended.discard(event.agent)
        _check_slots(state, holders)
        if record.seq % 97 == 0:
            assert to_pages(from_pages(to_pages(state))) == to_pages(state), "a checkpoint forgets something"
    return state


def _check_turn(state: SwarmState, admitted: str, returned: dict[str, int]) -> None:
    """Who came back goes before everybody new, the first to come back first."""
    ready = [
        one.id
        for one in state.agents.values()
        if one.reason is WaitReason.SLOT and not state.is_held(one.id) and not state.is_full(one.provider)
    ]
    if ready:
        assert admitted == min(ready, key=lambda agent: returned[agent])


def _check_slots(state: SwarmState, holders: set[str]) -> None:
    assert len(holders) == state.slots_used <= state.max_running
    for provider, cap in state.caps.items():
        assert sum(state.agents[agent].provider == provider for agent in holders) <= cap
    for one in state.agents.values():
        assert one.slot == (one.id in holders)
        if one.state in (State.STARTING, State.RUNNING):
            assert one.slot, f"{one.id} runs without a slot"
        if one.state is State.WAITING and one.slot:
            assert one.reason is WaitReason.KEY, f"{one.id} holds a slot while it waits for {one.reason}"


def check_calls(records: list[Record]) -> None:
    """A tool ends once, after the turn that asked for it was kept, and only if one did.

    No id of a call comes twice in a conversation, also when another agent goes on with it; a new turn comes when
    all calls of the one before have their results.
    """
    asked: dict[str, set[str]] = defaultdict(set)
    open_: dict[str, set[str]] = defaultdict(set)
    for record in records:
        event = record.event
        if isinstance(event, AgentQueued) and event.resumes:
            asked[event.agent], open_[event.agent] = set(asked[event.resumes]), set(open_[event.resumes])
        elif isinstance(event, TurnCompleted):
            calls = [call["id"] for call in event.message.get("tool_calls") or []]
            assert not open_[event.agent], f"{event.agent} went on without the results of {open_[event.agent]}"
            assert not asked[event.agent].intersection(calls), f"{event.agent} uses an id of a call again"
            asked[event.agent].update(calls)
            open_[event.agent].update(calls)
        elif isinstance(event, ToolEnded):
            assert event.call in open_[event.agent], f"{event.call} of {event.agent} ended unasked"
            open_[event.agent].remove(event.call)
