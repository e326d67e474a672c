"""One connection of a client: requests out of its bytes, one after the other, each answered by a task."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

import h11

from skep.simulator.exchange import Exchange, Wire
from skep.simulator.ledger import Ledger
from skep.simulator.refusals import Refusal

Handler = Callable[[Exchange], Awaitable[None]]

LARGEST_HEAD = 64 * 1024
LARGEST_BODY = 32 * 1024 * 1024
_LARGEST_AHEAD = 64 * 1024
"""Bytes that a client may send ahead while it is being answered."""
_LINGER = 2.0
"""Seconds for which a client that was refused may go on to send."""


class Connection(asyncio.Protocol):
    """The protocol of a connection; `handler` answers a request, and is cancelled when the client goes away."""

    def __init__(self, handler: Handler, ledger: Ledger, connections: set[Connection]) -> None:
        self._handler = handler
        self._ledger = ledger
        self._connections = connections
        self._http = h11.Connection(h11.SERVER, max_incomplete_event_size=LARGEST_HEAD)
        self._wire: Wire | None = None
        self._request: h11.Request | None = None
        self._body: list[bytes] = []
        self._size = 0
        self._ahead = 0
        self._exchange: Exchange | None = None
        self._closing: asyncio.TimerHandle | None = None
        self._ended_at: float | None = None
        """Set when all that was to be said was said, and what the client still sends is thrown away."""
        self.task: asyncio.Task[None] | None = None
        """Answers the request that was read; None between two requests."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A client has connected."""
        assert isinstance(transport, asyncio.Transport)
        transport.set_write_buffer_limits(high=0)
        self._wire = Wire(transport, self._http)
        self._wire.writable.set()
        self._connections.add(self)
        self._ledger.connected()

    def eof_received(self) -> None:
        """The client has closed it: this is the moment, though there may be much to clear away after it."""
        self._ended_at = time.time()

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is closed, by whomever."""
        self._connections.discard(self)
        answering = self.task is not None
        if self.task is not None:
            self.task.cancel()
        if self._closing is not None:
            self._closing.cancel()
        key = self._exchange.key if self._exchange else ""
        at = self._ended_at or time.time()
        self._ledger.disconnected(key, at=at, by_client=not self._closed_here, answering=answering)

    def pause_writing(self) -> None:
        """Something waits to be written."""
        if self._wire:
            self._wire.writable.clear()

    def resume_writing(self) -> None:
        """All was written."""
        if self._wire:
            self._wire.writable.set()

    def data_received(self, data: bytes) -> None:
        """Bytes of a request, or of the next one already."""
        if self._closing is not None:
            return
        self._http.receive_data(data)
        if self.task is None:
            self._advance()
            return
        self._ahead += len(data)
        if self._ahead > _LARGEST_AHEAD:
            self.abort()

    def abort(self) -> None:
        """Close the connection from this side, whatever is under way."""
        if self._wire:
            self._wire.closed_here = True
            self._wire.transport.abort()

    @property
    def _closed_here(self) -> bool:
        return self._wire is not None and self._wire.closed_here

    def _advance(self) -> None:
        try:
            while self.task is None:
                match self._http.next_event():
                    case h11.Request() as request:
                        self._begin(request)
                    case h11.Data(data=data):
                        self._size += len(data)
                        if self._size > LARGEST_BODY:
                            raise _too_large()
                        self._body.append(bytes(data))
                    case h11.EndOfMessage():
                        self._start(self._handler)
                    case h11.ConnectionClosed():
                        self._close()
                        return
                    case _:
                        return
        except h11.RemoteProtocolError as error:
            self._refuse(Refusal(error.error_status_hint, f"this is no HTTP: {error}", code="bad_http"))
        except Refusal as refusal:
            self._refuse(refusal)

    def _begin(self, request: h11.Request) -> None:
        self._request, self._body, self._size = request, [], 0
        length = next((value for name, value in request.headers if name == b"content-length"), b"0")
        if int(length) > LARGEST_BODY:
            raise _too_large()
        if self._http.they_are_waiting_for_100_continue and self._wire:
            go_on = h11.InformationalResponse(status_code=100, headers=[])
            self._wire.transport.write(self._http.send(go_on) or b"")

    def _refuse(self, refusal: Refusal) -> None:
        """Answer a request that cannot be read to its end, and close."""

        async def answer(exchange: Exchange) -> None:
            refusal.headers["connection"] = "close"
            if self._http.our_state in (h11.IDLE, h11.SEND_RESPONSE):
                await exchange.refuse(refusal)
            # Closed while the client still sends, the connection would be reset and the answer lost.
            self._linger()

        self._start(answer)

    def _start(self, handler: Handler) -> None:
        assert self._wire is not None
        request = self._request
        exchange = Exchange(
            self._wire,
            request.method.decode("ascii") if request else "",
            request.target.decode("latin-1") if request else "",
            _headers(request) if request else {},
            b"".join(self._body),
        )
        self._exchange = exchange
        self._request, self._body, self._ahead = None, [], 0
        self.task = asyncio.get_running_loop().create_task(self._answer(handler, exchange))

    async def _answer(self, handler: Handler, exchange: Exchange) -> None:
        try:
            await handler(exchange)
        except BaseException:
            # What was begun cannot be ended any more; the client has to see that.
            self.abort()
            raise
        finally:
            self.task = None
        if self._closing is not None:
            return
        if self._http.our_state is h11.DONE and self._http.their_state is h11.DONE and not self._closed_here:
            self._http.start_next_cycle()
            self._advance()
        else:
            self._close()

    def _linger(self) -> None:
        if self._wire is None or self._wire.transport.is_closing():
            return
        self._wire.closed_here = True
        self._wire.transport.write_eof()
        self._closing = asyncio.get_running_loop().call_later(_LINGER, self._wire.transport.close)

    def _close(self) -> None:
        if self._wire:
            self._wire.closed_here = True
            self._wire.transport.close()


def _headers(request: h11.Request) -> dict[str, str]:
    return {name.decode("latin-1"): value.decode("latin-1") for name, value in request.headers}


def _too_large() -> Refusal:
    return Refusal(413, f"a body has at most {LARGEST_BODY} bytes", code="too_large")
