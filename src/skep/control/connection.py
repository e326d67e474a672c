"""One client of an engine: who it is, what it asks, and the answers."""

from __future__ import annotations

import asyncio
import json
import logging
import os
from collections.abc import Awaitable, Callable, Coroutine
from functools import partial
from typing import Final, TypeAlias, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from skep import __version__
from skep.control import wire
from skep.control.channel import Channel
from skep.control.deadline import within
from skep.control.following import Following
from skep.control.outlet import Common, Outlet
from skep.control.picture import Picture
from skep.control.service import Who
from skep.control.verbs import AgentId, AnyRequest
from skep.control.wire import Call
from skep.errors import BadInput, Refused, SkepError, Unreachable
from skep.model.events import Json
from skep.text import clean_line, duration

HANDSHAKE_SECONDS: Final = 5.0
"""A connection that has not said hello by then is cut."""

_CALLS = 8  # calls of one client that are carried out at the same time
_OUTPUT_LINES = 2_000

logger = logging.getLogger(__name__)
P = TypeVar("P", bound=BaseModel)
Work: TypeAlias = Callable[[], Coroutine[None, None, None]]


class _Params(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class _Hello(_Params):
    protocol: int
    client: str = Field(min_length=1, max_length=64)
    read_only: bool = False


class _Attach(_Params):
    after_seq: int = Field(0, ge=0)


class _Verb(_Params):
    request: AnyRequest
    until: float | None = None
    """Not to be begun after this moment of the machine's monotonic clock."""


class _Tail(_Params):
    agent: AgentId
    first: int = -500
    limit: int = Field(500, ge=1, le=_OUTPUT_LINES)


class _Follow(_Params):
    agent: AgentId | None
    after: int | None = Field(None, ge=0)


class _Events(_Params):
    after: int = Field(0, ge=0)
    limit: int = Field(1_000, ge=1, le=5_000)


class Connection:
    """Serves one client until it leaves, breaks the rules, or does not take its data."""

    def __init__(self, common: Common, channel: Channel, greeted: Callable[[Connection], None]) -> None:
        self._common = common
        self._service = common.service
        self._channel = channel
        self._clock = common.clock
        self._greeted = greeted
        self._who = Who("")
        self._outlet = Outlet(channel, common.turns)
        self._picture = Picture(common, self._outlet)
        self._following = Following(common, self._outlet)
        self._tasks = asyncio.TaskGroup()
        self._parts: set[asyncio.Task[None]] = set()
        self._over: asyncio.Future[SkepError] = asyncio.get_running_loop().create_future()
        self._calls = asyncio.Semaphore(_CALLS)
        self._bulk = asyncio.Lock()

    async def serve(self) -> None:
        """Do everything for this client; returns when it is gone."""
        try:
            await self._greet()
            async with asyncio.TaskGroup() as self._tasks:
                for work in (self._listen, self._picture.tick, self._following.run):
                    self._start(work)
                error = await self._over
                for part in self._parts:
                    part.cancel()
        except SkepError as at_the_door:
            error = _bare(at_the_door)
        finally:
            self._picture.close()
        if isinstance(error, Unreachable):
            logger.debug("client %s: %s", self._who.name or "unknown", error)
        else:
            self.last_word(error)

    def _start(self, work: Work) -> None:
        """Do this beside everything else; if it fails with one of our errors, that is the end for this client."""
        part = self._tasks.create_task(self._see_through(work))
        self._parts.add(part)
        part.add_done_callback(self._parts.discard)

    async def _see_through(self, work: Work) -> None:
        # Not left to the group: what it raises holds on to all that it came through, and so it would not go before
        # a collection of garbage; clients that come and go would fill the memory meanwhile.
        try:
            await work()
        except SkepError as error:
            if not self._over.done():
                self._over.set_result(_bare(error))

    def last_word(self, error: SkepError) -> None:
        """Say why it ends, if that can be said at this moment."""
        self._channel.write_last(wire.error_frame(None, error, wire.INVALID_REQUEST))

    async def _greet(self) -> None:
        try:
            call = await within(self._clock, HANDSHAKE_SECONDS, self._next_call())
        except TimeoutError:
            raise Refused("no hello came", why=f"a client says it within {HANDSHAKE_SECONDS:g} s") from None
        if call.method != "hello":
            raise Refused(f"{clean_line(call.method, limit=40)} before hello", mend="say hello first")
        wire.check_protocol(wire.PROTOCOL, call.params.get("protocol"), version=__version__)
        hello = _params(_Hello, call.params)
        self._who = Who(clean_line(hello.client), hello.read_only)
        with self._service.registry.read() as state:
            created = state.created
        answer: dict[str, Json] = {
            "protocol": wire.PROTOCOL,
            "version": __version__,
            "swarm": created.swarm if created is not None else "",
            "name": created.name if created is not None else "",
            "pid": os.getpid(),
            "folder": str(self._service.folder),
        }
        self._greeted(self)
        await self._outlet.write(wire.result_frame(call.id, answer))

    async def _listen(self) -> None:
        while True:
            call = await self._next_call()
            await self._calls.acquire()
            # A task of its own: a verb that waits for the disk must not keep a look at some output waiting.
            self._start(partial(self._answer, call))

    async def _next_call(self) -> Call:
        line = await self._channel.read()
        async with self._outlet.turn():
            message = wire.read_frame(line, parts=wire.MAX_PARTS)
        if not isinstance(message, Call):
            raise BadInput("a frame on the control socket is no call")
        return message

    # -- calls -----------------------------------------------------------------------------------------------

    async def _answer(self, call: Call) -> None:
        try:
            if call.method == "call":
                await self._send(call, await self._outlet.metered(self._result(call)))
            else:
                # Answers that may be large one by one: a client that takes none holds no more than one of them.
                async with self._bulk:
                    await self._send(call, await self._result(call))
        finally:
            self._calls.release()

    async def _send(self, call: Call, frame: bytes) -> None:
        if call.id is not None:
            await self._outlet.write(frame)

    async def _result(self, call: Call) -> bytes:
        method = _METHODS.get(call.method)
        if method is None:
            unknown = BadInput(f"there is no method {clean_line(call.method, limit=40)}")
            return wire.error_frame(call.id, unknown, wire.METHOD_NOT_FOUND)
        try:
            return wire.result_frame(call.id, await method(self, call.params))
        except Unreachable:
            raise
        except SkepError as error:
            return wire.error_frame(call.id, error)
        except Exception:
            logger.exception("the call %s failed", call.method)
            return wire.error_frame(call.id, SkepError("the engine failed at this call", mend="see its log"))

    async def _call(self, params: dict[str, Json]) -> Json:
        asked = _params(_Verb, params)
        request = asked.request
        if request.changes and self._who.read_only:
            raise Refused(
                f"{request.verb} is not for a read-only client", mend="connect without --read-only to act"
            )
        late = self._clock.monotonic() - asked.until if asked.until is not None else 0.0
        if late > 0:
            raise Refused(
                f"{request.verb} came too late: nothing was done",
                why=f"the engine could not take it up before; {duration(late)} too late",
                mend="look how things are, and ask again",
            )
        reply = await self._service.call(request, self._who)
        return dict(reply.model_dump(mode="json"))

    async def _tail(self, params: dict[str, Json]) -> Json:
        asked = await self._read(_Tail, params)
        chunk = await self._service.tail(asked.agent, asked.first, asked.limit)
        async with self._outlet.turn():
            return wire.chunk_json(chunk)

    async def _events(self, params: dict[str, Json]) -> Json:
        asked = await self._read(_Events, params)
        records = await self._service.records(asked.after, min(asked.limit, wire.BATCH_RECORDS))
        async with self._outlet.turn():
            return {"records": wire.records_json(records), "durable": self._service.durable}

    async def _follow(self, params: dict[str, Json]) -> Json:
        asked = await self._read(_Follow, params)
        return await self._following.follow(asked.agent, asked.after)

    async def _attach(self, params: dict[str, Json]) -> Json:
        asked = await self._read(_Attach, params)
        seq = await self._picture.attach(asked.after_seq)
        self._start(self._picture.tell_events)
        return {"seq": seq}

    async def _tree(self, params: dict[str, Json]) -> Json:
        await self._read(_Params, params)
        return {"seq": await self._picture.look()}

    async def _read(self, model: type[P], params: dict[str, Json]) -> P:
        async with self._outlet.turn():
            return _params(model, params)


_METHODS: Final[dict[str, Callable[[Connection, dict[str, Json]], Awaitable[Json]]]] = {
    "attach": Connection._attach,
    "call": Connection._call,
    "tail": Connection._tail,
    "follow": Connection._follow,
    "tree": Connection._tree,
    "events": Connection._events,
}


def _bare(error: SkepError) -> SkepError:
    """The words of an error, without the way that it came."""
    error.__cause__ = error.__context__ = None
    return error.with_traceback(None)


def _params(model: type[P], params: dict[str, Json]) -> P:
    try:
        # Strict, and by way of JSON: only there an enumeration may be written as its text.
        return model.model_validate_json(json.dumps(params), strict=True)
    except ValidationError as error:
        raise wire.bad_params(error, "params") from error
