"""Reading a journal, live or ended, without being its owner."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from types import TracebackType
from typing import Self

from skep.errors import Damaged, NotFound
from skep.journal.chain import GENESIS, MAX_SEQ, Chain, Row, broken
from skep.journal.checkpoints import Checkpoint, checkpointed, read_checkpoint
from skep.journal.database import DATABASE, digest_of, last_row, open_for_reading, reading
from skep.journal.headmark import read_head
from skep.journal.proof import has_database, prove_end
from skep.journal.remains import Damage, open_remains


class JournalReader:
    """A read-only view that follows the owner; for one thread at a time.

    Every row is proven against the one before, so that what is read is what was written. Raises NotFound if there
    is no journal, Damaged if it ends before its head mark; with ``accept_loss`` it ends at its last sound row, and
    ``damage`` says what is missing after it, and (``whole``) what cannot be read before it.
    """

    damage: Damage | None = None
    """What was found with ``accept_loss``; None if all is sound."""

    def __init__(self, folder: Path, *, accept_loss: bool = False, whole: bool = True) -> None:
        self._path = folder / DATABASE
        self._chain = Chain()
        if accept_loss:
            remains = open_remains(folder, whole=whole)
            self._connection, self.damage = remains.connection, remains.damage
            return
        with reading(self._path):
            head = read_head(folder)
            if not has_database(folder, head):
                raise NotFound("there is no journal here", where=str(folder))
            self._connection = open_for_reading(self._path)
        try:
            with reading(self._path):
                prove_end(self._connection, folder, head)
        except BaseException:
            self._connection.close()
            raise

    def read(self, after_seq: int, limit: int = 1000) -> list[Row]:
        """At most ``limit`` rows that follow row ``after_seq`` (0: from the first); those before a bad one.

        Raises Damaged if the very first is bad.
        """
        if self.damage is not None:
            limit = min(limit, self.damage.sound - after_seq)
            if limit <= 0:
                return []
        rows: list[Row] = []
        try:
            with reading(self._path):
                self._read(after_seq, limit, rows)
                if not rows and after_seq < last_row(self._connection):
                    self._read(after_seq, limit, rows)  # it came just now, if it is there at all
                    if not rows:
                        raise broken(after_seq + 1, str(self._path), "the row is missing")
        except Damaged:
            if not rows:
                raise
        return rows

    def checkpoint(self, at_or_before: int | None = None) -> Checkpoint | None:
        """The newest checkpoint of a row no later than ``at_or_before``; a damaged one is passed over."""
        latest = at_or_before if at_or_before is not None else MAX_SEQ
        if self.damage is not None:
            latest = min(latest, self.damage.sound)
        try:
            with reading(self._path):
                for seq in checkpointed(self._connection):
                    found = read_checkpoint(self._connection, seq) if seq <= latest else None
                    if found:
                        return found
        except Damaged:
            if self.damage is None:
                raise
        return None

    def last(self) -> int:
        """The number of the last row now (of the last sound one, if the loss was accepted), 0 if there is none."""
        if self.damage is not None:
            return self.damage.sound
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

    def _read(self, after_seq: int, limit: int, rows: list[Row]) -> None:
        where = str(self._path)
        query = "SELECT seq, time, digest, body FROM row WHERE seq > ? ORDER BY seq LIMIT ?"
        with closing(self._connection.execute(query, (after_seq, limit))) as records:
            for record in records:
                if not rows and self._chain.seq != after_seq:
                    self._chain = self._chain_at(after_seq)
                self._chain.follow(record, where)
                rows.append(Row(record[0], record[1], record[3]))

    def _chain_at(self, seq: int) -> Chain:
        digest = digest_of(self._connection, seq) if seq else GENESIS
        if digest is None:
            raise broken(seq, str(self._path), "the row is missing")
        return Chain(seq, digest)
