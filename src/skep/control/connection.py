"""One client of an engine: who it is, what it asks, and the answers."""

from __future__ import annotations

import asyncio
import json
import logging
import os
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from functools import partial
from typing import Final, TypeAlias, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from skep import __version__
from skep.control import wire
from skep.control.channel import Channel
from skep.control.deadline import within
from skep.control.following import SMALL, Following
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
_SMALL_FRAME = 4_096  # bytes that are read in well under a millisecond

logger = logging.getLogger(__name__)
P = TypeVar("P", bound=BaseModel)
Work: TypeAlias = Callable[[], Coroutine[None, None, None]]


class _Params(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


@dataclass(frozen=True, slots=True)
class _Asked:
    """A call that was read: for its params, checked, or what is wrong with them."""

    id: int | None
    method: str
    params: _Params | SkepError


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
        self._outlet = Outlet(channel, common.turns, common.clock)
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
            call = await within(self._clock, HANDSHAKE_SECONDS, self._first_call())
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
            await asyncio.sleep(0)  # of many calls that are there already one is read in each round of the loop
            line = await self._channel.read()
            async with self._outlet.turn(small=len(line) <= _SMALL_FRAME):
                asked = _checked(_call_of(line))
            await self._calls.acquire()
            # A task of its own: a verb that waits for the disk must not keep a look at some output waiting.
            self._start(partial(self._answer, asked))

    async def _first_call(self) -> Call:
        line = await self._channel.read()
        async with self._outlet.turn(small=len(line) <= _SMALL_FRAME):
            return _call_of(line)

    # -- calls -----------------------------------------------------------------------------------------------

    async def _answer(self, asked: _Asked) -> None:
        try:
            if asked.method == "call":
                await self._send(asked, await self._outlet.metered(self._result(asked)))
            else:
                # Answers that may be large one by one: a client that takes none holds no more than one of them.
                async with self._bulk:
                    await self._send(asked, await self._result(asked))
        finally:
            self._calls.release()

    async def _send(self, asked: _Asked, frame: bytes) -> None:
        if asked.id is not None:
            await self._outlet.write(frame)

    async def _result(self, asked: _Asked) -> bytes:
        known = _METHODS.get(asked.method)
        if known is None:
            unknown = BadInput(f"there is no method {clean_line(asked.method, limit=40)}")
            return wire.error_frame(asked.id, unknown, wire.METHOD_NOT_FOUND)
        try:
            if isinstance(asked.params, SkepError):
                raise asked.params
            return wire.result_frame(asked.id, await known[1](self, asked.params))
        except Unreachable:
            raise
        except SkepError as error:
            return wire.error_frame(asked.id, error)
        except Exception:
            logger.exception("the call %s failed", asked.method)
            return wire.error_frame(asked.id, SkepError("the engine failed at this call", mend="see its log"))

    async def _call(self, asked: _Params) -> Json:
        assert isinstance(asked, _Verb)
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

    async def _tail(self, asked: _Params) -> Json:
        assert isinstance(asked, _Tail)
        chunk = await self._service.tail(asked.agent, asked.first, asked.limit)
        async with self._outlet.turn(small=len(chunk.lines) <= SMALL):
            return wire.chunk_json(chunk)

    async def _events(self, asked: _Params) -> Json:
        assert isinstance(asked, _Events)
        records = await self._service.records(asked.after, min(asked.limit, wire.BATCH_RECORDS))
        async with self._outlet.turn(small=len(records) <= SMALL):
            return {"records": wire.records_json(records), "durable": self._service.durable}

    async def _follow(self, asked: _Params) -> Json:
        assert isinstance(asked, _Follow)
        return await self._following.follow(asked.agent, asked.after)

    async def _attach(self, asked: _Params) -> Json:
        assert isinstance(asked, _Attach)
        seq = await self._picture.attach(asked.after_seq)
        self._start(self._picture.tell_events)
        return {"seq": seq}

    async def _tree(self, asked: _Params) -> Json:
        return {"seq": await self._picture.look()}


_METHODS: Final[dict[str, tuple[type[_Params], Callable[[Connection, _Params], Awaitable[Json]]]]] = {
    "attach": (_Attach, Connection._attach),
    "call": (_Verb, Connection._call),
    "tail": (_Tail, Connection._tail),
    "follow": (_Follow, Connection._follow),
    "tree": (_Params, Connection._tree),
    "events": (_Events, Connection._events),
}


def _call_of(line: bytes) -> Call:
    message = wire.read_frame(line, parts=wire.MAX_PARTS)
    if not isinstance(message, Call):
        raise BadInput("a frame on the control socket is no call")
    return message


def _checked(call: Call) -> _Asked:
    known = _METHODS.get(call.method)
    try:
        params: _Params | SkepError = _params(known[0], call.params) if known is not None else _Params()
    except SkepError as error:
        params = _bare(error)
    return _Asked(call.id, call.method, params)


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
