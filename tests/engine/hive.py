"""A real engine with its journal and its warden, in virtual time; a test waits for events, never for time."""

from __future__ import annotations

import asyncio
import itertools
import os
import select
import shutil
import signal
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

from skep.cli.models import PoolAccounts, caps_of
from skep.clock import Clock, VirtualClock
from skep.drivers.chat import Models
from skep.engine.engine import Engine
from skep.engine.ledger import Ledger
from skep.hosts.environment import for_tools
from skep.hosts.local import LocalHost
from skep.journal import JournalReader
from skep.model.agent import Agent
from skep.model.codec import decode
from skep.model.events import ROOT, AgentEnded, AgentQueued, Event, Record
from skep.model.launch import AgentAsk, CommandSpec, EngineSettings, Launch
from skep.model.permits import Permits
from skep.model.states import DriverKind, State, StopStep, StopVerb, Strength
from skep.model.swarm import SwarmState
from skep.warden.client import Warden, marked

LIMIT = 20.0
"""Real seconds after which a test that still waits has failed."""

Reply = TypeVar("Reply")

_swarms = itertools.count(1)


def command(id: str, *argv: str, parent: str = ROOT, log: str | None = None, **spec: object) -> AgentAsk:
    """An agent that runs this program."""
    return AgentAsk(
        id=id,
        parent=parent,
        name=id,
        log=log,
        command=CommandSpec.model_validate({"argv": argv, "cwd": "/", **spec}),
    )


def shell(id: str, line: str, parent: str = ROOT, log: str | None = None, **spec: object) -> AgentAsk:
    """An agent that runs a line of shell."""
    return command(id, line, parent=parent, log=log, shell=True, **spec)


def group(id: str, parent: str = ROOT) -> AgentAsk:
    return AgentAsk(id=id, parent=parent, name=id, driver=DriverKind.GROUP)


def patient(id: str, parent: str = ROOT, **spec: object) -> AgentAsk:
    """An agent that runs until it is stopped."""
    return command(id, "sleep", "600", parent=parent, **spec)


async def turns(count: int = 30) -> None:
    """Let everything run that can run without waiting for the outside."""
    for _ in range(count):
        await asyncio.sleep(0)


class Hive:
    """One engine over one folder."""

    def __init__(
        self,
        folder: Path,
        *,
        settings: EngineSettings | None = None,
        engine: type[Engine] = Engine,
        ledger: type[Ledger] = Ledger,
        host: type[LocalHost] = LocalHost,
        warden: type[Warden] = Warden,
        models_of: Callable[[VirtualClock], Models] | None = None,
        strict: bool = True,
        clock: type[Clock] = VirtualClock,
        caps: Mapping[str, int] | None = None,
        accounts: Mapping[str, tuple[str, ...]] | None = None,
    ) -> None:
        self.folder = folder
        self.clock = clock()
        self.ledger = ledger(folder, self.clock)
        self.registry = self.ledger.registry
        with self.registry.read() as state:
            known = state.created
        self.swarm = known.swarm if known is not None else f"hive-{os.getpid()}-{next(_swarms)}"
        self.wardens: list[Warden] = []
        self.has_warden = asyncio.Event()
        self.settings = settings or EngineSettings()
        self._warden = warden
        self._host = host
        self.models = models_of(self.clock) if models_of is not None else None
        pools = PoolAccounts(self.models.pools if self.models is not None else {})
        self.engine = engine(
            self.ledger,
            self.clock,
            self.settings,
            self._make_host,
            caps=caps if caps is not None else caps_of(self.models),
            accounts=accounts if accounts is not None else pools.known(),
            pools=pools,
            strict=strict,
        )
        self._running: asyncio.Task[None] | None = None

    async def launch(
        self,
        *agents: AgentAsk,
        root: AgentAsk | None = None,
        slots: int = 4,
        fail_fast: bool = False,
        run: bool = True,
    ) -> None:
        await self.engine.launch(
            Launch(
                swarm=self.swarm,
                name="hive",
                cwd="/",
                max_running=slots,
                fail_fast=fail_fast,
                root=root,
                agents=agents,
                settings=self.settings,
            )
        )
        if run:
            self.run()

    async def recover(self, *, go: bool = False, run: bool = True) -> None:
        await self.engine.recover(go=go)
        if run:
            self.run()

    def run(self) -> None:
        self._running = asyncio.create_task(self.engine.run())

    # -- waiting -----------------------------------------------------------------------------------------------

    async def until(self, predicate: Callable[[SwarmState], bool]) -> None:
        """Wait until the state is so; every change is an event, so it is looked at after every event."""
        await self._in_time(self._until(predicate))

    async def _until(self, predicate: Callable[[SwarmState], bool]) -> None:
        while True:
            with self.registry.read() as state:
                if predicate(state):
                    return
                seq = state.seq
            await self._or_fault(self.ledger.published(seq))

    async def are(self, state: State, *agents: str) -> None:
        """Wait until these agents are so."""
        await self.until(lambda swarm: all(swarm.agents[agent].state is state for agent in agents))

    async def named(self, name: str) -> str:
        """Wait until there is an agent of this name; its id."""
        await self.until(lambda state: any(one.name == name for one in state.agents.values()))
        with self.registry.read() as state:
            return next(one.id for one in state.agents.values() if one.name == name)

    async def over(self) -> None:
        """Wait until the engine has ended because everything has."""
        assert self._running is not None
        try:
            async with asyncio.timeout(LIMIT / 4):
                await asyncio.shield(self._running)
        except TimeoutError:
            # A program may not have heard the first rung of a stop: the ladder goes on by the clock.
            await self.pass_time(self.settings.grace + 1)
            await self._in_time(asyncio.shield(self._running))

    def fault(self) -> BaseException | None:
        """What ended the engine before its time."""
        running = self._running
        return running.exception() if running is not None and running.done() else None

    async def pass_time(self, seconds: float, *, step: float | None = None) -> None:
        """Move the clock on, all at once or step by step, and let happen what is due."""
        await turns()
        for _ in range(round(seconds / step) if step else 1):
            self.clock.advance(step or seconds)
            await turns()

    async def _in_time(self, work: Awaitable[None]) -> None:
        try:
            async with asyncio.timeout(LIMIT):
                await work
        except TimeoutError:
            raise AssertionError(f"still waiting; {self.states()}") from None

    async def _or_fault(self, work: Awaitable[None]) -> None:
        """Wait for something, or raise what ended the engine meanwhile."""
        waiting = asyncio.ensure_future(work)
        watched = {waiting} if self._running is None else {waiting, self._running}
        try:
            await asyncio.wait(watched, return_when=asyncio.FIRST_COMPLETED)
            if self._running is not None and self._running.done() and not waiting.done():
                self._running.result()
                await turns()
                assert waiting.done(), f"the engine has ended; {self.states()}"
        finally:
            waiting.cancel()

    # -- asking ------------------------------------------------------------------------------------------------

    async def interrupt(self, agent: str, *, branch: bool = False, window: float = 0.0) -> list[str]:
        verb = StopVerb.INTERRUPT
        return (await self._ask(self.engine.stop(agent, branch=branch, verb=verb, who="you", window=window)))[1]

    async def kill(self, agent: str, *, branch: bool = False) -> list[str]:
        return (await self._ask(self.engine.stop(agent, branch=branch, verb=StopVerb.KILL, who="you")))[1]

    async def hurry(self, agent: str, *, branch: bool = False, kill: bool = False) -> list[str]:
        return (await self._ask(self.engine.hurry(agent, branch=branch, kill=kill, who="you")))[1]

    async def pause(self, scope: str = "", seconds: float | None = None, reason: str = "lunch") -> int:
        return await self._ask(self.engine.pause(scope, Strength.SPAWNS, reason, "you", seconds))

    async def unpause(self, scope: str = "") -> int:
        return await self._ask(self.engine.unpause(scope, Strength.SPAWNS, "you"))

    async def resume(self, agent: str, message: str = "", who: str = "you") -> str:
        return (await self._ask(self.engine.resume(agent, message, who)))[1]

    async def _ask(self, asking: Awaitable[Reply]) -> Reply:
        """What the engine answers; it answers in time."""
        async with asyncio.timeout(LIMIT):
            return await asking

    def agent(self, agent: str) -> Agent:
        one = self.registry.agent(agent)
        assert one is not None
        return one

    def states(self) -> dict[str, str]:
        with self.registry.read() as state:
            return {one.id: one.state.value for one in state.agents.values()}

    def status(self) -> str | None:
        with self.registry.read() as state:
            return state.status

    def held(self) -> list[str]:
        with self.registry.read() as state:
            return state.line.held()

    def positions(self) -> list[str]:
        with self.registry.read() as state:
            return state.line.positions()

    def records(self) -> list[Record]:
        """Everything durable, read from the journal."""
        with JournalReader(self.folder) as reader:
            return [Record(row.seq, row.time, decode(row.body)) for row in reader.read(0, 100_000)]

    def events(self, *kinds: type[Event], agent: str | None = None) -> list[Event]:
        return [
            record.event
            for record in self.records()
            if isinstance(record.event, kinds) and (agent is None or record.event.agent == agent)
        ]

    def steps(self, agent: str) -> list[StopStep]:
        """The rungs of the ladder that this agent went down."""
        return [record.event.step for record in self.records() if _is_step(record.event, agent)]

    def living(self) -> tuple[int, ...]:
        """Processes that carry the mark of this swarm."""
        return marked(self.swarm)

    # -- the end -----------------------------------------------------------------------------------------------

    async def die(self, to: Path) -> Path:
        """Leave what a dead engine leaves: a copy of the folder as it is durable now. Then end this one."""
        with self.registry.read() as state:
            seq = state.seq
        await self._in_time(self.ledger.settle(seq))
        shutil.copytree(self.folder, to)
        await self.close()
        return to

    def cancel(self) -> None:
        """Ask the engine to end, as TERM does with its process."""
        if self._running is not None:
            self._running.cancel()

    async def close(self) -> None:
        """End the engine as its process would end on TERM."""
        self.cancel()
        running, self._running = self._running, None
        try:
            if running is not None:
                with suppress(asyncio.CancelledError):
                    await running
        finally:
            self.ledger.close()

    def _make_host(self, tasks: asyncio.TaskGroup, permits: Permits) -> LocalHost:
        return self._host(
            tasks,
            permits,
            self.clock,
            self.settings,
            self._start_warden,
            models=self.models,
            environment=for_tools(os.environ),
        )

    async def _start_warden(self) -> Warden:
        self.wardens.append(await self._warden.start(self.swarm, os.environ))
        self.has_warden.set()
        return self.wardens[-1]


def _is_step(event: Event, agent: str) -> bool:
    return event.kind == "agent_stopping" and event.agent == agent


class Pipe:
    """A named pipe: commands tell the test what they do, or wait for the test to let them go."""

    def __init__(self, path: Path) -> None:
        os.mkfifo(path)
        self.path = path
        self._end = os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        self._held = b""

    async def line(self) -> str:
        """The next line that some command wrote."""
        while b"\n" not in self._held:
            await _readable(self._end)
            with suppress(BlockingIOError):
                self._held += os.read(self._end, 65_536)
        line, _, self._held = self._held.partition(b"\n")
        return line.decode()

    async def lines(self, count: int) -> list[str]:
        return [await self.line() for _ in range(count)]

    def nothing(self) -> bool:
        """True if nobody has written anything that was not read."""
        return not self._held and not select.select([self._end], [], [], 0)[0]

    def let_go(self, count: int = 1) -> None:
        """Let so many commands that read a line go on."""
        os.write(self._end, b"\n" * count)

    def close(self) -> None:
        os.close(self._end)


class Watch:
    """Sees processes end: a pidfd is bound to the process, whatever becomes of the pid."""

    def __init__(self, *pids: int) -> None:
        self._ends = {pid: os.pidfd_open(pid) for pid in pids}

    def living(self) -> set[int]:
        return {pid for pid, end in self._ends.items() if not select.select([end], [], [], 0)[0]}

    async def ended(self) -> None:
        for end in self._ends.values():
            await _readable(end)

    def close(self) -> None:
        for end in self._ends.values():
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(end, signal.SIGKILL)
            os.close(end)


async def _readable(end: int) -> None:
    loop = asyncio.get_running_loop()
    ready = asyncio.Event()
    loop.add_reader(end, ready.set)
    try:
        async with asyncio.timeout(LIMIT):
            await ready.wait()
    finally:
        loop.remove_reader(end)


def parents(records: Iterable[Record]) -> dict[str, list[str]]:
    """Parent → children, from the journal."""
    tree: dict[str, list[str]] = defaultdict(list)
    for record in records:
        if isinstance(record.event, AgentQueued) and record.event.parent is not None:
            tree[record.event.parent].append(record.event.agent)
    return tree


def ends(records: Iterable[Record]) -> dict[str, AgentEnded]:
    """How each agent ended, from the journal; no agent ends twice."""
    found: dict[str, AgentEnded] = {}
    for record in records:
        if isinstance(record.event, AgentEnded):
            assert record.event.agent not in found
            found[record.event.agent] = record.event
    return found
