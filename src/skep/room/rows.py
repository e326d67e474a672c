"""From the registry to the flat list of visible rows: folding, filter, sort, and queued siblings gathered."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from enum import Enum, StrEnum
from itertools import count, repeat
from typing import NamedTuple

from skep.model.agent import FACES, Agent
from skep.model.events import ROOT
from skep.model.registry import Changes
from skep.model.states import DriverKind, State
from skep.model.swarm import SwarmState
from skep.room.filter import Filter, needs_you

QUEUED_SHOWN = 3
"""Queued children of one parent that get a row of their own; the others share one."""

HIDE_AFTER = 300.0
"""Seconds after its end from which ``hide_ended`` leaves an agent out."""


class Fold(Enum):
    """Whether a row has rows below it."""

    LEAF = 0
    OPEN = 1
    CLOSED = 2


class Sort(StrEnum):
    """The order among siblings."""

    ASKED = "asked"
    STATE = "state"
    NAME = "name"
    IN = "in"
    EXIT = "exit"
    COST = "cost"


class Row(NamedTuple):
    """One line of the tree."""

    key: str
    """What the cursor holds on to: the agent's id, or the parent's with a sign no id can have."""
    agent: str
    """Whose row it is; of a row that gathers queued children, their parent."""
    level: int
    fold: Fold
    more: int = 0
    """How many queued children this row stands for; 0 for the row of an agent."""
    pale: bool = False
    """Here only because something below it fits the filter."""


@dataclass(slots=True)
class View:
    """How the operator wants to see the tree."""

    folded: set[str] = field(default_factory=set)
    all_queued: set[str] = field(default_factory=set)
    """Parents whose queued children all have rows."""
    sort: Sort = Sort.ASKED
    reverse: bool = False
    filter: Filter | None = None
    alerts_only: bool = False
    hide_ended: bool = False

    @property
    def filtered(self) -> bool:
        """Only hits and their ancestors are shown."""
        return self.filter is not None or self.alerts_only


@dataclass(frozen=True, slots=True)
class Rows:
    """A snapshot of the visible rows."""

    rows: tuple[Row, ...] = ()
    index: dict[str, int] = field(default_factory=dict)
    """Key of a row → its place."""
    agents: int = 0
    """All agents of the swarm, its root not counted."""
    commands: int = 0
    """Those of them that do work: groups only hold others."""
    hits: tuple[int, int] | None = None
    """While filtered: how many fit, of how many."""
    queued: frozenset[str] = frozenset()
    """Who was queued when the snapshot was taken."""
    chat: bool = False
    """Some of them hold conversations with a model."""

    def outdated(self, state: SwarmState, changes: Changes, view: View) -> bool:
        """Could these changes add, remove or move a row? (If not, rows only have to be drawn again.)"""
        if changes.structure or len(state.agents) - 1 != self.agents:
            return True
        if view.filtered or view.hide_ended or view.sort not in (Sort.ASKED, Sort.NAME):
            return bool(changes.agents)
        agents = state.agents
        return any(
            (agents[one].state is State.QUEUED) != (one in self.queued) for one in changes.agents if one in agents
        )


NO_ROWS = Rows()
"""Of a swarm that has no agents yet."""


def gathered_key(parent: str) -> str:
    """The key of the row that gathers the queued children of a parent."""
    return f"{parent}\n+"


def build_rows(state: SwarmState, view: View, now: float, before: Rows = NO_ROWS) -> Rows:
    """The rows of this moment, without recursion; ``now`` in epoch seconds.

    A row that stood in the snapshot ``before`` as it stands now is taken over: making them costs most.
    """
    agents = state.agents
    if ROOT not in agents:
        return NO_ROWS
    fits = _hits(state, view, now)
    shown = _with_ancestors(state, fits) if fits is not None else None
    # Whoever is queued stands in the line.
    queued = frozenset([one for one in state.line if agents[one].state is State.QUEUED])
    siblings = _Siblings(state, view, shown, queued, now)
    former, place = before.rows, before.index.get
    leaf = Fold.LEAF
    rows: list[Row] = []
    walks: list[Iterator[tuple[str, int]]] = [iter([(ROOT, 0)])]
    while walks:
        level = len(walks) - 1
        for child, more in walks[-1]:
            agent = agents[child]
            if more:
                parent = agent.parent or ROOT
                rows.append(Row(gathered_key(parent), parent, level, leaf, more))
                continue
            pale = fits is not None and child not in fits
            below = siblings.of(agent) if agent.children else None
            if below is None:
                at = place(child)
                row = former[at] if at is not None else None
                if row is None or row.fold is not leaf or row.pale is not pale:
                    row = Row(child, child, level, leaf, 0, pale)
                rows.append(row)
                continue
            closed = shown is None and child in view.folded
            rows.append(Row(child, child, level, Fold.CLOSED if closed else Fold.OPEN, 0, pale))
            if not closed:
                walks.append(below)
                break
        else:
            walks.pop()
    kinds = Counter([one.driver for one in agents.values()])
    commands = len(agents) - kinds[DriverKind.GROUP]
    hits: tuple[int, int] | None = None
    if fits is not None:
        hits = (sum(agents[fit].driver is not DriverKind.GROUP for fit in fits), commands)
    index = dict(zip([row.key for row in rows], count(), strict=False))
    return Rows(tuple(rows), index, len(agents) - 1, commands, hits, queued, bool(kinds[DriverKind.CHAT]))


def _hits(state: SwarmState, view: View, now: float) -> set[str] | None:
    wanted = view.filter
    if wanted is None and not view.alerts_only:
        return None
    return {
        agent.id
        for agent in state.agents.values()
        if (not view.alerts_only or needs_you(agent)) and (wanted is None or wanted.fits(state, agent, now))
    }


def _with_ancestors(state: SwarmState, hits: set[str]) -> set[str]:
    shown = {ROOT}
    for hit in hits:
        at: str | None = hit
        while at is not None and at not in shown:
            shown.add(at)
            at = state.agents[at].parent
    return shown


class _Siblings:
    """Which children of a parent get rows, and in which order."""

    def __init__(
        self, state: SwarmState, view: View, shown: set[str] | None, queued: frozenset[str], now: float
    ) -> None:
        self._agents = state.agents
        self._view = view
        self._shown = shown
        self._queued = queued
        self._now = now
        self._key = _sort_key(state, view.sort, now)

    def of(self, parent: Agent) -> Iterator[tuple[str, int]] | None:
        """Children in the order of their rows; a number above 0 marks the row that stands for so many.

        None if no child is shown.
        """
        ids = parent.children
        if self._shown is not None:
            ids = [child for child in ids if child in self._shown]
        if self._view.hide_ended:
            ids = [child for child in ids if not self._long_over(child)]
        key = self._key
        if key is not None:
            agents = self._agents
            ids = sorted(ids, key=lambda child: key(agents[child]))
        if self._view.reverse:
            ids = ids[::-1]
        if not ids:
            return None
        if self._shown is None and parent.id not in self._view.all_queued:
            return self._gathered(ids)
        return zip(ids, repeat(0))

    def _gathered(self, ids: list[str]) -> Iterator[tuple[str, int]]:
        queued = self._queued
        waiting = [] if queued.isdisjoint(ids) else [child for child in ids if child in queued]
        more = len(waiting) - QUEUED_SHOWN
        if more < 2:
            # A row that stands for one agent would save nothing.
            return zip(ids, repeat(0))
        # Siblings share a branch, and a branch serves its queued agents in the order in which they came.
        waiting.sort(key=lambda child: self._agents[child].order)
        first = frozenset(waiting[:QUEUED_SHOWN])
        rows: list[tuple[str, int]] = []
        left = QUEUED_SHOWN
        for child in ids:
            if child not in queued:
                rows.append((child, 0))
            elif child in first:
                rows.append((child, 0))
                left -= 1
                if not left:
                    rows.append((child, more))
        return iter(rows)

    def _long_over(self, child: str) -> bool:
        ended_at = self._agents[child].ended_at
        return ended_at is not None and self._now - ended_at > HIDE_AFTER


_SortKey = Callable[[Agent], tuple[float | str, ...]]
_RANK = {face: rank for rank, face in enumerate(FACES)}


def _sort_key(state: SwarmState, sort: Sort, now: float) -> _SortKey | None:
    if sort is Sort.STATE:
        return lambda agent: (_worst_rank(state, agent), agent.order)
    if sort is Sort.NAME:
        return lambda agent: (agent.name.casefold(), agent.order)
    if sort is Sort.IN:
        return lambda agent: (-agent.in_step(now), agent.order)
    if sort is Sort.COST:
        return lambda agent: (-state.spend(agent.id).cost, agent.order)
    if sort is Sort.EXIT:
        return lambda agent: (-_exit_rank(agent), agent.order)
    return None


def _worst_rank(state: SwarmState, agent: Agent) -> int:
    own = _RANK[state.face(agent)]
    return min([_RANK[face] for face in state.composition(agent.id)], default=own) if agent.children else own


def _exit_rank(agent: Agent) -> int:
    """Higher is worse: signals as a shell counts them, then codes, then success, then no end yet."""
    if agent.signal is not None:
        return 128 + agent.signal
    return agent.exit_code if agent.exit_code is not None else -1
