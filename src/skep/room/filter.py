"""What one types after ``/``: words, ``s:stale``, ``k:kimi-2``, ``m:large``, ``>5m``; a ``-`` turns any round."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from skep.config import parse_duration
from skep.errors import BadInput
from skep.model.agent import Agent, Face, face_of
from skep.model.states import DriverKind, Mark, State
from skep.model.swarm import SwarmState

Test = Callable[[SwarmState, Agent, float], bool]
"""Does this agent, at this moment (epoch seconds), fit?"""

STUCK_MARKS = frozenset({Mark.STALE, Mark.SPINNING, Mark.LATE, Mark.DEAD, Mark.UNSTOPPED})
"""Marks that need the operator."""

FAILED_STATES = frozenset({State.FAILED, State.TIMED_OUT, State.LOST})
"""Ends that need the operator."""


def asks(agent: Agent) -> bool:
    """It waits for the operator's word."""
    return face_of(agent) is Face.ASKS


def is_stuck(agent: Agent) -> bool:
    """It ought to get on, or to be gone, and is not."""
    return agent.mark in STUCK_MARKS and not agent.ended


def is_failed(agent: Agent) -> bool:
    """It ended in a way that somebody has to look at."""
    return agent.state in FAILED_STATES


def is_quiet(agent: Agent) -> bool:
    """Nothing of it has moved for a while, which need not mean anything yet."""
    return agent.mark is Mark.QUIET and not agent.ended


def needs_you(agent: Agent) -> bool:
    """Asks, is stuck or failed itself; a group does none of it, its members do."""
    return agent.driver is not DriverKind.GROUP and (asks(agent) or is_stuck(agent) or is_failed(agent))


_OTHER_WORDS: dict[str, Test] = {
    "ended": lambda state, agent, now: agent.ended,
    "live": lambda state, agent, now: not agent.ended,
    "stuck": lambda state, agent, now: is_stuck(agent),
    "unstopped": lambda state, agent, now: agent.mark is Mark.UNSTOPPED,
}
_STATES = {state.value: state for state in State}
_FACES = {face.value: face for face in Face}
STATE_WORDS = tuple(sorted({*_STATES, *_FACES, *_OTHER_WORDS}))
"""What may follow ``s:``; the beginning of a word is enough."""


@dataclass(frozen=True)
class Filter:
    """All of its terms must fit."""

    text: str
    terms: tuple[tuple[bool, Test], ...]
    timed: bool
    """True if time alone can change what fits."""

    def fits(self, state: SwarmState, agent: Agent, now: float) -> bool:
        """Is this agent a hit?"""
        # A loop, not all(): this runs for every agent at every key of the prompt.
        for wanted, test in self.terms:  # noqa: SIM110
            if test(state, agent, now) is not wanted:
                return False
        return True


def parse_filter(text: str) -> Filter | None:
    """The filter of such a text, None for a blank one.

    Raises:
        BadInput: a term that means nothing.
    """
    terms: list[tuple[bool, Test]] = []
    timed = False
    for word in text.split():
        inverted = word.startswith("-") and len(word) > 1
        term = word[1:] if inverted else word
        timed = timed or term[0] in "<>"
        terms.append((not inverted, _term(term)))
    return Filter(text.strip(), tuple(terms), timed) if terms else None


def _term(word: str) -> Test:
    prefix, colon, rest = word.partition(":")
    if prefix == "s" and colon:
        return _state_term(rest.lower())
    if prefix in _PARTS and colon:
        return _part_term(word, _PARTS[prefix], rest.casefold())
    if len(prefix) == 1 and prefix.isalpha() and colon:
        raise BadInput(f"{prefix}: means nothing here", mend="s:stale, k:kimi-2, m:large, >5m, or a word")
    if word[0] in "<>":
        return _age_term(word)
    return _word_term(word.casefold())


_PARTS: dict[str, Callable[[Agent], str]] = {
    "k": lambda agent: agent.key,
    "m": lambda agent: agent.model or "",
}
"""The key of its last turn, and its model."""


def _part_term(word: str, part: Callable[[Agent], str], wanted: str) -> Test:
    if not wanted:
        raise BadInput(f"{word} wants a name", mend=f"write {word}kimi-2, or a part of it")
    return lambda state, agent, now: wanted in part(agent).casefold()


def _word_term(wanted: str) -> Test:
    def test(state: SwarmState, agent: Agent, now: float) -> bool:
        return wanted in agent.name.casefold() or wanted in agent.goal.casefold()

    return test


def _age_term(word: str) -> Test:
    if len(word) == 1:
        raise BadInput(f"{word} wants a time", mend=f"write {word}5m")
    limit = parse_duration(word[1:])
    longer = word[0] == ">"

    def test(state: SwarmState, agent: Agent, now: float) -> bool:
        return (agent.in_step(now) > limit) is longer

    return test


def _state_term(word: str) -> Test:
    meant = [known for known in STATE_WORDS if known.startswith(word)] if word else []
    if word in STATE_WORDS:
        meant = [word]
    if not meant:
        raise BadInput(f"s:{word} names no state", mend="one of " + " ".join(STATE_WORDS))
    states = frozenset(_STATES[known] for known in meant if known in _STATES)
    faces = frozenset(_FACES[known] for known in meant if known in _FACES)
    others = tuple(_OTHER_WORDS[known] for known in meant if known in _OTHER_WORDS)

    def test(state: SwarmState, agent: Agent, now: float) -> bool:
        if agent.state in states or state.face(agent) in faces:
            return True
        return any(other(state, agent, now) for other in others)

    return test
