"""A swarm of chat agents as told events, served by an engine that does nothing but answer."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from skep.control.holding import holds
from skep.control.server import ControlServer
from skep.control.service import Who
from skep.control.swarms import describe
from skep.control.verbs import Answer, Done, Holds, HoldsShown, Keys, KeysShown, PoolShown, Reply, Request, Stop
from skep.errors import Refused
from skep.journal import FolderLock
from skep.model.events import (
    ROOT,
    AgentAdmitted,
    AgentEnded,
    AgentQueued,
    AgentRunning,
    AgentStopping,
    AgentWaiting,
    ApprovalAnswered,
    ApprovalAsked,
    EngineStarted,
    Event,
    Json,
    SwarmCreated,
    SwarmEnded,
    TurnCompleted,
)
from skep.model.report import status_of
from skep.model.states import DriverKind, State, StopStep, StopVerb, WaitReason
from skep.paths import socket_path
from tests.cli.shells import Shell
from tests.control.listed import ListService

MODEL = "simulator/sim-1"


def born(slots: int = 8, **caps: int) -> list[Event]:
    return [SwarmCreated("t1", "told", "/work", slots), EngineStarted(1, caps=caps)]


def group() -> Event:
    return AgentQueued(ROOT, None, "told", DriverKind.GROUP, "", {})


def chat(agent: str, parent: str | None = ROOT, *, depth: int = 0, name: str = "", goal: str = "") -> Event:
    spec: dict[str, Json] = {"model": MODEL, "cwd": "/work"}
    if depth:
        spec["depth"] = depth
    return AgentQueued(agent, parent, name or agent, DriverKind.CHAT, goal or f"do {agent}", spec)


def running(agent: str) -> list[Event]:
    return [AgentAdmitted(agent), AgentRunning(agent)]


def turn(agent: str, number: int, *, cost: int | None = 1_500, tokens: int = 1_000) -> Event:
    return TurnCompleted(agent, number, {}, "stop", "sim-2", tokens, tokens // 10, cost=cost)


def asks(agent: str, mark: str = "h1", command: str = "make release") -> list[Event]:
    question: dict[str, Json] = {"command": command, "cwd": "/work", "timeout": 120}
    return [
        ApprovalAsked(agent, mark, "terminal", f"$ {command}", question),
        AgentWaiting(agent, WaitReason.APPROVAL, f"$ {command}"),
    ]


def ended(agent: str, state: State = State.DONE, result: str | None = None, error: str | None = None) -> Event:
    return AgentEnded(agent, state, error=error, result=result)


class ToldEngine(ListService):
    """Shows keys, takes answers, and stops a branch at once."""

    def __init__(self, folder: Path, pools: Sequence[PoolShown] = ()) -> None:
        super().__init__(folder)
        self.pools = list(pools)

    async def call(self, request: Request, who: Who) -> Reply:
        self.asked.append((request, who))
        match request:
            case Holds():
                with self.registry.read() as state:
                    return HoldsShown(holds=holds(state, lambda account: 0))
            case Keys():
                return KeysShown(pools=self.pools)
            case Answer():
                asking = self.registry.agent(request.agent)
                if asking is None or asking.question is None or asking.question["hash"] != request.hash:
                    raise Refused("it asks something else by now", where=request.agent)
                self.happens(ApprovalAnswered(request.agent, request.hash, request.allow, who.name))
                return Done(seq=self.durable, count=1, agents=[request.agent])
            case Stop():
                self._stop(request.agent)
                return Done(seq=self.durable)
            case _:
                return await super().call(request, who)

    def _stop(self, top: str) -> None:
        with self.registry.read() as state:
            branch = [(one.id, one.slot) for one in state.subtree(top) if not one.ended]
            above = [one.id for one in state.ancestors(top)][1:]
        for agent, works in reversed(branch):
            if works:
                self.happens(AgentStopping(agent, StopStep.SOFT, StopVerb.INTERRUPT, "you", "interrupted by you"))
            self.happens(ended(agent, State.INTERRUPTED))
        for agent in above:
            self.happens(ended(agent, result="all done"))
        with self.registry.read() as state:
            status = status_of(state)
        self.happens(SwarmEnded(status))


@contextmanager
def served(shell: Shell, *events: Event, pools: Sequence[PoolShown] = ()) -> Iterator[ToldEngine]:
    """An engine that has told these events, in the folder of the swarm t1."""
    folder = shell.state / "swarms" / "t1"
    folder.mkdir(parents=True, mode=0o700)
    describe(folder, "t1", "told", 1_700_000_000.0, str(shell.project))
    ready, over = threading.Event(), threading.Event()
    made: list[ToldEngine] = []

    async def serve() -> None:
        with FolderLock(folder):
            engine = ToldEngine(folder, pools)
            engine.happens(*events)
            server = await ControlServer.start(engine, socket_path(folder))
            made.append(engine)
            ready.set()
            await asyncio.to_thread(over.wait)
            await server.close()

    thread = threading.Thread(target=asyncio.run, args=(serve(),))
    thread.start()
    try:
        assert ready.wait(10)
        yield made[0]
    finally:
        over.set()
        thread.join()
