"""The thread-safe present state of a swarm: one lock, consistent reads, and watches that say what changed."""

from __future__ import annotations

import copy
import json
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from skep.errors import Damaged
from skep.model import agent as agents
from skep.model.agent import Agent, Live
from skep.model.events import Json, Record, SwarmCreated
from skep.model.holds import Latch, Shut
from skep.model.line import Line
from skep.model.states import StopVerb, Strength
from skep.model.swarm import SwarmState

PAGE_AGENTS = 500
"""Agents per page of a checkpoint; keeps a page far below the 1 MiB frame of the control socket."""


@dataclass(slots=True)
class Changes:
    """What a watch saw since it was asked last."""

    agents: set[str] = field(default_factory=set)
    """Agents whose durable record changed."""
    live: set[str] = field(default_factory=set)
    """Agents whose live figures changed."""
    structure: bool = False
    """True if agents were added, a hold changed or the swarm as a whole changed."""

    def __bool__(self) -> bool:
        return bool(self.agents or self.live or self.structure)


class Watch:
    """Gathers what changes, for one reader; costs a set update per event whatever the reader does."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._changes = Changes(structure=True)

    def take(self) -> Changes:
        """Everything that changed since the last call; any thread."""
        with self._registry.lock:
            taken, self._changes = self._changes, Changes()
        return taken

    def close(self) -> None:
        """Stop gathering."""
        self._registry.unwatch(self)


class Registry:
    """Every agent from ``queued`` to its end; the only source for any number shown. All methods: any thread."""

    def __init__(self, state: SwarmState | None = None) -> None:
        self.lock = threading.Lock()
        """The one lock of the swarm; never held across I/O, an await or a callback."""
        self._state = state if state is not None else SwarmState()
        self._live: dict[str, Live] = {}
        self._watches: list[Watch] = []

    @contextmanager
    def read(self) -> Iterator[SwarmState]:
        """The state under the lock, to look at and not to keep."""
        with self.lock:
            yield self._state

    @contextmanager
    def deciding(self) -> Iterator[SwarmState]:
        """The state under the lock, for the one owner that decides and folds in the same critical section."""
        with self.lock:
            state = self._state
            seq, shape = state.seq, state.shape
            try:
                yield state
            finally:
                if state.seq != seq:
                    self._tell(structure=state.shape != shape)

    def fold(self, records: Iterable[Record]) -> None:
        """Take events in; raises IllegalTransition as :meth:`SwarmState.fold` does."""
        with self.deciding() as state:
            for record in records:
                state.fold(record)

    def live(self, agent: str) -> Live:
        """A copy of the live figures of an agent (all zero if nothing was told yet)."""
        with self.lock:
            live = self._live.get(agent)
            return copy.copy(live) if live is not None else Live()

    def tell_live(self, news: Iterable[tuple[str, Live]]) -> None:
        """Replace the live figures of some agents."""
        with self.lock:
            for agent, live in news:
                self._live[agent] = live
                for watch in self._watches:
                    watch._changes.live.add(agent)

    def forget_live(self, agent_ids: Iterable[str]) -> None:
        """Drop the live figures of agents that have ended."""
        with self.lock:
            for agent in agent_ids:
                self._live.pop(agent, None)

    def agent(self, agent: str) -> Agent | None:
        """A copy of one agent's record."""
        with self.lock:
            found = self._state.agents.get(agent)
            return replace(found, children=list(found.children)) if found is not None else None

    @property
    def seq(self) -> int:
        """Number of the last event folded."""
        with self.lock:
            return self._state.seq

    def watch(self) -> Watch:
        """A new watch; its first :meth:`Watch.take` says ``structure``."""
        watch = Watch(self)
        with self.lock:
            self._watches.append(watch)
        return watch

    def unwatch(self, watch: Watch) -> None:
        """Stop telling this watch."""
        with self.lock:
            if watch in self._watches:
                self._watches.remove(watch)

    def replace(self, state: SwarmState) -> None:
        """Start over from a state that was rebuilt elsewhere (a new snapshot after a long absence)."""
        with self.lock:
            self._state = state
            self._live.clear()
            state.touched.update(state.agents)
            self._tell(structure=True)

    def pages(self) -> list[bytes]:
        """The durable state in canonical JSON pages; two equal states give equal bytes."""
        with self.lock:
            return to_pages(self._state)

    def _tell(self, *, structure: bool) -> None:
        touched = self._state.touched
        for watch in self._watches:
            watch._changes.agents |= touched
            watch._changes.structure |= structure
        touched.clear()


def to_pages(state: SwarmState) -> list[bytes]:
    """The durable state as JSON pages: a head page, then pages of at most :data:`PAGE_AGENTS` agents."""
    return [to_page(content) for content in page_contents(state)]


def page_contents(state: SwarmState) -> list[object]:
    """A copy of what the pages hold, which :func:`to_page` then writes.

    Copying takes a third of the time, and only the copying needs the lock.
    """
    head: dict[str, object] = {
        "seq": state.seq,
        "time": state.time,
        "created": asdict(state.created) if state.created is not None else None,
        "created_at": state.created_at,
        "engine_pid": state.engine_pid,
        "caps": state.caps,
        "accounts": {provider: list(names) for provider, names in state.accounts.items()},
        "status": state.status,
        "ended_at": state.ended_at,
        "line": state.line.state(),
        "parked": sorted(a for a in state.line if state.line.is_parked(a)),
        "latches": [asdict(latch) for latch in state.latches.values()],
        "shuts": [asdict(shut) for shut in state.shuts.values()],
    }
    contents: list[object] = [head]
    everyone = list(state.agents.values())
    for start in range(0, len(everyone), PAGE_AGENTS):
        contents.append([agents.to_json(one) for one in everyone[start : start + PAGE_AGENTS]])
    return contents


def to_page(content: object) -> bytes:
    """One page in canonical JSON."""
    return json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=True).encode()


def from_pages(pages: Sequence[bytes]) -> SwarmState:
    """The state of such pages.

    Raises:
        Damaged: the pages do not hold a state that this version knows.
    """
    try:
        return _from_pages(*[json.loads(page) for page in pages])
    except (ValueError, TypeError, KeyError, IndexError, AttributeError) as error:
        raise Damaged("a checkpoint cannot be read", why=repr(error)) from error


def _from_pages(head: dict[str, Any], *rest: list[dict[str, Json]]) -> SwarmState:
    state = SwarmState()
    state.seq = head["seq"]
    state.time = head["time"]
    state.created = SwarmCreated(**head["created"]) if head["created"] is not None else None
    state.created_at = head["created_at"]
    state.engine_pid = head["engine_pid"]
    state.caps = head.get("caps", {})
    state.accounts = {provider: tuple(names) for provider, names in head.get("accounts", {}).items()}
    state.status = head["status"]
    state.ended_at = head["ended_at"]
    for latch in head["latches"]:
        made = Latch(**{**latch, "strength": Strength(latch["strength"])})
        state.latches[made.scope, made.strength] = made
    for shut in head["shuts"]:
        tombstone = Shut(**{**shut, "verb": StopVerb(shut["verb"])})
        state.shuts[tombstone.agent] = tombstone
    state.line = Line.restore(head["line"], frozenset(head["parked"]))
    for page in rest:
        if not isinstance(page, list):
            raise TypeError("a page is no list of agents")
        for one in page:
            state.adopt(agents.from_json(one))
    if any(agent not in state.agents for agent in state.line):
        raise ValueError("somebody in line is nowhere else")
    return state
