"""What all acts of the operator share: whether they may be sent, sending them, and how they are spoken of."""

from __future__ import annotations

from collections.abc import Coroutine, Sequence
from dataclasses import replace
from typing import Protocol

from skep.clock import Clock
from skep.control.link import Link, LinkState
from skep.control.verbs import Done, Reply, Request
from skep.errors import Refused, SkepError
from skep.model.agent import Face
from skep.model.holds import SWARM_SCOPE
from skep.model.swarm import SwarmState
from skep.room.keymap import Keymap
from skep.room.look import Look, Role
from skep.room.widgets.message import MessageLine, Part, Says, sentence
from skep.text import clean_line, duration


class Stage(Protocol):
    """What acting needs of the screen: a place to run in."""

    def run(self, work: Coroutine[None, None, None]) -> None:
        """Run it to its end, beside everything else."""


def refusal(state: LinkState) -> str | None:
    """Why nothing can be changed now, in words; None if it can."""
    if state.live and state.gone:
        return "its engine is gone: nothing is sent; skep recover takes it up again, and this room with it"
    if not state.live:
        return "this swarm is looked at from its journal: nothing can change"
    if state.read_only:
        return "read-only: attach without --read-only to act"
    if state.foreign:
        return f"nothing is sent, another version of skep runs it now: {clean_line(state.foreign, limit=100)}"
    if not state.connected:
        return f"nothing is sent, no engine answers: {state.trouble or 'the link is down'}"
    if state.silent:
        return f"nothing is sent: the engine has not said a word for {duration(state.behind)}"
    return None


def lives(state: SwarmState, agent: str) -> bool:
    """It is there and has not ended."""
    return agent in state.agents and not state.agents[agent].ended


class Sender:
    """Sends verbs, and knows how to speak of them."""

    def __init__(
        self, stage: Stage, link: Link, clock: Clock, message: MessageLine, look: Look, keymap: Keymap
    ) -> None:
        self._stage = stage
        self._link = link
        self._clock = clock
        self._message = message
        self._look = look
        self._keymap = keymap

    def refused(self) -> bool:
        """True, and said why, if nothing can be changed now."""
        why = refusal(self._link.state)
        if why is not None:
            self._message.tell(why, Role.AMBER)
        return why is not None

    def _nothing_here(self, agents: Sequence[str]) -> None:
        """The rows that a verb was meant for cannot take it."""
        words = f"{self._name_of(agents)} has ended already" if agents else "no agent under the cursor"
        self._message.tell(words, Role.GREY)

    async def _send(self, request: Request) -> Done | None:
        """Send a verb; None if it failed, which is said then."""
        try:
            reply: Reply = await self._link.call(request)
        except SkepError as error:
            self._message.fail(error)
            return None
        if isinstance(reply, Done):
            return reply
        self._message.fail(other_answer())
        return None

    def _act(self, face: Face, name: str, words: str, keys: Sequence[tuple[str, str]] = ()) -> Says:
        role = Role.BLUE if face in (Face.HELD, Face.STOPPING) else Role.GREY
        glyph = Part(f"{self._look.faces[face]} ", role)
        return replace(sentence(glyph, Part(name, bold=True), f"  {words}"), keys=tuple(keys))

    def _keys(self, *acts: tuple[str, str]) -> tuple[tuple[str, str], ...]:
        """Ids of acts, with a word each, as their keys with that word; those without a key are left out."""
        return tuple((self._keymap.key(act), word) for act, word in acts if self._keymap.key(act))

    def _name_of(self, agents: Sequence[str]) -> str:
        with self._link.registry.read() as state:
            if len(agents) != 1:
                return f"{len(agents)} agents"
            if agents[0] == SWARM_SCOPE:
                return "the swarm"
            agent = state.agents.get(agents[0])
            return clean_line(agent.name, limit=60) if agent is not None else agents[0]


def other_answer() -> Refused:
    """The error for a reply that belongs to another request."""
    return Refused("the engine gave an answer to another question", mend="update skep")
