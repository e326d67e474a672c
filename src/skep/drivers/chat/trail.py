"""What an agent did before its model first answered: where it was, which requests it made, what it waited for."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from skep.clock import Clock
from skep.drivers.chat.stack import Place, in_lines, stack_of
from skep.text import duration

MOST = 40
"""Of requests, and of waits, so many are kept: the newest."""


@dataclass(slots=True)
class _Entry:
    what: str
    began: float
    took: float | None = None
    outcome: str = ""


@dataclass(slots=True)
class _Entries:
    """The newest of one kind; how many there were in all."""

    kept: deque[_Entry] = field(default_factory=lambda: deque(maxlen=MOST))
    count: int = 0

    def add(self, entry: _Entry) -> _Entry:
        self.kept.append(entry)
        self.count += 1
        return entry


class Trail:
    """Bounded, and empty again once there is an answer: from there on the journal tells the story."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._began = clock.monotonic()
        self._attempts = _Entries()
        self._waits = _Entries()
        self._open: _Entry | None = None
        self._phase = _Entry("has not begun", self._began)
        self._seen: list[tuple[str, Sequence[str]]] = []
        self._stack: list[Place] = []
        self.error: BaseException | None = None
        """What ended it, if that was an error."""
        self.cold = False
        """True once there is nothing to explain any more."""

    def close(self) -> None:
        """Its model has answered, or nobody will ask."""
        self.cold = True
        self._attempts, self._waits, self._open = _Entries(), _Entries(), None

    def phase(self, what: str) -> None:
        """This is what it does from now on."""
        if not self.cold:
            self._phase = _Entry(what, self._clock.monotonic())

    def attempt(self, key: str) -> None:
        """A request begins with this key."""
        if not self.cold:
            self._open = self._attempts.add(_Entry(f"key {key or 'none'}", self._clock.monotonic()))

    def struck(self, outcome: str, error: str) -> None:
        """It failed."""
        if self._open is not None:
            self._open.took = self._clock.monotonic() - self._open.began
            self._open.outcome = f"{outcome}: {error}"
            self._open = None

    @contextmanager
    def wait(self, what: str) -> Iterator[None]:
        """It waits as long as the context lasts."""
        if self.cold:
            yield
            return
        entry = self._waits.add(_Entry(what, self._clock.monotonic()))
        try:
            yield
        finally:
            entry.took = self._clock.monotonic() - entry.began

    def look(self, task: asyncio.Task[object]) -> None:
        """Remember where it stands, before its task is cancelled: afterwards nobody can tell."""
        if not self.cold:
            self._seen = self._parts()
            self._stack = stack_of(task)

    def parts(self) -> list[tuple[str, Sequence[str]]]:
        """Title and lines of each part: as they were when it was looked at, else as they are now."""
        parts = self._seen or self._parts()
        return [*parts, ("stack of its task when it was stopped", in_lines(self._stack))] if self._stack else parts

    def _parts(self) -> list[tuple[str, Sequence[str]]]:
        now = self._clock.monotonic()
        phase = f"{self._phase.what}, for {duration(now - self._phase.began)}"
        return [
            ("phase", [phase, f"{duration(now - self._began)} since it was made"]),
            (f"requests: {self._attempts.count}", self._lines(self._attempts, now, "open")),
            (f"waits: {self._waits.count}", self._lines(self._waits, now, "not over")),
        ]

    def _lines(self, entries: _Entries, now: float, open: str) -> list[str]:
        return [self._line(entry, now, open) for entry in entries.kept] or ["none"]

    def _line(self, entry: _Entry, now: float, open: str) -> str:
        at = f"at {duration(entry.began - self._began)}: {entry.what}"
        if entry.took is None:
            return f"{at}, {open} for {duration(now - entry.began)}"
        return f"{at}, for {duration(entry.took)}" + (f": {entry.outcome}" if entry.outcome else "")
