"""The connections of all agents: each request has one for itself, taken and given back in constant time.

httpcore's own pool looks through all of its connections and requests whenever one comes or goes, which at a
thousand open streams costs more than the requests do. How many there may be is for the pool of keys to say.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import urllib.parse
import urllib.request
from collections import deque
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import Protocol

import httpcore
import httpx

from skep.errors import BadInput
from skep.llm.wire import Line

ON_LINE = "skep.line"
"""Extension of a request: called with its Line once it has one."""

IDLE_SECONDS = 15.0
"""How long a connection is kept for the next request. Real time: the other side goes by it too."""

IDLE_MOST = 1024
"""Most connections kept without a request."""

OnLine = Callable[["Severed"], None]


class Severed(Protocol):
    """What can be closed at once."""

    @property
    def stands(self) -> bool:
        """The connection is made."""

    def cut(self) -> None:
        """Close it now."""


@dataclass(frozen=True, slots=True)
class _Origin:
    scheme: str
    host: str
    port: int


@dataclass(slots=True)
class _Connection:
    origin: _Origin
    line: Line
    http: httpcore.AsyncHTTPConnection
    idle_since: float = field(default=0.0)


class Connections(httpx.AsyncBaseTransport):
    """The transport under the one client. Where the environment names a proxy, httpx's own is used.

    Addresses of this machine are never asked for through a proxy.
    """

    def __init__(self) -> None:
        self._idle: dict[_Origin, deque[_Connection]] = {}  # the latest on the right
        self._idle_count = 0
        self._sweep: asyncio.TimerHandle | None = None
        self._secure: ssl.SSLContext | None = None
        self._proxies: dict[_Origin, httpx.AsyncHTTPTransport | None] = {}

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request on an idle connection, or else on a new one. Raises httpx.TransportError."""
        url = request.url
        origin = _Origin(url.scheme, url.host, url.port or (443 if url.scheme == "https" else 80))
        proxy = self._proxy_for(origin)
        if proxy is not None:
            return await proxy.handle_async_request(request)
        connection = self._take(origin) or self._new(origin)
        on_line: OnLine | None = request.extensions.get(ON_LINE)
        if on_line is not None:
            on_line(connection.line)
        try:
            response = await connection.http.handle_async_request(
                httpcore.Request(
                    request.method,
                    httpcore.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path),
                    headers=request.headers.raw,
                    content=request.stream,
                    extensions=request.extensions,
                )
            )
        except httpcore.NetworkError as error:
            connection.line.cut()
            raise httpx.NetworkError("the connection failed") from error
        except httpcore.ProtocolError as error:
            connection.line.cut()
            raise _protocol_error(error) from error
        except BaseException:
            connection.line.cut()
            raise
        stream = _Body(response.stream, connection, self._give_back)  # type: ignore[arg-type]  # of an async one
        return httpx.Response(
            response.status, headers=response.headers, stream=stream, extensions=response.extensions
        )

    def close_idle(self) -> None:
        """Close every connection that has no request."""
        for connections in self._idle.values():
            for connection in connections:
                connection.line.cut()
        self._idle.clear()
        self._idle_count = 0
        if self._sweep is not None:
            self._sweep.cancel()
            self._sweep = None

    async def aclose(self) -> None:
        """Close what is idle; what is open is closed by whoever uses it."""
        self.close_idle()
        for proxy in self._proxies.values():
            if proxy is not None:
                await proxy.aclose()

    def _new(self, origin: _Origin) -> _Connection:
        secure = origin.scheme == "https"
        if secure and self._secure is None:
            self._secure = httpx.create_ssl_context()
        line = Line(secure=secure)
        http = httpcore.AsyncHTTPConnection(
            httpcore.Origin(
                origin.scheme.encode(),
                origin.host.encode("idna" if not origin.host.isascii() else "ascii"),
                origin.port,
            ),
            ssl_context=self._secure,
            network_backend=line,
        )
        return _Connection(origin, line, http)

    def _take(self, origin: _Origin) -> _Connection | None:
        connections = self._idle.get(origin)
        while connections:
            connection = connections.pop()
            self._idle_count -= 1
            if not connection.http.has_expired():  # the other side may have closed it
                return connection
            connection.line.cut()
        return None

    def _give_back(self, connection: _Connection) -> None:
        if not connection.http.is_idle() or self._idle_count >= IDLE_MOST:
            connection.line.cut()
            return
        loop = asyncio.get_running_loop()
        connection.idle_since = loop.time()
        self._idle.setdefault(connection.origin, deque()).append(connection)
        self._idle_count += 1
        if self._sweep is None:
            self._sweep = loop.call_later(IDLE_SECONDS, self._close_old)

    def _close_old(self) -> None:
        loop = asyncio.get_running_loop()
        oldest_kept = loop.time()
        for connections in self._idle.values():
            while connections and connections[0].idle_since + IDLE_SECONDS <= loop.time():
                connections.popleft().line.cut()
                self._idle_count -= 1
            if connections:
                oldest_kept = min(oldest_kept, connections[0].idle_since)
        self._sweep = None
        if self._idle_count:
            self._sweep = loop.call_at(oldest_kept + IDLE_SECONDS, self._close_old)

    def _proxy_for(self, origin: _Origin) -> httpx.AsyncHTTPTransport | None:
        if origin not in self._proxies:
            address = _proxy_address(origin)
            self._proxies[origin] = None if address is None else _through(address)
        return self._proxies[origin]


class _Body(httpx.AsyncByteStream):
    """The body of a response, which gives its connection back when it is closed."""

    def __init__(
        self,
        stream: AsyncIterator[bytes],
        connection: _Connection,
        give_back: Callable[[_Connection], None],
    ) -> None:
        self._stream = stream
        self._connection = connection
        self._give_back = give_back
        self._is_closed = False

    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            async for part in self._stream:
                yield part
        except httpcore.NetworkError as error:
            raise httpx.NetworkError("the connection was lost") from error
        except httpcore.ProtocolError as error:
            raise _protocol_error(error) from error

    async def aclose(self) -> None:
        """Close it; the connection is used again if the body was read to its end."""
        if not self._is_closed:
            self._is_closed = True
            try:
                await self._stream.aclose()  # type: ignore[attr-defined]
            finally:
                self._give_back(self._connection)


def _protocol_error(error: httpcore.ProtocolError) -> httpx.ProtocolError:
    # The text of the library's error may quote a header, and with it a key.
    if isinstance(error, httpcore.LocalProtocolError):
        return httpx.LocalProtocolError("the request is malformed")
    return httpx.RemoteProtocolError("the answer is not proper HTTP")


def _proxy_address(origin: _Origin) -> str | None:
    if origin.host == "localhost" or _is_loopback(origin.host):
        return None
    proxies = urllib.request.getproxies()
    address = proxies.get(origin.scheme) or proxies.get("all")
    if not address or urllib.request.proxy_bypass(f"{origin.host}:{origin.port}"):
        return None
    return address if "://" in address else f"http://{address}"


def _is_loopback(host: str) -> bool:
    with contextlib.suppress(ValueError):
        return ip_address(host).is_loopback
    return False


def _through(address: str) -> httpx.AsyncHTTPTransport:
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=None, keepalive_expiry=IDLE_SECONDS)
    try:
        return httpx.AsyncHTTPTransport(proxy=address, limits=limits)
    except (ImportError, ValueError, httpx.InvalidURL):
        pass
    # Not from within the handler: the address may hold a password, and errors keep what they came from.
    kind = urllib.parse.urlsplit(address).scheme
    raise BadInput(
        "the proxy that the environment names cannot be used",
        where="HTTPS_PROXY, HTTP_PROXY or ALL_PROXY",
        why=f"its kind is {kind}",
        mend="pip install httpx[socks] for SOCKS, or name the provider in NO_PROXY",
    )
