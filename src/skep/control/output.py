"""Output of a followed agent between the link that brings it and the reader that takes it."""

from __future__ import annotations

from collections import deque
from typing import Final

from skep.control.service import TailChunk

MAX_LINES: Final = 2_000
"""Most lines that wait for the reader; older ones give way, which the numbers of the lines show."""


class Output:
    """Gathers chunks of one agent at a time; bounded whatever comes and however slow the reader is."""

    def __init__(self) -> None:
        self._agent: str | None = None
        self._next: int | None = None
        self._chunks: deque[TailChunk] = deque()
        self._lines = 0

    @property
    def agent(self) -> str | None:
        """Who is followed."""
        return self._agent

    @property
    def next_line(self) -> int | None:
        """The number of the line from which on nothing has come yet; None if nothing came at all."""
        return self._next

    def follow(self, agent: str | None) -> None:
        """Follow another agent; what waited of the old one is dropped."""
        if agent != self._agent:
            self._agent = agent
            self._next = None
            self._chunks.clear()
            self._lines = 0

    def hear(self, agent: str, chunk: TailChunk) -> None:
        """Take in what came; of an agent that is no longer followed it is dropped."""
        if agent != self._agent:
            return
        self._next = chunk.first + len(chunk.lines)
        last = self._chunks[-1] if self._chunks else None
        if last is not None and last.first + len(last.lines) == chunk.first:
            self._chunks[-1] = TailChunk(last.first, last.lines + chunk.lines, chunk.rest, chunk.total)
        else:
            self._chunks.append(chunk)
        self._lines += len(chunk.lines)
        self._shorten()

    def take(self) -> list[tuple[str, TailChunk]]:
        """What waits, oldest first."""
        if self._agent is None:
            return []
        taken = [(self._agent, chunk) for chunk in self._chunks]
        self._chunks.clear()
        self._lines = 0
        return taken

    def _shorten(self) -> None:
        while (over := self._lines - MAX_LINES) > 0:
            oldest = self._chunks.popleft()
            self._lines -= min(over, len(oldest.lines))
            if len(oldest.lines) > over:
                kept = oldest.lines[over:]
                self._chunks.appendleft(TailChunk(oldest.first + over, kept, oldest.rest, oldest.total))
