"""A walk over everything that a journal holds."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from skep.errors import Damaged, NotFound
from skep.journal.chain import Chain
from skep.journal.checkpoints import checkpointed, read_checkpoint
from skep.journal.database import DATABASE, open_for_reading, reading
from skep.journal.headmark import read_head
from skep.journal.proof import has_database, prove_end, prove_rows


@dataclass(frozen=True, slots=True)
class Verified:
    """What was walked and found sound: rows (also the last one's number), checkpoints and their pages."""

    rows: int
    checkpoints: int
    pages: int


def verify(folder: Path) -> Verified:
    """Follow the whole chain, the head mark and every checkpoint of the journal in ``folder``.

    Raises Damaged that names the first bad row or checkpoint, NotFound if there is no journal.
    """
    path = folder / DATABASE
    chain = Chain()
    pages = 0
    with reading(path):
        head = read_head(folder)
        if not has_database(folder, head):
            raise NotFound("there is no journal here", where=str(folder))
        connection = open_for_reading(path)
    try:
        with reading(path):
            prove_rows(connection, folder, chain)
            prove_rows(connection, folder, chain, prove_end(connection, folder, head))
            checkpoints = checkpointed(connection)
            for seq in checkpoints:
                found = read_checkpoint(connection, seq)
                if found is None:
                    raise Damaged(
                        f"the checkpoint of row {seq} is damaged",
                        where=str(path),
                        why="its checksums do not agree with its pages or its row",
                        mend="nothing is lost: all rows are sound, and replay serves instead",
                    )
                pages += len(found.pages)
    finally:
        connection.close()
    return Verified(chain.seq, len(checkpoints), pages)
