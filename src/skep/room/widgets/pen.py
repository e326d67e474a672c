"""Writes one line of a widget from left to right: text in roles, and at the end exactly so many cells."""

from __future__ import annotations

from typing import Self

from rich.segment import Segment
from textual.strip import Strip

from skep.room.look import Ground, Look, Role
from skep.room.widgets.ink import Inks
from skep.text import cut_end, width


class Pen:
    """A line in the making. Text is data: it never becomes markup."""

    def __init__(self, inks: Inks, look: Look, ground: Ground | None = None) -> None:
        self._inks = inks
        self._look = look
        self._ground = ground
        self._segments: list[Segment] = []
        self.taken = 0
        """Cells written so far."""

    def put(
        self,
        text: str,
        role: Role = Role.TEXT,
        *,
        most: int | None = None,
        bold: bool = False,
        italic: bool = False,
        ground: Ground | None = None,
    ) -> Self:
        """Write on; with ``most`` the text is cut to so many cells and the cut shows."""
        if most is not None:
            text = cut_end(text, most)
        text = self._look.own(text)
        if text:
            style = self._inks.style(role, ground or self._ground, bold=bold, italic=italic)
            self._segments.append(Segment(text, style))
            self.taken += width(text)
        return self

    def to(self, cell: int) -> Self:
        """Blanks up to a cell, or nothing if the line is there already."""
        return self.put(" " * (cell - self.taken))

    def strip(self, cells: int) -> Strip:
        """The finished line: filled up with blanks, or cut, to so many cells."""
        self.to(cells)
        strip = Strip(self._segments)
        return strip if strip.cell_length == cells else strip.adjust_cell_length(cells)
