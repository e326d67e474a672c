"""The waiting line: first in, first out within a branch, branches take turns; what is held keeps its place."""

from __future__ import annotations

import heapq
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from typing import Any

Place = tuple[int, int]
"""Where an agent stands: (0 for one that comes back, 1 for a new one; order of arrival)."""


Lane = tuple[str, str]
"""A pool and a branch: agents of one branch that need different pools do not stand in each other's way."""


@dataclass(slots=True)
class _Branch:
    """The line of one lane. ``turn`` is the round of the fair share in which it is served next."""

    order: int
    turn: int = 0
    ready: list[tuple[Place, str]] = field(default_factory=list)
    listed: int | None = None
    """The turn for which it stands in the list of turns, if it does."""


class Line:
    """Who is served next.

    Whoever gave a slot back and returns goes before everybody new: it has begun, and its branch has had a turn for
    it. New ones are served by deficit round robin over the branches, one quantum per branch and a cost of one per
    agent. With equal quanta and unit cost the deficits of the textbook become a round per branch: the branch
    with the lowest (round, arrival) is served and its round goes up by one. A branch that was empty or held does
    not save up rounds. All operations cost O(log n), and what is parked and released again leaves nothing behind.
    """

    def __init__(self) -> None:
        self._branches: dict[Lane, _Branch] = {}
        # The pools in the order of their first agent, with the turns of their branches and with who comes back.
        self._turns: dict[str, list[tuple[int, int, str]]] = {}
        self._back: dict[str, list[tuple[Place, str]]] = {}
        self._place: dict[str, tuple[Lane, Place]] = {}
        self._parked: set[str] = set()
        # What stands in the heaps; entries of agents that left or are parked are dropped when they come up.
        self._listed: set[tuple[Place, str]] = set()
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
        pool: str = "",
        front: bool = False,
        parked: bool = False,
    ) -> None:
        """Put an agent into the line; ``front`` for one that gave a slot back and returns.

        ``order`` and ``branch_order`` are the moments of arrival of the agent and of its branch, as numbers. Who
        is of the same ``pool`` can be passed over together (see :meth:`next`).
        """
        lane = (pool, branch)
        self._place[agent] = (lane, (0 if front else 1, order))
        self._turns.setdefault(pool, [])
        if not front and lane not in self._branches:
            self._branches[lane] = _Branch(branch_order, self._round)
        if parked:
            self._parked.add(agent)
        else:
            self._make_ready(agent)
        self.version += 1

    def remove(self, agent: str) -> None:
        """Take an agent out, wherever it stands; no error if it is not there."""
        if self._place.pop(agent, None) is not None:
            self._parked.discard(agent)
            self.version += 1

    def forget_branch(self, branch: str) -> None:
        """Nobody of this branch stands in line, and nobody will come any more."""
        for pool in self._turns:
            one = self._branches.pop((pool, branch), None)
            if one is not None:
                self._listed.difference_update(one.ready)

    def park(self, agent: str) -> None:
        """Hold an agent where it stands."""
        if agent in self._place and agent not in self._parked:
            self._parked.add(agent)
            self.version += 1

    def release(self, agent: str) -> None:
        """Let a held agent be served again, from its old place."""
        if agent in self._parked:
            self._parked.discard(agent)
            self._make_ready(agent)
            self.version += 1

    def next(self, full: Collection[str] = ()) -> str | None:
        """Who is served next, of a pool that is not ``full``; None if all are held or nobody stands in line."""
        found = [self._candidate(pool) for pool in self._turns if pool not in full]
        return min((one for one in found if one is not None), default=(0, 0, 0, None))[3]

    def _candidate(self, pool: str) -> tuple[int, int, int, str] | None:
        """Who of this pool is served next, with what decides between the pools: back or new, round, arrival."""
        back = self._first(self._back.get(pool, []))
        if back is not None:
            return (0, 0, self._place[back][1][1], back)
        turns = self._turns.get(pool, [])
        while turns:
            turn, order, name = turns[0]
            branch = self._branches.get((pool, name))
            if branch is not None and (turn, order) == (branch.turn, branch.order):
                agent = self._first(branch.ready)
                if agent is not None:
                    return (1, max(turn, self._round), order, agent)
            if branch is not None and branch.listed == turn:
                branch.listed = None
            heapq.heappop(turns)
        return None

    def serve(self, agent: str) -> None:
        """Take out an agent that was admitted; if it is new, the other branches have their turn now."""
        lane, (new, _) = self._place[agent]
        self.remove(agent)
        if new:
            branch = self._branches[lane]
            self._round = max(self._round, branch.turn)
            branch.turn = max(branch.turn, self._round) + 1
            self._list(lane, branch)

    def positions(self) -> list[str]:
        """Everybody who is not held, in the order in which they will be served if nobody else comes."""
        return self._ordered(parked=False)

    def held(self) -> list[str]:
        """Everybody who is held, in the order in which they would be served once released."""
        return self._ordered(parked=True)

    def state(self) -> dict[str, Any]:
        """What a checkpoint must keep beside the agents themselves: places and rounds, in canonical form."""
        ready: set[Lane] = set()
        parked: set[Lane] = set()
        for agent, (lane, (new, _)) in self._place.items():
            if new:
                (parked if agent in self._parked else ready).add(lane)
        turns = {}
        for lane, one in self._branches.items():
            # A branch without anybody to serve takes the present round when somebody comes: it can say so now.
            turn = one.turn if lane in ready else max(one.turn, self._round)
            if lane in ready or lane in parked or turn > self._round:
                turns[_written(lane)] = [one.order, turn]
        places = {agent: [_written(lane), *place] for agent, (lane, place) in self._place.items()}
        return {"round": self._round, "turns": turns, "places": places}

    @classmethod
    def restore(cls, state: dict[str, Any], parked: frozenset[str]) -> Line:
        """The line that :meth:`state` described."""
        line = cls()
        line._round = state["round"]
        for name, (order, turn) in state["turns"].items():
            lane = _read(name)
            line._turns.setdefault(lane[0], [])
            line._branches[lane] = _Branch(order, turn)
        for agent, (name, new, order) in state["places"].items():
            line._place[agent] = (_read(name), (new, order))
            if agent in parked:
                line._parked.add(agent)
            else:
                line._push(agent, _read(name), (new, order))
        return line

    def _make_ready(self, agent: str) -> None:
        lane, place = self._place[agent]
        if place[0]:
            branch = self._branches[lane]
            branch.turn = max(branch.turn, self._round)
        self._push(agent, lane, place)

    def _push(self, agent: str, lane: Lane, place: Place) -> None:
        rank = self._branches[lane].ready if place[0] else self._back.setdefault(lane[0], [])
        if (place, agent) not in self._listed:
            self._listed.add((place, agent))
            heapq.heappush(rank, (place, agent))
        if place[0]:
            self._list(lane, self._branches[lane])

    def _list(self, lane: Lane, branch: _Branch) -> None:
        if branch.ready and branch.listed != branch.turn:
            branch.listed = branch.turn
            heapq.heappush(self._turns.setdefault(lane[0], []), (branch.turn, branch.order, lane[1]))

    def _first(self, rank: list[tuple[Place, str]]) -> str | None:
        while rank:
            place, agent = rank[0]
            if agent not in self._parked and agent in self._place and self._place[agent][1] == place:
                return agent
            self._listed.discard(heapq.heappop(rank))
        return None

    def _ordered(self, *, parked: bool) -> list[str]:
        back: list[tuple[Place, str]] = []
        rows: dict[Lane, list[tuple[Place, str]]] = {}
        for agent, (lane, place) in self._place.items():
            if (agent in self._parked) is parked:
                (rows.setdefault(lane, []) if place[0] else back).append((place, agent))
        keyed: list[tuple[int, int, int, str]] = []
        for lane, agents in rows.items():
            branch = self._branches[lane]
            # Who is released takes the round of that moment, if that is later.
            turn = max(branch.turn, self._round) if parked else branch.turn
            keyed.extend((turn + i, branch.order, i, agent) for i, (_, agent) in enumerate(sorted(agents)))
        return [agent for _, agent in sorted(back)] + [agent for *_, agent in sorted(keyed)]


def _written(lane: Lane) -> str:
    """A lane as a checkpoint keeps it; neither part holds a slash."""
    return "/".join(lane) if lane[0] else lane[1]


def _read(text: str) -> Lane:
    pool, _, branch = text.rpartition("/")
    return (pool, branch)
