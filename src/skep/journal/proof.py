"""The proof that a database still holds every row that was ever acknowledged."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from skep.errors import Damaged
from skep.journal.chain import Chain, broken
from skep.journal.database import DATABASE, PAGE_SIZE, digest_of, last_row, undo_of
from skep.journal.headmark import HEAD, Head, Mark

_ACCEPT = "restore the folder from a copy, or go on with what is left (--accept-loss)"


def has_database(folder: Path, head: Head) -> bool:
    """Whether there is a database to look at; raises Damaged if it is gone although rows were acknowledged."""
    path = folder / DATABASE
    if path.exists() and path.stat().st_size >= PAGE_SIZE:
        # What a crash left half born held nothing that was acknowledged; SQLite takes the half step back.
        is_new = head.newest is not None and head.seq == 0
        return not (is_new and undo_of(path).exists())
    if head.seq:
        raise missing(folder, 1, head.seq)
    return False


def prove_end(connection: sqlite3.Connection, folder: Path, head: Head) -> int:
    """Compare the end of the database with the head mark; returns the number of the last row.

    The head must have been read before: an owner at work writes the database first and the mark second. A database
    that is newer than its mark is sound, for a crash may fall between the two. Raises Damaged or sqlite3.Error.
    """
    mark = _marked(folder, head)
    last = last_row(connection)
    if last < mark.seq:
        raise missing(folder, last + 1, mark.seq)
    if head.torn and last == mark.seq:
        # A slot torn by a crash was about to name rows that COMMIT had already made durable: they would be here.
        raise Damaged(
            "the newest head mark is unreadable and no row is newer than the one before",
            where=str(folder / HEAD),
            why=f"rows after {last} may have been acknowledged and lost",
            mend=_ACCEPT,
        )
    if mark.seq and digest_of(connection, mark.seq) != mark.digest:
        raise Damaged(
            f"row {mark.seq} of the journal is not the one that was acknowledged",
            where=str(folder / DATABASE),
            why="its hash differs from the head mark",
            mend=_ACCEPT,
        )
    return last


def prove_rows(connection: sqlite3.Connection, folder: Path, chain: Chain, until: int | None = None) -> None:
    """Follow the chain from where it stands to the last row, or to the row ``until``, which must then be there.

    Raises Damaged at the first bad one, or sqlite3.Error.
    """
    where = str(folder / DATABASE)
    if chain.seq == until:
        return
    for record in connection.execute(
        "SELECT seq, time, digest, body FROM row WHERE seq > ? ORDER BY seq", (chain.seq,)
    ):
        chain.follow(record, where)
        if chain.seq == until:
            return
    if until is not None:
        # A tree whose pages are damaged may end a walk before its last row.
        raise broken(chain.seq + 1, where, "the row is missing")


def missing(folder: Path, first: int, last: int) -> Damaged:
    """The error for acknowledged rows that are gone from the end."""
    count = last - first + 1
    return Damaged(
        f"{count} acknowledged {'event is' if count == 1 else 'events are'} missing: {first} to {last}",
        where=str(folder / DATABASE),
        why="the database ends before the head mark: its last writes were lost or damaged",
        mend=_ACCEPT,
    )


def _marked(folder: Path, head: Head) -> Mark:
    if head.newest:
        return head.newest
    raise Damaged(
        "the head mark is unreadable" if head.present else "the head mark is missing",
        where=str(folder / HEAD),
        why="without it nobody can tell whether acknowledged events were lost",
        mend=_ACCEPT,
    )
