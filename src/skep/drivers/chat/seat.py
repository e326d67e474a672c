"""The slot of one agent, shared by all that it does at once: given back when nothing of it works any more."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager

from skep.model.permits import Permits
from skep.model.states import WaitReason

_ORDER = (
    WaitReason.APPROVAL,
    WaitReason.BUDGET,
    WaitReason.CHILD,
    WaitReason.GATE,
    WaitReason.KEY,
    WaitReason.SLOT,
)
"""What a row should say first, if several things of an agent wait for different reasons."""


class Seat:
    """Counts what works and what waits; the engine is told when the last thing waits, and when one goes on."""

    def __init__(self, permits: Permits, agent: str, generation: int, went_on: Callable[[], None]) -> None:
        """``went_on`` is called whenever the agent goes on after a wait."""
        self._permits = permits
        self._agent = agent
        self._went_on = went_on
        self._working = 1  # the conversation itself
        self._waits: list[tuple[WaitReason, str]] = []
        self._resting = False
        self._lock = asyncio.Lock()
        self.generation = generation

    @asynccontextmanager
    async def waiting(self, reason: WaitReason, detail: str) -> AsyncIterator[None]:
        """Wait for as long as the context lasts; at its end the agent holds a slot again.

        Raises Refused when it is stopping.
        """
        wait = (reason, detail)
        self._waits.append(wait)
        self._working -= 1
        try:
            await self._tell()
            yield
        finally:
            # Whoever is cut short does not go on: it only puts the count right.
            self._waits.remove(wait)
            self._working += 1
        await self._tell()

    async def turn(self) -> None:
        """Wait for as long as a latch holds its model calls, with the slot given back.

        Raises Refused when it is stopping.
        """
        while held := await self.held():
            async with self.waiting(WaitReason.GATE, held):
                await self._permits.released(self._agent, self.generation)

    async def held(self) -> str:
        """What holds its next model call, in words; empty if nothing does."""
        return await self._permits.held(self._agent, self.generation)

    async def holds_slot(self) -> bool:
        """False if its slot went to somebody else while it waited: it has to stand in line for another one."""
        return not self._resting or await self._permits.seated(self._agent, self.generation)

    @contextmanager
    def branched(self, count: int) -> Iterator[None]:
        """Instead of the conversation so many things work now, each of them inside :meth:`one`."""
        self._working += count - 1
        try:
            yield
        finally:
            self._working = 1

    @asynccontextmanager
    async def one(self) -> AsyncIterator[None]:
        """One of those things, until it has ended."""
        try:
            yield
        finally:
            self._working -= 1
        await self._tell()

    async def back(self) -> None:
        """Make sure that the conversation, which goes on now, holds its slot."""
        await self._tell()

    async def _tell(self) -> None:
        """Bring what the engine knows in line with the counts."""
        async with self._lock:
            while True:
                if not self._working and self._waits and not self._resting:
                    reason, detail = min(self._waits, key=lambda wait: _ORDER.index(wait[0]))
                    keeps = all(wait[0] is WaitReason.KEY for wait in self._waits)
                    await self._permits.rest(self._agent, self.generation, reason, detail, keeps_slot=keeps)
                    self._resting = True
                elif self._working and self._resting:
                    self.generation = await self._permits.resume(self._agent, self.generation)
                    self._resting = False
                    self._went_on()
                else:
                    return
