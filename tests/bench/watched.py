"""The real room, over a real link, with one thing added: it marks the paints that show a moved cursor."""

from __future__ import annotations

import argparse
import asyncio
import os
from pathlib import Path
from typing import ClassVar

from textual.binding import Binding, BindingType
from textual.strip import Strip
from textual.types import CSSPathType

from skep.clock import SystemClock
from skep.config import load
from skep.control.client import SocketLink
from skep.control.link import Link
from skep.model.registry import Registry
from skep.room import app
from skep.room.app import RoomApp, RoomSettings
from skep.room.look import choose_look
from skep.room.widgets.tree import AgentTree
from skep.room.widgets.treecanvas import HEADS
from tests.bench.marks import COUNT_KEY, LINES, OPEN_KEY, Marker, own_terminal

SHEETS = Path(app.__file__).parent / "styles"


class WatchedTree(AgentTree):
    """Knows which row it drew last as the cursor's."""

    shown: str | None = None

    def render_line(self, y: int) -> Strip:
        strip = super().render_line(y)
        if y >= HEADS and self.scroll_offset.y + y - HEADS == self.outline.at:
            here = self.outline.here
            self.shown = here.key if here is not None else None
        return strip


class WatchedRoom(RoomApp):
    """The room with marks; ``empty`` leaves the tree without rows until it is told to open."""

    CSS_PATH: ClassVar[CSSPathType | None] = [
        SHEETS / name for name in ("main.tcss", "dialogs.tcss", "palette.tcss")
    ]
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding(OPEN_KEY, "open_rows", priority=True),
        Binding(COUNT_KEY, "count_lines", priority=True),
    ]

    def __init__(self, link: Link, config: RoomSettings, *, empty: bool) -> None:
        clock = SystemClock()
        super().__init__(link, clock, config=config)
        self._opened = not empty
        self._all = link.registry
        look = choose_look(os.environ, ascii_only=config.ascii)
        self._tree = WatchedTree(Registry() if empty else self._all, clock, look, id="tree")
        self.main.agents = self._tree
        self._marker = Marker(self._write_terminal)

    def post_display_hook(self) -> None:
        self._marker.painted(self._tree.shown)

    def action_open_rows(self) -> None:
        self._opened = not self._opened
        self._tree.set_registry(self._all if self._opened else Registry())

    def action_count_lines(self) -> None:
        with self._all.read() as state:
            over = {agent.id: agent.lines for agent in state.agents.values()}
        self._marker.say(LINES, sum(lines or self._all.live(agent).lines for agent, lines in over.items()))


async def _look(folder: Path, *, empty: bool) -> None:
    link = await SocketLink.connect(folder, client="bench", clock=SystemClock())
    try:
        await WatchedRoom(link, load(Path.cwd(), {}, {}).config.room, empty=empty).run_async()
    finally:
        await link.close()


def main() -> None:
    """Open the room on the swarm of a folder."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--empty", action="store_true")
    parser.add_argument("--shape")
    asked = parser.parse_args()
    own_terminal()
    asyncio.run(_look(asked.folder, empty=asked.empty))


if __name__ == "__main__":
    main()
