"""Reads a pipe in the event loop, and lets a program that floods it wait, so that the loop stays free."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable

from skep.drivers.floodgate import Credit, Floodgate

READ_BYTES = 64 * 1024
FLOOD_BYTES = 256 * 1024
"""Bytes in one :data:`FLOOD_SPAN` before a program has to wait (it blocks on its full pipe: nothing is lost)."""
FLOOD_SPAN = 0.05
"""Seconds; with the above, at most 5 MiB/s of output per agent reach the engine."""
LARGEST_PIPE = 1024 * 1024
"""Bytes that a pipe holds at most (``/proc/sys/fs/pipe-max-size``)."""

TRICKLE = 0.002
"""Part of the loop's time that one reader may take whatever the others do: some twenty lines a second …"""
TRICKLE_BURST = 0.002
"""… and what it may save up of it, in seconds."""

MOST_AT_ONCE = 0.002
"""Seconds that one read should take: where the output is costly to clean, less is read at once."""
_LEAST_BYTES = 4 * 1024


class Reader:
    """Owns the reading end of a pipe, which must not block. ``take`` is called with what was read."""

    def __init__(self, fd: int, take: Callable[[bytes], None], gate: Floodgate) -> None:
        self._fd = fd
        self._take = take
        self._gate = gate
        self._loop = asyncio.get_running_loop()
        self._trickle = Credit(self._loop.time, TRICKLE, TRICKLE_BURST)
        self._bytes = READ_BYTES
        self._pause: asyncio.TimerHandle | None = None
        self._span_began = 0.0
        self._in_span = 0
        self._loop.add_reader(fd, self._ready)

    async def drain(self) -> None:
        """Take what the pipe holds now, without waiting for more."""
        room = LARGEST_PIPE
        while room > 0 and (count := self._read()) > 0:
            room -= count
            await asyncio.sleep(0)

    def close(self) -> None:
        """Stop reading and let go of the pipe; again is harmless."""
        if self._fd < 0:
            return
        if self._pause is not None:
            self._pause.cancel()
        self._gate.leave(self._turn)
        self._loop.remove_reader(self._fd)
        os.close(self._fd)
        self._fd = -1

    def _read(self) -> int:
        """Read once; 0 at the end of the stream, -1 if there is nothing now."""
        if self._fd < 0:
            return 0
        # The real clock counts here, not the injected one: it is the loop that must stay free.
        began = self._loop.time()
        try:
            data = os.read(self._fd, self._bytes)
        except BlockingIOError:
            return -1
        if data:
            self._take(data)
        else:
            self.close()
        self._account(self._loop.time() - began)
        return len(data)

    def _account(self, seconds: float) -> None:
        self._gate.spend(seconds)
        self._trickle.spend(seconds)
        if seconds > MOST_AT_ONCE:
            self._bytes = max(_LEAST_BYTES, self._bytes // 2)
        elif seconds < MOST_AT_ONCE / 4:
            self._bytes = min(READ_BYTES, self._bytes * 2)

    def _ready(self) -> None:
        if self._trickle.left > 0 or self._gate.is_open:
            self._read_in_span()
        else:
            self._loop.remove_reader(self._fd)
            self._gate.queue(self._turn)

    def _turn(self) -> bool:
        """Read because the gate says so; True to be called again."""
        if self._read_in_span() > 0 and self._pause is None:
            return True
        if self._fd >= 0 and self._pause is None:
            self._loop.add_reader(self._fd, self._ready)
        return False

    def _read_in_span(self) -> int:
        """Read once, and pause if that was the last of what a span allows."""
        now = self._loop.time()
        if now - self._span_began >= FLOOD_SPAN:
            self._span_began, self._in_span = now, 0
        count = self._read()
        self._in_span += max(0, count)
        if self._in_span >= FLOOD_BYTES and self._fd >= 0:
            self._loop.remove_reader(self._fd)
            self._pause = self._loop.call_later(self._span_began + FLOOD_SPAN - now, self._again)
        return count

    def _again(self) -> None:
        self._pause = None
        self._loop.add_reader(self._fd, self._ready)
