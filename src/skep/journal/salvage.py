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

from skep.errors import Damaged
from skep.journal.chain import Chain, Record
from skep.journal.checkpoints import checkpointed, read_checkpoint, write_checkpoint
from skep.journal.database import DATABASE, create_schema, last_row, log_of, open_for_reading, transaction, undo_of
from skep.journal.headmark import create_head, read_head, sync_folder

_PART = f"{DATABASE}.part"
_MENDED = f"{DATABASE}.mended"


def salvage(folder: Path) -> tuple[int, int] | None:
    """Make the journal end at its last provable row; returns the first and last number given up, None for none.

    May be interrupted and repeated. Raises OSError or sqlite3.Error if the folder cannot be written, Refused if
    the database has the format of a newer skep.
    """
    head = read_head(folder)
    chain = Chain()
    newest = head.seq
    if (folder / DATABASE).exists():
        newest = max(newest, _keep_provable(folder, chain))
    finish(folder)
    create_head(folder, chain)
    return (chain.seq + 1, newest) if newest > chain.seq else None


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


def _keep_provable(folder: Path, chain: Chain) -> int:
    """Follow the chain as far as it goes; if that is not the end, copy so much. Returns the last number seen."""
    path = folder / DATABASE
    last = 0
    try:
        source = open_for_reading(path)
    except sqlite3.Error:
        source = sqlite3.connect(":memory:")
        create_schema(source)
        sound = False
    else:
        sound = True
    with closing(source):
        try:
            last = last_row(source)
            for record in _rows(source):
                chain.follow(record, str(path))
        except (Damaged, sqlite3.Error):
            sound = False
        if not sound:
            _copy(source, folder, chain.seq)
    return last


def _copy(source: sqlite3.Connection, folder: Path, last: int) -> None:
    part = folder / _PART
    part.unlink(missing_ok=True)
    with closing(sqlite3.connect(part, isolation_level=None)) as target:
        target.execute("PRAGMA synchronous = FULL")
        create_schema(target)
        with transaction(target):
            target.executemany("INSERT INTO row VALUES (?, ?, ?, ?)", itertools.islice(_rows(source), last))
        with suppress(sqlite3.Error):  # checkpoints only save time
            for seq in checkpointed(source):
                checkpoint = read_checkpoint(source, seq) if seq <= last else None
                if checkpoint:
                    write_checkpoint(target, seq, checkpoint.pages)
    part.rename(folder / _MENDED)


def _rows(source: sqlite3.Connection) -> Iterator[Record]:
    return iter(source.execute("SELECT seq, time, digest, body FROM row ORDER BY seq"))


def _free_name(folder: Path) -> Path:
    numbers = itertools.count(1)
    return next(name for number in numbers if not (name := folder / f"{DATABASE}.damaged-{number}").exists())
