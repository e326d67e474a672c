"""Getting hold of the swarm that an address names: through its engine if one runs, else from its journal."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from skep.cli.printing import complain, note
from skep.clock import Clock
from skep.control.archive import ArchiveLink
from skep.control.client import SocketLink
from skep.control.swarms import Target, engine_pid, find, find_agent
from skep.errors import NotFound, Unreachable
from skep.journal import Damage
from skep.model.events import ROOT, Json
from skep.model.registry import Registry
from skep.text import clean_line, duration

AnyLink: TypeAlias = SocketLink | ArchiveLink
"""A swarm as a command sees it; only the first kind can change."""

CHANGING = 5.0
"""Seconds in which an engine that begins or ends must have opened or left its folder."""

TRIES_EVERY = 0.05
"""Seconds between two tries to reach it meanwhile."""

PATIENT = 1.0
"""Seconds that a verb may take before somebody wants to know what keeps it."""

LOOKS_EVERY = 0.1
"""Seconds between two looks whether one does."""

PERSON = "you"
"""What the engine writes down as the one who asked."""


class EngineDied(Unreachable):
    """The engine went away while somebody waited for its swarm."""

    exit_code = 1


def engine_died(swarm: str) -> EngineDied:
    """The error for a run whose engine is gone before the swarm has ended."""
    return EngineDied(
        "the engine has died and the swarm has not ended",
        where=swarm,
        why="what it had begun is ended; what waited is kept",
        mend=f"skep attach {swarm} takes it up again, held; skep recover {swarm} --go lets it go on",
    )


@contextlib.asynccontextmanager
async def opened(
    folder: Path,
    clock: Clock,
    *,
    read_only: bool = False,
    once: bool = False,
    whole: bool = True,
    aloud: bool = True,
) -> AsyncIterator[AnyLink]:
    """A link to the swarm of this folder; ``once`` keeps the picture of this moment.

    Of a journal without an engine the ``whole`` is proven, or else only what the state of the swarm comes from.

    An engine has no socket yet in its first moment and none any more in its last; both are waited out. A verb that
    has to wait says on standard error for what, unless that belongs to somebody else (``aloud`` false).

    Raises ``Unreachable`` if its engine does not answer, ``Damaged`` if nothing in its journal proves itself.
    """
    patience = clock.monotonic() + CHANGING
    while True:
        try:
            link: AnyLink
            if engine_pid(folder) is not None:
                link = await SocketLink.connect(folder, client=PERSON, read_only=read_only, once=once, clock=clock)
            else:
                link = ArchiveLink.open(folder, clock, whole=whole)
            break
        except Unreachable:
            # While an engine is there its journal is not ours to read.
            if clock.monotonic() >= patience:
                raise
        except NotFound:
            if clock.monotonic() >= patience or not _is_young(folder, clock):
                raise
        await clock.sleep(TRIES_EVERY)
    speaking = asyncio.create_task(_say_what_keeps(link, clock)) if aloud else None
    try:
        yield link
    finally:
        if speaking is not None:
            speaking.cancel()
            await asyncio.gather(speaking, return_exceptions=True)
        await link.close()


async def _say_what_keeps(link: AnyLink, clock: Clock) -> None:
    """While a verb waits, say for what, and again when that is something else."""
    said = ""
    while isinstance(link, SocketLink):
        await clock.sleep(LOOKS_EVERY)
        if link.waiting < PATIENT:
            said = ""
            continue
        state = link.state
        silence = f"the engine has not said a word for {duration(state.behind)}" if state.silent else ""
        words = state.trouble or silence or "the engine has not answered yet"
        if words != said and not (said and silence):
            note(f"skep: still waiting: {clean_line(words)}")
            said = words


def _is_young(folder: Path, clock: Clock) -> bool:
    """True for a folder that was made just now: the journal may be about to begin."""
    return clock.time() - folder.stat().st_ctime <= CHANGING


@contextlib.asynccontextmanager
async def past(folder: Path, clock: Clock) -> AsyncIterator[ArchiveLink]:
    """What the journal of a swarm without an engine says of its state."""
    link = ArchiveLink.open(folder, clock, whole=False)
    try:
        yield link
    finally:
        await link.close()


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a swarm without an engine was left: when it ended (epoch seconds; None if its engine died before)."""

    ended_at: float | None
    damage: Damage | None
    """What its journal cannot prove: that it ended, or that it did not, is then the word of what is left."""


async def outcome_of(folder: Path, clock: Clock) -> Outcome:
    """What became of a swarm without an engine; raises ``Damaged`` if nothing in its journal proves itself."""
    noted = find(folder).outcome()
    if noted is not None:
        return Outcome(noted.ended_at, None)
    async with past(folder, clock) as link:
        with link.registry.read() as state:
            return Outcome(state.ended_at, link.state.damage)


def warn_of(damage: Damage | None) -> None:
    """Say on standard error that what follows is not all."""
    if damage is not None:
        complain(damage.error, prefix="skep: warning")


def damage_document(damage: Damage | None) -> dict[str, Json] | None:
    """The ``damage`` of ``tree --json`` and ``ls --json``; null for a journal that is whole."""
    if damage is None:
        return None
    return {
        "last_sound": damage.sound,
        "missing": damage.missing,
        "missing_is_lower_bound": damage.is_lower_bound,
        "unreadable": damage.unreadable,
        "what": damage.error.what,
        "why": damage.error.why,
        "mend": damage.error.mend,
    }


def agent_of(registry: Registry, target: Target) -> str:
    """The id of the agent that an address names; the root if it names a whole swarm."""
    if target.agent is None:
        return ROOT
    with registry.read() as state:
        return find_agent(state, target.agent)
