"""One client of an engine: its calls are answered, and what happens is told at the pace at which it takes it."""

from __future__ import annotations

import asyncio
import json
import logging
import os
from collections.abc import Awaitable, Callable, Iterable
from typing import Final, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from skep import __version__
from skep.clock import Clock
from skep.control import wire
from skep.control.channel import Channel
from skep.control.deadline import within
from skep.control.service import Service, TailChunk, Who
from skep.control.verbs import AgentId, AnyRequest, Preview, Uncommitted
from skep.control.wire import Call
from skep.errors import BadInput, Refused, SkepError, Unreachable
from skep.model.agent import Live
from skep.model.events import Json
from skep.model.registry import page_contents, to_page
from skep.text import clean_line

HANDSHAKE_SECONDS: Final = 5.0
"""A connection that has not said hello by then is cut."""

FAR_BEHIND: Final = 20_000
"""A client that misses more events than this gets the state instead."""

LIVE_SECONDS: Final = 0.25
"""Between two rounds of live figures."""

OUTPUT_SECONDS: Final = 0.1
"""Between two looks at the output that a client follows."""

PING_SECONDS: Final = 0.7
"""A silence after which the next round says that the engine is there; with the round itself below one second."""

_CALLS = 8  # calls of one client that are carried out at the same time
_LIVE_ROWS = 1_000  # live figures per client and round; what is left over waits for the next
_OUTPUT_LINES = 2_000

logger = logging.getLogger(__name__)
P = TypeVar("P", bound=BaseModel)


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

    def __init__(self, service: Service, channel: Channel, clock: Clock, greeted: Callable[[], None]) -> None:
        self._service = service
        self._channel = channel
        self._clock = clock
        self._greeted = greeted
        self._who = Who("")
        self._tasks = asyncio.TaskGroup()
        self._calls = asyncio.Semaphore(_CALLS)
        self._methods: dict[str, Callable[[dict[str, Json]], Awaitable[Json]]] = {
            "attach": self._attach,
            "call": self._call,
            "tail": self._tail,
            "follow": self._follow,
            "tree": self._tree,
            "events": self._events,
        }
        self._attached = False
        self._cursor = 0
        """Number of the last event that this client was told."""
        self._watch = service.registry.watch()
        self._stale: dict[str, None] = {}
        """Agents whose live figures this client has not been told, in the order of change."""
        self._trouble: str | None = None
        self._followed: str | None = None
        self._following = asyncio.Event()
        self._line = 0
        self._rest = ""

    async def serve(self) -> None:
        """Do everything for this client; returns when it is gone."""
        try:
            await self._greet()
            async with self._tasks:
                self._tasks.create_task(self._tick())
                self._tasks.create_task(self._tell_output())
                await self._listen()
        except* Unreachable as gone:
            logger.debug("client %s: %s", self._who.name or "unknown", gone.exceptions[0])
        except* SkepError as refused:
            self._channel.write_last(wire.error_frame(None, _first(refused), wire.INVALID_REQUEST))
        finally:
            self._watch.close()

    # -- calls -----------------------------------------------------------------------------------------------

    async def _greet(self) -> None:
        try:
            call = await within(self._clock, HANDSHAKE_SECONDS, self._next_call())
        except TimeoutError:
            raise Refused("no hello came", why=f"a client says it within {HANDSHAKE_SECONDS:g} s") from None
        if call.method != "hello":
            raise Refused(f"{clean_line(call.method, limit=40)} before hello", mend="say hello first")
        hello = _params(_Hello, call.params)
        if hello.protocol != wire.PROTOCOL:
            raise Refused(
                f"this engine speaks protocol {wire.PROTOCOL}",
                why=f"the client speaks {hello.protocol}",
                mend=f"use skep {__version__} for this swarm",
            )
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
        self._greeted()
        await self._channel.write(wire.result_frame(call.id, answer))

    async def _listen(self) -> None:
        while True:
            call = await self._next_call()
            await self._calls.acquire()
            # A task of its own: a verb that waits for the disk must not keep a look at some output waiting.
            self._tasks.create_task(self._answer(call))

    async def _next_call(self) -> Call:
        message = wire.read_frame(await self._channel.read())
        if not isinstance(message, Call):
            raise BadInput("a frame on the control socket is no call")
        return message

    async def _answer(self, call: Call) -> None:
        try:
            frame = await self._result(call)
            if call.id is not None:
                await self._channel.write(frame)
        finally:
            self._calls.release()

    async def _result(self, call: Call) -> bytes:
        method = self._methods.get(call.method)
        if method is None:
            unknown = BadInput(f"there is no method {clean_line(call.method, limit=40)}")
            return wire.error_frame(call.id, unknown, wire.METHOD_NOT_FOUND)
        try:
            return wire.result_frame(call.id, await method(call.params))
        except Unreachable:
            raise
        except SkepError as error:
            return wire.error_frame(call.id, error)
        except Exception:
            logger.exception("the call %s failed", call.method)
            return wire.error_frame(call.id, SkepError("the engine failed at this call", mend="see its log"))

    async def _call(self, params: dict[str, Json]) -> Json:
        request = _params(_Verb, params).request
        if self._who.read_only and not isinstance(request, Preview | Uncommitted):
            raise Refused(
                f"{request.verb} is not for a read-only client", mend="connect without --read-only to act"
            )
        reply = await self._service.call(request, self._who)
        return dict(reply.model_dump(mode="json"))

    async def _tail(self, params: dict[str, Json]) -> Json:
        asked = _params(_Tail, params)
        return wire.chunk_json(self._service.tail(asked.agent, asked.first, asked.limit))

    async def _events(self, params: dict[str, Json]) -> Json:
        asked = _params(_Events, params)
        records = self._service.records(asked.after, asked.limit)
        return {"records": wire.records_json(records), "durable": self._service.durable}

    async def _follow(self, params: dict[str, Json]) -> Json:
        asked = _params(_Follow, params)
        self._followed = None
        self._following.clear()
        if asked.agent is None:
            return None
        total = self._service.tail(asked.agent, -1, 1).total
        self._line = asked.after if asked.after is not None else total
        self._rest = ""
        self._followed = asked.agent
        self._following.set()
        return self._line

    # -- the picture -----------------------------------------------------------------------------------------

    async def _attach(self, params: dict[str, Json]) -> Json:
        after = _params(_Attach, params).after_seq
        if self._attached:
            raise Refused("this client is attached already")
        self._attached = True
        self._watch.take()  # what changed so far is told with the state
        self._cursor = after
        behind = self._service.durable - after
        if after == 0 or not 0 <= behind <= FAR_BEHIND:
            await self._tell_state()
        await self._catch_up(self._service.durable)
        await self._tell_all_live()
        self._tasks.create_task(self._tell_events())
        return {"seq": self._cursor}

    async def _tree(self, params: dict[str, Json]) -> Json:
        _params(_Params, params)
        if self._attached:
            raise Refused("an attached client has the tree already")
        await self._tell_trouble()  # first: who asks once must not take an old picture for the present one
        await self._tell_state()
        await self._catch_up(self._service.durable)
        await self._tell_all_live()
        return {"seq": self._cursor}

    async def _tell_state(self) -> bool:
        """Send the state as pages, in pieces that fit; the cursor then stands at its last event.

        False if that cannot be now: what is not durable may not be seen, and while the disk is full that can
        last for ever. The events that are durable give the same picture, only slower.
        """
        with self._service.registry.read() as state:
            seq, contents = state.seq, page_contents(state)
        while self._service.durable < seq:
            if self._service.trouble is not None:
                return False
            try:
                await within(self._clock, LIVE_SECONDS, self._service.published(seq - 1))
            except TimeoutError:
                continue
        for number, content in enumerate(contents):
            for frame in wire.piece_frames(to_page(content), number, len(contents)):
                await self._channel.write(frame)
            await asyncio.sleep(0)  # the engine has other work than this client
        self._cursor = seq
        return True

    async def _tell_events(self) -> None:
        while True:
            await self._service.published(self._cursor)
            await self._catch_up(self._service.durable)

    async def _catch_up(self, durable: int) -> None:
        """Send the events up to that number; by the state instead where they are not at hand or too large."""
        while self._cursor < durable:
            records = self._service.records(self._cursor, wire.BATCH_RECORDS)
            batch = None
            if records and records[0].seq == self._cursor + 1:
                batch = wire.record_frames(records)
            if batch is not None:
                frame, self._cursor = batch
                await self._channel.write(frame)
                await asyncio.sleep(0)
            elif not await self._tell_state():
                await self._clock.sleep(LIVE_SECONDS)

    # -- what comes by the clock -----------------------------------------------------------------------------

    async def _tick(self) -> None:
        while True:
            await self._clock.sleep(LIVE_SECONDS)
            await self._tell_trouble()
            changes = self._watch.take()
            if self._attached:
                self._stale |= dict.fromkeys(changes.live)
                await self._tell_live()
            if self._clock.monotonic() - self._channel.wrote_at >= PING_SECONDS:
                await self._channel.write(wire.call_frame("ping", {"durable": self._service.durable}))

    async def _tell_trouble(self) -> None:
        trouble = self._service.trouble
        if trouble != self._trouble:
            self._trouble = trouble
            await self._channel.write(wire.call_frame("trouble", {"text": trouble}))

    async def _tell_all_live(self) -> None:
        with self._service.registry.read() as state:
            running = [a.id for a in state.agents.values() if a.started_at is not None and not a.ended]
        self._stale |= dict.fromkeys(running)
        for _ in range(0, len(running), _LIVE_ROWS):
            await self._tell_live()

    async def _tell_live(self) -> None:
        rows: list[Json] = []
        size = 0
        for agent, live in self._live_figures():
            row = wire.live_row(agent, live)
            rows.append(row)
            size += len(json.dumps(row))
            if size > wire.BATCH_BYTES:
                await self._channel.write(wire.call_frame("live", {"rows": rows}))
                rows, size = [], 0
        if rows:
            await self._channel.write(wire.call_frame("live", {"rows": rows}))

    def _live_figures(self) -> Iterable[tuple[str, Live]]:
        """Take the figures that are due off the list; those of agents unknown to the client stay on it."""
        due: list[str] = []
        with self._service.registry.read() as state:
            for agent in list(self._stale):
                one = state.agents.get(agent)
                if one is not None and one.order > self._cursor:
                    continue
                del self._stale[agent]
                due.append(agent)
                if len(due) >= _LIVE_ROWS:
                    break
        figures = ((agent, self._service.registry.live(agent)) for agent in due)
        return [(agent, live) for agent, live in figures if live != _NOTHING]

    async def _tell_output(self) -> None:
        while True:
            await self._following.wait()
            agent = self._followed
            if agent is not None:
                one = self._service.registry.agent(agent)
                chunk = self._look(agent)
                if chunk is not None and (chunk.lines or chunk.rest != self._rest):
                    body = wire.chunk_json(chunk)
                    self._line = chunk.first + len(body["lines"])  # type: ignore[arg-type]
                    self._rest = str(body["rest"])
                    await self._channel.write(wire.call_frame("output", {"agent": agent, "chunk": body}))
                elif (one is None or one.ended) and agent == self._followed:
                    self._followed = None
                    self._following.clear()
                    continue
            await self._clock.sleep(OUTPUT_SECONDS)

    def _look(self, agent: str) -> TailChunk | None:
        try:
            return self._service.tail(agent, self._line, _OUTPUT_LINES)
        except SkepError as error:
            logger.info("no output of %s: %s", agent, error)
            return None


_NOTHING = Live()


def _params(model: type[P], params: dict[str, Json]) -> P:
    try:
        # Strict, and by way of JSON: only there an enumeration may be written as its text.
        return model.model_validate_json(json.dumps(params), strict=True)
    except ValidationError as error:
        raise wire.bad_params(error, "params") from error


def _first(group: BaseExceptionGroup[SkepError]) -> SkepError:
    error = group.exceptions[0]
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
