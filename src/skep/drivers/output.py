"""The output of one agent: the newest lines in memory, all of it on disk up to a cap, what is dropped counted."""

from __future__ import annotations

import os
from collections import deque
from pathlib import Path

from skep.errors import BadInput
from skep.model.agent import Live
from skep.model.logs import TailChunk, window
from skep.text import StreamCleaner

FLOOD_BYTES = 16 * 1024
"""Of what no longer goes to disk, only the newest bytes of a read are cleaned for the screen."""

RING_CHARACTERS = 1024 * 1024
"""Characters kept in memory at most, however few lines that makes (the newest line stays in any case)."""


class Output:
    """Takes raw bytes; gives cleaned lines for people and keeps the raw ones on disk.

    Raises BadInput when the file at ``path`` cannot be written. Once it is open, a disk that takes no more costs
    bytes of the log, never the agent: see ``trouble`` and the note at the end of the file.
    """

    def __init__(self, path: Path, *, ring_lines: int, cap_bytes: int) -> None:
        try:
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            # Nobody may read a named pipe that was given as a log: the engine does not wait for it.
            flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NONBLOCK
            self._file = os.open(path, flags, 0o600)
        except (OSError, ValueError) as error:
            why = (error.strerror if isinstance(error, OSError) else None) or str(error)
            raise BadInput("its output cannot be kept", where=str(path), why=why) from error
        self._room = max(0, cap_bytes - os.fstat(self._file).st_size)
        self._ring_lines = ring_lines
        self._ring: deque[str] = deque()
        self._characters = 0
        self._cleaner = StreamCleaner()
        self._within_line = False
        self._over_cap = 0
        self._unwritten = 0
        self.total = 0
        """Lines so far."""
        self.size = 0
        """Bytes so far, those that did not go to disk included."""
        self.trouble: OSError | None = None
        """The last failure to write to disk; the agent runs on."""

    @property
    def dropped(self) -> int:
        """Bytes that did not go to disk."""
        return self._over_cap + self._unwritten

    def feed(self, data: bytes) -> None:
        """Take in what the program wrote."""
        self.size += len(data)
        keep = data[: self._room]
        if keep:
            self._write(keep)
            self._room -= len(keep)
        over = len(data) - len(keep)
        self._over_cap += over
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
        self._note(line)

    def close(self) -> None:
        """Finish the last line and let go of the file; again is harmless."""
        if self._file < 0:
            return
        self._take(self._cleaner.close())
        if self._over_cap:
            self._note(f"[skep: {self._over_cap:,} bytes were dropped here, over the cap]")
        if self._unwritten:
            why = self.trouble.strerror if self.trouble is not None else None
            self._note(f"[skep: {self._unwritten:,} bytes could not be written: {why or 'unknown'}]")
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
        self.total += len(lines)
        lines = lines[-self._ring_lines :]
        self._ring.extend(lines)
        self._characters += sum(map(len, lines))
        while len(self._ring) > self._ring_lines or (self._characters > RING_CHARACTERS and len(self._ring) > 1):
            self._characters -= len(self._ring.popleft())

    def _note(self, line: str) -> None:
        start = "\n" if self._within_line else ""
        self._write(f"{start}{line}\n".encode(errors="replace"), counts=False)

    def _write(self, data: bytes, *, counts: bool = True) -> None:
        try:
            while data:
                written = os.write(self._file, data)
                self._within_line = data[written - 1 : written] != b"\n"
                data = data[written:]
        except OSError as error:
            self._unwritten += len(data) if counts else 0
            self.trouble = error
