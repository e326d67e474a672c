"""Swarms told event by event, and what there is to know of a swarm, for a comparison."""

from __future__ import annotations

from collections.abc import Iterable

from skep.model.codec import decode, encode
from skep.model.events import (
    ROOT,
    AgentAdmitted,
    AgentEnded,
    AgentQueued,
    AgentRunning,
    AgentStopping,
    AgentWaiting,
    Event,
    Record,
    SwarmCreated,
)
from skep.model.registry import to_pages
from skep.model.states import DriverKind, State, StopStep, StopVerb, WaitReason
from skep.model.swarm import SwarmState

START = 1_700_000_000.0


class Story:
    """A swarm that is told one event after the other, one second apart."""

    def __init__(self, *events: Event, slots: int = 4) -> None:
        self.state = SwarmState()
        self.records: list[Record] = []
        self.tell(born(slots), rooted(), *events)

    def tell(self, *events: Event) -> None:
        for event in events:
            record = next_record(self.state, event)
            self.state.fold(record)
            self.records.append(record)


def next_record(state: SwarmState, event: Event) -> Record:
    return Record(state.seq + 1, START + state.seq + 1, event)


def replayed(records: Iterable[Record]) -> SwarmState:
    """The state that the journal gives: each event has been bytes in between."""
    state = SwarmState()
    for record in records:
        state.fold(Record(record.seq, record.time, decode(encode(record.event))))
    return state


def everything(state: SwarmState) -> tuple[object, ...]:
    """All that a state says, what is counted on the way included."""
    return (
        to_pages(state),
        {agent: state.composition(agent) for agent in state.agents},
        state.slots_used,
        state.line.positions(),
        state.line.held(),
        state.line.next(),
        {one.id: list(one.children) for one in state.agents.values()},
        state.shape,
    )


def born(slots: int = 4) -> SwarmCreated:
    return SwarmCreated("s1", "billing", "/work", slots)


def rooted() -> AgentQueued:
    return AgentQueued(ROOT, None, "billing", DriverKind.GROUP, "", {})


def group(agent: str, parent: str = ROOT) -> AgentQueued:
    return AgentQueued(agent, parent, agent, DriverKind.GROUP, "", {})


def queued(agent: str, parent: str = ROOT) -> AgentQueued:
    return AgentQueued(agent, parent, agent, DriverKind.COMMAND, f"$ {agent}", {"argv": ["true"], "cwd": "/"})


def started(agent: str) -> tuple[Event, ...]:
    return AgentAdmitted(agent), AgentRunning(agent, (100,))


def returned(agent: str) -> AgentWaiting:
    return AgentWaiting(agent, WaitReason.SLOT, "try 2 of 3 after exit 1")


def done(agent: str) -> AgentEnded:
    return AgentEnded(agent, State.DONE, 0)


def stopping(agent: str, step: StopStep = StopStep.SOFT, verb: StopVerb = StopVerb.INTERRUPT) -> AgentStopping:
    return AgentStopping(agent, step, verb, "you", f"{verb.end} by you")
