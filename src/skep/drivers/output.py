"""The output of one agent: the newest lines in memory, all of it on disk up to a cap, what is dropped counted."""

from __future__ import annotations

import os
from collections import deque
from pathlib import Path

from skep.model.agent import Live
from skep.model.logs import TailChunk, window
from skep.text import StreamCleaner

FLOOD_BYTES = 16 * 1024
"""Of what no longer goes to disk, only the newest bytes of a read are cleaned for the screen."""


class Output:
    """Takes raw bytes; gives cleaned lines for people and keeps the raw ones on disk."""

    def __init__(self, path: Path, *, ring_lines: int, cap_bytes: int) -> None:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        self._room = max(0, cap_bytes - os.fstat(self._file).st_size)
        self._ring: deque[str] = deque(maxlen=ring_lines)
        self._cleaner = StreamCleaner()
        self._dropped = 0
        self.total = 0
        """Lines so far."""
        self.size = 0
        """Bytes so far, those beyond the cap included."""
        self.trouble: OSError | None = None
        """The last failure to write to disk; the agent runs on."""

    def feed(self, data: bytes) -> None:
        """Take in what the program wrote."""
        self.size += len(data)
        keep = data[: self._room]
        if keep:
            self._write(keep)
            self._room -= len(keep)
        over = len(data) - len(keep)
        self._dropped += over
        if over > FLOOD_BYTES:
            skipped = data[:-FLOOD_BYTES]
            self.total += skipped.count(b"\n")
            # A cut in the middle of a line or a character is what a flood looks like anyway.
            self._cleaner = StreamCleaner()
            data = data[-FLOOD_BYTES:]
        self._take(self._cleaner.feed(data))

    def mark(self, line: str) -> None:
        """Add a line of our own (the next try, a left-over process that had to be ended)."""
        self._take([*self._cleaner.close(), line])
        self._cleaner = StreamCleaner()
        self._write(f"{line}\n".encode())

    def close(self) -> None:
        """Finish the last line and let go of the file."""
        self._take(self._cleaner.close())
        if self._dropped:
            self._write(f"\n[skep: {self._dropped:,} bytes dropped here, over the cap]\n".encode())
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def last_line(self) -> str:
        """The newest line that is not blank; the unfinished one counts."""
        rest = self._cleaner.rest().strip()
        if rest:
            return rest
        return next((line.strip() for line in reversed(self._ring) if line.strip()), "")

    def tail(self, first: int, limit: int) -> TailChunk:
        """Lines from ``first`` on (negative: from the end) as far as they are in memory."""
        start, end = window(self.total, len(self._ring), first, limit)
        offset = self.total - len(self._ring)
        lines = tuple(self._ring[i] for i in range(start - offset, end - offset))
        rest = self._cleaner.rest() if end == self.total else ""
        return TailChunk(start, lines, rest, self.total)

    def live(self, progress_at: float) -> Live:
        """The figures that a row shows."""
        return Live(self.last_line()[:400], progress_at, self.total, self.size)

    def _take(self, lines: list[str]) -> None:
        self._ring.extend(lines)
        self.total += len(lines)

    def _write(self, data: bytes) -> None:
        try:
            while data:
                data = data[os.write(self._file, data) :]
        except OSError as error:
            self._dropped += len(data)
            self.trouble = error
