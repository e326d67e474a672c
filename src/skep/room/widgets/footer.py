"""The last row: keys in fixed places, so that fingers learn them; words follow the row, grey ones say why."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from rich.segment import Segment
from rich.style import Style
from textual.reactive import reactive
from textual.strip import Strip
from textual.widget import Widget

from skep.room.keymap import FOOTER_LEFT, FOOTER_RIGHT, Keymap
from skep.text import width

GAP = 2
"""Cells between two entries."""


class KeyFooter(Widget):
    """Key and word of the acts that are needed most."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {"footer--key", "footer--word", "footer--refused"}
    DEFAULT_CSS = """
    KeyFooter {
        height: 1;
        background: $footer-background;
        color: $footer-description-foreground;
    }
    KeyFooter > .footer--key { color: $footer-key-foreground; text-style: bold; }
    KeyFooter > .footer--word { color: $footer-description-foreground 65%; }
    KeyFooter > .footer--refused { color: $footer-description-foreground 35%; }
    """

    words: reactive[Mapping[str, str]] = reactive(dict)
    """Words that differ from the table now, by id (``hold`` → ``release``)."""
    absent: reactive[frozenset[str]] = reactive(frozenset())
    """Ids that this swarm has no use for."""
    refused: reactive[bool] = reactive(False)
    """True where nothing can be changed: what would change something is grey."""

    def __init__(self, keymap: Keymap, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._keymap = keymap

    def render_line(self, y: int) -> Strip:
        """The one row."""
        cells = self.size.width
        right: list[Segment] = []
        for id in reversed(FOOTER_RIGHT):
            entry = self._entry(id)
            # ``leave`` gives way on a narrow screen, ``help`` never does.
            if entry and (id == FOOTER_RIGHT[0] or cells >= 100):
                right = [*entry, *([Segment(" " * GAP, self._style("footer--word"))] if right else []), *right]
        edge = Segment(" ", self._style("footer--word"))
        right = [*right, edge]
        left: list[Segment] = [edge]
        room = cells - _cells(right)
        for id in FOOTER_LEFT:
            entry = self._entry(id)
            if not entry:
                continue
            if _cells(left) + _cells(entry) + GAP > room:
                break
            left += [*entry, Segment(" " * GAP, self._style("footer--word"))]
        gap = Segment(" " * max(room - _cells(left), 0), self._style("footer--word"))
        return Strip([*left, gap, *right]).adjust_cell_length(cells)

    def _entry(self, id: str) -> list[Segment]:
        act = self._keymap.act(id)
        key = self._keymap.key(id)
        if not key or id in self.absent:
            return []
        grey = self.refused and act.changes
        return [
            Segment(key, self._style("footer--refused" if grey else "footer--key")),
            Segment(
                f" {self.words.get(id, act.footer)}", self._style("footer--refused" if grey else "footer--word")
            ),
        ]

    def _style(self, name: str) -> Style:
        style = self.get_component_rich_style(name)
        return Style(color=style.color, bgcolor=style.bgcolor, bold=style.bold)


def _cells(segments: list[Segment]) -> int:
    return sum(width(segment.text) for segment in segments)
