"""Answers what agents ask: which question comes first, the dialog, and what is said of it on the message line."""

from __future__ import annotations

from typing import TYPE_CHECKING

from skep.clock import Clock
from skep.model.events import Json
from skep.model.swarm import SwarmState
from skep.room.look import Look, Role
from skep.room.screens.approve import ApproveDialog, Asked
from skep.text import clean_line

if TYPE_CHECKING:
    from skep.room.screens.main import MainScreen


class Answering:
    """Puts the dialog when it is asked for; it never opens by itself."""

    def __init__(self, screen: MainScreen, clock: Clock, look: Look) -> None:
        self._screen = screen
        self._clock = clock
        self._look = look
        self._told = False

    def tick(self) -> None:
        """The first time that an agent asks, say how it is answered."""
        if self._told or not self._screen.header.total.asking:
            return
        with self._screen.link.registry.read() as state:
            asked = oldest(state)
            name = clean_line(state.agents[asked].name, limit=60) if asked is not None else ""
        if asked is not None:
            self._told = True
            key = self._screen.keymap.key("answer")
            self._screen.message.tell(f"{name} asks: {key} answers it", Role.AMBER)

    def answer(self) -> None:
        """Put the question of the cursor's agent, or else the oldest."""
        screen = self._screen
        if screen.acting.refused():
            return
        with screen.link.registry.read() as state:
            here = screen.agents.cursor
            asked = Asked.of(state, here) if here is not None else None
            if asked is None:
                first = oldest(state)
                asked = Asked.of(state, first) if first is not None else None
        if asked is None:
            screen.message.tell("nothing asks", Role.GREY)
        else:
            self._told = True
            screen.run(self._put(asked))

    async def _put(self, asked: Asked) -> None:
        screen = self._screen
        dialog = ApproveDialog(asked, screen.link.registry, self._clock, self._look)
        allow = await screen.app.push_screen_wait(dialog)
        if allow is not None:
            await screen.acting.answer(asked.agent, asked.hash, allow=allow)
        elif dialog.overtaken:
            screen.message.tell(f"{dialog.overtaken}: nothing was sent", Role.AMBER)


def oldest(state: SwarmState) -> str | None:
    """The agent whose question will be denied first, which is the one that was asked first; None if none asks."""
    asking = [agent for agent in state.agents.values() if agent.question is not None and not agent.ended]
    first = min(asking, key=lambda agent: (_until(agent.question or {}), agent.order), default=None)
    return first.id if first is not None else None


def _until(question: dict[str, Json]) -> float:
    until = question.get("until")
    return float(until) if isinstance(until, int | float) else float("inf")
