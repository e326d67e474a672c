"""Checkpoints: opaque pages that stand for all rows up to a number, each guarded by a checksum."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b

from skep.journal.chain import DIGEST_SIZE, Chain
from skep.journal.database import digest_of, transaction

_KEPT = 2


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What somebody folded from the rows up to and including ``seq``, in pages of its own making."""

    seq: int
    pages: tuple[bytes, ...]


def write_checkpoint(connection: sqlite3.Connection, seq: int, pages: Sequence[bytes]) -> None:
    """Store a checkpoint of the row ``seq``, which must be there, and drop all but the last two.

    Raises sqlite3.Error; nothing has changed then.
    """
    digest = digest_of(connection, seq)
    if digest is None:
        raise ValueError(f"row {seq} is not in the journal")
    with transaction(connection):
        connection.execute("DELETE FROM page WHERE seq = ?", (seq,))
        connection.executemany(
            "INSERT INTO page VALUES (?, ?, ?, ?)",
            ((seq, number, _seal(seq, digest, number, body), body) for number, body in enumerate(pages)),
        )
        connection.execute(
            "INSERT OR REPLACE INTO checkpoint VALUES (?, ?, ?, ?)",
            (seq, digest, len(pages), _seal(seq, digest, len(pages))),
        )
        connection.execute(
            "DELETE FROM checkpoint WHERE seq NOT IN (SELECT seq FROM checkpoint ORDER BY seq DESC LIMIT ?)",
            (_KEPT,),
        )
        connection.execute("DELETE FROM page WHERE seq NOT IN (SELECT seq FROM checkpoint)")


def checkpointed(connection: sqlite3.Connection) -> list[int]:
    """The numbers of all checkpoints, sound or not, newest first; raises sqlite3.Error."""
    found = connection.execute("SELECT seq FROM checkpoint ORDER BY seq DESC")
    return [seq for (seq,) in found if isinstance(seq, int)]


def read_checkpoint(connection: sqlite3.Connection, seq: int) -> Checkpoint | None:
    """The checkpoint of a row, None if any part of it cannot be read or does not prove itself.

    Raises sqlite3.Error if the database may not be read at all.
    """
    try:
        return _read(connection, seq)
    except sqlite3.DatabaseError as error:
        if isinstance(error, sqlite3.OperationalError):
            raise
        return None  # its pages are damaged, and those of another one may not be


def _read(connection: sqlite3.Connection, seq: int) -> Checkpoint | None:
    anchor = _anchor(connection, seq)
    if anchor is None:
        return None
    digest, count = anchor
    pages: list[bytes] = []
    for number, seal, body in connection.execute(
        "SELECT number, seal, body FROM page WHERE seq = ? ORDER BY number", (seq,)
    ):
        if number != len(pages) or not isinstance(body, bytes) or seal != _seal(seq, digest, number, body):
            return None
        pages.append(body)
    return Checkpoint(seq, tuple(pages)) if len(pages) == count else None


def newest_anchor(connection: sqlite3.Connection) -> Chain:
    """The place from which the chain need be followed: the newest proven checkpoint, else the beginning."""
    for seq in checkpointed(connection):
        # With all its pages: without them it stands for nothing.
        if read_checkpoint(connection, seq) is not None:
            digest = digest_of(connection, seq)
            assert digest is not None
            return Chain(seq, digest)
    return Chain()


def _anchor(connection: sqlite3.Connection, seq: int) -> tuple[bytes, int] | None:
    found = connection.execute("SELECT digest, pages, seal FROM checkpoint WHERE seq = ?", (seq,)).fetchone()
    if found is None:
        return None
    digest, count, seal = found
    if not isinstance(digest, bytes) or not isinstance(count, int) or seal != _seal(seq, digest, count):
        return None
    return (digest, count) if digest == digest_of(connection, seq) else None


def _seal(seq: int, digest: bytes, number: int, body: bytes = b"") -> bytes:
    """A checksum over a page, bound to its place, its checkpoint and the rows that the checkpoint stands for."""
    place = b"%d %d %s " % (seq, number, digest)
    return blake2b(place + body, digest_size=DIGEST_SIZE).digest()
