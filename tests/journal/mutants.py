"""Journals with one fault each; a check that such a journal passes would be no check."""

from __future__ import annotations

import errno
import sqlite3
import sys
from collections.abc import Sequence

from skep.journal import Journal, Row


class AcknowledgesFirst(Journal):
    """Says that rows are durable, and then takes its time to make them so."""

    def _settle(self, work: Sequence[Row]) -> None:
        self._acknowledge(work[-1].seq)
        sys.stdin.read()
        super()._settle(work)


class MarksNothing(Journal):
    """Commits, but leaves the head mark where it was."""

    def _settle(self, work: Sequence[Row]) -> None:
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
