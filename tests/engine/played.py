"""A real engine whose host is played: nothing runs, and what agents do, say and hear is up to the test."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from skep.engine.engine import Engine
from skep.engine.permits import AgentPermits
from skep.model.agent import Live
from skep.model.children import Role
from skep.model.events import ROOT
from skep.model.launch import AgentAsk, ChatSpec, EngineSettings
from skep.model.logs import TailChunk
from skep.model.permits import Assignment, Ended, Host, Permits, Pulse, Report, Started
from skep.model.states import DriverKind, State, StopStep
from skep.providers import Provider
from tests.engine.hive import LIMIT, Hive, turns

PROVIDERS = {name: Provider(base_url="http://127.0.0.1:9/v1") for name in ("p", "q")}
"""Nobody is ever there: a played agent asks no model."""


def settings(**given: object) -> EngineSettings:
    return EngineSettings.model_validate({"providers": PROVIDERS, **given})


def talks(id: str, parent: str = ROOT, model: str = "p/big", **spec: object) -> AgentAsk:
    """A chat agent of the operator's, who may delegate."""
    chat = ChatSpec.model_validate({"model": model, "cwd": "/", "role": Role.ORCHESTRATOR, **spec})
    return AgentAsk(id=id, parent=parent, name=id, driver=DriverKind.CHAT, goal=id, chat=chat)


def engine_with(permits: type[AgentPermits]) -> type[Engine]:
    """An engine whose agents ask other permits."""

    class Other(Engine):
        def __init__(self, *given: object, **options: object) -> None:
            super().__init__(*given, **options)  # type: ignore[arg-type]
            self.permits = permits(
                self.ledger, self._seats, self._delegation, self._approvals, self._resumption, self._admit
            )

    return Other


class PlayedHost:
    """Keeps what it is told. Its agents have started, and have ended, when the test says so."""

    def __init__(self, permits: Permits) -> None:
        self.permits = permits
        self.submitted: list[str] = []
        self.running: dict[str, int] = {}
        """Agents that were submitted and have not ended → their generation, as far as they know."""
        self.told: list[tuple[str, StopStep]] = []
        """The rungs that it was to carry out."""
        self._reports: list[Report] = []
        self._reported = asyncio.Event()

    async def submit(self, assignment: Assignment) -> None:
        self.submitted.append(assignment.agent)
        self.running[assignment.agent] = assignment.generation

    async def control(self, agent: str, generation: int, step: StopStep) -> None:
        if agent in self.running:
            self.running[agent] = generation
            self.told.append((agent, step))

    def starts(self, *agents: str) -> None:
        for agent in agents:
            self.report(Started(agent, self.running[agent]))

    def ends(self, *agents: str, state: State = State.DONE) -> None:
        for agent in agents:
            self.report(Ended(agent, self.running.pop(agent), state))

    def report(self, report: Report) -> None:
        self._reports.append(report)
        self._reported.set()

    async def pull(self, ack: int) -> tuple[int, Sequence[Report]]:
        while len(self._reports) <= ack:
            self._reported.clear()
            await self._reported.wait()
        return len(self._reports), self._reports[ack:]

    def news(self) -> list[tuple[str, Live]]:
        return []

    async def pulses(self) -> Sequence[Pulse]:
        return ()

    def tail(self, agent: str, first: int, limit: int) -> TailChunk | None:
        return None

    async def close(self) -> None:
        pass


class PlayedHive(Hive):
    """An engine over a played host."""

    host: PlayedHost = None  # type: ignore[assignment]  # until the engine runs

    async def begin(self, *agents: str) -> None:
        """Wait until the host was given these agents, and have them run."""
        await self.until(lambda state: all(state.agents[agent].attempt for agent in agents))
        async with asyncio.timeout(LIMIT):
            while self.host is None or not self.host.running.keys() >= set(agents):
                await turns(1)
        self.host.starts(*agents)
        await self.are(State.RUNNING, *agents)

    async def settled(self) -> None:
        """Wait until all that was decided so far is durable, and its effects have happened."""
        with self.registry.read() as state:
            seq = state.seq
        await self._in_time(self.ledger.settle(seq))
        await turns()

    def rungs_of(self, agent: str) -> list[StopStep]:
        """The rungs that the host was to carry out for this agent."""
        return [step for told, step in self.host.told if told == agent]

    def _make_host(self, tasks: asyncio.TaskGroup, permits: Permits) -> Host:
        self.host = self.a_host(tasks, permits)
        return self.host

    def a_host(self, tasks: asyncio.TaskGroup, permits: Permits) -> PlayedHost:
        return PlayedHost(permits)
