"""The waiting line: first in, first out within a branch, branches take turns; what is held keeps its place."""

from __future__ import annotations

import heapq
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from typing import Any

Place = tuple[int, int]
"""Where an agent stands: (0 for one that comes back, 1 for a new one; order of arrival)."""


@dataclass(slots=True)
class _Branch:
    """The line of one branch. ``turn`` is the round of the fair share in which it is served next."""

    order: int
    turn: int = 0
    ready: dict[str, list[tuple[Place, str]]] = field(default_factory=dict)
    """Pool → who waits for it: agents that need different pools do not stand in each other's way."""
    listed: dict[str, int] = field(default_factory=dict)
    """Pool → the turn for which it stands in that pool's list of turns, if it does."""


class Line:
    """Who is served next.

    Whoever gave a slot back and returns goes before everybody new: it has begun, and its branch has had a turn for
    it. New ones are served by deficit round robin over the branches, one quantum per branch and a cost of one per
    agent. With equal quanta and unit cost the deficits of the textbook become a round per branch: the branch
    with the lowest (round, arrival) is served and its round goes up by one. A branch that was empty or held does
    not save up rounds. All operations cost O(log n), and what is parked and released again leaves nothing behind.
    """

    def __init__(self) -> None:
        self._branches: dict[str, _Branch] = {}
        # The pools in the order of their first agent, with the turns of their branches and with who comes back.
        self._turns: dict[str, list[tuple[int, int, str]]] = {}
        self._back: dict[str, list[tuple[Place, str]]] = {}
        self._place: dict[str, tuple[str, str, Place]] = {}
        """Agent → its branch, its pool and its place."""
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
        is of the same ``pool`` can be passed over together (see :meth:`next`); a branch has one share of the
        rounds, however many pools its agents need.
        """
        self._place[agent] = (branch, pool, (0 if front else 1, order))
        self._turns.setdefault(pool, [])
        if not front and branch not in self._branches:
            self._branches[branch] = _Branch(branch_order, self._round)
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
        one = self._branches.pop(branch, None)
        for ready in one.ready.values() if one is not None else ():
            self._listed.difference_update(ready)

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
        return min((one for one in found if one is not None), default=(0, 0, 0, 0, None))[4]

    def _candidate(self, pool: str) -> tuple[int, int, int, int, str] | None:
        """Who of this pool is served next, with what decides between pools: is new, round, branch, arrival."""
        back = self._first(self._back.get(pool, []))
        if back is not None:
            return (0, 0, 0, self._place[back][2][1], back)
        turns = self._turns.get(pool, [])
        while turns:
            turn, order, name = turns[0]
            branch = self._branches.get(name)
            if branch is not None and branch.listed.get(pool) == turn:
                agent = self._first(branch.ready.get(pool, []))
                if agent is not None and turn == branch.turn >= self._round:
                    return (1, turn, order, self._place[agent][2][1], agent)
                del branch.listed[pool]
                heapq.heappop(turns)
                if agent is not None:
                    # Its branch was served since for an agent of another pool, or nobody of it could be: its pool
                    # was full. That saves up no rounds either.
                    branch.turn = max(branch.turn, self._round)
                    self._list(name, branch, pool)
            else:
                heapq.heappop(turns)
        return None

    def serve(self, agent: str) -> None:
        """Take out an agent that was admitted; if it is new, the other branches have their turn now."""
        name, pool, (new, _) = self._place[agent]
        self.remove(agent)
        if new:
            branch = self._branches[name]
            self._round = max(self._round, branch.turn)
            branch.turn = max(branch.turn, self._round) + 1
            self._list(name, branch, pool)

    def positions(self) -> list[str]:
        """Everybody who is not held, in the order in which they will be served if nobody else comes."""
        return self._ordered(parked=False)

    def held(self) -> list[str]:
        """Everybody who is held, in the order in which they would be served once released."""
        return self._ordered(parked=True)

    def state(self) -> dict[str, Any]:
        """What a checkpoint must keep beside the agents themselves: places and rounds, in canonical form."""
        ready: set[str] = set()
        parked: set[str] = set()
        for agent, (name, _, (new, _)) in self._place.items():
            if new:
                (parked if agent in self._parked else ready).add(name)
        turns = {}
        for name, one in self._branches.items():
            # Whoever is behind takes the present round when it is looked at next: it can say so now.
            turn = max(one.turn, self._round)
            if name in ready or name in parked or turn > self._round:
                turns[name] = [one.order, turn]
        places = {agent: [name, pool, *place] for agent, (name, pool, place) in self._place.items()}
        return {"round": self._round, "turns": turns, "places": places}

    @classmethod
    def restore(cls, state: dict[str, Any], parked: frozenset[str]) -> Line:
        """The line that :meth:`state` described."""
        line = cls()
        line._round = state["round"]
        for name, (order, turn) in state["turns"].items():
            line._branches[name] = _Branch(order, turn)
        for agent, (name, pool, new, order) in state["places"].items():
            line._turns.setdefault(pool, [])
            line._place[agent] = (name, pool, (new, order))
            if agent in parked:
                line._parked.add(agent)
            else:
                line._push(agent)
        return line

    def _make_ready(self, agent: str) -> None:
        name, _, place = self._place[agent]
        if place[0]:
            branch = self._branches[name]
            branch.turn = max(branch.turn, self._round)
        self._push(agent)

    def _push(self, agent: str) -> None:
        name, pool, place = self._place[agent]
        ranks = self._branches[name].ready if place[0] else self._back
        if (place, agent) not in self._listed:
            self._listed.add((place, agent))
            heapq.heappush(ranks.setdefault(pool, []), (place, agent))
        if place[0]:
            self._list(name, self._branches[name], pool)

    def _list(self, name: str, branch: _Branch, pool: str) -> None:
        if branch.ready.get(pool) and branch.listed.get(pool) != branch.turn:
            branch.listed[pool] = branch.turn
            heapq.heappush(self._turns[pool], (branch.turn, branch.order, name))

    def _first(self, rank: list[tuple[Place, str]]) -> str | None:
        while rank:
            place, agent = rank[0]
            if agent not in self._parked and agent in self._place and self._place[agent][2] == place:
                return agent
            self._listed.discard(heapq.heappop(rank))
        return None

    def _ordered(self, *, parked: bool) -> list[str]:
        back: list[tuple[Place, str]] = []
        rows: dict[str, list[tuple[Place, str]]] = {}
        for agent, (name, _, place) in self._place.items():
            if (agent in self._parked) is parked:
                (rows.setdefault(name, []) if place[0] else back).append((place, agent))
        keyed: list[tuple[int, int, int, str]] = []
        for name, agents in rows.items():
            branch = self._branches[name]
            turn = max(branch.turn, self._round)  # whoever is behind takes the present round
            keyed.extend((turn + i, branch.order, i, agent) for i, (_, agent) in enumerate(sorted(agents)))
        return [agent for _, agent in sorted(back)] + [agent for *_, agent in sorted(keyed)]
