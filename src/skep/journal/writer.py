"""The journal's one owner: a queue in memory and the thread that makes it durable."""

from __future__ import annotations

import logging
import math
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self, TypeAlias, TypeVar

from skep.errors import Damaged, NoSpace, Refused, SkepError
from skep.journal.chain import Row
from skep.journal.database import write_error
from skep.journal.store import open_store

_FULL_BATCH = 5_000  # rows that end the gathering before its time
_LARGEST_BATCH = 20_000  # rows in one transaction, unless one call brings more
_FIRST_PAUSE = 0.020
_LONGEST_PAUSE = 1.0
_JOIN_GRACE = 5.0  # beyond the time-out of close, for a write under way

logger = logging.getLogger(__name__)
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class _Pages:
    """A checkpoint on its way to the disk; its pages are made when it is written."""

    seq: int
    pages: Sequence[bytes] | Callable[[], Sequence[bytes]]


_Work: TypeAlias = Sequence[Row] | _Pages


class Journal:
    """The durable list of a swarm's events; the caller holds the folder's ``FolderLock``.

    ``on_durable(seq)`` is called after the rows up to ``seq`` were committed and marked. ``on_trouble(error)`` is
    called when a write fails, ``on_trouble(None)`` when it goes on; in between all rows are kept and tried again.
    Both are called from the writer's thread, must be quick, and must not close the journal.

    ``gather`` is how long, in seconds, rows may wait for others while the disk is busy. ``max_pages`` is a quota
    for the database in pages of 4 KiB. ``accept_loss`` opens a damaged journal up to its last provable row.

    Raises Damaged if acknowledged rows are missing or changed, NoSpace if the folder cannot be written, Refused if
    another process is at work on the database or a newer skep wrote it.
    """

    last: int
    """The number of the last durable row at the time of opening, 0 for an empty journal."""
    lost: tuple[int, int] | None
    """The first and last number that were given up at the opening with ``accept_loss``, None if none was."""

    def __init__(
        self,
        folder: Path,
        *,
        on_durable: Callable[[int], None],
        on_trouble: Callable[[SkepError | None], None],
        gather: float = 0.020,
        max_pages: int | None = None,
        accept_loss: bool = False,
    ) -> None:
        self._store, self.lost = open_store(folder, accept_loss=accept_loss)
        self.last = self._store.last
        self._on_durable = on_durable
        self._on_trouble = on_trouble
        self._gather = gather
        self._max_pages = max_pages
        self._lock = threading.Lock()
        self._work = threading.Condition(self._lock)
        self._progress = threading.Condition(self._lock)
        self._queue: deque[_Work] = deque()
        self._queued_rows = 0
        self._oldest = 0.0
        self._appended = self._durable = self.last
        self._trouble: SkepError | None = None
        self._try_now = False
        self._deadline: float | None = None
        self._ended = False
        self._thread = threading.Thread(target=self._run, name=f"journal {folder.name}")
        self._thread.start()

    def append(self, rows: Sequence[Row]) -> None:
        """Queue rows in the order of the calls; those of one call become durable together or not at all.

        Never waits for the disk. Raises ValueError if a number does not follow the one before or a time is not a
        number, Refused after close.
        """
        if not rows:
            return
        with self._lock:
            expected = self._appended
            for row in rows:
                expected += 1
                if row.seq != expected:
                    raise ValueError(f"row {row.seq} was appended where {expected} was due")
                if math.isnan(row.time):
                    raise ValueError(f"the time of row {row.seq} is not a number")
            self._enqueue(tuple(rows), len(rows))
            self._appended = expected

    def checkpoint(self, seq: int, pages: Sequence[bytes] | Callable[[], Sequence[bytes]]) -> None:
        """Queue a checkpoint of the rows up to ``seq`` behind the rows queued so far; the last two are kept.

        ``pages`` may be what makes them: it is called in the writer's thread, and again if writing fails.

        Never waits for the disk. Raises ValueError if row ``seq`` was never appended, Refused after close.
        """
        with self._lock:
            if not 0 < seq <= self._appended:
                raise ValueError(f"a checkpoint of row {seq} of {self._appended}")
            self._enqueue(_Pages(seq, pages if callable(pages) else tuple(pages)), 0)

    def allow(self, max_pages: int | None) -> None:
        """Set another quota, in pages of 4 KiB (None: no limit), and try at once what waits for space."""
        with self._lock:
            self._max_pages = max_pages
            self._try_now = True
            self._work.notify()

    def durable(self) -> int:
        """The number of the last acknowledged row."""
        with self._lock:
            return self._durable

    def wait(self, seq: int, timeout: float | None = None) -> bool:
        """Block this thread until row ``seq`` is durable, at most ``timeout`` seconds; returns whether it is."""
        with self._lock:
            self._progress.wait_for(lambda: self._durable >= seq or self._ended, timeout)
            return self._durable >= seq

    def close(self, timeout: float = 10.0) -> None:
        """Write what is queued, leave a single database file behind and end the thread; again is harmless.

        Raises NoSpace if after ``timeout`` seconds the disk has not taken all rows: those are gone, and none of
        them was acknowledged.
        """
        with self._lock:
            if self._deadline is None:
                self._deadline = time.monotonic() + timeout
            self._try_now = True
            self._work.notify()
        self._thread.join(timeout + _JOIN_GRACE)
        with self._lock:
            lost = self._appended - self._durable
            if lost:
                raise NoSpace(
                    f"{lost} events could not be written: {self._durable + 1} to {self._appended}",
                    where=str(self._store.path),
                    why=str(self._trouble.why if self._trouble else "the writer has ended or hangs"),
                    mend="make room on the disk; every acknowledged event is safe",
                )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _enqueue(self, work: _Work, rows: int) -> None:
        if self._deadline is not None or self._ended:
            raise Refused("the journal is closed", where=str(self._store.path))
        if not self._queue:
            self._oldest = time.monotonic()
        self._queue.append(work)
        self._queued_rows += rows
        # One wake-up for the first of a batch and one when it is full: not one for every row in between.
        if len(self._queue) == 1 or self._queued_rows >= _FULL_BATCH:
            self._work.notify()

    def _run(self) -> None:
        try:
            while (work := self._next()) is not None and self._persist(work):
                pass
        except BaseException as error:
            # Nobody would ever be told that what waits is not durable: whoever listens has to know.
            _tell(self._on_trouble, Damaged("the journal's writer has ended", why=repr(error)))
            raise
        finally:
            try:
                self._store.close()
            finally:
                with self._lock:
                    self._ended = True
                    self._progress.notify_all()

    def _next(self) -> _Work | None:
        """Wait for work, None at the end.

        What comes in idleness is taken at once; what came while the last work was done is gathered.
        """
        with self._lock:
            if self._queue:
                due = self._oldest + self._gather
                while self._queued_rows < _FULL_BATCH and self._deadline is None:
                    if (left := due - time.monotonic()) <= 0 or not self._work.wait(left):
                        break
            else:
                self._work.wait_for(lambda: self._queue or self._deadline is not None)
            return self._take()

    def _take(self) -> _Work | None:
        """The next checkpoint, or the rows of as many calls as fit into one transaction."""
        batch: list[Row] = []
        while self._queue:
            work = self._queue[0]
            if isinstance(work, _Pages):
                if not batch:
                    return self._queue.popleft()
                break
            if batch and len(batch) + len(work) > _LARGEST_BATCH:
                break
            batch.extend(work)
            self._queued_rows -= len(work)
            self._queue.popleft()
        return batch or None

    def _persist(self, work: _Work) -> bool:
        """Write, and try again until it is written; False if the journal is closing and its time is over."""
        pause = _FIRST_PAUSE
        while True:
            with self._lock:
                max_pages = self._max_pages
                self._try_now = False
            try:
                self._store.limit(max_pages)
                self._settle(work)
            except (sqlite3.Error, OSError) as error:
                self._report(write_error(error, self._store.path))
            else:
                self._report(None)
                return True
            if not self._rest(pause):
                return False
            pause = min(pause * 2, _LONGEST_PAUSE)

    def _settle(self, work: _Work) -> None:
        """Make work durable and only then say so; may be repeated after an error."""
        if isinstance(work, _Pages):
            self._store.checkpoint(work.seq, work.pages() if callable(work.pages) else work.pages)
            return
        self._store.commit(work)
        self._store.mark()
        self._acknowledge(work[-1].seq)

    def _acknowledge(self, seq: int) -> None:
        with self._lock:
            self._durable = seq
            self._progress.notify_all()
        _tell(self._on_durable, seq)

    def _report(self, trouble: SkepError | None) -> None:
        """Say that trouble has begun or ended, once each time."""
        with self._lock:
            changed = (trouble is None) != (self._trouble is None)
            self._trouble = trouble
        if changed:
            _tell(self._on_trouble, trouble)

    def _rest(self, pause: float) -> bool:
        """Wait before another attempt, less if somebody asks for one; False if there shall be none."""
        with self._lock:
            if self._deadline is not None:
                pause = min(pause, self._deadline - time.monotonic())
                if pause <= 0:
                    return False
            self._work.wait_for(lambda: self._try_now, pause)
            return True


def _tell(callback: Callable[[_T], None], news: _T) -> None:
    """Call a listener; one that fails is logged, for it must not keep rows from the disk."""
    try:
        callback(news)
    except Exception:
        logger.exception("a listener of the journal failed")
