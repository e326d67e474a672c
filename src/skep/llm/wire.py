"""One TCP connection under httpcore: straight on the event loop, and closed at once whenever we say so."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import select
import socket
import ssl
from collections import deque
from collections.abc import Iterable

import httpcore

_HELD_MOST = 256 * 1024  # bytes read ahead before the sender is made to wait
_SENT_AT_ONCE = 64 * 1024
_NEXT_ADDRESS_AFTER = 0.25  # seconds, as RFC 8305 has it


class Wire(asyncio.Protocol, httpcore.AsyncNetworkStream):
    """A connection as httpcore wants it. It has no time limits of its own: whoever waits is cancelled.

    A read or write that is cancelled closes it on the spot, before anything else is unwound.
    """

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._chunks: deque[bytes] = deque()
        self._held = 0
        self._ended = False
        self._error: Exception | None = None
        self._reader: asyncio.Future[None] | None = None
        self._writer: asyncio.Future[None] | None = None
        self._is_full = False
        self._out: list[bytes] = []
        self._out_size = 0
        self.secured = False
        """TLS stands."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Part of asyncio's protocol."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Part of asyncio's protocol."""
        self._chunks.append(data)
        self._held += len(data)
        if self._held > _HELD_MOST and self._transport is not None:
            self._transport.pause_reading()
        _wake(self._reader)

    def eof_received(self) -> None:
        """Part of asyncio's protocol."""
        self._ended = True
        _wake(self._reader)

    def connection_lost(self, error: Exception | None) -> None:
        """Part of asyncio's protocol."""
        self._ended = True
        self._error = self._error or error
        _wake(self._reader)
        _wake(self._writer)

    def pause_writing(self) -> None:
        """Part of asyncio's protocol."""
        self._is_full = True

    def resume_writing(self) -> None:
        """Part of asyncio's protocol."""
        self._is_full = False
        _wake(self._writer)

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        """The next bytes; empty at the end. Raises httpcore.ReadError."""
        if self._out:
            await self._flush()
        if not self._chunks and not self._ended:
            self._reader = self._loop.create_future()
            try:
                await self._reader
            except asyncio.CancelledError:
                self.cut()
                raise
            finally:
                self._reader = None
        if not self._chunks:
            if self._error is not None:
                raise httpcore.ReadError("the connection was lost") from self._error
            return b""
        chunk = self._chunks.popleft()
        if len(chunk) > max_bytes:
            self._chunks.appendleft(chunk[max_bytes:])
            chunk = chunk[:max_bytes]
        was_held, self._held = self._held, self._held - len(chunk)
        if was_held > _HELD_MOST >= self._held and self._transport is not None and not self._ended:
            self._transport.resume_reading()
        return chunk

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        """Send bytes, at the latest with the next read: head and body of a short request go out together."""
        self._out.append(buffer)
        self._out_size += len(buffer)
        if self._out_size > _SENT_AT_ONCE:
            await self._flush()

    async def _flush(self) -> None:
        data = b"".join(self._out)
        self._out.clear()
        self._out_size = 0
        if self._ended or self._transport is None:
            return  # there may be an answer all the same; else reading says what happened
        self._transport.write(data)
        while self._is_full and not self._ended:
            self._writer = self._loop.create_future()
            try:
                await self._writer
            except asyncio.CancelledError:
                self.cut()
                raise
            finally:
                self._writer = None

    async def aclose(self) -> None:
        """Close it."""
        self.cut()

    def cut(self) -> None:
        """Close it now: the other side is told before this returns, and nothing is sent any more."""
        self._ended = True
        transport = self._transport
        if transport is None:
            return
        plug: socket.socket | None = transport.get_extra_info("socket")
        if plug is not None:
            with contextlib.suppress(OSError):
                plug.shutdown(socket.SHUT_RDWR)
        transport.abort()

    async def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.AsyncNetworkStream:
        """Shake hands for TLS. Raises httpcore.ConnectError."""
        if self._transport is None:
            raise httpcore.ConnectError("there is no connection")
        try:
            transport = await self._loop.start_tls(
                self._transport, self, ssl_context, server_hostname=server_hostname
            )
        except OSError as error:
            self.cut()
            raise httpcore.ConnectError("TLS was not agreed upon") from error
        except BaseException:
            self.cut()
            raise
        if transport is None:
            raise httpcore.ConnectError("the connection was lost")
        self._transport = transport
        self.secured = True
        return self

    def get_extra_info(self, info: str) -> object:
        """What httpcore asks of its streams."""
        if self._transport is None:
            return None
        if info == "is_readable":
            return self._ended or bool(self._chunks) or self._has_input()
        names = {"client_addr": "sockname", "server_addr": "peername"}
        found: object = self._transport.get_extra_info(names.get(info, info))
        return found

    def _has_input(self) -> bool:
        """Whether something came that the event loop has not seen yet: on an idle connection, its end."""
        plug: socket.socket | None = self._transport.get_extra_info("socket") if self._transport else None
        if plug is None or plug.fileno() < 0:
            return True
        poll = select.poll()
        poll.register(plug.fileno(), select.POLLIN)
        return bool(poll.poll(0))


class Line(httpcore.AsyncNetworkBackend):
    """Makes one wire for one connection, and holds on to it, so that it can be cut at any moment."""

    def __init__(self, *, secure: bool) -> None:
        self._secure = secure
        self._wire: Wire | None = None
        self._is_cut = False

    @property
    def stands(self) -> bool:
        """The connection is made, TLS included."""
        return self._wire is not None and (self._wire.secured or not self._secure)

    def cut(self) -> None:
        """Close the connection now; one that is still being made is closed as soon as it stands."""
        self._is_cut = True
        if self._wire is not None:
            self._wire.cut()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """Connect, to whichever address of the host answers first. Raises httpcore.ConnectError."""
        try:
            _, wire = await asyncio.get_running_loop().create_connection(
                Wire, host, port, happy_eyeballs_delay=None if _is_address(host) else _NEXT_ADDRESS_AFTER
            )
        except (OSError, UnicodeError) as error:
            raise httpcore.ConnectError("no connection") from error
        self._wire = wire
        if self._is_cut:
            wire.cut()
            raise httpcore.ConnectError("the connection was cut")
        return wire


def _wake(waiter: asyncio.Future[None] | None) -> None:
    if waiter is not None and not waiter.done():
        waiter.set_result(None)


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
