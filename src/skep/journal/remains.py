"""What is left of a damaged journal: how far it proves itself, and how many acknowledged events are not there."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass, replace
from pathlib import Path

from skep.errors import Damaged, NotFound
from skep.journal.chain import GENESIS, Chain
from skep.journal.checkpoints import newest_anchor
from skep.journal.database import DATABASE, create_schema, digest_of, last_row, open_for_reading, reading
from skep.journal.headmark import Head, read_head
from skep.journal.proof import has_database, prove_end, prove_rows


@dataclass(frozen=True, slots=True)
class Damage:
    """What a look at a damaged journal has to say.

    ``sound`` is the number of the last event that proves itself, 0 if none does; ``missing`` counts acknowledged
    events after it that are gone or changed, at least so many if ``is_lower_bound``; ``error`` says it in words.
    """

    sound: int
    missing: int
    is_lower_bound: bool
    error: Damaged

    @property
    def loss(self) -> str:
        """How much is missing and from where on, in words."""
        if self.missing:
            count = f"{'at least ' if self.is_lower_bound else ''}{self.missing:,}"
            events = "acknowledged event is" if self.missing == 1 else "acknowledged events are"
            return f"{count} {events} missing, from {self.sound + 1} on"
        if self.is_lower_bound:
            return f"nobody can tell whether acknowledged events after {self.sound} are missing"
        return "no acknowledged event is missing"

    def mended_by(self, mend: str) -> Damage:
        """The same with this mend, for who knows more of the swarm than its journal does."""
        return replace(self, error=_error(self, self.error.where, self.error.why, mend))


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


def open_remains(folder: Path) -> Remains:
    """Look how far a journal proves itself; changes nothing.

    Raises NotFound if there never was one, Refused if it may not be read now or a newer skep wrote it.
    """
    path = folder / DATABASE
    faults: list[Damaged] = []
    with reading(path):
        head = read_head(folder)
    connection = _opened(folder, head, faults)
    readable = not faults
    try:
        chain = _follow(connection, folder, faults)
        seen = chain.seq
        try:
            with reading(path):
                seen = last_row(connection)
                prove_end(connection, folder, head)
        except Damaged as error:
            faults.append(error)
            chain = _before_the_strange(connection, chain, head)
    except BaseException:
        connection.close()
        raise
    newest = max(head.seq, seen, chain.seq)
    damage = _damage(folder, head, chain.seq, newest, faults) if faults else None
    return Remains(connection, readable, chain, newest, damage)


def _opened(folder: Path, head: Head, faults: list[Damaged]) -> sqlite3.Connection:
    path = folder / DATABASE
    try:
        with reading(path):
            if not has_database(folder, head):
                raise NotFound("there is no journal here", where=str(folder))
            return open_for_reading(path, any_format=True)
    except Damaged as error:
        faults.append(error)
        connection = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
        create_schema(connection)
        return connection


def _follow(connection: sqlite3.Connection, folder: Path, faults: list[Damaged]) -> Chain:
    """Prove rows from the newest checkpoint on, or from the first one, as far as they go."""
    path = folder / DATABASE
    chain = Chain()
    try:
        with reading(path):
            chain = newest_anchor(connection)
    except Damaged as error:
        faults.append(error)  # the rows may be sound all the same
    try:
        with reading(path):
            prove_rows(connection, folder, chain)
    except Damaged as error:
        faults.insert(0, error)
    return chain


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


def _damage(folder: Path, head: Head, sound: int, newest: int, faults: list[Damaged]) -> Damage:
    is_lower_bound = head.newest is None or head.torn
    missing = max(0, (newest if is_lower_bound else head.seq) - sound)
    first = faults[0]
    why = f"{first.what}: {first.why}" if first.why else first.what
    damage = Damage(sound, missing, is_lower_bound, first)
    mend = "restore the folder from a copy, or go on with what is left (--accept-loss)"
    return replace(damage, error=_error(damage, first.where or str(folder / DATABASE), why, mend))


def _error(damage: Damage, where: str | None, why: str | None, mend: str) -> Damaged:
    return Damaged(f"the journal is damaged: {damage.loss}", where=where, why=why, mend=mend)
