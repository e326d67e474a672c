"""One request and the answer to it, as a handler sees them: bytes in, and a few ways to write and to break off."""

from __future__ import annotations

import asyncio
import json
import socket
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field

import h11

from skep.simulator.behaviour import Json
from skep.simulator.refusals import Refusal

JSON_TYPE = "application/json"
EVENTS_TYPE = "text/event-stream"
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)


@dataclass(slots=True)
class Wire:
    """What an exchange shares with the connection that it came over."""

    transport: asyncio.Transport
    protocol: h11.Connection
    writable: asyncio.Event = field(default_factory=asyncio.Event)
    """Set while nothing waits in this process to be written."""
    closed_here: bool = False
    """Whether this side ended the connection."""


class Exchange:
    """A request that was read, and the writing of its answer.

    Every write returns when the network has taken all of it. A client that goes away cancels what answers it.
    """

    def __init__(self, wire: Wire, method: str, path: str, headers: Mapping[str, str], body: bytes) -> None:
        self.method = method
        self.path = path
        self.headers = headers
        self.body = body
        self.key = ""
        """Label of the key of the request, once it is known."""
        self._wire = wire
        self._raw = False
        self._held: list[bytes] = []
        """What goes out with the next write: each one costs as much as all the rest of a short answer."""

    async def respond(
        self, status: int, body: bytes, content_type: str = JSON_TYPE, headers: Mapping[str, str] | None = None
    ) -> None:
        """Send a whole answer."""
        head = [("content-type", content_type), ("content-length", str(len(body))), *(headers or {}).items()]
        protocol = self._wire.protocol
        await self._write(
            (protocol.send(h11.Response(status_code=status, headers=head)) or b"")
            + (protocol.send(h11.Data(data=body)) or b"")
            + (protocol.send(h11.EndOfMessage()) or b"")
        )

    async def respond_json(self, status: int, document: Json, headers: Mapping[str, str] | None = None) -> None:
        """Send a document."""
        await self.respond(status, json.dumps(document).encode(), headers=headers)

    async def refuse(self, refusal: Refusal) -> None:
        """Send an error."""
        await self.respond(refusal.status, refusal.body(), headers=refusal.headers)

    def start(self, content_type: str, headers: Mapping[str, str], *, framed: bool = True) -> None:
        """Begin an answer of unknown length; unframed, only the end of the connection will end it.

        Its headers go out with the next write.
        """
        head = [("content-type", content_type), ("cache-control", "no-cache"), *headers.items()]
        if framed:
            self._held.append(self._wire.protocol.send(h11.Response(status_code=200, headers=head)) or b"")
            return
        self._raw = True
        lines = "".join(f"{name}: {value}\r\n" for name, value in [*head, ("connection", "close")])
        self._held.append(f"HTTP/1.1 200 OK\r\n{lines}\r\n".encode("ascii"))

    def hold(self, data: bytes) -> None:
        """Have a part of an answer that was started go out with the next write."""
        if data:
            self._held.append(self._frame(data))

    async def write(self, data: bytes = b"") -> None:
        """Write a part of an answer that was started."""
        await self._write(self._frame(data) if data else b"")

    async def finish(self, data: bytes = b"") -> None:
        """Write the last part of an answer that was started."""
        last = self._frame(data) if data else b""
        await self._write(last if self._raw else last + (self._wire.protocol.send(h11.EndOfMessage()) or b""))
        if self._raw:
            self.close()

    def close(self) -> None:
        """End the connection in an orderly way, in the middle of whatever was being written."""
        self._wire.closed_here = True
        self._wire.transport.close()

    def reset(self) -> None:
        """End the connection with a reset."""
        self._wire.closed_here = True
        sock = self._wire.transport.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
        self._wire.transport.abort()

    async def forever(self) -> None:
        """Write what was held, then do nothing until the client goes away."""
        await self._write(b"")
        await asyncio.get_running_loop().create_future()

    def _frame(self, data: bytes) -> bytes:
        return data if self._raw else self._wire.protocol.send(h11.Data(data=data)) or b""

    async def _write(self, data: bytes) -> None:
        self._wire.transport.write(b"".join([*self._held, data]))
        self._held.clear()
        if not self._wire.writable.is_set():
            await self._wire.writable.wait()
