"""A swarm that is nothing but load: so many agents that write so many lines a second, told as engines tell it."""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from collections import deque
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from skep import paths
from skep.control.server import ControlServer
from skep.control.service import TailChunk, Who
from skep.control.verbs import Reply, Request
from skep.errors import NotFound, Refused
from skep.model.agent import Live
from skep.model.events import (
    ROOT,
    AgentAdmitted,
    AgentEnded,
    AgentQueued,
    AgentRunning,
    Event,
    Record,
    SwarmCreated,
)
from skep.model.logs import window
from skep.model.registry import Registry
from skep.model.states import DriverKind, State

RATE = 50
"""Lines a second that each running agent writes."""
KEPT = 2_000
"""Lines of an agent that are at hand, as in an engine."""
STEP = 0.004
"""Seconds between two moments at which agents write; each time it is the turn of a part of them."""
PARTS = round(1 / RATE / STEP)


@dataclass(frozen=True, slots=True)
class Shape:
    """What a swarm consists of, its branches and its root not counted."""

    running: int
    over: int = 0
    queued: int = 0
    """In line at the end of the last branch."""
    branch: int = 50
    turnover: float = 0.0
    """Agents that end, and begin, each second."""

    @property
    def branches(self) -> list[tuple[str, list[str]]]:
        """Each branch with its agents, those in line left out; those that run stand at the end."""
        names = [f"item-{number:05d}" for number in range(self.over + self.running)]
        parts = [names[at : at + self.branch] for at in range(0, len(names), self.branch)]
        return [(f"branch-{number:03d}", part) for number, part in enumerate(parts)]

    @property
    def rows(self) -> int:
        """Rows of the tree, those in line left out."""
        return 1 + len(self.branches) + self.over + self.running


SHAPES = {
    "still": Shape(running=3),
    "busy": Shape(running=200),
    "wide": Shape(running=200, over=9_700, queued=400, branch=100, turnover=5.0),
}


def line_of(agent: str, number: int) -> str:
    """Line ``number`` of what an agent writes."""
    share, seconds = number % 100, number % 7
    return f"tests/{agent}/test_total.py::test_rounding[{number}] PASSED  [{share:3d}%] in {seconds}.03s"


class LoadedSwarm:
    """A service whose agents write, end and begin by the real clock once :meth:`write` runs."""

    def __init__(self, folder: Path, shape: Shape) -> None:
        self.registry = Registry()
        self.folder = folder
        self._shape = shape
        self._records: list[Record] = []
        self._news = asyncio.Event()
        self._written: dict[str, int] = {}
        self._running: deque[str] = deque()
        self._begin()

    @property
    def durable(self) -> int:
        return len(self._records)

    @property
    def trouble(self) -> str | None:
        return None

    async def published(self, after: int) -> None:
        while len(self._records) <= after:
            await self._news.wait()

    async def records(self, after: int, limit: int) -> Sequence[Record]:
        return self._records[after : after + limit]

    async def call(self, request: Request, who: Who) -> Reply:
        raise Refused("this swarm only writes")

    async def tail(self, agent: str, first: int, limit: int) -> TailChunk:
        if self.registry.agent(agent) is None:
            raise NotFound(f"there is no agent {agent}")
        total = self._written.get(agent, 0)
        start, end = window(total, min(total, KEPT), first, limit)
        return TailChunk(start, tuple(line_of(agent, number) for number in range(start, end)), total=total)

    async def write(self) -> None:
        """Let all running agents write for ever."""
        await every(STEP, self._step)

    def _step(self, step: int) -> None:
        now = time.time()
        writing = [one for at, one in enumerate(self._running) if at % PARTS == step % PARTS]
        for agent in writing:
            self._written[agent] = self._written.get(agent, 0) + 1
        self.registry.tell_live([(one, self._live(one, now)) for one in writing])
        if int(step * STEP * self._shape.turnover) != int((step + 1) * STEP * self._shape.turnover):
            self._turn_over()

    def _live(self, agent: str, now: float) -> Live:
        lines = self._written[agent]
        return Live(line_of(agent, lines - 1), now, lines, lines * 72)

    def _begin(self) -> None:
        shape = self._shape
        events: list[Event] = [
            SwarmCreated("s-1", "sweep", "/work", shape.running),
            AgentQueued(ROOT, None, "sweep", DriverKind.GROUP, "", {}),
        ]
        for branch, agents in shape.branches:
            events.append(AgentQueued(branch, ROOT, branch, DriverKind.GROUP, "", {}))
            events += [_queued(agent, branch) for agent in agents]
        everyone = [agent for _, agents in shape.branches for agent in agents]
        for number, agent in enumerate(everyone):
            events += [AgentAdmitted(agent), AgentRunning(agent, (4_000 + number,))]
            if number < shape.over:
                events.append(AgentEnded(agent, State.DONE, exit_code=0, result="written", lines=40, size=3_300))
        last = shape.branches[-1][0]
        events += [_queued(f"next-{number:05d}", last) for number in range(shape.queued)]
        self._running.extend(everyone[shape.over :])
        self._happens(events)

    def _turn_over(self) -> None:
        over = self._running.popleft()
        with self.registry.read() as state:
            fresh = state.line.positions()[0]
        lines = self._written.get(over, 0)
        self._happens(
            [
                AgentEnded(over, State.DONE, exit_code=0, result="written", lines=lines, size=lines * 72),
                AgentAdmitted(fresh),
                AgentRunning(fresh, (9_000,)),
            ]
        )
        self._running.append(fresh)

    def _happens(self, events: Sequence[Event]) -> None:
        first, now = len(self._records) + 1, time.time()
        records = [Record(seq, now, event) for seq, event in enumerate(events, first)]
        self.registry.fold(records)
        self._records += records
        self._news.set()
        self._news = asyncio.Event()


def _queued(agent: str, branch: str) -> AgentQueued:
    return AgentQueued(agent, branch, agent, DriverKind.COMMAND, "", {"argv": ["convert", f"{agent}.tif"]})


async def every(seconds: float, step: Callable[[int], None]) -> None:
    """Call ``step`` with 0, 1, 2, … so often, for ever; what was missed is made up for."""
    begun = time.monotonic()
    done = 0
    while True:
        while done < (time.monotonic() - begun) / seconds:
            step(done)
            done += 1
        await asyncio.sleep(seconds)


async def _serve_link(folder: Path, shape: Shape) -> None:
    swarm = LoadedSwarm(folder, shape)
    server = await ControlServer.start(swarm, paths.socket_path(folder))
    try:
        await _told("go")
        await _until_alone(swarm.write())
    finally:
        await server.close()


async def _serve_lines(folder: Path, shape: Shape) -> None:
    """One line of text for each line of output, to whoever connects; who does not take them makes them wait."""
    taken: asyncio.Future[asyncio.StreamWriter] = asyncio.get_running_loop().create_future()
    server = await asyncio.start_unix_server(lambda _, writer: taken.set_result(writer), paths.socket_path(folder))
    async with server:
        await _told("go")
        await _until_alone(_write_lines(shape, await taken))


async def _write_lines(shape: Shape, writer: asyncio.StreamWriter) -> None:
    running = [agent for _, agents in shape.branches for agent in agents][shape.over :]
    begun, step = time.monotonic(), 0
    while True:
        while step < (time.monotonic() - begun) / STEP:
            part, number = running[step % PARTS :: PARTS], step // PARTS
            writer.write("".join(f"{one}\t{line_of(one, number)}\n" for one in part).encode())
            await writer.drain()
            step += 1
        await asyncio.sleep(STEP)


async def _until_alone(writing: Coroutine[None, None, None]) -> None:
    """Write until whoever started this process has gone, which standard input shows."""
    task = asyncio.ensure_future(writing)
    await asyncio.to_thread(sys.stdin.readline)
    task.cancel()
    with suppress(asyncio.CancelledError, ConnectionError):
        await task


async def _told(word: str) -> None:
    """Say that all is ready, and wait for this word on standard input."""
    print("ready", flush=True)
    line = await asyncio.to_thread(sys.stdin.readline)
    if line.strip() != word:
        raise SystemExit(f"{word!r} was expected, {line!r} came")


def main() -> None:
    """Be the engine of such a swarm until it is ended from outside."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("viewer", choices=("skep", "stock"))
    parser.add_argument("shape", choices=SHAPES)
    parser.add_argument("folder", type=Path)
    asked = parser.parse_args()
    serve = _serve_link if asked.viewer == "skep" else _serve_lines
    asyncio.run(serve(asked.folder, SHAPES[asked.shape]))


if __name__ == "__main__":
    main()
