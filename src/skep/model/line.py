"""The waiting line: first in, first out within a branch, branches take turns; what is held keeps its place."""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

Place = tuple[int, int]
"""Where an agent stands within its branch: (0 for one that comes back, 1 for a new one; order of arrival)."""


@dataclass(slots=True)
class _Branch:
    """The line of one top-level branch. ``turn`` is the round of the fair share in which it is served next."""

    order: int
    turn: int = 0
    ready: list[tuple[Place, str]] = field(default_factory=list)


class Line:
    """Who is served next, as deficit round robin with one quantum per branch and a cost of one per agent.

    With equal quanta and unit cost the deficits of the textbook become a round number per branch: the branch
    with the lowest (round, arrival) is served and its round goes up by one. A branch that was empty or held does
    not save up rounds. All operations cost O(log n).
    """

    def __init__(self) -> None:
        self._branches: dict[str, _Branch] = {}
        self._turns: list[tuple[int, int, str]] = []
        self._place: dict[str, tuple[str, Place]] = {}
        self._parked: set[str] = set()
        self._round = 0
        self.version = 0
        """Changes whenever a position may have changed."""

    def __len__(self) -> int:
        return len(self._place)

    def __iter__(self) -> Iterator[str]:
        return iter(self._place)

    def __contains__(self, agent: str) -> bool:
        return agent in self._place

    @property
    def parked(self) -> int:
        """How many stand in line and are held."""
        return len(self._parked)

    def is_parked(self, agent: str) -> bool:
        """True if this agent stands in line and is held."""
        return agent in self._parked

    def add(
        self,
        agent: str,
        order: int,
        *,
        branch: str,
        branch_order: int,
        front: bool = False,
        parked: bool = False,
    ) -> None:
        """Put an agent into the line of its branch; ``front`` for one that gave a slot back and returns.

        ``order`` and ``branch_order`` are the moments of arrival of the agent and of its branch, as numbers.
        """
        place = (0 if front else 1, order)
        self._place[agent] = (branch, place)
        line = self._branches.get(branch)
        if line is None:
            line = self._branches[branch] = _Branch(branch_order, self._round)
        if parked:
            self._parked.add(agent)
        else:
            self._make_ready(agent, branch, line, place)
        self.version += 1

    def remove(self, agent: str) -> None:
        """Take an agent out, wherever it stands; no error if it is not there."""
        if self._place.pop(agent, None) is not None:
            self._parked.discard(agent)
            self.version += 1

    def park(self, agent: str) -> None:
        """Hold an agent where it stands."""
        if agent in self._place and agent not in self._parked:
            self._parked.add(agent)
            self.version += 1

    def release(self, agent: str) -> None:
        """Let a held agent be served again, from its old place."""
        if agent in self._parked:
            self._parked.discard(agent)
            branch, place = self._place[agent]
            self._make_ready(agent, branch, self._branches[branch], place)
            self.version += 1

    def next(self) -> str | None:
        """Who is served next; None if all are held or nobody stands in line."""
        while self._turns:
            turn, order, branch = self._turns[0]
            line = self._branches.get(branch)
            if line is not None and (turn, order) == (line.turn, line.order):
                while line.ready:
                    place, agent = line.ready[0]
                    if self._place.get(agent) == (branch, place) and agent not in self._parked:
                        return agent
                    heapq.heappop(line.ready)
            heapq.heappop(self._turns)
        return None

    def serve(self, agent: str) -> None:
        """Take out an agent that was admitted and let the other branches have their turn."""
        branch, _ = self._place[agent]
        line = self._branches[branch]
        self._round = max(self._round, line.turn)
        line.turn = max(line.turn, self._round) + 1
        self.remove(agent)
        heapq.heappush(self._turns, (line.turn, line.order, branch))

    def positions(self) -> list[str]:
        """Everybody who is not held, in the order in which they will be served if nobody else comes."""
        return self._ordered(parked=False)

    def held(self) -> list[str]:
        """Everybody who is held, in the order in which they would be served once released."""
        return self._ordered(parked=True)

    def state(self) -> dict[str, Any]:
        """What a checkpoint must keep beside the agents themselves: rounds, in canonical order."""
        live = {branch for branch, _ in self._place.values()}
        turns = {
            branch: [line.order, line.turn]
            for branch, line in self._branches.items()
            if branch in live or line.turn > self._round
        }
        places = {agent: [branch, *place] for agent, (branch, place) in self._place.items()}
        return {"round": self._round, "turns": turns, "places": places}

    @classmethod
    def restore(cls, state: dict[str, Any], parked: frozenset[str]) -> Line:
        """The line that :meth:`state` described."""
        line = cls()
        line._round = state["round"]
        for branch, (order, turn) in state["turns"].items():
            line._branches[branch] = _Branch(order, turn)
        for agent, (branch, front, order) in state["places"].items():
            line._place[agent] = (branch, (front, order))
            if agent in parked:
                line._parked.add(agent)
            else:
                line._make_ready(agent, branch, line._branches[branch], (front, order))
        return line

    def _make_ready(self, agent: str, branch: str, line: _Branch, place: Place) -> None:
        line.turn = max(line.turn, self._round)
        heapq.heappush(line.ready, (place, agent))
        heapq.heappush(self._turns, (line.turn, line.order, branch))

    def _ordered(self, *, parked: bool) -> list[str]:
        rows: dict[str, list[tuple[Place, str]]] = {}
        for agent, (branch, place) in self._place.items():
            if (agent in self._parked) is parked:
                rows.setdefault(branch, []).append((place, agent))
        keyed: list[tuple[int, int, int, str]] = []
        for branch, agents in rows.items():
            agents.sort()
            line = self._branches[branch]
            turn = max(line.turn, self._round)
            keyed.extend((turn + i, line.order, i, agent) for i, (_, agent) in enumerate(agents))
        keyed.sort()
        return [agent for _, _, _, agent in keyed]
