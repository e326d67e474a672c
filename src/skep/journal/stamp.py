"""What a journal at rest is, in a word: for whoever wants to know later whether it is still the same."""

from __future__ import annotations

from pathlib import Path

from skep.journal.database import DATABASE
from skep.journal.headmark import read_head


def stamp(folder: Path) -> str | None:
    """A word for the journal in this folder, another one once anything was written, lost or put in its place.

    It costs no look into the database. None if the journal is not at rest, cannot be read, or its head mark does
    not prove itself.
    """
    try:
        head = read_head(folder)
        database = (folder / DATABASE).stat()
        log = folder / f"{DATABASE}-wal"
        if head.newest is None or head.torn or (log.exists() and log.stat().st_size):
            return None
    except OSError:
        return None
    return f"{head.seq}.{head.newest.digest.hex()}.{database.st_size}.{database.st_mtime_ns}"
