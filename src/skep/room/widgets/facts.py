"""The counts and lists of a dialog: labels grey at one column, values at another."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import ClassVar

from textual.strip import Strip
from textual.widget import Widget

from skep.room.look import ROLE_CLASSES, Look, Role, role_css
from skep.room.widgets.ink import Inks
from skep.room.widgets.pen import Pen

LABEL_AT, VALUE_AT = 3, 16

Fact = Callable[[Pen, int], Pen]
"""Writes one row that is so many cells wide."""


class Facts(Widget):
    """Rows of facts, as high as they are many."""

    COMPONENT_CLASSES: ClassVar[set[str]] = set(ROLE_CLASSES)
    DEFAULT_CSS = "Facts { height: auto; }\n" + role_css("Facts")

    def __init__(self, look: Look, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._look = look
        self._inks = Inks(self)
        self._rows: Sequence[Fact] = ()

    def show(self, rows: Sequence[Fact]) -> None:
        """Write these rows."""
        if len(rows) != len(self._rows):
            self.styles.height = len(rows)
        self._rows = rows
        self.refresh()

    def notify_style_update(self) -> None:
        """Theme or style sheet have changed."""
        super().notify_style_update()
        self._inks.clear()

    def render_line(self, y: int) -> Strip:
        """One row of facts."""
        pen = Pen(self._inks, self._look)
        cells = self.size.width
        return (self._rows[y](pen, cells) if y < len(self._rows) else pen).strip(cells)


def blank(pen: Pen, cells: int) -> Pen:
    """A row that parts others."""
    return pen


def value_row(label: str, value: str, role: Role = Role.TEXT, *, bold: bool = False) -> Fact:
    """A label and a cleaned value, cut where the row ends."""

    def draw(pen: Pen, cells: int) -> Pen:
        pen.to(LABEL_AT - 1).put(label, Role.GREY).to(VALUE_AT - 1)
        return pen.put(value, role, most=cells - pen.taken - 1, bold=bold)

    return draw
