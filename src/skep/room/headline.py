"""The figures of a whole swarm, each counted once and shown with one meaning everywhere."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from skep.model.agent import Face, Spend
from skep.model.events import ROOT
from skep.model.states import DriverKind, State
from skep.model.swarm import SwarmState
from skep.room.filter import asks, is_failed, is_stuck


@dataclass(frozen=True, slots=True)
class Headline:
    """Counts of agents; groups only hold others and are not counted."""

    name: str = ""
    status: str | None = None
    """How the swarm ended; None while it goes on."""
    created_at: float = 0.0
    ended_at: float | None = None
    """Both in epoch seconds."""
    running: int = 0
    """Agents that hold a slot."""
    slots: int = 0
    queued: int = 0
    """In line and not held."""
    held: int = 0
    """Kept back by a latch or a stop, in line or at a turn."""
    asking: int = 0
    """Wait for the operator's word."""
    stuck: int = 0
    """Stale, spinning, without a heartbeat, or not stopped by the last rung of the ladder."""
    failed: int = 0
    """Failed, timed out or lost."""
    done: int = 0
    ended: int = 0
    agents: int = 0
    lost: int = 0
    """Ran when the engine died, which nobody has taken up yet."""
    gone: bool = False
    """No engine runs the swarm, and it has not ended."""
    chat: bool = False
    """Some of the agents hold conversations with a model."""
    spend: Spend = field(default_factory=Spend)
    """What they have used; not to be changed."""
    simulated: bool = False
    """The models are simulated: nothing that is said or spent is real."""

    @property
    def need_you(self) -> int:
        """How many agents wait for the operator to look at them."""
        return self.asking + self.stuck + self.failed

    def elapsed(self, now: float) -> float:
        """Seconds since the swarm was created, or how long it took."""
        return max(0.0, (self.ended_at if self.ended_at is not None else now) - self.created_at)


def is_held_itself(state: SwarmState, agent: str) -> bool:
    """True if this very agent is kept back by a latch or a stop."""
    one = state.agents.get(agent)
    return one is not None and state.face(one) is Face.HELD


def headline(state: SwarmState, *, gone: bool = False) -> Headline:
    """Count the swarm, in one pass over its agents; ``gone``: no engine runs it any more."""
    gone = gone and state.status is None
    asking = stuck = failed = done = ended = total = 0
    chat = False
    for agent in state.agents.values():
        if agent.driver is DriverKind.GROUP:
            continue
        total += 1
        chat = chat or agent.driver is DriverKind.CHAT
        if agent.ended_at is not None:
            ended += 1
            if agent.state is State.DONE:
                done += 1
            elif is_failed(agent):
                failed += 1
        elif agent.question is not None or (agent.reason is not None and asks(agent)):
            asking += 1
        elif agent.mark is not None and is_stuck(agent):
            stuck += 1
    created = state.created
    return Headline(
        name=created.name if created is not None else "",
        status=state.status,
        created_at=state.created_at,
        ended_at=state.time if gone else state.ended_at,
        running=0 if gone else state.slots_used,
        slots=state.max_running,
        queued=len(state.line) - state.line.parked,
        held=state.composition(ROOT).get(Face.HELD, 0) + is_held_itself(state, ROOT),
        asking=0 if gone else asking,
        stuck=0 if gone else stuck,
        failed=failed,
        done=done,
        ended=ended,
        agents=total,
        lost=state.slots_used if gone else 0,
        gone=gone,
        chat=chat,
        spend=replace(state.spend(ROOT)),
        simulated=created is not None and created.simulated,
    )
