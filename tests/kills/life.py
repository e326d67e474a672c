"""The lives of one mixed swarm: engines that begin, take over, are killed; clients that act and write down."""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import signal
import sys
import time
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from skep.control.client import SocketLink
from skep.control.swarms import describe
from skep.control.verbs import Answer, Done, Request, Resume, Stop, Unpause
from skep.errors import Refused, SkepError, Unreachable
from skep.journal import JournalReader
from skep.model.agent import Agent
from skep.model.codec import decode
from skep.model.events import Record
from skep.model.launch import Launch
from skep.model.states import DriverKind, State
from skep.model.swarm import SwarmState
from skep.warden.ladder import GRACE
from tests.kills import mixed
from tests.kills.remains import remains
from tests.whole.collecting import Collected
from tests.whole.fifos import Bell, Gate
from tests.whole.models import Models
from tests.whole.places import Place, is_over
from tests.whole.processes import ended
from tests.whole.waiting import deadline

HERE = Path(__file__).parents[2]
GONE_WITHIN = GRACE + 2.0
"""Seconds after the death of an engine in which everything that it had started has to be gone."""
AT_LEAST = 20


@dataclass
class Mixed:
    """One mixed swarm in a place of its own, and what its clients were told of it."""

    place: Place
    models: Models
    gate: Gate
    bell: Bell
    swarm: str
    launch: Launch
    told: Collected = field(default_factory=Collected)
    acknowledged: int = 0
    """The highest number that the reply to a verb named."""
    crashes: int = 0
    gone: float = 0.0
    """Most seconds from the death of an engine until nothing of it was left …"""
    recovered: float = 0.0
    """… and for ``skep recover`` from its start to its end."""
    engine: int = 0
    """The process that runs the swarm, or ran it last."""
    process: Process | None = None
    """The same, if it was started here and not by a command."""

    @classmethod
    @asynccontextmanager
    async def of(cls, place: Place, models: Models, **options: int) -> AsyncIterator[Mixed]:
        """Its folder, described as ``skep run`` does it; nothing runs yet."""
        swarm = f"mixed-{secrets.token_hex(6)}"  # other tests may look for processes of theirs at the same time
        place.script("work", mixed.WORK)
        launch = mixed.launch(swarm, place.project, models.base_url, **options)
        folder = place.folder(swarm)
        folder.mkdir(mode=0o700, parents=True)
        describe(folder, swarm, launch.name, time.time(), launch.cwd)
        with Gate(place.project / "gate") as gate, Bell(place.project / "bell") as bell:
            yield cls(place, models, gate, bell, swarm, launch)

    @property
    def folder(self) -> Path:
        return self.place.folder(self.swarm)

    # -- engines -----------------------------------------------------------------------------------------------

    def arm(self) -> None:
        """From now on the fuse counts."""
        self._armed.touch()

    @property
    def _armed(self) -> Path:
        return self.place.home / "armed"

    async def start(
        self, *options: str, new: bool = False, parts: str = "ours", point: str = "", nth: int = 1
    ) -> bool:
        """An engine process; returns once it says that it is ready (true), or has died before (false)."""
        document = self.launch.model_dump_json().encode() if new else b""
        path = os.pathsep.join([str(HERE), self.place.env["PYTHONPATH"]])
        with (self.folder / "engine.log").open("ab") as log:
            self.process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "tests.kills.engine"),
                *(parts, point, str(nth), str(self._armed), str(self.folder), *options),
                env=self.place.env | {"PYTHONPATH": path},
                stdin=PIPE,
                stdout=PIPE,
                stderr=log,
                start_new_session=True,
                cwd="/",
            )
        self.engine = self.process.pid
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(document)
        self.process.stdin.close()
        async with deadline("an engine that is ready"):
            answer = await self.process.stdout.readline()
        if not answer:
            return False
        told = json.loads(answer)
        assert "result" in told, told
        return True

    async def died(self) -> None:
        """Wait for the death of the engine; then for the end of everything that it had started, which is near."""
        async with deadline(f"the death of the engine; {self._last_words()}"):
            if self.process is not None:
                code = await self.process.wait()
                assert code == -signal.SIGKILL, f"the engine ended with {code}; {self._last_words()}"
            else:
                await ended([self.engine])
        begun = time.monotonic()
        self.crashes += 1
        while left := remains(self.swarm, self.place.project, self.engine):
            over = begun + GONE_WITHIN - time.monotonic()
            assert over > 0, f"still there {GONE_WITHIN} s after the death of their engine: {left}"
            with suppress(AssertionError):
                await ended(left, over)
        self.gone = max(self.gone, time.monotonic() - begun)

    async def kill(self) -> None:
        """kill -9, from outside."""
        os.kill(self.engine, signal.SIGKILL)
        await self.died()

    async def recover(self) -> None:
        """The next engine, by the command that a person would use."""
        begun = time.monotonic()
        done = await self.place.skep("recover", self.swarm)
        self.recovered = max(self.recovered, time.monotonic() - begun)
        assert done.out.strip() == self.swarm
        self.process, self.engine = None, self.place.engine(self.swarm)

    def _last_words(self) -> str:
        return (self.folder / "engine.log").read_text()[-2000:]

    # -- clients -----------------------------------------------------------------------------------------------

    @asynccontextmanager
    async def watched(self) -> AsyncIterator[SocketLink]:
        """A client that writes down every event that it is told, until it or the engine leaves."""
        async with self.place.link(self.swarm) as link:
            listening = asyncio.create_task(self.told.listen(link))
            try:
                yield link
            finally:
                listening.cancel()
                await asyncio.gather(listening, return_exceptions=True)
                self.acknowledged = max(self.acknowledged, link.registry.seq)

    async def ask(self, link: SocketLink, request: Request) -> Done | None:
        """A verb and its reply; None if the engine died over it."""
        try:
            reply = await link.call(request)
        except Unreachable:
            return None
        assert isinstance(reply, Done)
        self.acknowledged = max(self.acknowledged, reply.seq)
        return reply

    async def gathered(self, link: SocketLink, life: int = 1) -> None:
        """Wait until the agents of this life are at work, and the leads stand at the gate."""
        await self.place.until(link, "a swarm at work", lambda state: _at_work(state, life))
        with link.registry.read() as state:
            assert live(state) >= AT_LEAST

    def open_gate(self) -> None:
        self.gate.let_through(1_000)

    async def after_events(self, link: SocketLink, count: int) -> None:
        """Wait until so many more events were told, or nothing more happens by itself."""
        seq = link.registry.seq + count
        await self.place.until(link, "more events", lambda state: state.seq >= seq or _only_hanging(state))

    async def after_runs(self, link: SocketLink, count: int) -> None:
        """Wait until so many more commands were carried out, or nothing more happens by itself."""
        over = asyncio.ensure_future(link.until(_only_hanging))
        try:
            for _ in range(count):
                ring = asyncio.ensure_future(self.bell.rings())
                await asyncio.wait({ring, over}, return_when=asyncio.FIRST_COMPLETED)
                if not ring.done():
                    ring.cancel()
                    return
        finally:
            over.cancel()
            await asyncio.gather(over, return_exceptions=True)

    async def answer_all(self, link: SocketLink, *, until: Callable[[SwarmState], bool]) -> None:
        """Allow whatever is asked for, until the swarm is so."""
        while True:
            await self.place.until(
                link, "a question or the end", lambda state: until(state) or bool(_asking(state))
            )
            with link.registry.read() as state:
                if until(state):
                    return
                questions = _asking(state)
            for agent, hash in questions.items():
                with suppress(Refused):  # it may have been answered or stopped meanwhile
                    if await self.ask(link, Answer(agent=agent, hash=hash, allow=True)) is None:
                        raise Unreachable("the engine is gone")

    async def answer_until_it_dies(self, link: SocketLink) -> None:
        """Allow whatever is asked for, as long as there is an engine."""
        with suppress(Unreachable):
            await self.answer_all(link, until=lambda state: False)

    async def resume_all(self, link: SocketLink) -> list[str]:
        """Go on with every lost conversation, the first one by the command; returns who goes on."""
        with link.registry.read() as state:
            lost = [one.id for one in state.agents.values() if is_lost(state, one.id)]
        new = []
        for number, agent in enumerate(lost):
            if not number:
                done = await self.place.json("resume", f"{self.swarm}/{agent}", "go on")
                new += done["agents"]
            else:
                reply = await self.ask(link, Resume(agent=agent))
                if reply is None:
                    break
                new += reply.agents
        return new

    async def let_go(self, link: SocketLink) -> None:
        """Release everything that is held."""
        with link.registry.read() as state:
            held = list(state.latches)
        for scope, strength in held:
            await self.ask(link, Unpause(scope=scope, strength=strength))

    async def to_the_end(self, link: SocketLink) -> None:
        """Let the swarm come to its end: what only talks is interrupted, what only stays is killed."""
        self.open_gate()
        await self.let_go(link)
        await self.answer_all(link, until=_only_hanging)
        with link.registry.read() as state:
            hanging = [one for one in state.agents.values() if _hangs(one) and not one.ended]
            how = {one.id: "kill" if one.driver is DriverKind.COMMAND else "interrupt" for one in hanging}
        for agent in how:
            with suppress(SkepError):  # it may be gone, with a swarm that has nothing else left
                await self.ask(link, Stop(agent=agent, branch=True, how=how[agent]))
        with suppress(Unreachable):  # its engine may die over it
            await self.place.until(link, "the end of the swarm", is_over)

    # -- what is kept ------------------------------------------------------------------------------------------

    def kept(self) -> list[Record]:
        """Every event in the journal, each one proven."""
        with JournalReader(self.folder) as reader:
            return [Record(row.seq, row.time, decode(row.body)) for row in reader.read(0, 1_000_000)]

    def traces(self) -> list[tuple[str, str]]:
        """What was carried out: its label, and the agent that it was for."""
        return [(line.split()[0], line.split()[1]) for line in self.place.read("traces").splitlines()]


def live(state: SwarmState) -> int:
    """Agents that have begun and not ended, groups left out."""
    return sum(one.attempt > 0 and not one.ended for one in state.agents.values())


def is_lost(state: SwarmState, agent: str) -> bool:
    """A lost conversation with which nobody goes on yet."""
    one = state.agents[agent]
    return one.state is State.LOST and one.driver is DriverKind.CHAT and not one.resumed_by


def _at_work(state: SwarmState, life: int) -> bool:
    stays = [one for one in state.agents.values() if one.name.startswith(f"s{life}.")]
    if any(one.state is not State.RUNNING for one in stays):
        return False
    if life > 1:
        return True
    leads = [one for one in state.agents.values() if one.name.startswith("lead")]
    return all(one.turns == 1 for one in leads)


def _hangs(one: Agent) -> bool:
    """It will not end by itself: it only stays, only talks, or waits for a command that only stays."""
    stays = one.driver is DriverKind.COMMAND and one.name.startswith("s")
    return stays or one.name.startswith("talk") or any("hold.1" in words for words in one.calls.values())


def _only_hanging(state: SwarmState) -> bool:
    """Nothing more happens by itself: who is left hangs, asks, or is held in line since an earlier life."""
    left = (one for one in state.agents.values() if not one.ended and one.driver is not DriverKind.GROUP)
    return all(_hangs(one) or one.question is not None or state.line.is_parked(one.id) for one in left)


def _asking(state: SwarmState) -> dict[str, str]:
    return {
        one.id: str(one.question["hash"])
        for one in state.agents.values()
        if one.question is not None and not one.ended
    }
