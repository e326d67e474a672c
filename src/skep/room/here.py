"""What is known of the agent under the cursor: for the message line, the footer, and the edges of its output."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field

from skep.model.agent import Agent, Live, Spend
from skep.model.events import ROOT
from skep.model.holds import SWARM_SCOPE
from skep.model.registry import Registry
from skep.model.states import DriverKind, State, Strength
from skep.room.cells import LABEL_LIMIT, cost
from skep.room.doing import Doing, Places, bereaved, command_line, doing, signal_name
from skep.room.look import FACE_ROLES, FACE_WORDS, Look, Role
from skep.room.widgets.message import Part, Says
from skep.room.widgets.tail import Edge, Status
from skep.text import clean_line, duration, tokens

GOAL_LIMIT = 2_000
"""Characters of a goal that its tail begins with."""


@dataclass(frozen=True, slots=True)
class Here:
    """The cursor's agent at one moment; ``agent`` is a copy."""

    agent: Agent
    above: tuple[str, ...]
    """Names of the branches above it, the swarm's own left out."""
    says: Doing
    held: bool
    """A latch holds new spawns at this very branch."""
    live: Live = field(default_factory=Live)
    spend: Spend = field(default_factory=Spend)
    """What its branch has used; a copy."""

    def line(self, look: Look, answer_key: str = "") -> Says:
        """Its path and all of what it is doing, uncut; if it asks something, with the key that answers."""
        path = "".join(f"{clean_line(name, limit=60)} / " for name in self._apart())
        name = clean_line(self.agent.name, limit=200)
        role = self.says.role if self.says.words else Role.GREY
        came_down = f"  {self.role}" if self.agent.spec.get("asked_role") else ""
        parts = (Part(path, Role.GREY), Part(name, bold=True), Part(came_down, Role.GREY), Part("  "))
        says = Part(self.says.sentence(look), role, bold=self.says.bold)
        keys = ((answer_key, "answers"),) if answer_key and self.agent.question is not None else ()
        return Says((*parts, says), keys)

    @property
    def chat(self) -> bool:
        """It holds a conversation with a model."""
        return self.agent.driver is DriverKind.CHAT

    @property
    def role(self) -> str:
        """``leaf``, and the role that was asked for if it did not get that; empty for other drivers."""
        role, asked = (clean_line(str(self.agent.spec.get(name) or "")) for name in ("role", "asked_role"))
        return f"{role} (asked for {asked})" if role and asked else role

    def status(self) -> Status | None:
        """The first line of its output: model, role and what it has used; None if it has no model."""
        agent, live, spend = self.agent, self.live, self.spend
        if not self.chat:
            return None
        who = "  ".join(part for part in (clean_line(agent.model or "", limit=100), self.role) if part)
        if not agent.attempt:
            return Status(who)
        turn, most = max(agent.turns, 0 if agent.ended else live.turn), agent.spec.get("max_turns")
        used = f"{tokens(spend.tokens_in + spend.tokens_out)} tok" if spend.turns else ""
        key = clean_line((live.key if not agent.ended else "") or agent.key, limit=LABEL_LIMIT)
        figures = (f"turn {turn}{f'/{most}' if most else ''}", used, cost(spend) if spend.turns else "", key)
        return Status(who, tuple(figure for figure in figures if figure))

    def _apart(self) -> list[str]:
        """The names above it that the next name below does not begin with."""
        below = (*self.above, self.agent.name)[1:]
        return [name for name, next in zip(self.above, below, strict=True) if not next.startswith(f"{name}/")]

    def edges(self, look: Look, now: float) -> tuple[list[Edge], list[Edge]]:
        """The lines of our own above and below its output; ``now`` in epoch seconds."""
        agent = self.agent
        if agent.driver is DriverKind.GROUP:
            counts = [
                Edge(f"{look.faces[face]} {count:>6,} {FACE_WORDS[face]}", FACE_ROLES[face])
                for face, count in self.says.counts
            ]
            return [Edge("a group has no output of its own; below it are")], counts
        if self.chat:
            return self._chat_edges(look, now)
        above = [Edge(command_line(agent), Role.TEXT, bold=True)]
        if agent.ended:
            return above, [self._end(now)]
        if agent.state is State.QUEUED:
            return above, [Edge(f"not started: {self.says.sentence(look)}")]
        if agent.state is State.WAITING:
            return above, [Edge(self.says.sentence(look), corner=True)]
        return above, []

    def _chat_edges(self, look: Look, now: float) -> tuple[list[Edge], list[Edge]]:
        agent, says = self.agent, self.says
        above = [Edge(clean_line(agent.goal, limit=GOAL_LIMIT), Role.TEXT, bold=True)]
        if agent.ended:
            return above, [self._end(now)]
        if agent.state is State.QUEUED:
            return above, [Edge(f"not started: {says.sentence(look)}")]
        if agent.state is State.WAITING or agent.question is not None:
            return above, [Edge(says.sentence(look) or "waits", says.role, bold=says.bold)]
        return above, []

    def _end(self, now: float) -> Edge:
        agent = self.agent
        bad = agent.state in (State.FAILED, State.TIMED_OUT, State.LOST)
        if agent.signal is not None:
            how = f"ended by {signal_name(agent.signal)}"
        elif agent.exit_code is not None:
            how = f"exit {agent.exit_code}"
        else:
            how = agent.state.value.replace("_", " ")
        took = agent.seconds(now)
        words = f"{how} in {duration(took)}" if took is not None else f"{how}, never started"
        error = clean_line(agent.error or "", limit=200)
        if error and error != how:
            words += f": {error}"
        return Edge(words, Role.RED if bad else Role.GREY, corner=not self.chat)


def look_at(registry: Registry, agent: str | None, places: Places, *, gone: bool = False) -> Here | None:
    """What is known of this agent now; None if there is none. ``gone``: no engine runs the swarm any more."""
    if agent is None:
        return None
    live = registry.live(agent)
    with registry.read() as state:
        found = state.agents.get(agent)
        if found is None:
            return None
        if agent in state.line:
            places.refresh(state)
        above = [one.name for one in state.ancestors(agent) if one.id not in (agent, ROOT)]
        says = doing(state, found, live, places)
        return Here(
            agent=copy.copy(found),
            above=tuple(reversed(above)),
            says=bereaved(says, found) if gone and not found.ended else says,
            held=(agent, Strength.SPAWNS) in state.latches,
            live=live,
            spend=copy.copy(state.spend(agent)),
        )


@dataclass(frozen=True, slots=True)
class HeldHere:
    """Which latches stand where the hold keys act: what they offer is the other state of each."""

    here: frozenset[Strength] = frozenset()
    """At every one of the rows that verbs act on."""
    swarm: frozenset[Strength] = frozenset()


def held_here(registry: Registry, scopes: tuple[str, ...]) -> HeldHere:
    """The strengths of the latches at all of these scopes, and at the swarm's own."""
    with registry.read() as state:
        latches = state.latches
        here = [one for one in Strength if scopes and all((scope, one) in latches for scope in scopes)]
        return HeldHere(frozenset(here), frozenset(one for one in Strength if (SWARM_SCOPE, one) in latches))
