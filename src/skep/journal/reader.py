"""Reading a journal, live or ended, without being its owner."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import Self

from skep.errors import NotFound
from skep.journal.chain import GENESIS, Chain, Row, broken
from skep.journal.checkpoints import Checkpoint, checkpointed, read_checkpoint
from skep.journal.database import DATABASE, digest_of, last_row, open_for_reading, reading
from skep.journal.headmark import read_head
from skep.journal.proof import has_database, prove_end


class JournalReader:
    """A read-only view that follows the owner; for one thread at a time.

    Every row is proven against the one before, so that what is read is what was written. Raises NotFound if there
    is no journal, Damaged if it ends before its head mark; ``accept_loss`` reads what is left all the same.
    """

    def __init__(self, folder: Path, *, accept_loss: bool = False) -> None:
        self._path = folder / DATABASE
        with reading(self._path):
            head = read_head(folder)
            if not has_database(folder, head):
                raise NotFound("there is no journal here", where=str(folder))
            self._connection = open_for_reading(self._path)
        try:
            if not accept_loss:
                with reading(self._path):
                    prove_end(self._connection, folder, head)
        except BaseException:
            self._connection.close()
            raise
        self._chain = Chain()

    def read(self, after_seq: int, limit: int = 1000) -> list[Row]:
        """At most ``limit`` rows that follow row ``after_seq`` (0: from the first).

        Raises Damaged at a bad one.
        """
        with reading(self._path):
            records = self._connection.execute(
                "SELECT seq, time, digest, body FROM row WHERE seq > ? ORDER BY seq LIMIT ?", (after_seq, limit)
            ).fetchall()
            if not records:
                return []
            if self._chain.seq != after_seq:
                self._chain = self._chain_at(after_seq)
        where = str(self._path)
        rows = []
        for record in records:
            self._chain.follow(record, where)
            rows.append(Row(record[0], record[1], record[3]))
        return rows

    def checkpoint(self, at_or_before: int | None = None) -> Checkpoint | None:
        """The newest checkpoint of a row no later than ``at_or_before``; a damaged one is passed over."""
        with reading(self._path):
            for seq in checkpointed(self._connection):
                if at_or_before is None or seq <= at_or_before:
                    found = read_checkpoint(self._connection, seq)
                    if found:
                        return found
        return None

    def last(self) -> int:
        """The number of the last row now, 0 if there is none."""
        with reading(self._path):
            return last_row(self._connection)

    def close(self) -> None:
        """Let go of the database; again is harmless."""
        self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _chain_at(self, seq: int) -> Chain:
        digest = digest_of(self._connection, seq) if seq else GENESIS
        if digest is None:
            raise broken(seq, str(self._path), "the row is missing")
        return Chain(seq, digest)
