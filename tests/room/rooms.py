"""The real room over a scene, driven by keys: what its tests hold on to."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

from textual.pilot import Pilot

from skep.clock import VirtualClock
from skep.config import RoomConfig
from skep.control.verbs import Keys, KeysShown, Preview, Request, Uncommitted
from skep.model.registry import Registry
from skep.room.app import RoomApp
from tests.room.scenes import SceneLink, scene, scene_clock


@dataclass
class Room:
    """An open room, its link and its clock."""

    app: RoomApp
    link: SceneLink
    clock: VirtualClock
    pilot: Pilot[None]

    async def press(self, *keys: str) -> None:
        """Press keys, and let the room take in what they did."""
        for key in keys:
            await self.pilot.press(key)
            await self.settle()

    async def type(self, text: str) -> None:
        """Type a text into a prompt, and finish it with enter."""
        await self.pilot.press(*text, "enter")
        await self.settle()

    async def settle(self) -> None:
        """Two ticks: what the first one asks for, the second one shows."""
        for _ in range(2):
            self.app.tick()
            await self.pilot.pause(0)

    async def asked(self, count: int) -> list[Request]:
        """Wait until so many verbs were asked for: a busy machine may take its time over them."""
        async with asyncio.timeout(20):
            while len(self.verbs) < count:
                await self.settle()
        return self.verbs

    async def after(self, seconds: float) -> None:
        """Let time pass."""
        self.clock.advance(seconds)
        await self.settle()

    @property
    def says(self) -> str:
        """The message line as plain text."""
        return self.app.main.message.outcome

    @property
    def cursor(self) -> str | None:
        """The agent under the cursor."""
        return self.app.main.agents.cursor

    @property
    def verbs(self) -> list[Request]:
        """What was asked of the engine, questions that change nothing left aside."""
        return [call for call in self.link.calls if not isinstance(call, Preview | Uncommitted | Keys)]

    def row(self, widget: str, y: int = 0) -> str:
        """A row of a widget as it stands on the screen."""
        return self.app.main.query_one(widget).render_line(y).text.rstrip()


def make_room(
    agents: int = 40,
    *,
    registry: Registry | None = None,
    shown: KeysShown | None = None,
    tails: Mapping[str, Sequence[str]] | None = None,
    keys: Mapping[str, list[str]] | None = None,
    theme: str = "skep-dark",
    live: bool = True,
    read_only: bool = False,
    foreground: bool = False,
) -> tuple[RoomApp, SceneLink, VirtualClock]:
    """A room that is not open yet; over a scene of so many commands, or over this registry and these keys."""
    clock = scene_clock()
    seen = registry if registry is not None else scene(agents)
    link = SceneLink(seen, tails, clock=clock, live=live, read_only=read_only, keys=shown)
    config = RoomConfig(theme=theme, ascii=False, keys=dict(keys or {}))
    return RoomApp(link, clock, config=config, foreground=foreground), link, clock


@asynccontextmanager
async def open_room(
    agents: int = 40,
    *,
    registry: Registry | None = None,
    shown: KeysShown | None = None,
    size: tuple[int, int] = (120, 36),
    tails: Mapping[str, Sequence[str]] | None = None,
    keys: Mapping[str, list[str]] | None = None,
    live: bool = True,
    read_only: bool = False,
    foreground: bool = False,
) -> AsyncIterator[Room]:
    """The room, open and settled."""
    app, link, clock = make_room(
        agents,
        registry=registry,
        shown=shown,
        tails=tails,
        keys=keys,
        live=live,
        read_only=read_only,
        foreground=foreground,
    )
    async with app.run_test(size=size) as pilot:
        room = Room(app, link, clock, pilot)
        await room.settle()
        yield room
