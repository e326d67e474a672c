"""A connected Unix stream socket as frames: nothing is buffered beyond one frame and what the kernel holds."""

from __future__ import annotations

import asyncio
import os
import socket
import struct
import sys
from contextlib import suppress

from skep.clock import Clock
from skep.control.deadline import within
from skep.control.wire import MAX_FRAME, too_large
from skep.errors import Unreachable

_CHUNK = 64 * 1024


class Channel:
    """One end of the control socket. One task reads; any task writes, frame by frame.

    Of a frame something has to be taken, and with ``whole`` all of one that has begun has to come, within
    ``patience`` seconds.
    """

    def __init__(self, end: socket.socket, clock: Clock, patience: float, *, whole: bool = False) -> None:
        end.setblocking(False)
        self._end = end
        self._clock = clock
        self._patience = patience
        self._whole = whole
        self._inbox = bytearray()
        self._searched = 0
        self._writing = asyncio.Lock()
        self.wrote_at = clock.monotonic()
        """When the last frame was written, in seconds of the monotonic clock."""

    async def read(self) -> bytes:
        """The next frame.

        Raises Unreachable once the peer has left or does not end what it began, BadInput if a frame is too large.
        """
        if b"\n" not in self._inbox:
            try:
                while not self._inbox:
                    await self._receive()
                if self._whole and b"\n" not in self._inbox:
                    await within(self._clock, self._patience, self._receive_all())
                else:
                    await self._receive_all()
            except TimeoutError:
                raise Unreachable(
                    "the other side of the control socket does not end its frame",
                    why=f"it began {self._patience:g} s ago",
                ) from None
        end = self._inbox.find(b"\n", self._searched)
        line = bytes(self._inbox[: end + 1])
        del self._inbox[: end + 1]
        self._searched = 0
        return line

    async def write(self, frame: bytes) -> None:
        """Send a frame whole. Raises Unreachable if the peer has left or does not take it in time."""
        async with self._writing:
            try:
                sent = self._write_now(frame)
                if sent < len(frame):
                    await self._write_rest(memoryview(frame)[sent:])
            except TimeoutError:
                raise Unreachable(
                    "the other side of the control socket takes nothing",
                    why=f"a frame waited for {self._patience:g} s",
                ) from None
            except OSError as error:
                raise _left(error) from error
            self.wrote_at = self._clock.monotonic()

    def write_last(self, frame: bytes) -> None:
        """Send what the peer takes at this moment; for a last word before closing."""
        if not self._writing.locked():
            try:
                self._write_now(frame)
            except OSError:
                return  # the peer has left: nobody is there to hear it

    def close(self) -> None:
        """Close the socket; no task may be reading or writing any more."""
        self._end.close()

    async def _receive_all(self) -> None:
        while self._inbox.find(b"\n", self._searched) < 0:
            self._searched = len(self._inbox)
            if self._searched >= MAX_FRAME:
                raise too_large()
            await self._receive()

    async def _receive(self) -> None:
        # A peer that sends without a pause must not keep the loop to itself.
        await asyncio.sleep(0)
        try:
            data = await asyncio.get_running_loop().sock_recv(self._end, _CHUNK)
        except OSError as error:
            raise _left(error) from error
        if not data:
            raise _left(None)
        self._inbox += data

    async def _write_rest(self, rest: memoryview) -> None:
        loop = asyncio.get_running_loop()
        try:
            await within(self._clock, self._patience, loop.sock_sendall(self._end, rest))
        except BaseException:
            # Half a frame is out, and what followed would be taken for its rest: both sides must see an end.
            with suppress(OSError):
                self._end.shutdown(socket.SHUT_RDWR)
            raise

    def _write_now(self, frame: bytes) -> int:
        try:
            return self._end.send(frame)
        except BlockingIOError:
            return 0


def peer_uid(end: socket.socket) -> int | None:
    """The user id of the process at the other end; None where the platform cannot tell."""
    if sys.platform == "linux":
        credentials = struct.Struct("3i")
        _, uid, _ = credentials.unpack(end.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, credentials.size))
        return int(uid)
    elif sys.platform == "darwin":  # noqa: RET505 - the type checker takes what follows a return for unreachable
        sol_local, local_peercred = 0, 1
        xucred = struct.Struct("=IIhxx16I")
        _, uid, *_ = xucred.unpack(end.getsockopt(sol_local, local_peercred, xucred.size))
        return int(uid)
    else:
        return None


def _left(error: OSError | None) -> Unreachable:
    why = None if error is None else error.strerror or os.strerror(error.errno or 0)
    return Unreachable("the other side of the control socket has left", why=why)
