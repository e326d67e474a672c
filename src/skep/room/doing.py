"""What a row says under DOING: what an agent does, why it waits or how it ended, and what a branch is made of."""

from __future__ import annotations

import re
import shlex
import signal
from collections.abc import Iterator
from dataclasses import dataclass, replace

from skep.model.agent import FACES, Agent, Face, Live
from skep.model.holds import Latch, Scope, ScopeKind
from skep.model.states import DriverKind, Mark, State, StopStep, StopVerb, Strength, WaitReason
from skep.model.swarm import SwarmState
from skep.room.look import Look, Role
from skep.text import clean_line, ordinal

SHORT = 1_000
"""Characters of foreign text that one row keeps; the tail has the rest."""


@dataclass(frozen=True, slots=True)
class Doing:
    """Words, then the composition of the branch; either may be empty."""

    words: str = ""
    role: Role = Role.TEXT
    counts: tuple[tuple[Face, int], ...] = ()
    bold: bool = False

    def sentence(self, look: Look) -> str:
        """All of it as plain text, for the line that shows it uncut."""
        counts = "  ".join(f"{look.faces[face]}{count}" for face, count in self.counts)
        return look.own("  ".join(part for part in (self.words, counts) if part))


class Places:
    """Who stands where in the line; asked for often, counted again only when the line has changed."""

    def __init__(self) -> None:
        self._seen: tuple[object, int] | None = None
        self._at: dict[str, int] = {}

    def refresh(self, state: SwarmState) -> bool:
        """Count again if anything moved; True if so."""
        seen = (state.line, state.line.version)
        if self._seen is not None and self._seen[0] is seen[0] and self._seen[1] == seen[1]:
            return False
        self._seen = seen
        self._at = {agent: at for at, agent in enumerate(state.line.positions(), 1)}
        self._at.update((agent, at) for at, agent in enumerate(state.line.held(), 1))
        return True

    def __contains__(self, agent: str) -> bool:
        return agent in self._at

    def of(self, agent: str) -> str:
        """``3rd``; empty if it does not stand in line."""
        at = self._at.get(agent)
        return ordinal(at) if at is not None else ""


def command_line(agent: Agent) -> str:
    """``$ pytest -q`` from the spec of a command agent; its goal if there is none."""
    argv = agent.spec.get("argv")
    if not isinstance(argv, list | tuple) or not argv:
        return clean_line(agent.goal, limit=SHORT)
    words = [str(word) for word in argv]
    line = words[0] if agent.spec.get("shell") else shlex.join(words)
    return f"$ {clean_line(line, limit=SHORT)}"


def signal_name(number: int) -> str:
    """``TERM``, ``KILL``; an unknown one by its number."""
    try:
        return signal.Signals(number).name.removeprefix("SIG")
    except ValueError:
        return str(number)


def composition(state: SwarmState, agent: str) -> tuple[tuple[Face, int], ...]:
    """What the branch below an agent is made of, worst first."""
    counts = state.composition(agent)
    for group in _groups(state, agent):
        counts[state.face(group)] -= 1
    return tuple((face, counts[face]) for face in FACES if counts.get(face))


def _groups(state: SwarmState, agent: str) -> Iterator[Agent]:
    """The groups below an agent. They only hold others: counted, they would make every sum wrong."""
    pending = [agent]
    while pending:
        for child in state.agents[pending.pop()].children:
            one = state.agents[child]
            if one.driver is DriverKind.GROUP:
                yield one
                pending.append(child)


LOST_WITH_ENGINE = frozenset({Face.RUNNING, Face.QUIET, Face.STALE, Face.SPINNING, Face.STOPPING})
"""The faces of agents that run, and that no longer do once their engine is gone."""


def bereaved(says: Doing, agent: Agent) -> Doing:
    """What a row says once the engine is gone that ran the swarm: nothing of it runs any more."""
    if agent.slot:
        return Doing("its engine died while it ran", Role.RED)
    lost = sum(count for face, count in says.counts if face in LOST_WITH_ENGINE)
    counts = {face: count for face, count in says.counts if face not in LOST_WITH_ENGINE}
    if lost:
        counts[Face.LOST] = counts.get(Face.LOST, 0) + lost
    return replace(says, counts=tuple((face, counts[face]) for face in FACES if face in counts))


def own_hold(state: SwarmState, agent: str) -> Latch | None:
    """The latch that closes this very branch, the stronger one first; None if there is none."""
    if not state.latches:
        return None
    return state.latches.get((agent, Strength.TURNS)) or state.latches.get((agent, Strength.SPAWNS))


def doing(state: SwarmState, agent: Agent, live: Live, places: Places) -> Doing:
    """What a row says of this agent now."""
    counts = composition(state, agent.id) if agent.children else ()
    if agent.state is State.STOPPING or (agent.asked_at is not None and not agent.ended):
        return _stopping(state, agent, places, counts)
    if agent.ended:
        # A group says nothing of its own; whoever did something says how that went.
        return Doing("", Role.GREY, counts) if counts and agent.driver is DriverKind.GROUP else _ended(agent)
    if agent.question is not None:
        return _asking(clean_line(str(agent.question.get("headline") or agent.detail), limit=SHORT), counts)
    held = own_hold(state, agent.id)
    if held is not None and not agent.slot:
        return Doing(f"{held.strength.value} held", Role.BLUE, counts)
    if state.line.is_parked(agent.id):
        return Doing(f"held by {_holder(state, agent)}, {places.of(agent.id)}", Role.GREY)
    if agent.state is State.QUEUED:
        return Doing(f"{places.of(agent.id)} for a slot", Role.GREY)
    if agent.state is State.WAITING:
        return _waiting(state, agent, places, counts)
    if agent.state is State.STARTING:
        if agent.mark is not None:
            return _marked(agent, command_line(agent))
        return Doing(f"starting: {command_line(agent)}", Role.TEXT)
    activity = clean_line(live.activity, limit=SHORT) or command_line(agent)
    if held is not None:
        # It runs on: only what it might ask for is held.
        return Doing(f"{held.strength.value} held; {activity}", Role.BLUE, counts)
    if agent.mark is not None:
        return _marked(agent, activity)
    return Doing(activity, Role.TEXT, counts)


def _marked(agent: Agent, activity: str) -> Doing:
    evidence = clean_line(agent.evidence, limit=SHORT) or f"marked {agent.mark}"
    if agent.mark is Mark.LATE:
        return Doing(evidence, Role.AMBER)
    if agent.mark is Mark.DEAD:
        return Doing(evidence, Role.RED)
    role = Role.AMBER_DIM if agent.mark is Mark.QUIET else Role.AMBER
    if agent.driver is DriverKind.CHAT or (activity == command_line(agent) and "$ " in evidence):
        # Its evidence names what it does, as "same read_file call 6 times".
        return Doing(evidence, role)
    return Doing(f"{evidence}; {activity}", role)


def _waiting(state: SwarmState, agent: Agent, places: Places, counts: tuple[tuple[Face, int], ...]) -> Doing:
    detail = clean_line(agent.detail, limit=SHORT)
    if agent.reason is WaitReason.SLOT:
        retries = agent.spec.get("retries")
        if isinstance(retries, int) and retries and agent.driver is DriverKind.COMMAND:
            detail = f"try {agent.attempt + 1} of {retries + 1}"
        return Doing(f"{detail or 'back in line'}, {places.of(agent.id)} for a slot", Role.GREY)
    if agent.reason is WaitReason.APPROVAL:
        return _asking(detail, counts)
    if agent.reason is WaitReason.BUDGET:
        return Doing(detail or "asks for budget", Role.AMBER, counts, bold=True)
    if agent.reason is WaitReason.KEY:
        # How long it had to cool was true when the wait began; the keys panel counts it down.
        return Doing(f"key: {_COUNTDOWN.sub('', detail) or 'none is free'}", Role.GREY, counts)
    if agent.reason is WaitReason.CHILD:
        return Doing("" if counts else detail or "no agent yet", Role.GREY, counts)
    if agent.reason is WaitReason.GATE:
        # Whose hold it was when the wait began may have changed since.
        by = f"turns held by {_holder(state, agent)}" if state.turns_held(agent.id) is not None else detail
        return Doing(by or "held", Role.BLUE, counts)
    return Doing(detail or f"waits for {agent.reason.value if agent.reason else 'its turn'}", Role.GREY, counts)


_COUNTDOWN = re.compile(r"(?<=cools) [\d:]+$")


def _asking(what: str, counts: tuple[tuple[Face, int], ...]) -> Doing:
    words = f"approve: {what.removeprefix('approve: ')}" if what else "asks for an approval"
    return Doing(words, Role.AMBER, counts, bold=True)


_STEP_WORDS = {StopStep.SOFT: "soft", StopStep.CANCEL: "cancel", StopStep.KILL: "kill"}


def is_late_to_stop(agent: Agent) -> bool:
    """The ladder has come to its end and something is still there."""
    if agent.state is not State.STOPPING:
        return False
    return agent.mark is Mark.UNSTOPPED or agent.stop_step is StopStep.VERIFY


def _stopping(state: SwarmState, agent: Agent, places: Places, counts: tuple[tuple[Face, int], ...]) -> Doing:
    if agent.state is not State.STOPPING:
        shut = state.shut_over(agent.id)
        asked = f"{shut.verb.value if shut is not None else 'stop'} asked"
        if state.line.is_parked(agent.id):
            return Doing(f"held: {asked}, {places.of(agent.id)}", Role.GREY, counts)
        return Doing(asked, Role.BLUE, counts)
    if is_late_to_stop(agent):
        left = clean_line(agent.evidence, limit=SHORT)
        return Doing(f"not stopped: {left}" if left else "not stopped yet", Role.RED, counts)
    step = _STEP_WORDS.get(agent.stop_step) if agent.stop_step is not None else None
    verb = "timed out, stopping" if agent.stop_verb is StopVerb.TIMEOUT else "stopping"
    return Doing(f"{verb}: {step}" if step else f"{verb}", Role.BLUE, counts)


def _ended(agent: Agent) -> Doing:
    chat = agent.driver is DriverKind.CHAT
    last = clean_line(first_line(agent.result or "") if chat else agent.result or "", limit=SHORT)
    error = clean_line(agent.error or "", limit=SHORT)
    if agent.state is State.DONE:
        return Doing(last or _exit_words(agent) or "done", Role.GREY)
    if agent.state in (State.INTERRUPTED, State.KILLED):
        if not error:
            error = f"{agent.state.value} by {clean_line(agent.stop_who, limit=SHORT) or 'skep'}"
        return Doing(error, Role.GREY)
    role = Role.AMBER if agent.state is State.OVER_LIMIT else Role.RED
    words = error or _exit_words(agent) or agent.state.value.replace("_", " ")
    return Doing(f"{words}: {last}" if last and not chat else words, role)


def first_line(text: str) -> str:
    """The first line of a text that says something."""
    return next((line for line in text[: 4 * SHORT].splitlines() if line.strip()), "")


def _exit_words(agent: Agent) -> str:
    if agent.signal is not None:
        return f"ended by {signal_name(agent.signal)}"
    return f"exit {agent.exit_code}" if agent.exit_code is not None else ""


def _holder(state: SwarmState, agent: Agent) -> str:
    """The name of the branch whose latch holds this agent; ``you`` and the like for one over the swarm."""
    latch = state.latch_over(agent.id)
    if latch is None:
        return "a stop"
    asked = Scope.read(latch.scope)
    if asked.kind is ScopeKind.SWARM:
        return clean_line(latch.who, limit=SHORT) or "the swarm"
    if asked.kind in (ScopeKind.MODEL, ScopeKind.ACCOUNT):
        return f"{asked.kind} {clean_line(asked.name, limit=40)}"
    scope = state.agents.get(latch.scope)
    return clean_line(scope.name, limit=40) if scope is not None else latch.scope
