"""Going on after an accepted loss: keep every row that proves itself, put the rest aside, mark the new end.

Nothing is deleted: a database that cannot be used as it stands stays in the folder as ``journal.db.damaged-1``.
"""

from __future__ import annotations

import itertools
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

from skep.errors import NotFound, SkepError
from skep.journal.chain import Record
from skep.journal.checkpoints import checkpointed, read_checkpoint, write_checkpoint
from skep.journal.database import DATABASE, create_schema, is_sound, log_of, transaction, undo_of
from skep.journal.headmark import create_head, sync_folder
from skep.journal.remains import open_remains

_PART = f"{DATABASE}.part"
_MENDED = f"{DATABASE}.mended"


def salvage(folder: Path) -> tuple[int, int] | None:
    """Make the journal end at its last provable row; returns the first and last number given up, None for none.

    May be interrupted and repeated. Raises OSError or sqlite3.Error if the folder cannot be written, Refused if
    the database has the format of a newer skep.
    """
    try:
        remains = open_remains(folder)
    except NotFound:
        finish(folder)
        create_head(folder)
        return None
    with closing(remains.connection) as source:
        sound = remains.chain
        # Rows that all prove themselves may still stand in a file that SQLite cannot write any more.
        if sound.seq < remains.newest or not remains.readable or not is_sound(source, folder / DATABASE):
            _copy(source, folder, sound.seq)
    finish(folder)
    create_head(folder, sound)
    return (sound.seq + 1, remains.newest) if remains.newest > sound.seq else None


def needs_salvage(folder: Path) -> bool:
    """Whether anything in the journal is damaged, also where opening it would not come across; a long look."""
    try:
        remains = open_remains(folder)
    except SkepError:
        return False  # there is none, or it may not be touched: whoever opens it is told
    with closing(remains.connection) as source:
        return remains.damage is not None or not is_sound(source, folder / DATABASE)


def finish(folder: Path) -> None:
    """Put a mended database in the place of the damaged one, if a salvage came so far; raises OSError."""
    mended = folder / _MENDED
    if not mended.exists():
        return
    path = folder / DATABASE
    aside = _free_name(folder)
    if path.exists():
        os.link(path, aside)
    # A log must leave before the database changes, or SQLite would play it into the wrong one.
    for companion, name in ((log_of(path), log_of(aside)), (undo_of(path), undo_of(aside))):
        with suppress(FileNotFoundError):
            companion.rename(name)
    path.with_name(f"{DATABASE}-shm").unlink(missing_ok=True)
    sync_folder(folder)
    mended.replace(path)
    sync_folder(folder)


def _copy(source: sqlite3.Connection, folder: Path, last: int) -> None:
    part = folder / _PART
    part.unlink(missing_ok=True)
    with closing(sqlite3.connect(part, isolation_level=None)) as target:
        target.execute("PRAGMA synchronous = FULL")
        create_schema(target)
        with transaction(target):
            target.executemany("INSERT INTO row VALUES (?, ?, ?, ?)", _rows(source, last))
        with suppress(sqlite3.Error):  # checkpoints only save time
            for seq in checkpointed(source):
                checkpoint = read_checkpoint(source, seq) if seq <= last else None
                if checkpoint:
                    write_checkpoint(target, seq, checkpoint.pages)
    part.rename(folder / _MENDED)


def _rows(source: sqlite3.Connection, last: int) -> Iterator[Record]:
    """Every row up to the last one that can be read at all.

    Those before a checkpoint may be unreadable: the checkpoint stands for them.
    """
    after = 0
    while after < last:
        try:
            for record in source.execute(
                "SELECT seq, time, digest, body FROM row WHERE seq > ? AND seq <= ? ORDER BY seq", (after, last)
            ):
                seq, time, digest, body = record
                if seq <= after:
                    raise sqlite3.DatabaseError("the rows are out of order")
                if isinstance(time, int | float) and isinstance(digest, bytes) and isinstance(body, bytes):
                    yield record
                after = seq
            return
        except sqlite3.Error:
            after += 1


def _free_name(folder: Path) -> Path:
    numbers = itertools.count(1)
    return next(name for number in numbers if not (name := folder / f"{DATABASE}.damaged-{number}").exists())
