"""The slot of one agent, shared by all that it does at once: given back when nothing of it works any more."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

from skep.drivers.chat.trail import Trail
from skep.drivers.progress import Progress
from skep.model.permits import Note, Permits
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
    """Counts what works and what waits; the engine is told when the last thing waits, and when one goes on.

    The progress clock of the agent stands as long as nothing of it works: while all of it waits, or wants to know
    something of the engine, whose time is not the agent's.
    """

    def __init__(self, permits: Permits, agent: str, generation: int, progress: Progress, trail: Trail) -> None:
        self._permits = permits
        self._agent = agent
        self._progress = progress
        self._trail = trail
        self._working = 1  # the conversation itself
        self._asking = 0
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
        self._count(-1)
        try:
            with self._trail.wait(f"{reason}: {detail}"):
                await self._tell()
                yield
        finally:
            # Whoever is cut short does not go on: it only puts the count right.
            self._waits.remove(wait)
            self._count(1)
        await self.back()

    @contextmanager
    def asking(self) -> Iterator[None]:
        """Ask the engine for something; until it answers, whoever asks does not work."""
        self._asking += 1
        self._run_clock()
        try:
            yield
        finally:
            self._asking -= 1
            self._run_clock()

    async def go(self) -> None:
        """May the next model call or tool start? Raises Refused once the agent is stopping."""
        with self.asking():
            await self._permits.go(self._agent, self.generation)

    async def note(self, note: Note) -> None:
        """Keep a part of the conversation. Raises Refused once the agent has ended."""
        with self.asking():
            await self._permits.note(self._agent, self.generation, note)

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
        self._count(count - 1)
        try:
            yield
        finally:
            self._count(1 - self._working)

    @asynccontextmanager
    async def one(self) -> AsyncIterator[None]:
        """One of those things, until it has ended."""
        try:
            yield
        finally:
            self._count(-1)
        await self._tell()

    async def back(self) -> None:
        """Make sure that whoever goes on now holds the slot: the conversation, or one that has waited."""
        with self.asking():
            await self._tell()

    def _count(self, change: int) -> None:
        self._working += change
        self._run_clock()

    def _run_clock(self) -> None:
        (self._progress.go_on if self._working > self._asking else self._progress.stand)()

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
                else:
                    return
