"""Journals with one fault each; a check that such a journal passes would be no check."""

from __future__ import annotations

import errno
import os
import sqlite3
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from skep.journal import Checkpoint, Journal, JournalReader, Row, headmark


class AcknowledgesFirst(Journal):
    """Says that rows are durable, and then takes its time to make them so."""

    def _settle(self, work: Sequence[Row]) -> None:
        self._acknowledge(work[-1].seq)
        sys.stdin.read()
        super()._settle(work)


class MarksNothing(Journal):
    """Commits, but leaves the head mark where it was."""

    def _settle(self, work: Sequence[Row]) -> None:
        if not isinstance(work, Sequence):
            super()._settle(work)
            return
        self._store.commit(work)
        self._acknowledge(work[-1].seq)


class FailsAtTheMark(Journal):
    """No mutant but an unlucky disk: the first head mark cannot be written, though the rows were committed."""

    failures = 1

    def _settle(self, work: Sequence[Row]) -> None:
        if self.failures:
            self.failures -= 1
            self._store.commit(work)
            raise OSError(errno.EIO, "the head mark cannot be written")
        super()._settle(work)


class DropsWhatFails(Journal):
    """Goes on after a failed write as if it had succeeded."""

    def _settle(self, work: Sequence[Row]) -> None:
        try:
            super()._settle(work)
        except sqlite3.Error:
            self._acknowledge(work[-1].seq)


class BelievesTheDatabase(JournalReader):
    """Takes what SQLite finds for all that there ever was: the head mark says nothing to it."""

    def __init__(self, folder: Path, *, accept_loss: bool = False, whole: bool = True) -> None:
        super().__init__(folder, accept_loss=accept_loss, whole=whole)
        if self.damage is not None and self.last() == self.damage.sound:
            self.damage = None


class CountsNothing(JournalReader):
    """Says that something is missing, and not how much."""

    def __init__(self, folder: Path, *, accept_loss: bool = False, whole: bool = True) -> None:
        super().__init__(folder, accept_loss=accept_loss, whole=whole)
        if self.damage is not None:
            self.damage = replace(self.damage, missing=0)


class ReadsWhatIsThere(JournalReader):
    """Follows no chain: a row is what the database says."""

    def _read(self, after_seq: int, limit: int, rows: list[Row]) -> None:
        query = "SELECT seq, time, body FROM row WHERE seq > ? ORDER BY seq"
        rows.extend(Row(*record) for record in self._connection.execute(query, (after_seq,)))


class BelievesCheckpoints(JournalReader):
    """Takes the pages of the newest checkpoint as they are."""

    def checkpoint(self, at_or_before: int | None = None) -> Checkpoint | None:
        found = self._connection.execute("SELECT max(seq) FROM checkpoint").fetchone()
        query = "SELECT body FROM page WHERE seq = ? ORDER BY number"
        return Checkpoint(found[0], tuple(body for (body,) in self._connection.execute(query, found)))


class ForgetsToSync(Journal):
    """Leaves it to the system when rows reach the disk."""

    def _settle(self, work: Sequence[Row]) -> None:
        self._store._connection.execute("PRAGMA synchronous = OFF")
        super()._settle(work)


class MarksWithoutSync(Journal):
    """Syncs the rows, but not the mark that names them."""

    def _settle(self, work: Sequence[Row]) -> None:
        if not isinstance(work, Sequence):
            super()._settle(work)
            return
        self._store.commit(work)
        head = self._store._head
        head._generation += 1
        chain = self._store._chain
        record = headmark._encode(headmark.Mark(head._generation, chain.seq, chain.digest))
        os.pwrite(head._fd, record, head._generation % 2 * 4096)
        self._acknowledge(work[-1].seq)


class GivesUp(Journal):
    """Tries once."""

    def _rest(self, pause: float) -> bool:
        return False


class AdoptsNothing(Journal):
    """Takes up rows that a crash left without a mark, and does not mark them either."""

    def __init__(self, folder: Path, **options: Any) -> None:
        head = folder / "head"
        before = head.read_bytes() if head.exists() else None
        super().__init__(folder, **options)
        if before is not None and self.lost is None:
            head.write_bytes(before)


class AcceptsInSilence(Journal):
    """Goes on with what is left, whether somebody has accepted the loss or not."""

    def __init__(self, folder: Path, *, accept_loss: bool = False, **options: Any) -> None:
        super().__init__(folder, accept_loss=True, **options)
