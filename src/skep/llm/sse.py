"""Server-sent events out of bytes, however the bytes are cut into chunks."""

from __future__ import annotations

from collections.abc import Callable

LINE_LIMIT = 1024 * 1024
"""Most bytes of one line, and of one event."""


class LineTooLong(Exception):
    """A line, or an event of many lines, went over the limit."""


class EventReader:
    """Calls ``event`` with the name and the data of each event; comments and unknown fields are passed over.

    Lines end in a newline, a carriage return or both. What ``event`` raises comes out of ``feed``.
    """

    def __init__(self, event: Callable[[bytes, bytes], None], *, limit: int = LINE_LIMIT) -> None:
        self._event = event
        self._limit = limit
        self._first = True
        self._after_return = False
        self._parts: list[bytes] = []  # of the line that has not ended yet
        self._held = 0
        self._name = b""
        self._data: list[bytes] = []
        self._size = 0

    def feed(self, chunk: bytes) -> None:
        """Take the next bytes. Raises LineTooLong."""
        if not chunk:
            return
        if self._after_return:
            self._after_return = False
            if chunk.startswith(b"\n"):  # the other half of a line end that was cut in two
                chunk = chunk[1:]
        if b"\r" in chunk:
            self._after_return = chunk.endswith(b"\r")
            chunk = chunk.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        *lines, rest = chunk.split(b"\n")
        if lines and self._parts:
            self._parts.append(lines[0])
            lines[0] = b"".join(self._parts)
            self._parts.clear()
            self._held = 0
        for line in lines:
            self._line(line)
        if rest:
            self._parts.append(rest)
            self._held += len(rest)
            if self._held > self._limit:
                raise LineTooLong

    def end(self) -> None:
        """The stream ended as it should: a last event without the blank line after it counts too."""
        if self._parts:
            self._line(b"".join(self._parts))
            self._parts.clear()
        self._dispatch()

    def _line(self, line: bytes) -> None:
        if self._first:
            self._first = False
            line = line.removeprefix(b"\xef\xbb\xbf")
        if not line:
            self._dispatch()
            return
        self._size += len(line)
        if self._size > self._limit:
            raise LineTooLong
        if line.startswith(b"data:"):
            self._data.append(line[6:] if line.startswith(b"data: ") else line[5:])
        elif line.startswith(b"event:"):
            self._name = line[6:].strip()

    def _dispatch(self) -> None:
        name, data = self._name, self._data
        self._name, self._size = b"", 0
        if data:
            self._data = []
            self._event(name, data[0] if len(data) == 1 else b"\n".join(data))
