"""A swarm through the socket of its engine: a registry that keeps itself up to date, and verbs that answer."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Final, Self

from pydantic import TypeAdapter

from skep.clock import Clock
from skep.control import wire
from skep.control.conversation import Conversation
from skep.control.deadline import within
from skep.control.dialing import EngineInfo, dial
from skep.control.link import LinkState
from skep.control.output import Output
from skep.control.service import TailChunk
from skep.control.swarms import engine_pid
from skep.control.verbs import Reply, Request
from skep.errors import Damaged, IllegalTransition, OtherProtocol, Refused, SkepError, Unreachable
from skep.model.events import AgentEnded, Json, Record
from skep.model.registry import Registry, from_pages
from skep.model.swarm import SwarmState
from skep.text import clean_line, duration

VERB_SECONDS: Final = 5.0
"""An engine that cannot take up a verb in this time does not do so any more: it must not come as a surprise."""

FIRST_PAUSE: Final = 0.1
LONGEST_PAUSE: Final = 2.0
"""Seconds between two attempts to get a lost link back."""

_EVENTS = 1_000
_ROUNDS = 20  # of the event loop, in which what is there is read
_REPLY: TypeAdapter[Reply] = TypeAdapter(Reply)

logger = logging.getLogger(__name__)


class SocketLink:
    """A live swarm. Everything here is for the event loop in which it was made, but for the registry."""

    def __init__(self, folder: Path, *, client: str, read_only: bool, once: bool, clock: Clock) -> None:
        self.registry = Registry()
        self.folder = folder
        self._client = client
        self._read_only = read_only
        self._once = once
        self._clock = clock
        self._info: EngineInfo | None = None
        self._conversation: Conversation | None = None
        """The link while it stands and the registry is up to date."""
        self._heard_at = clock.monotonic()
        self._waiting: list[float] = []
        """When the verbs that have no answer yet were asked for."""
        self._trouble: str | None = None
        self._down: SkepError | None = None
        """Why the link is down."""
        self._gone = False
        """True if no process owns the swarm any more."""
        self._resync = False
        self._news = asyncio.Event()
        self._pages: list[list[str]] = []
        self._output = Output()
        self._wish = asyncio.Event()
        self._main: asyncio.Task[None] | None = None

    @classmethod
    async def connect(
        cls, folder: Path, *, client: str, read_only: bool = False, once: bool = False, clock: Clock
    ) -> Self:
        """Reach the engine of the swarm in this folder; the registry then holds its present state.

        ``client`` is how the engine calls this client in the journal. With ``once`` the registry stays the
        picture of this moment and a lost link is not sought again: for commands that ask once.

        Raises Unreachable if no engine answers, Refused if it does not take this client.
        """
        link = cls(folder, client=client, read_only=read_only, once=once, clock=clock)
        conversation = await link._dial()
        first: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        link._main = asyncio.create_task(link._keep(conversation, first), name="control link")
        try:
            await first
        except BaseException:
            await link.close()
            raise
        return link

    @property
    def info(self) -> EngineInfo:
        """What the engine said of itself."""
        if self._info is None:
            raise Unreachable("no engine has answered yet", where=str(self.folder))
        return self._info

    @property
    def state(self) -> LinkState:
        """How good the picture is; ``behind`` stays under about a second as long as all is well."""
        connected = self._conversation is not None
        return LinkState(
            connected=connected,
            live=True,
            read_only=self._read_only,
            behind=max(0.0, self._clock.monotonic() - self._heard_at),
            trouble=self._trouble if connected or self._down is None else str(self._down),
            gone=self._gone and not connected,
            foreign=(self._down.mend or "") if not connected and isinstance(self._down, OtherProtocol) else "",
        )

    async def call(self, request: Request) -> Reply:
        """Ask for a verb; returns when it is durable.

        Raises SkepError: Unreachable if the link is down or the engine is silent, and nothing was sent then, or
        Unanswered if the link broke after it was sent.
        """
        if self.state.silent:
            # This process may have stood still itself: what was said meanwhile is there and has not been read.
            for _ in range(_ROUNDS):
                await asyncio.sleep(0)
        if self.state.silent:
            raise Unreachable(
                f"the engine has not said a word for {duration(self.state.behind)}: nothing was sent",
                where=str(self.folder),
                mend="wait until it does, or look what keeps it",
            )
        now = self._clock.monotonic()
        self._waiting.append(now)
        try:
            verb = request.model_dump(mode="json")
            return _REPLY.validate_python(await self._ask("call", {"request": verb, "until": now + VERB_SECONDS}))
        finally:
            self._waiting.remove(now)

    @property
    def waiting(self) -> float:
        """For how many seconds the verb has waited for its answer that was asked for first; 0 if none waits."""
        return self._clock.monotonic() - self._waiting[0] if self._waiting else 0.0

    async def tail(self, agent: str, first: int = -500, limit: int = 500) -> TailChunk:
        """Output of an agent from line ``first`` on (negative: from the end), in as many frames as it takes."""
        chunk = wire.chunk_of(await self._ask("tail", {"agent": agent, "first": first, "limit": limit}))
        lines = list(chunk.lines)
        while lines and len(lines) < limit and chunk.first + len(chunk.lines) < chunk.total:
            at = chunk.first + len(chunk.lines)
            left = limit - len(lines)
            more = wire.chunk_of(await self._ask("tail", {"agent": agent, "first": at, "limit": left}))
            if more.first != at or not more.lines:
                break
            lines += more.lines
            chunk = more
        return TailChunk(chunk.first + len(chunk.lines) - len(lines), tuple(lines), chunk.rest, chunk.total)

    def follow(self, agent: str | None) -> None:
        """Have new output of this one agent told (None: of nobody)."""
        self._output.follow(agent)
        self._wish.set()

    def take_output(self) -> list[tuple[str, TailChunk]]:
        """Output that was told since the last call, coalesced; never more than the newest 2,000 lines."""
        return self._output.take()

    async def until(self, predicate: Callable[[SwarmState], bool], timeout: float | None = None) -> None:
        """Wait until the state of the swarm is so, woken by what the engine tells.

        Raises TimeoutError after ``timeout`` seconds, Unreachable once no engine is left that could change it.
        """
        if timeout is None:
            await self._until(predicate)
        else:
            await within(self._clock, timeout, self._until(predicate))

    async def records(self, after: int = 0, limit: int = _EVENTS) -> Sequence[Record]:
        """Events after this number, oldest first: at most ``limit``, and fewer if they are large."""
        answer = await self._ask("events", {"after": after, "limit": limit})
        return wire.records_of(answer["records"] if isinstance(answer, dict) else None)

    async def events(self, after: int = 0) -> AsyncIterator[Record]:
        """Every event after this number, and then each new one as it comes; a lost link leaves no gap.

        A link that was made with ``once`` ends with the newest event. Raises Unreachable once no engine is left.
        """
        while True:
            news = self._news
            try:
                records = await self.records(after)
            except Unreachable:
                if self._gone or self._once:
                    raise
                records = ()
            for record in records:
                yield record
                after = record.seq
            if not records:
                if self._once:
                    return
                await news.wait()

    async def close(self) -> None:
        """Let go; the swarm goes on. Again is harmless."""
        if self._main is not None:
            self._down = Unreachable("this link to the engine is closed", where=str(self.folder))
            self._main.cancel()
            await asyncio.gather(self._main, return_exceptions=True)

    # -- the link --------------------------------------------------------------------------------------------

    async def _dial(self) -> Conversation:
        conversation, info = await dial(
            self.folder, client=self._client, read_only=self._read_only, clock=self._clock
        )
        # An engine that was reached before its swarm was begun had no name for it yet.
        if self._info is not None and self._info.swarm not in ("", info.swarm):
            conversation.close()
            raise Refused(f"another swarm answers there now: {info.swarm}", where=str(self.folder))
        self._info = info
        return conversation

    async def _keep(self, conversation: Conversation, first: asyncio.Future[None]) -> None:
        """Hold the link, and get it back whenever it is lost."""
        pause = FIRST_PAUSE
        try:
            while True:
                begun = self._clock.monotonic()
                self._down = error = await self._attend(conversation, first)
                self._conversation = None
                logger.info("the link to the engine is down: %s", error)
                if not first.done():
                    first.set_exception(error)
                if self._once or first.exception() is not None:
                    return
                self._gone = engine_pid(self.folder) is None
                self._wake()
                # One that breaks as soon as it stands is not tried again and again without a rest.
                pause = (
                    FIRST_PAUSE
                    if self._clock.monotonic() - begun > LONGEST_PAUSE
                    else min(pause * 2, LONGEST_PAUSE)
                )
                conversation = await self._redial(pause)
        except Exception:
            logger.exception("the link to the engine failed")
            self._down = Unreachable("the link to the engine failed", mend="see the log")
        finally:
            self._conversation = None
            self._gone = True
            self._wake()

    async def _redial(self, pause: float) -> Conversation:
        while True:
            # Many clients lose an engine at the same moment; they should not all come back at the same one.
            await self._clock.sleep(pause * random.uniform(0.5, 1.0))
            pause = min(pause * 2, LONGEST_PAUSE)
            try:
                return await self._dial()
            except SkepError as error:
                self._down = error
                gone = engine_pid(self.folder) is None
                if gone != self._gone:
                    self._gone = gone
                    self._wake()

    async def _attend(self, conversation: Conversation, first: asyncio.Future[None]) -> SkepError:
        """Listen until the link breaks; returns why it did."""
        broke: SkepError = Unreachable("the link broke", where=str(self.folder))
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(conversation.listen(self._hear))
                await self._begin(conversation)
                if not first.done():
                    first.set_result(None)
                await self._tell_wishes(conversation)
        except* SkepError as group:
            broke = next((one for one in group.exceptions if isinstance(one, SkepError)), broke)
        finally:
            conversation.close()
        return broke

    async def _begin(self, conversation: Conversation) -> None:
        self._pages.clear()
        if self._once:
            await conversation.ask("tree", {})
        else:
            if self._resync:
                self._resync = False
                self.registry.replace(SwarmState())
            await conversation.ask("attach", {"after_seq": self.registry.seq})
        self._conversation = conversation
        self._down = None
        self._gone = False
        self._wake()

    async def _tell_wishes(self, conversation: Conversation) -> None:
        """Tell the engine whose output is wanted, also after the link was lost: from where it was cut off."""
        if self._output.agent is not None:
            self._wish.set()
        while True:
            await self._wish.wait()
            self._wish.clear()
            await conversation.tell("follow", {"agent": self._output.agent, "after": self._output.next_line})

    async def _ask(self, method: str, params: dict[str, Json]) -> Json:
        if self._conversation is None:
            raise self._down or Unreachable("there is no link to the engine", where=str(self.folder))
        return await self._conversation.ask(method, params)

    # -- what the engine tells -------------------------------------------------------------------------------

    def _hear(self, method: str, params: dict[str, Json]) -> None:
        self._heard_at = self._clock.monotonic()
        if method == "events":
            self._hear_events(wire.records_of(params.get("records")))
        elif method == "live":
            rows = wire.live_of(params.get("rows"))
            with self.registry.read() as state:
                known = {agent for agent, _ in rows if agent in state.agents and not state.agents[agent].ended}
            self.registry.tell_live([row for row in rows if row[0] in known])
        elif method == "output":
            self._output.hear(str(params.get("agent")), wire.chunk_of(params.get("chunk")))
        elif method == "snapshot":
            self._hear_page(params)
        elif method == "trouble":
            text = params.get("text")
            self._trouble = clean_line(text) if isinstance(text, str) else None
            self._wake()

    def _hear_events(self, records: Sequence[Record]) -> None:
        try:
            self.registry.fold(records)
        except IllegalTransition as error:
            # The two pictures have parted. The engine's is the true one: fetch it anew.
            self._resync = True
            raise Damaged("the picture of the swarm does not fit what happened", why=str(error)) from error
        self.registry.forget_live([r.event.agent for r in records if isinstance(r.event, AgentEnded)])
        self._wake()

    def _hear_page(self, params: dict[str, Json]) -> None:
        piece = wire.piece_of(params)
        if piece.page == len(self._pages):
            self._pages.append([])
        self._pages[-1].append(piece.text)
        if piece.end and piece.page == piece.pages - 1:
            pages, self._pages = self._pages, []
            self.registry.replace(from_pages(["".join(pieces).encode() for pieces in pages]))
            self._wake()

    def _wake(self) -> None:
        self._news.set()
        self._news = asyncio.Event()

    async def _until(self, predicate: Callable[[SwarmState], bool]) -> None:
        while True:
            news = self._news
            with self.registry.read() as state:
                if predicate(state):
                    return
            if self._gone or (self._once and self._conversation is None):
                raise self._down or Unreachable("no engine runs this swarm", where=str(self.folder))
            await news.wait()
