"""Reads a pipe in the event loop, and lets a program that floods it wait, so that the loop stays free."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable

READ_BYTES = 64 * 1024
FLOOD_BYTES = 256 * 1024
"""Bytes in one :data:`FLOOD_SPAN` before a program has to wait (it blocks on its full pipe: nothing is lost)."""
FLOOD_SPAN = 0.05
"""Seconds; with the above, at most 5 MiB/s of output per agent reach the engine."""
LARGEST_PIPE = 1024 * 1024
"""Bytes that a pipe holds at most (``/proc/sys/fs/pipe-max-size``)."""


class Reader:
    """Owns the reading end of a pipe, which must not block. ``take`` is called with what was read."""

    def __init__(self, fd: int, take: Callable[[bytes], None]) -> None:
        self._fd = fd
        self._take = take
        self._loop = asyncio.get_running_loop()
        self._pause: asyncio.TimerHandle | None = None
        self._span_began = 0.0
        self._in_span = 0
        self._loop.add_reader(fd, self._ready)

    def drain(self) -> None:
        """Take what the pipe holds now, without waiting for more."""
        room = LARGEST_PIPE
        while room > 0 and (count := self._read()) > 0:
            room -= count

    def close(self) -> None:
        """Stop reading and let go of the pipe; again is harmless."""
        if self._fd < 0:
            return
        if self._pause is not None:
            self._pause.cancel()
        self._loop.remove_reader(self._fd)
        os.close(self._fd)
        self._fd = -1

    def _read(self) -> int:
        """Read once; 0 at the end of the stream, -1 if there is nothing now."""
        if self._fd < 0:
            return 0
        try:
            data = os.read(self._fd, READ_BYTES)
        except BlockingIOError:
            return -1
        if data:
            self._take(data)
        else:
            self.close()
        return len(data)

    def _ready(self) -> None:
        # The real clock counts here, not the injected one: it is the loop that must stay free.
        now = self._loop.time()
        if now - self._span_began >= FLOOD_SPAN:
            self._span_began, self._in_span = now, 0
        self._in_span += max(0, self._read())
        if self._in_span >= FLOOD_BYTES and self._fd >= 0:
            self._loop.remove_reader(self._fd)
            self._pause = self._loop.call_later(self._span_began + FLOOD_SPAN - now, self._again)

    def _again(self) -> None:
        self._pause = None
        self._loop.add_reader(self._fd, self._ready)
