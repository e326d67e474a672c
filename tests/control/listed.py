"""An engine that is nothing but a list of events: the smallest real service, and clients that misbehave."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Self

from skep.clock import VirtualClock
from skep.control.preview import preview
from skep.control.service import TailChunk, Who
from skep.control.verbs import (
    Done,
    Holds,
    HoldsShown,
    Keys,
    KeysShown,
    Pause,
    Preview,
    Reply,
    Request,
    Uncommitted,
    UncommittedShown,
)
from skep.control.wire import PROTOCOL
from skep.errors import NotFound, Refused
from skep.model.events import (
    ROOT,
    AgentAdmitted,
    AgentEnded,
    AgentQueued,
    AgentRunning,
    Event,
    Json,
    LatchClosed,
    Record,
    SwarmCreated,
    SwarmEnded,
)
from skep.model.logs import window
from skep.model.registry import Registry
from skep.model.states import DriverKind, State, Strength

STEP = 0.05


class ListService:
    """Events are appended by the test; they may be seen by clients once they are durable."""

    def __init__(self, folder: Path) -> None:
        self.registry = Registry()
        self.folder = folder
        self.durable = 0
        self.trouble: str | None = None
        self.asked: list[tuple[Request, Who]] = []
        self.output: dict[str, list[str]] = {}
        self.kept = 2_000
        self.looks = 0
        self.gate = asyncio.Event()
        self.gate.set()
        self._records: list[Record] = []
        self._news = asyncio.Event()

    def happens(self, *events: Event, durable: bool = True) -> None:
        """Fold events, and unless told otherwise let them be durable at once."""
        for event in events:
            self._records.append(Record(len(self._records) + 1, 1_700_000_000.5 + len(self._records), event))
            self.registry.fold(self._records[-1:])
        if durable:
            self.becomes_durable()

    def becomes_durable(self) -> None:
        self.durable = len(self._records)
        self._news.set()
        self._news = asyncio.Event()

    def all_records(self) -> list[Record]:
        return list(self._records)

    async def published(self, after: int) -> None:
        while self.durable <= after:
            await self._news.wait()

    async def records(self, after: int, limit: int) -> Sequence[Record]:
        return self._records[after : min(after + limit, self.durable)]

    async def call(self, request: Request, who: Who) -> Reply:
        self.asked.append((request, who))
        await self.gate.wait()
        if isinstance(request, Preview):
            return preview(self.registry, request, 1_700_000_100.0)
        if isinstance(request, Keys):
            return KeysShown()
        if isinstance(request, Holds):
            return HoldsShown()
        if isinstance(request, Uncommitted):
            return UncommittedShown(worktrees=[], files=0)
        if isinstance(request, Pause):
            self.happens(LatchClosed(request.scope, request.strength, request.reason, who.name))
            return Done(seq=self.durable, agents=[])
        raise Refused("not now", where="a1", why="it has ended", mend="look at another one")

    async def tail(self, agent: str, first: int, limit: int) -> TailChunk:
        self.looks += 1
        if agent not in self.output:
            raise NotFound(f"there is no agent {agent}")
        lines = self.output[agent]
        start, end = window(len(lines), min(len(lines), self.kept), first, limit)
        return TailChunk(start, tuple(lines[start:end]), total=len(lines))


class BrokenService(ListService):
    """Its verbs fail with a fault of their own."""

    async def call(self, request: Request, who: Who) -> Reply:
        raise ZeroDivisionError("a fault in the engine")


def born(agents: int = 3, *, slots: int = 8, spec: dict[str, Json] | None = None) -> list[Event]:
    """The events of a swarm whose agents ``a1`` … stand in line."""
    return [
        SwarmCreated("s-1", "migrate", "/work", slots),
        AgentQueued(ROOT, None, "migrate", DriverKind.GROUP, "", {}),
        *(
            AgentQueued(f"a{number}", ROOT, f"src/{number}.py", DriverKind.COMMAND, "", spec or {"argv": ["true"]})
            for number in range(1, agents + 1)
        ),
    ]


def runs(agent: str) -> list[Event]:
    return [AgentAdmitted(agent), AgentRunning(agent, (4711,))]


def ends(agent: str, state: State = State.DONE) -> list[Event]:
    return [AgentEnded(agent, state, exit_code=0, lines=3, size=30)]


def over() -> list[Event]:
    return [AgentEnded(ROOT, State.DONE), SwarmEnded("done")]


def holds(count: int, reason: str = "because") -> list[Event]:
    """So many events that change little."""
    return [LatchClosed("", Strength.SPAWNS, f"{number} {reason}", "you") for number in range(count)]


async def rounds(count: int = 30) -> None:
    """Let everything that can go on go on, without the clock."""
    for _ in range(count):
        await asyncio.sleep(0)


async def advance_until(clock: VirtualClock, condition: Callable[[], bool], most: float = 60.0) -> float:
    """Let time pass until the condition holds; returns how much did."""
    passed = 0.0
    while True:
        await rounds()
        if condition():
            return passed
        assert passed < most, f"nothing happened in {most} s"
        clock.advance(STEP)
        passed += STEP


async def pass_time(clock: VirtualClock, seconds: float) -> None:
    """Let so much time pass, in small steps."""
    passed = 0.0
    while passed < seconds:
        await rounds()
        clock.advance(STEP)
        passed += STEP
    await rounds()


class Raw:
    """A client without manners: it sends and reads what the test says."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def connect(cls, path: Path) -> Self:
        return cls(*await asyncio.open_unix_connection(path, limit=4 * 1024 * 1024))

    def send(self, data: bytes) -> None:
        self._writer.write(data)

    def ask(self, method: str, params: dict[str, Json], number: int = 1) -> None:
        call = {"jsonrpc": "2.0", "id": number, "method": method, "params": params}
        self.send(json.dumps(call).encode() + b"\n")

    async def hello(self, *, read_only: bool = False) -> dict[str, Json]:
        self.ask("hello", {"protocol": PROTOCOL, "client": "raw", "read_only": read_only}, 0)
        return (await self.read())["result"]

    async def read(self) -> dict[str, Json]:
        line = await self._reader.readline()
        assert line, "the server hung up"
        return json.loads(line)

    async def answer(self) -> dict[str, Json]:
        """The next frame that is an answer."""
        while "method" in (frame := await self.read()):
            pass
        return frame

    async def is_cut(self) -> bool:
        """Read to the end; True once the server has hung up."""
        try:
            while await self._reader.readline():
                pass
        except ConnectionError:
            pass
        return True

    async def close(self) -> None:
        self._writer.close()
        try:
            await self._writer.wait_closed()
        except ConnectionError:
            return


class Deaf:
    """A client that says hello, attaches, and then takes nothing."""

    def __init__(self, path: Path) -> None:
        self._end = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._end.connect(str(path))
        for number, method, params in (
            (1, "hello", {"protocol": PROTOCOL, "client": "deaf"}),
            (2, "attach", {"after_seq": 0}),
        ):
            call = {"jsonrpc": "2.0", "id": number, "method": method, "params": params}
            self._end.sendall(json.dumps(call).encode() + b"\n")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._end.close()
