"""Brings the output of the cursor's agent into the tail: asked for when the cursor rests, then followed."""

from __future__ import annotations

from collections.abc import Callable, Coroutine

from skep.control.link import Link
from skep.control.service import TailChunk
from skep.errors import SkepError
from skep.room.widgets.tail import Tail

FIRST_LINES = 2_000
"""Lines that are asked for when the cursor comes to an agent."""


class Listening:
    """One agent is listened to at a time; what comes for others is dropped."""

    def __init__(
        self,
        link: Link,
        tail: Tail,
        load: Callable[[Coroutine[None, None, None]], None],
        fail: Callable[[SkepError], None],
    ) -> None:
        self._link = link
        self._tail = tail
        self._load = load
        self._fail = fail
        self._agent: str | None = None
        self._rested = False
        self._asked = False
        self._loaded = False
        self._early: list[TailChunk] = []

    def turn_to(self, agent: str | None) -> None:
        """The cursor came to another agent; nothing is asked for before it has rested there for a tick."""
        self._agent = agent
        self._rested = self._asked = self._loaded = False
        self._early.clear()

    def ask_again(self) -> None:
        """Fetch what came since, when an agent has ended and the last lines may not have been told."""
        if self._loaded and self._agent is not None:
            self._load(self._fetch(self._agent, self._tail.next))

    def tick(self, *, frozen: bool = False) -> None:
        """Hand on what was told (unless the screen is frozen), and ask for what the cursor rests on."""
        for agent, chunk in self._link.take_output() if not frozen else ():
            if agent == self._agent and self._asked:
                if self._loaded:
                    self._tail.take(chunk)
                else:
                    self._early.append(chunk)
        if self._agent is not None and not self._asked and self._link.state.connected:
            if self._rested:
                self._asked = True
                # Told from now on, so that nothing falls between the answer and the first news.
                self._link.follow(self._agent)
                self._load(self._fetch(self._agent, -FIRST_LINES))
            self._rested = True

    async def _fetch(self, agent: str, first: int) -> None:
        try:
            chunk = await self._link.tail(agent, first=first, limit=FIRST_LINES)
        except SkepError as error:
            if self._link.state.connected:
                self._fail(error)
            elif agent == self._agent:
                # The banner says that the link is lost; asked again once it is back.
                self._asked = False
            return
        if agent != self._agent:
            return
        self._tail.take(chunk)
        self._loaded = True
        for early in self._early:
            self._tail.take(early)
        self._early.clear()
