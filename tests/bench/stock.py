"""The peer: what one writes first with Textual's own Tree and RichLog, every line told to both at once."""

from __future__ import annotations

import argparse
import asyncio
from collections import defaultdict, deque
from contextlib import closing
from pathlib import Path
from typing import ClassVar

from textual import work
from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal
from textual.strip import Strip
from textual.widgets import RichLog, Tree
from textual.widgets.tree import TreeNode

from skep import paths
from tests.bench.feeding import SHAPES, Shape
from tests.bench.marks import COUNT_KEY, LINES, OPEN_KEY, Marker, own_terminal

SHOWN_LINES = 50
"""Lines of an agent that are kept for the moment at which the cursor comes to it: little more than a screen."""


class WatchedTree(Tree[str]):
    """Knows which row it drew last as the cursor's; ``j`` and ``k`` move as the arrows do."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("j", "cursor_down", show=False),
        Binding("k", "cursor_up", show=False),
        Binding("end", "scroll_end", show=False),
    ]
    shown: int | None = None

    def render_line(self, y: int) -> Strip:
        strip = super().render_line(y)
        if self.scroll_offset.y + y == max(self.cursor_line, 0):
            node = self.get_node_at_line(self.cursor_line)
            self.shown = node.id if node is not None and self.root.children else None
        return strip

    def action_scroll_end(self) -> None:
        self.cursor_line = self.last_line
        self.scroll_to_line(self.last_line, animate=False)


class StockApp(App[None]):
    """A tree at the left, the cursor's agent at the right."""

    CSS = "Tree { width: 40%; } RichLog { width: 60%; }"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("q", "quit"),
        Binding(OPEN_KEY, "open_rows", priority=True),
        Binding(COUNT_KEY, "count_lines", priority=True),
    ]

    def __init__(self, folder: Path, shape: Shape, *, empty: bool) -> None:
        super().__init__()
        self._folder = folder
        self._shape = shape
        self._opened = not empty
        self._by_agent: dict[str, TreeNode[str]] = {}
        self._kept: dict[str, deque[str]] = defaultdict(lambda: deque(maxlen=SHOWN_LINES))
        self._lines = 0
        self._here: str | None = None
        self._agents = WatchedTree("sweep")
        self._tail = RichLog(max_lines=2_000)
        self._marker = Marker(self._mark)

    def compose(self) -> ComposeResult:
        with Horizontal():
            yield self._agents
            yield self._tail

    def on_mount(self) -> None:
        if self._opened:
            self._fill()
        self._agents.focus()
        self.listen()

    @work
    async def listen(self) -> None:
        """Take line after line."""
        reader, writer = await asyncio.open_unix_connection(paths.socket_path(self._folder))
        with closing(writer):
            async for line in reader:
                agent, _, text = line.decode().rstrip("\n").partition("\t")
                self.show_line(agent, text)
                await asyncio.sleep(0)  # without it no key would ever be read

    def show_line(self, agent: str, text: str) -> None:
        self._lines += 1
        self._kept[agent].append(text)
        node = self._by_agent.get(agent)
        if node is not None:
            node.set_label(f"{agent} {text}")
        if agent == self._here:
            self._tail.write(text)

    def on_tree_node_highlighted(self, event: Tree.NodeHighlighted[str]) -> None:
        self._here = event.node.data
        self._tail.clear()
        for line in self._kept[self._here or ""]:
            self._tail.write(line)

    def _fill(self) -> None:
        self._agents.root.expand()
        for branch, agents in self._shape.branches:
            parent = self._agents.root.add(branch, expand=True)
            for agent in agents:
                self._by_agent[agent] = parent.add_leaf(f"{agent} written", data=agent)

    def post_display_hook(self) -> None:
        self._marker.painted(self._agents.shown)

    def action_open_rows(self) -> None:
        self._opened = not self._opened
        self._agents.clear()
        self._by_agent.clear()
        if self._opened:
            self._fill()

    def action_count_lines(self) -> None:
        self._marker.say(LINES, self._lines)

    def _mark(self, text: str) -> None:
        if self._driver is not None:
            self._driver.write(text)


def main() -> None:
    """Show a swarm of that shape, whose lines come from the socket in a folder."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--empty", action="store_true")
    parser.add_argument("--shape", choices=SHAPES, required=True)
    asked = parser.parse_args()
    own_terminal()
    StockApp(asked.folder, SHAPES[asked.shape], empty=asked.empty).run()


if __name__ == "__main__":
    main()
