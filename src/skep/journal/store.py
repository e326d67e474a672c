"""The owner's side of the disk: database and head mark, step by step and in one thread."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Sequence
from contextlib import closing, suppress
from dataclasses import replace
from pathlib import Path

from skep.errors import Damaged
from skep.journal.chain import Chain, Row
from skep.journal.checkpoints import newest_anchor, write_checkpoint
from skep.journal.database import (
    DATABASE,
    UNLIMITED_PAGES,
    UNREADABLE,
    log_of,
    open_for_reading,
    open_for_writing,
    transaction,
    write_error,
)
from skep.journal.headmark import Head, HeadMark, create_head, read_head, sync_data
from skep.journal.proof import has_database, prove_end, prove_rows
from skep.journal.salvage import finish, needs_salvage, salvage


class Store:
    """An open journal, proven up to its end; every step may be repeated after an error.

    Raises Damaged if acknowledged rows are gone or do not prove themselves, sqlite3.Error or OSError.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / DATABASE
        head = _prepare(folder)
        self._chain = _proven(folder, head)
        self._pages: int | None = None
        self._connection = open_for_writing(self.path)
        try:
            self._head = HeadMark(folder)
        except BaseException:
            self._connection.close()
            raise
        if self.last > head.seq:
            self._adopt()

    @property
    def last(self) -> int:
        """The number of the last committed row."""
        return self._chain.seq

    def limit(self, pages: int | None) -> None:
        """Let the database grow to so many pages of 4 KiB and no further; None lifts the limit."""
        if pages != self._pages:
            self._connection.execute(f"PRAGMA max_page_count = {pages or UNLIMITED_PAGES}")
            self._pages = pages

    def commit(self, rows: Sequence[Row]) -> None:
        """Make rows durable, all or none; raises sqlite3.Error."""
        if rows[-1].seq <= self._chain.seq:
            return  # an earlier attempt came this far and failed at the mark
        chain = replace(self._chain)
        records = [chain.add(row) for row in rows]
        with transaction(self._connection):
            self._connection.executemany("INSERT INTO row VALUES (?, ?, ?, ?)", records)
        self._chain = chain

    def mark(self) -> None:
        """Name the last committed row in the head mark; raises OSError."""
        self._head.write(self._chain)

    def checkpoint(self, seq: int, pages: Sequence[bytes]) -> None:
        """Store a checkpoint of the committed row ``seq``; raises sqlite3.Error."""
        write_checkpoint(self._connection, seq, pages)

    def close(self) -> None:
        """Leave one plain database file behind; where that cannot be, the log stays beside it and is as good."""
        with suppress(sqlite3.Error):  # a reader holds on to the log, or the disk is full: nothing is lost by it
            self._connection.execute("PRAGMA busy_timeout = 0")
            self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            self._connection.execute("PRAGMA journal_mode = DELETE")
        self._connection.close()
        self._head.close()

    def _adopt(self) -> None:
        """Acknowledge rows that a crash left between COMMIT and the head mark: they may not be on the disk yet."""
        try:
            log = log_of(self.path)
            if log.exists():
                fd = os.open(log, os.O_RDONLY)
                try:
                    sync_data(fd)
                finally:
                    os.close(fd)
            self.mark()
        except BaseException:
            self.close()
            raise


def open_store(folder: Path, *, accept_loss: bool) -> tuple[Store, tuple[int, int] | None]:
    """Open a store, if need be up to its last provable row only; returns it with the numbers that were given up.

    Raises Damaged (without ``accept_loss``: if anything acknowledged is missing or changed), NoSpace or Refused.
    """
    path = folder / DATABASE
    try:
        # Who accepts a loss wants an end of the trouble, also of what would only show when it is written.
        if not (accept_loss and needs_salvage(folder)):
            return _open(folder), None
    except Damaged:
        if not accept_loss:
            raise
    try:
        lost = salvage(folder)
    except UNREADABLE as error:
        raise write_error(error, path) from error
    return _open(folder), lost


def _open(folder: Path) -> Store:
    try:
        return Store(folder)
    except UNREADABLE as error:
        raise write_error(error, folder / DATABASE) from error


def _prepare(folder: Path) -> Head:
    """Make what is not there yet and read the head mark, in an order that a crash may cut anywhere."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    finish(folder)
    head = read_head(folder)
    if not has_database(folder, head):
        if not head.present:
            # The mark comes first: a database without one is then always a loss, never a birth.
            create_head(folder)
            head = read_head(folder)
        open_for_writing(folder / DATABASE).close()
    return head


def _proven(folder: Path, head: Head) -> Chain:
    """The end of the chain, reached without a change to any file: what is damaged stays as it was found."""
    with closing(open_for_reading(folder / DATABASE)) as connection:
        last = prove_end(connection, folder, head)
        chain = newest_anchor(connection)
        prove_rows(connection, folder, chain, last)
    return chain
