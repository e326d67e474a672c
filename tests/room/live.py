"""The room over a real engine: its socket between them, one clock for both, driven by keys."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from textual.pilot import Pilot

from skep.cli.service import EngineService
from skep.config import RoomConfig
from skep.control.client import SocketLink
from skep.control.server import ControlServer
from skep.model.swarm import SwarmState
from skep.paths import socket_path
from skep.room.app import RoomApp
from tests.engine.hive import LIMIT, Hive


@dataclass
class LiveRoom:
    """An open room on a swarm that runs."""

    app: RoomApp
    hive: Hive
    link: SocketLink
    pilot: Pilot[None]

    async def press(self, *keys: str) -> None:
        """Press keys, and let the room take in what they did."""
        for key in keys:
            await self.pilot.press(key)
            await self.settle()

    async def settle(self) -> None:
        """Two ticks: what the first one asks for, the second one shows."""
        for _ in range(2):
            self.app.tick()
            await self.pilot.pause(0)

    async def after(self, seconds: float) -> None:
        """Let time pass, for the engine and for the room."""
        await self.hive.pass_time(seconds)
        await self.settle()

    async def until(self, what: Callable[[], bool]) -> None:
        """Wait until the room shows it: what it asks of the engine takes its way over the socket and the disk."""
        try:
            async with asyncio.timeout(LIMIT):
                while not what():
                    await self.settle()
        except TimeoutError:
            raise AssertionError(f"the room says {self.says!r}; {self.hive.states()}") from None

    async def until_it_says(self, text: str) -> None:
        await self.until(lambda: text in self.says)

    async def until_it_knows(self, predicate: Callable[[SwarmState], bool]) -> None:
        """Wait until the room's own picture is so."""

        def known() -> bool:
            with self.link.registry.read() as state:
                return predicate(state)

        await self.until(known)

    @property
    def says(self) -> str:
        """The message line, with its keys."""
        strip = self.app.main.message.render_line(0)
        return strip.text.strip()


@asynccontextmanager
async def open_live_room(hive: Hive, size: tuple[int, int] = (120, 36)) -> AsyncIterator[LiveRoom]:
    """A room on this engine, which runs already."""
    service = EngineService(hive.engine, hive.clock)
    server = await ControlServer.start(service, socket_path(hive.folder), clock=hive.clock)
    link = await SocketLink.connect(hive.folder, client="you", clock=hive.clock)
    app = RoomApp(link, hive.clock, config=RoomConfig(theme="skep-dark", ascii=False))
    try:
        async with app.run_test(size=size) as pilot:
            room = LiveRoom(app, hive, link, pilot)
            await room.settle()
            yield room
    finally:
        await link.close()
        await server.close()
