"""One request for one turn: its clocks, and its end at any moment."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass

import httpx

from skep.clock import Clock
from skep.keys import Key
from skep.llm.answer import AnswerReader
from skep.llm.clocks import Clocks
from skep.llm.failure import Aborted, AttemptFailed, of_clock, of_link, of_status, of_stream
from skep.llm.faults import StreamFault, fault_in, message_of
from skep.llm.interruption import Interruption
from skep.llm.messages import Delta, Message, Usage
from skep.llm.transport import ON_LINE, Severed
from skep.llm.watch import Watch
from skep.model.events import Json
from skep.text import clean_line

MESSAGE_LIMIT = 300
"""Most characters of a provider's own words in an error."""

_ERROR_BODY_LIMIT = 64 * 1024  # bytes

_HEADERS = {
    "Content-Type": "application/json",
    "Accept": "text/event-stream",
    "Accept-Encoding": "identity",
}


@dataclass(frozen=True, slots=True)
class Request:
    """What an attempt sends, and how long it may take."""

    url: httpx.URL
    body: bytes
    key: Key
    user_agent: str
    where: str
    """The provider, model and key, for errors."""
    limit: float
    """Seconds for all of it."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a complete stream carried."""

    message: Message
    usage: Usage
    finish: str


class _Enough(Exception):
    """The answer was complete, only the stream would not end."""


class _Bearer(httpx.Auth):
    """Puts the key into the request, and nowhere else."""

    def __init__(self, key: Key) -> None:
        self._key = key

    async def async_auth_flow(self, request: httpx.Request) -> AsyncGenerator[httpx.Request, httpx.Response]:
        """Part of httpx's interface."""
        if self._key.secret is not None:
            request.headers["Authorization"] = f"Bearer {self._key.secret.reveal()}"
        yield request


class Attempt:
    """One HTTP request. ``run`` it once; ``abort`` ends it from any point, also before it began."""

    def __init__(
        self,
        http: httpx.AsyncClient,
        watch: Watch,
        clock: Clock,
        clocks: Clocks,
        request: Request,
        hear: Callable[[Delta], None],
        first: Callable[[], None],
    ) -> None:
        self._http = http
        self._watch = watch
        self._clock = clock
        self._clocks = clocks
        self._request = request
        self._first = first
        self._reader = AnswerReader(hear)
        self._interruption = Interruption()
        self._line: Severed | None = None
        self._began = self._byte_at = self._progress_at = 0.0

    async def run(self) -> Answer:
        """Send the request and read its answer to the end; the connection is closed or idle when this returns.

        Raises AttemptFailed, or Aborted.
        """
        self._began = self._byte_at = self._progress_at = self._clock.monotonic()
        failure: AttemptFailed | None = None
        self._watch.add(self)
        try:
            async with self._interruption:
                failure = await self._exchange()
        finally:
            self._watch.remove(self)
        reason = self._interruption.reason
        if isinstance(reason, AttemptFailed):
            failure = reason
        elif reason is not None and not isinstance(reason, _Enough):
            raise reason
        if failure is not None:
            failure.where = self._where(failure)
            failure.partial = self._reader.text
            failure.usage = self._reader.usage
            raise failure
        return Answer(*self._reader.turn())

    def abort(self) -> None:
        """End it now: the other side sees the connection closed, and ``run`` raises Aborted."""
        self._end(Aborted())

    def sever(self) -> None:
        """Close its connection now, whatever comes of it."""
        if self._line is not None:
            self._line.cut()

    def left(self, now: float) -> float:
        """Seconds until it is overdue."""
        return self._due()[0] - now

    def expire(self) -> None:
        """It is overdue."""
        if self._reader.done:
            self._end(_Enough())
        else:
            self._end(of_clock(self._due()[1], sent=self._is_sent))

    def _end(self, reason: Exception) -> None:
        if self._interruption.end(reason):
            self.sever()

    @property
    def _is_sent(self) -> bool:
        # Behind a proxy nobody tells us; then the limit of the first event holds.
        return self._line is None or self._line.stands

    def _due(self) -> tuple[float, str]:
        """When it is overdue, in seconds of the clock, and why."""
        clocks = self._clocks
        whole = self._began + self._request.limit, f"not complete after {self._request.limit:g}s"
        if self._reader.done:
            return self._progress_at + clocks.linger, ""
        if self._reader.started:
            byte = self._byte_at + clocks.byte, f"not a byte for {clocks.byte:g}s"
            progress = self._progress_at + clocks.progress, f"no progress for {clocks.progress:g}s"
            return min(whole, byte, progress)
        if self._is_sent:
            return min(whole, (self._began + clocks.first_event, f"no event for {clocks.first_event:g}s"))
        return min(whole, (self._began + clocks.connect, f"no connection after {clocks.connect:g}s"))

    async def _exchange(self) -> AttemptFailed | None:
        request = httpx.Request(
            "POST",
            self._request.url,
            headers={"User-Agent": self._request.user_agent, **_HEADERS},
            content=self._request.body,
            extensions={ON_LINE: self._take_line},
        )
        begun = False
        response: httpx.Response | None = None
        try:
            response = await self._http.send(request, auth=_Bearer(self._request.key), stream=True)
            begun = True
            if response.status_code != 200:
                return await self._turned_away(response)
            if response.headers.get("content-type", "").startswith("application/json"):
                raise _unstreamed(await _document(response))
            await self._read(response)
        except StreamFault as fault:
            return self._spoilt(fault)
        except httpx.HTTPError as error:
            # What comes after the end of a complete answer cannot spoil it.
            return None if self._reader.done else of_link(error, sent=self._is_sent, begun=begun)
        finally:
            if response is not None:
                await response.aclose()
        return None

    def _take_line(self, line: Severed) -> None:
        self._line = line
        if self._interruption.reason is not None:
            line.cut()

    async def _read(self, response: httpx.Response) -> None:
        reader, clock = self._reader, self._clock
        # Asked for as it is; a provider that packs it all the same is understood.
        packed = "content-encoding" in response.headers
        steps = 0
        async for chunk in response.aiter_bytes() if packed else response.aiter_raw():
            self._byte_at = clock.monotonic()
            was_started = reader.started
            reader.feed(chunk)
            if reader.steps != steps or not was_started:
                if not steps and reader.steps:
                    self._first()
                steps = reader.steps
                self._progress_at = self._byte_at
        reader.end(framed="transfer-encoding" in response.headers or "content-length" in response.headers)

    async def _turned_away(self, response: httpx.Response) -> AttemptFailed:
        message = message_of(await _document(response))
        return of_status(response.status_code, response.headers, self._shown(message), self._clock.time())

    def _spoilt(self, fault: StreamFault) -> AttemptFailed:
        return of_stream(fault, self._shown(fault.why))

    def _where(self, failure: AttemptFailed) -> str:
        if failure.status is not None:
            return self._request.where
        return f"{self._request.where} at {self._request.url.netloc.decode('ascii', 'replace')}"

    def _shown(self, text: str) -> str:
        """A provider's words as people may see them: cleaned, capped, and without the key."""
        text = text[: 4 * MESSAGE_LIMIT + 4096]
        secret = self._request.key.secret
        if secret is None:
            return clean_line(text, limit=MESSAGE_LIMIT)
        # Before, for a cut may leave half a key; after, for what was cleaned away may have stood within it.
        text = clean_line(text.replace(secret.reveal(), "[key]"), limit=len(text))
        return clean_line(text.replace(secret.reveal(), "[key]"), limit=MESSAGE_LIMIT)


def _unstreamed(document: Json) -> StreamFault:
    if isinstance(document, dict) and document.get("error"):
        return fault_in(document)
    return StreamFault("it did not come as a stream")


async def _document(response: httpx.Response) -> Json:
    """The JSON of a body that is no stream; None if it is none."""
    body = b""
    async for chunk in response.aiter_bytes():
        body += chunk
        if len(body) > _ERROR_BODY_LIMIT:
            return None
    try:
        document: Json = json.loads(body)
        return document
    except (ValueError, RecursionError):
        return None
