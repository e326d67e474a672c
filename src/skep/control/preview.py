"""What a stop would take with it: what the registry knows at once, and what hosts say of the folders."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from heapq import nsmallest
from typing import Self

from skep.control.verbs import (
    NAMED,
    Flight,
    InFlight,
    Preview,
    Previewed,
    Standing,
    Uncommitted,
    UncommittedShown,
    WorktreeShown,
)
from skep.errors import NotFound
from skep.model import permits
from skep.model.agent import Agent, Face, Live
from skep.model.registry import Registry
from skep.model.states import DriverKind, State
from skep.model.swarm import SwarmState
from skep.text import clean_line

IN_FLIGHT = 20
"""So many are named; the rest is a number."""
DOING = 200
"""Characters of a command line."""
NAME = 200
"""Characters of the name of an agent or of a file."""
PATH = 1_000
NAMES = 5
"""Files of one working tree that are named."""

_STANDINGS = {
    Face.ASKS: Standing.ASK,
    Face.STOPPING: Standing.STOPPING,
    Face.HELD: Standing.HELD,
    Face.WAITING: Standing.WAIT,
    Face.QUEUED: Standing.QUEUED,
}
_AT_WORK = frozenset({State.STARTING, State.RUNNING, State.STOPPING})


def preview(registry: Registry, request: Preview, now: float) -> Previewed:
    """The live agents in the scope, how they stand, what of them is in flight, and what the branch has cost.

    ``now`` is in epoch seconds. Raises NotFound.
    """
    with registry.read() as state:
        root = _known(state, request.agent)
        live = list(_live(state, root, branch=request.branch))
        states = Counter(agent.state.value for agent in live)
        standing = Counter(_standing(state, agent) for agent in live)
        busy = [(agent, agent.in_step(now)) for agent in live if agent.slot and agent.state in _AT_WORK]
        spend = state.spend(root.id)
        found = Previewed(
            agent=root.id,
            name=clean_line(root.name, limit=NAME),
            count=len(live),
            agents=[agent.id for agent in live[:NAMED]],
            states=states,
            standing={one: standing[one] for one in Standing if standing[one]},
            flights={},
            in_flight=[],
            cost_usd=spend.cost / 1_000_000 if spend.turns > spend.unpriced else None,
            cost_is_lower_bound=spend.is_lower_bound,
            turns=spend.turns,
            tokens=spend.tokens_in + spend.tokens_out,
        )
    # What conversations do is told beside the state, under the same lock. Only what is named is put into words.
    flying = [
        flight for agent, seconds in busy if (flight := _Flying.of(agent, seconds, registry.live, now)) is not None
    ]
    flights = Counter(flight.kind for flight in flying)
    named = nsmallest(IN_FLIGHT, flying, key=lambda one: (one.kind is Flight.REQUEST, -one.seconds))
    return found.model_copy(
        update={
            "flights": {kind: flights[kind] for kind in Flight if flights[kind]},
            "in_flight": [flight.shown() for flight in named],
        }
    )


def folders_of(state: SwarmState, request: Uncommitted) -> dict[str, list[str]]:
    """Folder → the names of the live agents in the scope that work in it. Raises NotFound."""
    folders: dict[str, list[str]] = {}
    seen: set[str] = set()
    for one in request.agents:
        for agent in _live(state, _known(state, one), branch=request.branch):
            folder = agent.spec.get("cwd")
            if isinstance(folder, str) and agent.id not in seen:
                seen.add(agent.id)
                folders.setdefault(folder, []).append(agent.name)
    return folders


def shown(found: permits.Uncommitted, folders: dict[str, list[str]]) -> UncommittedShown:
    """What a host has found in these folders, cleaned, with the agents that work there."""
    trees = [
        _worktree(tree, [name for folder in tree.folders for name in folders[folder]]) for tree in found.worktrees
    ]
    trees.sort(key=lambda tree: (tree.unknown is not None, -tree.files))
    return UncommittedShown(
        worktrees=trees,
        files=sum(tree.files for tree in trees),
        at_least=bool(found.left_out) or any(tree.at_least or tree.unknown for tree in trees),
        left_out=found.left_out,
    )


def command_line(agent: Agent) -> str:
    """The command of an agent as one would type it, after a ``$``, cleaned; empty if it runs none."""
    argv = agent.spec.get("argv")
    if not isinstance(argv, list) or not argv:
        return ""
    words = [str(word) for word in argv]
    return "$ " + clean_line(words[0] if agent.spec.get("shell") else shlex.join(words), limit=DOING)


def _known(state: SwarmState, agent: str) -> Agent:
    root = state.agents.get(agent)
    if root is None:
        raise NotFound(f"there is no agent {agent}", mend="skep tree lists them")
    return root


def _live(state: SwarmState, root: Agent, *, branch: bool) -> Iterator[Agent]:
    """Groups only hold others: they are counted nowhere."""
    scope: Iterable[Agent] = state.subtree(root.id) if branch else (root,)
    return (agent for agent in scope if not agent.ended and agent.driver is not DriverKind.GROUP)


def _standing(state: SwarmState, agent: Agent) -> Standing:
    standing = _STANDINGS.get(state.face(agent), Standing.RUNNING)
    # Whoever comes back for a slot stands in line as everybody else does.
    return Standing.QUEUED if standing is Standing.WAIT and agent.id in state.line else standing


@dataclass(frozen=True, slots=True)
class _Flying:
    """What an agent is in the middle of."""

    agent: Agent
    kind: Flight
    seconds: float
    activity: str = ""

    @classmethod
    def of(cls, agent: Agent, seconds: float, told: Callable[[str], Live], now: float) -> Self | None:
        """None for a conversation between two steps; ``seconds`` are those in its state."""
        if agent.driver is not DriverKind.CHAT:
            return cls(agent, Flight.PROGRAM, seconds)
        live = told(agent.id)
        if not live.activity:
            return None
        kind = Flight.TOOL if live.in_tool else Flight.REQUEST
        return cls(agent, kind, max(now - live.since, 0.0) if live.since else seconds, live.activity)

    def shown(self) -> InFlight:
        """In cleaned words; neither name nor command of an agent ever change."""
        return InFlight(
            agent=self.agent.id,
            name=clean_line(self.agent.name, limit=NAME),
            kind=self.kind,
            doing=clean_line(self.activity, limit=DOING) if self.activity else command_line(self.agent),
            seconds=self.seconds,
        )


def _worktree(tree: permits.Worktree, agents: list[str]) -> WorktreeShown:
    return WorktreeShown(
        path=clean_line(tree.path, limit=PATH),
        agents=len(agents),
        agent=clean_line(agents[0], limit=NAME) if agents else "",
        files=tree.files,
        names=[clean_line(name, limit=NAME) for name in tree.names[:NAMES]],
        at_least=tree.at_least,
        unknown=tree.unknown or None,
    )
