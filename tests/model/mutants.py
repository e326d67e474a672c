"""Swarms with one fault each; a comparison that such a swarm passes would be no comparison."""

from __future__ import annotations

from skep.model.agent import Agent
from skep.model.line import Line
from skep.model.swarm import SwarmState


class _Stack(Line):
    """Serves the last to come first."""

    def next(self) -> str | None:
        ready = self.positions()
        return ready[-1] if ready else None


class _OneQueue(Line):
    """Serves by arrival alone, so that a long branch keeps the others waiting."""

    def next(self) -> str | None:
        places = self.state()["places"]
        ready = self.positions()
        return min(ready, key=lambda agent: places[agent][1:]) if ready else None


class GivesNoTurns(SwarmState):
    """Knows no branches."""

    def __init__(self) -> None:
        super().__init__()
        self.line = _OneQueue()


class AdmitsAnybody(SwarmState):
    """Ignores the order of the line."""

    def __init__(self) -> None:
        super().__init__()
        self.line = _Stack()


class GivesSlotsBackTwice(SwarmState):
    """Counts a slot as free once more when its agent ends."""

    def _give_slot_back(self, agent: Agent) -> None:
        if agent.slot:
            self.slots_used -= 1
        super()._give_slot_back(agent)


class AdmitsTheShut(SwarmState):
    """Holds what latches hold and forgets the tombstones."""

    def is_held(self, agent: str) -> bool:
        return self.latch_over(agent) is not None
