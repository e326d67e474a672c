"""How engine, warden and guards talk: framed messages over a stream socket, with at most one descriptor each."""

from __future__ import annotations

import errno
import os
import socket
import struct
from collections import deque
from enum import IntEnum

# Only small modules here and in everything the warden's process imports: it forks a guard per command, and each
# page that an import touches is paid for at every fork. That rules out typing, dataclasses and asyncio.

_HEADER = struct.Struct("!IIB")  # bytes of payload, number of the run, kind
_DESCRIPTOR = struct.Struct("i")
_CHUNK = 65_536

STARTED = struct.Struct("!IQIQ")  # pid and start ticks of the command, then of its guard
FAULT = struct.Struct("!BI")  # SpawnFault, errno
ENDED = struct.Struct("!i")  # wait status, or LOST
GRACE = struct.Struct("!d")  # seconds

LOST = -1
"""Stands for the wait status of a command whose guard was killed."""

Frame = tuple[int, int, bytes]
"""Kind, number of the run (0: none), payload."""


class Kind(IntEnum):
    """What a frame says; the first six go down to the guards, the others come up."""

    BASE = 1
    """Environment that all commands share."""
    RUN = 2
    """Start a command; carries the descriptor for its output."""
    INTERRUPT = 3
    TERMINATE = 4
    KILL = 5
    CLOSE = 6
    """End everything, with a grace; then exit."""
    READY = 7
    """The warden is up."""
    BEGUN = 8
    """The command runs."""
    REFUSED = 9
    """The command could not be started; nothing is left of it."""
    EXITED = 10
    """The main process ended."""
    LEFT = 11
    """What still lives."""
    GONE = 12
    """Proof that nothing lives any more; the last frame of a run."""


class Link:
    """One end of a stream socket that never blocks: frames go in a queue and out as far as the peer takes them."""

    __slots__ = ("_descriptors", "_inbox", "_number", "_outbox", "closed", "socket")

    def __init__(self, end: socket.socket) -> None:
        end.setblocking(False)
        self.socket = end
        self._number = end.fileno()
        self.closed = False
        self._inbox = bytearray()
        self._outbox: deque[tuple[bytearray, int]] = deque()
        self._descriptors: deque[int] = deque()

    def fileno(self) -> int:
        """Descriptor to wait on; a closed link still knows it, so that waiting on it can be ended."""
        return self._number

    def send(self, kind: Kind, number: int, payload: bytes = b"", descriptor: int = -1) -> None:
        """Queue a frame; the link owns the descriptor from here on and closes it once it is sent.

        A closed link swallows everything.
        """
        if self.closed:
            if descriptor >= 0:
                os.close(descriptor)
            return
        frame = _HEADER.pack(len(payload), number, kind) + payload
        if descriptor < 0 and self._outbox:
            self._outbox[-1][0].extend(frame)
        else:
            self._outbox.append((bytearray(frame), descriptor))

    def flush(self) -> bool:
        """Send what the peer takes now; False if something is left for when the socket is writable again."""
        while self._outbox:
            data, descriptor = self._outbox[0]
            try:
                sent = self._write(data, descriptor)
            except OSError as error:
                if error.errno in _FULL:
                    return False
                self.close()
                return True
            if descriptor >= 0:
                os.close(descriptor)
                self._outbox[0] = (data, -1)
            del data[:sent]
            if not data:
                self._outbox.popleft()
        return True

    def receive(self) -> list[Frame]:
        """All frames that are complete after one read; sets `closed` at the end of the stream."""
        try:
            data = self._read()
        except BlockingIOError:
            return []
        except OSError:
            data = b""
        if not data:
            self.close()
            return []
        inbox = self._inbox
        inbox += data
        frames: list[Frame] = []
        start = 0
        while len(inbox) - start >= _HEADER.size:
            length, number, kind = _HEADER.unpack_from(inbox, start)
            end = start + _HEADER.size + length
            if len(inbox) < end:
                break
            frames.append((kind, number, bytes(inbox[start + _HEADER.size : end])))
            start = end
        del inbox[:start]
        return frames

    def take_descriptor(self) -> int:
        """The descriptor of the oldest RUN frame not yet asked for; -1 if this process had no room for it."""
        return self._descriptors.popleft() if self._descriptors else -1

    def close(self) -> None:
        """Close the socket and every descriptor still under way."""
        self.closed = True
        for _, descriptor in self._outbox:
            if descriptor >= 0:
                os.close(descriptor)
        for descriptor in self._descriptors:
            if descriptor >= 0:
                os.close(descriptor)
        self._outbox.clear()
        self._descriptors.clear()
        self.socket.close()

    def _write(self, data: bytearray, descriptor: int) -> int:
        if descriptor < 0:
            return self.socket.send(data)
        rights = (socket.SOL_SOCKET, socket.SCM_RIGHTS, _DESCRIPTOR.pack(descriptor))
        return self.socket.sendmsg([data], [rights])

    def _read(self) -> bytes:
        # The kernel ends a read after bytes that carried a descriptor: one read, at most one descriptor, in the
        # order of the RUN frames. A truncated control message is a RUN whose descriptor found no room.
        room = socket.CMSG_SPACE(_DESCRIPTOR.size)
        data, messages, flags, _ = self.socket.recvmsg(_CHUNK, room, _CLOSE_ON_EXEC)
        for level, what, content in messages:
            if level == socket.SOL_SOCKET and what == socket.SCM_RIGHTS and len(content) >= _DESCRIPTOR.size:
                (descriptor,) = _DESCRIPTOR.unpack_from(content)
                os.set_inheritable(descriptor, False)
                self._descriptors.append(descriptor)
        if flags & socket.MSG_CTRUNC and not messages:
            self._descriptors.append(-1)
        return data


_FULL = (errno.EAGAIN, errno.EWOULDBLOCK, errno.ENOBUFS, errno.ENOMEM, errno.ETOOMANYREFS)
_CLOSE_ON_EXEC = getattr(socket, "MSG_CMSG_CLOEXEC", 0)
