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
from skep.journal import Damage, JournalReader
from skep.model.events import Record
from skep.model.logs import log_path, read_log
from skep.model.registry import Registry
from skep.model.swarm import SwarmState
from skep.replay import record_of, replay

_ROWS: Final = 5_000
_TROUBLE: Final = "its engine is gone and it has not ended: skep attach takes it up again"


class NothingLeft(Damaged):
    """A journal in which no event is sound: there is nothing to show."""

    def __init__(self, damage: Damage) -> None:
        error = damage.error
        super().__init__(error.what, where=error.where, why=error.why, mend=error.mend)
        self.damage = damage


class ArchiveLink:
    """A past swarm, or one whose engine died. Its registry is complete from the start.

    Of a damaged journal it shows everything up to the last sound event, and its state says so for good.
    """

    def __init__(self, folder: Path, reader: JournalReader, state: SwarmState) -> None:
        self.folder = folder
        self.registry = Registry(state)
        self._reader = reader
        # Said once and for all: whoever asks may be looking at the state, and its lock is taken only once.
        trouble = None if state.status is not None else _TROUBLE
        damage = _with_mend(reader.damage, folder) if reader.damage is not None else None
        if damage is not None:
            trouble = "; ".join(part for part in (damage.error.what, damage.error.mend, trouble) if part)
        self._said = LinkState(
            connected=True, live=False, read_only=True, trouble=trouble, gone=True, damage=damage
        )

    @classmethod
    def open(cls, folder: Path, clock: Clock, *, whole: bool = True) -> Self:
        """Rebuild the state from the newest checkpoint and the events after it; blocks while it reads.

        Unless ``whole``, what the checkpoint stands for is not looked at, which is quicker.

        Raises NotFound if there is no journal, NothingLeft if nothing in it proves itself.
        """
        reader = JournalReader(folder, accept_loss=True, whole=whole)
        try:
            if reader.damage is not None and not reader.damage.sound:
                raise NothingLeft(_with_mend(reader.damage, folder))
            return cls(folder, reader, replay(reader).state)
        except BaseException:
            reader.close()
            raise

    @property
    def state(self) -> LinkState:
        """Past and read-only; the trouble says if the swarm did not come to its end, or if the journal did not."""
        return self._said

    async def call(self, request: Request) -> Reply:
        """No verb works on a swarm without an engine: always raises Refused."""
        with self.registry.read() as state:
            status = state.status
        if status is not None:
            raise Refused("the swarm has ended", where=str(self.folder), why=f"it is {status}")
        damage = self._said.damage if self._said.damage is not None and self._said.damage.blocks else None
        raise Refused(
            "the swarm has no engine",
            where=str(self.folder),
            why=f"it died, and {damage.error.what}" if damage is not None else "it died",
            mend=damage.error.mend if damage is not None else "skep attach takes it up again",
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
        """Sound events after this number, oldest first, at most ``limit``.

        Raises Damaged at one that is bad although a later checkpoint stands for it.
        """
        try:
            rows = self._reader.read(after, limit)
        except Damaged as error:
            # What a checkpoint stands for is not given up by accepting a loss.
            mend = "restore its folder from a copy; the state of the swarm comes from a checkpoint and is whole"
            raise Damaged(error.what, where=error.where, why=error.why, mend=mend) from error
        return [record_of(row) for row in rows]

    async def events(self, after: int = 0) -> AsyncIterator[Record]:
        """Every sound event after this number, to the last."""
        while records := await self.records(after, _ROWS):
            for record in records:
                yield record
            after = records[-1].seq

    async def close(self) -> None:
        """Let go of the journal; again is harmless."""
        self._reader.close()


def _with_mend(damage: Damage, folder: Path) -> Damage:
    """The same with what the operator of this swarm can do."""
    if not damage.blocks:
        return damage.mended_by("restore its folder from a copy, if that event matters: the state does without it")
    if not damage.sound:
        return damage.mended_by(f"restore its folder from a copy; skep clean --force {folder.name} removes it")
    return damage.mended_by(
        f"restore its folder from a copy, or skep recover {folder.name} --accept-loss goes on with what is left"
    )
