"""Tree, header and banner over a scene, without the rest of the room."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from textual.app import App, ComposeResult
from textual.pilot import Pilot

from skep.model.events import (
    Event,
    Record,
)
from skep.model.registry import Registry
from skep.room.look import UNICODE, Look
from skep.room.themes import THEMES
from skep.room.widgets.banner import Banner
from skep.room.widgets.header import Header
from skep.room.widgets.tree import AgentTree
from tests.room.scenes import SceneLink, scene_clock


class Room(App[None]):
    """Only what is tested here, over a scene."""

    CSS = "AgentTree { height: 1fr; }"

    def __init__(self, registry: Registry, look: Look = UNICODE) -> None:
        super().__init__()
        self.clock = scene_clock()
        self.link = SceneLink(registry, clock=self.clock)
        self.watch = registry.watch()
        self.header = Header(registry, self.clock, look, lambda: self.link.state)
        self.banner = Banner(registry, self.clock, look, lambda: self.link.state)
        self.agents = AgentTree(registry, self.clock, look, id="tree")
        self.moved: list[str | None] = []
        self.opened: list[str] = []

    def compose(self) -> ComposeResult:
        yield self.header
        yield self.banner
        yield self.agents

    def on_mount(self) -> None:
        for theme in THEMES:
            self.register_theme(theme)
        self.theme = "skep-dark"
        self.agents.focus()

    def on_agent_tree_cursor_moved(self, event: AgentTree.CursorMoved) -> None:
        self.moved.append(event.agent)

    def on_agent_tree_opened(self, event: AgentTree.Opened) -> None:
        self.opened.append(event.agent)

    def happens(self, *events: Event) -> None:
        """Fold events and let the widgets take them in, as the tick of the room does."""
        seq = self.link.registry.seq
        self.link.registry.fold(Record(at, self.clock.time(), event) for at, event in enumerate(events, seq + 1))
        self.tick()

    def tick(self, seconds: float = 0.0) -> None:
        self.clock.advance(seconds)
        changes = self.watch.take()
        self.agents.refresh_changes(changes)
        self.agents.refresh_ages()
        self.header.refresh_from(changes)
        self.banner.refresh_from(changes)

    def lines(self) -> list[str]:
        """The tree as text, without the blanks at the right."""
        return [self.agents.render_line(y).text.rstrip() for y in range(self.agents.size.height)]

    def line_of(self, agent: str) -> str:
        """The row of an agent that is in sight."""
        name = self.link.registry.agent(agent)
        assert name is not None
        return next(line for line in self.lines() if f" {name.name} " in f"{line} ")


@asynccontextmanager
async def room(
    registry: Registry, size: tuple[int, int] = (120, 36), look: Look = UNICODE
) -> AsyncIterator[tuple[Room, Pilot[None]]]:
    app = Room(registry, look)
    async with app.run_test(size=size) as pilot:
        await pilot.pause()
        app.tick()
        yield app, pilot
