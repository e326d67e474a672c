"""A swarm that has no engine, from its journal: the same view as over the socket, but nothing can change."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Final, Self

from skep.clock import Clock
from skep.control.link import LinkState
from skep.control.service import TailChunk
from skep.control.verbs import Reply, Request
from skep.errors import Damaged, NotFound, Refused
from skep.journal import JournalReader, Row
from skep.model.codec import decode
from skep.model.events import Record
from skep.model.logs import log_path, read_log
from skep.model.registry import Registry, from_pages
from skep.model.swarm import SwarmState

_ROWS: Final = 5_000
_TROUBLE: Final = "its engine is gone and it has not ended: skep attach takes it up again"


class ArchiveLink:
    """A past swarm, or one whose engine died. Its registry is complete from the start."""

    def __init__(self, folder: Path, reader: JournalReader, state: SwarmState) -> None:
        self.folder = folder
        self.registry = Registry(state)
        self._reader = reader
        # Said once and for all: whoever asks may be looking at the state, and its lock is taken only once.
        trouble = None if state.status is not None else _TROUBLE
        self._said = LinkState(connected=True, live=False, read_only=True, trouble=trouble, gone=True)

    @classmethod
    def open(cls, folder: Path, clock: Clock, *, accept_loss: bool = False) -> Self:
        """Rebuild the state from the newest checkpoint and the events after it; blocks while it reads.

        Raises NotFound if there is no journal, Damaged if it does not prove itself; ``accept_loss`` shows what is
        left of a journal that lost its end.
        """
        reader = JournalReader(folder, accept_loss=accept_loss)
        try:
            return cls(folder, reader, _rebuild(reader))
        except BaseException:
            reader.close()
            raise

    @property
    def state(self) -> LinkState:
        """Complete, past, and read-only; the trouble says if the swarm did not come to its end."""
        return self._said

    async def call(self, request: Request) -> Reply:
        """No verb works on a swarm without an engine: always raises Refused."""
        with self.registry.read() as state:
            status = state.status
        if status is not None:
            raise Refused("the swarm has ended", where=str(self.folder), why=f"it is {status}")
        raise Refused(
            "the swarm has no engine", where=str(self.folder), why="it died", mend="skep attach takes it up again"
        )

    async def tail(self, agent: str, first: int = -500, limit: int = 500) -> TailChunk:
        """Output of an agent from line ``first`` on (negative: from the end). Raises NotFound."""
        one = self.registry.agent(agent)
        if one is None:
            raise NotFound(f"there is no agent {agent}", mend="skep tree lists them")
        path = log_path(self.folder, one)
        if path is None:
            return TailChunk(0, ())
        return await asyncio.to_thread(read_log, path, one.lines, first, limit)

    def follow(self, agent: str | None) -> None:
        """Nothing new will be said: does nothing."""

    def take_output(self) -> list[tuple[str, TailChunk]]:
        """Always nothing."""
        return []

    async def until(self, predicate: Callable[[SwarmState], bool], timeout: float | None = None) -> None:
        """Return if the state is so; what is not so will never be: Refused."""
        with self.registry.read() as state:
            if predicate(state):
                return
        raise Refused("the swarm has no engine: nothing will change", where=str(self.folder))

    async def records(self, after: int = 0, limit: int = 1_000) -> Sequence[Record]:
        """Events after this number, oldest first, at most ``limit``. Raises Damaged at a bad one."""
        return [_record(row) for row in self._reader.read(after, limit)]

    async def events(self, after: int = 0) -> AsyncIterator[Record]:
        """Every event after this number, to the last."""
        while records := await self.records(after, _ROWS):
            for record in records:
                yield record
            after = records[-1].seq

    async def close(self) -> None:
        """Let go of the journal; again is harmless."""
        self._reader.close()


def _rebuild(reader: JournalReader) -> SwarmState:
    state = _newest_checkpoint(reader)
    while rows := reader.read(state.seq, _ROWS):
        for row in rows:
            state.fold(_record(row))
    return state


def _newest_checkpoint(reader: JournalReader) -> SwarmState:
    at_or_before: int | None = None
    while (checkpoint := reader.checkpoint(at_or_before)) is not None:
        try:
            return from_pages(checkpoint.pages)
        except Damaged:
            # An older one, or the events themselves, give the same state: only slower.
            at_or_before = checkpoint.seq - 1
    return SwarmState()


def _record(row: Row) -> Record:
    return Record(row.seq, row.time, decode(row.body))
