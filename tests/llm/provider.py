"""A provider on loopback for tests: each request is answered by the next script, byte by byte if need be."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import select
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

Script = Callable[["Exchange"], Awaitable[None]]


class Exchange:
    """One request as the provider sees it, and the means to answer."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, plug: socket.socket) -> None:
        self._reader = reader
        self._writer = writer
        self._plug = plug
        self.headers: dict[str, str] = {}
        self.document: dict = {}

    async def read(self) -> bool:
        """Read one request; False if the connection ended instead."""
        try:
            head = (await self._reader.readuntil(b"\r\n\r\n")).decode()
            fields = (line.split(":", 1) for line in head.split("\r\n")[1:] if line)
            self.headers = {name.lower(): value.strip() for name, value in fields}
            body = await self._reader.readexactly(int(self.headers["content-length"]))
        except (asyncio.IncompleteReadError, ConnectionError):
            return False
        self.document = json.loads(body)
        return True

    @property
    def key(self) -> str:
        return self.headers.get("authorization", "").removeprefix("Bearer ")

    async def head(self, status: int = 200, *, framed: bool = True, **headers: str) -> None:
        fields = {"content-type": "text/event-stream", **{k.replace("_", "-"): v for k, v in headers.items()}}
        fields |= {"transfer-encoding": "chunked"} if framed else {"connection": "close"}
        lines = [f"HTTP/1.1 {status} Said", *(f"{name}: {value}" for name, value in fields.items()), "", ""]
        self._framed = framed
        await self._send("\r\n".join(lines).encode())

    async def send(self, data: bytes) -> None:
        if self._framed:
            data = b"%x\r\n%b\r\n" % (len(data), data)
        await self._send(data)

    async def event(self, **document: object) -> None:
        await self.send(b"data: " + json.dumps(document).encode() + b"\n\n")

    async def text(self, text: str) -> None:
        await self.event(choices=[{"index": 0, "delta": {"content": text}}])

    async def end(self) -> None:
        if self._framed:
            await self._send(b"0\r\n\r\n")
        else:
            self.close()

    async def refuse(self, status: int, message: str = "no", **headers: str) -> None:
        await self.head(status, content_type="application/json", **headers)
        await self.send(json.dumps({"error": {"message": message}}).encode())
        await self.end()

    def close(self) -> None:
        with contextlib.suppress(OSError):  # the other side was quicker
            self._plug.shutdown(socket.SHUT_RDWR)
        self._writer.close()

    def reset(self) -> None:
        """Close with an RST."""
        self._plug.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._plug.close()
        self._writer.transport.abort()

    async def closed(self) -> None:
        """Until the other side has closed the connection."""
        with contextlib.suppress(ConnectionError):
            while await self._reader.read(65536):
                pass

    @property
    def is_closed(self) -> bool:
        """Whether the other side has closed it; nothing else of this process runs while this looks."""
        if not select.select([self._plug], [], [], 2)[0]:
            return False
        try:
            return self._plug.recv(1, socket.MSG_PEEK) == b""
        except ConnectionError:
            return True

    async def _send(self, data: bytes) -> None:
        with contextlib.suppress(ConnectionError):
            self._writer.write(data)
            await self._writer.drain()


class LoopbackProvider:
    """What is under the url: the exchanges so far, and the scripts still to come (the last one repeats)."""

    def __init__(self, scripts: list[Script]) -> None:
        self._scripts = scripts
        self._arrived: asyncio.Queue[Exchange] = asyncio.Queue()
        self.plugs: list[socket.socket] = []
        self.exchanges: list[Exchange] = []
        self.connections = 0
        self.url = ""

    async def arrival(self) -> Exchange:
        """The next request that the provider has in full."""
        return await self._arrived.get()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        # A handle of our own: to look at the connection, and to reset it, when asyncio has let go of it.
        plug = socket.socket(fileno=os.dup(writer.get_extra_info("socket").fileno()))
        self.plugs.append(plug)
        try:
            while True:
                exchange = Exchange(reader, writer, plug)
                if not await exchange.read():
                    return
                self.exchanges.append(exchange)
                script = self._scripts.pop(0) if len(self._scripts) > 1 else self._scripts[0]
                self._arrived.put_nowait(exchange)
                await script(exchange)
        finally:
            writer.transport.abort()


@asynccontextmanager
async def provider(*scripts: Script) -> AsyncIterator[LoopbackProvider]:
    """Serve ``scripts``, one a request."""
    loopback = LoopbackProvider(list(scripts))
    tasks: set[asyncio.Task[None]] = set()

    def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        tasks.add(asyncio.ensure_future(loopback.serve(reader, writer)))

    server = await asyncio.start_server(connected, "127.0.0.1", 0)
    loopback.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
    try:
        yield loopback
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        ends = await asyncio.gather(*tasks, return_exceptions=True)
        for plug in loopback.plugs:
            plug.close()
        faults = [end for end in ends if isinstance(end, Exception)]
        assert not faults, faults


async def answers(exchange: Exchange) -> None:
    """A short complete answer."""
    await exchange.head()
    await exchange.text("Hel")
    await exchange.text("lo")
    await exchange.event(choices=[{"index": 0, "delta": {}, "finish_reason": "stop"}])
    await exchange.event(choices=[], usage={"prompt_tokens": 12, "completion_tokens": 3})
    await exchange.send(b"data: [DONE]\n\n")
    await exchange.end()


async def hangs(exchange: Exchange) -> None:
    """No answer at all."""
    await exchange.closed()


async def stalls(exchange: Exchange) -> None:
    """The beginning of an answer."""
    await exchange.head()
    await exchange.text("Hel")
    await exchange.closed()


async def breaks(exchange: Exchange) -> None:
    """The beginning of an answer, and then a reset."""
    await exchange.head()
    await exchange.text("Hel")
    exchange.reset()


def refuses(status: int, message: str = "no", **headers: str) -> Script:
    async def script(exchange: Exchange) -> None:
        await exchange.refuse(status, message, **headers)

    return script


def sends(*parts: bytes, framed: bool = True, **headers: str) -> Script:
    """Raw bytes as the body of a 200, then its end."""

    async def script(exchange: Exchange) -> None:
        await exchange.head(framed=framed, **headers)
        for part in parts:
            await exchange.send(part)
        await exchange.end()

    return script
