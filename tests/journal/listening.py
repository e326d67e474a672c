"""What the tests share: rows to write, an ear for the journal's callbacks, and a copy as a crash leaves it."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from skep.errors import SkepError
from skep.journal import Journal, JournalReader, Row

PATIENCE = 20.0


def rows(first: int, last: int) -> list[Row]:
    return [Row(seq, 1_700_000_000 + seq / 8, b'{"event":%d}' % seq) for seq in range(first, last + 1)]


class Listener:
    """Remembers what the journal said; ``hears`` waits until it has said enough."""

    def __init__(self) -> None:
        self.acknowledged: list[int] = []
        self.troubles: list[SkepError | None] = []
        self._news = threading.Condition()

    def on_durable(self, seq: int) -> None:
        with self._news:
            self.acknowledged.append(seq)
            self._news.notify_all()

    def on_trouble(self, error: SkepError | None) -> None:
        with self._news:
            self.troubles.append(error)
            self._news.notify_all()

    def hears(self, enough: Callable[[Listener], bool]) -> bool:
        with self._news:
            return self._news.wait_for(lambda: enough(self), PATIENCE)


@contextmanager
def opened(
    folder: Path, kind: type[Journal] = Journal, listener: Listener | None = None, **options: object
) -> Iterator[Journal]:
    ear = listener or Listener()
    with kind(folder, on_durable=ear.on_durable, on_trouble=ear.on_trouble, **options) as journal:
        yield journal


def write(journal: Journal, last: int, step: int = 7) -> None:
    """Append rows up to ``last``, ``step`` in a commit."""
    for first in range(journal.durable() + 1, last + 1, step):
        end = min(first + step - 1, last)
        journal.append(rows(first, end))
        assert journal.wait(end, PATIENCE)


def everything(folder: Path, page: int = 1000) -> list[Row]:
    found: list[Row] = []
    with JournalReader(folder) as reader:
        while more := reader.read(found[-1].seq if found else 0, page):
            found += more
    return found


def crash_copy(folder: Path, copy: Path) -> Path:
    """The folder as a power cut would leave it now: no clean close, no shared index."""
    copy.mkdir()
    for name in ("head", "journal.db", "journal.db-wal"):
        if (folder / name).exists():
            shutil.copy(folder / name, copy / name)
    return copy
