"""What is left of a damaged journal: how far it proves itself, and how many acknowledged events are not there."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass, replace
from pathlib import Path

from skep.errors import Damaged, NotFound
from skep.journal.chain import GENESIS, Chain
from skep.journal.checkpoints import newest_anchor
from skep.journal.database import (
    DATABASE,
    check_format,
    digest_of,
    empty,
    last_row,
    open_for_reading,
    reading,
)
from skep.journal.headmark import Head, read_head
from skep.journal.proof import has_database, prove_end, prove_rows

WALKED = 100_000
"""So many rows before the newest checkpoint are proven at once (2 us a row); of more, each when it is read."""


@dataclass(frozen=True, slots=True)
class Damage:
    """What a look at a damaged journal has to say; ``error`` says it in words.

    ``sound`` is the last event of which the state can be told, 0 if there is none; ``missing`` counts acknowledged
    events after it that are gone or changed, at least so many if ``is_lower_bound``. An event before it may be
    ``unreadable``: a checkpoint stands for all up to its own number.
    """

    sound: int
    missing: int
    is_lower_bound: bool
    unreadable: int | None
    blocks: bool
    """The journal can only be written again by whoever accepts the loss."""
    error: Damaged

    @property
    def loss(self) -> str:
        """How much is missing and from where on, in words."""
        words = []
        if self.missing:
            count = f"{'at least ' if self.is_lower_bound else ''}{self.missing:,}"
            events = "acknowledged event is" if self.missing == 1 else "acknowledged events are"
            words.append(f"{count} {events} missing, from {self.sound + 1} on")
        elif self.is_lower_bound:
            words.append(f"nobody can tell whether acknowledged events after {self.sound} are missing")
        if self.unreadable is not None:
            whole = "" if words else ", but a checkpoint stands for it and the state is whole"
            words.append(f"event {self.unreadable} cannot be read{whole}")
        return "; ".join(words) or "no acknowledged event is missing"

    def mended_by(self, mend: str) -> Damage:
        """The same with this mend, for who knows more of the swarm than its journal does."""
        what = f"the journal is damaged: {self.loss}"
        return replace(self, error=Damaged(what, where=self.error.where, why=self.error.why, mend=mend))


@dataclass(slots=True)
class Remains:
    """A connection to what can be read (an empty database if nothing can: not ``readable``), and what was found.

    ``chain`` stands at the last sound row, ``newest`` is the highest number that was seen or acknowledged, and
    ``damage`` is None if everything is sound.
    """

    connection: sqlite3.Connection
    readable: bool
    chain: Chain
    newest: int
    damage: Damage | None


def open_remains(folder: Path, *, whole: bool = True) -> Remains:
    """Look how far a journal proves itself, and (``whole``) whether that holds for all before; changes nothing.

    Raises NotFound if there never was one, Refused if it may not be read now or a newer skep wrote it.
    """
    path = folder / DATABASE
    with reading(path):
        head = read_head(folder)
    faults: list[Damaged] = []
    connection, readable = _opened(folder, head, faults)
    try:
        chain, gap = _follow(connection, folder, faults, WALKED if whole else 0)
        seen = chain.seq
        try:
            with reading(path):
                seen = last_row(connection)
                if seen < head.seq:
                    why = "its last writes were lost or damaged"
                    raise Damaged("the database ends before the head mark", where=str(path), why=why)
                prove_end(connection, folder, head)
                if not faults:
                    prove_rows(connection, folder, chain, seen)
        except Damaged as error:
            faults.append(error)
            chain = _before_the_strange(connection, chain, head)
    except BaseException:
        connection.close()
        raise
    newest = max(head.seq, seen, chain.seq)
    damage = _damage(folder, head, chain.seq, newest, faults, gap) if faults or gap is not None else None
    return Remains(connection, readable, chain, newest, damage)


@dataclass(frozen=True, slots=True)
class _Gap:
    """The first event before the newest checkpoint that does not prove itself."""

    seq: int
    error: Damaged


def _opened(folder: Path, head: Head, faults: list[Damaged]) -> tuple[sqlite3.Connection, bool]:
    path = folder / DATABASE
    try:
        with reading(path):
            if not has_database(folder, head):
                raise NotFound("there is no journal here", where=str(folder))
            connection = open_for_reading(path, any_format=True)
    except Damaged as error:
        faults.append(error)
        return empty(), False
    try:
        with reading(path):
            check_format(connection, path)
    except Damaged as error:
        faults.append(error)
    return connection, True


def _follow(
    connection: sqlite3.Connection, folder: Path, faults: list[Damaged], most: int
) -> tuple[Chain, _Gap | None]:
    """Prove rows from the newest checkpoint on, as far as they go; those before it if they are few."""
    path = folder / DATABASE
    chain = Chain()
    gap = None
    try:
        with reading(path):
            chain = newest_anchor(connection)
    except Damaged as error:
        faults.append(error)  # the rows may be sound all the same
    if 0 < chain.seq <= most:
        before = Chain()
        try:
            with reading(path):
                prove_rows(connection, folder, before, chain.seq)
        except Damaged as error:
            gap = _Gap(before.seq + 1, error)
    try:
        with reading(path):
            prove_rows(connection, folder, chain)
    except Damaged as error:
        faults.insert(0, error)
    return chain, gap


def _before_the_strange(connection: sqlite3.Connection, chain: Chain, head: Head) -> Chain:
    """The end of what may be believed if rows prove each other but are not those that were acknowledged."""
    mark = head.newest
    if mark is None or not 0 < mark.seq <= chain.seq:
        return chain
    try:
        if digest_of(connection, mark.seq) == mark.digest:
            return chain
        before = digest_of(connection, mark.seq - 1) if mark.seq > 1 else GENESIS
    except sqlite3.Error:
        before = None
    return Chain(mark.seq - 1, before) if before is not None else Chain()


def _damage(folder: Path, head: Head, sound: int, newest: int, faults: list[Damaged], gap: _Gap | None) -> Damage:
    is_lower_bound = bool(faults) and (head.newest is None or head.torn)
    missing = max(0, (newest if is_lower_bound else head.seq) - sound)
    first = faults[0] if faults or gap is None else gap.error
    why = f"{first.what}: {first.why}" if first.why else first.what
    error = Damaged(first.what, where=first.where or str(folder / DATABASE), why=why)
    unreadable = gap.seq if gap is not None and gap.seq <= sound else None
    damage = Damage(sound, missing, is_lower_bound, unreadable, bool(faults), error)
    if faults:
        return damage.mended_by("restore the folder from a copy, or go on with what is left (--accept-loss)")
    return damage.mended_by("restore the folder from a copy, if that event matters: the state does without it")
