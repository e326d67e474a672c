"""Draws the output of one agent on the line API: a first line that stays, rows that scroll, only those in view."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from textual.geometry import Size
from textual.message import Message
from textual.strip import Strip

from skep.room.look import ROLE_CLASSES, Ground, Look, Role, role_css
from skep.room.widgets.canvas import Canvas
from skep.room.widgets.gutters import INDENT, MARGIN, PLAIN, Gutters, Ink, begin, split
from skep.room.widgets.ink import Inks
from skep.room.widgets.lines import Lines, matches, pieces
from skep.room.widgets.pen import Pen
from skep.text import width

LEAST_LEFT = 8
"""Cells under which the left part of the first line is left out."""

KEPT_STRIPS = 1_000
"""Drawn rows that are kept."""


@dataclass(frozen=True, slots=True)
class Edge:
    """A line of our own above or below the output."""

    text: str
    role: Role = Role.GREY
    bold: bool = False
    corner: bool = False
    """Drawn as the end of the guide."""


@dataclass(frozen=True, slots=True)
class Status:
    """The first line of the panel, which does not scroll."""

    left: str = ""
    right: tuple[str, ...] = ()
    """Figures; where there is little room those in the middle give way first."""


class TailCanvas(Canvas, can_focus=True, inherit_bindings=False):
    """The picture of an output; who moves in it and what comes in is its heir's business."""

    COMPONENT_CLASSES: ClassVar[set[str]] = set(ROLE_CLASSES)
    DEFAULT_CSS = """
    TailCanvas {
        background: $background;
        color: $foreground;
        overflow: scroll;
        scrollbar-size: 0 0;
    }
    """ + role_css("TailCanvas")

    class Changed(Message):
        """What the panel's rule says has changed: following, wrapping, or the search."""

    def __init__(self, look: Look, *, follow_key: str = "G", id: str | None = None) -> None:
        super().__init__(id=id)
        self._look = look
        self._follow_key = follow_key
        self._inks = Inks(self)
        self._lines = Lines()
        self._gutters = Gutters()
        self._status: Status | None = None
        self._gaps: set[int] = set()
        self._above: list[Edge] = []
        self._below: list[Edge] = []
        self._head: list[tuple[str, Edge]] = []
        self._foot: list[tuple[str, Edge]] = []
        self._rest = ""
        self._next = 0
        self._wanted = ""
        self._drawn: dict[tuple[tuple[int, int, int] | None, int, int, int], Strip] = {}
        self._found: list[int] = []
        self._at: int | None = None
        self.agent: str | None = None
        """Whose output this is."""
        self.following = True
        self.wrapped = True
        self.new = 0
        """Lines that came while it did not follow."""

    # -- scrolling ---------------------------------------------------------------------------------------------

    def watch_scroll_y(self, old_value: float, new_value: float) -> None:
        """The wheel scrolls too: what is at the end follows."""
        super().watch_scroll_y(old_value, new_value)
        self._follow(new_value >= self._furthest())

    def _scroll(self, row: int) -> None:
        row = max(0, min(row, self._furthest()))
        self.scroll_to(y=row, animate=False)
        self._follow(row >= self._furthest())

    def _follow(self, following: bool) -> None:
        if following != self.following:
            self.following = following
            self.new = 0
            self.refresh()
            self.post_message(self.Changed())

    # -- measuring ---------------------------------------------------------------------------------------------

    def on_resize(self) -> None:
        """Wrap to the new width; the line at the top stays, or the end if it follows."""
        self._rewrap()

    def notify_style_update(self) -> None:
        """Theme or style sheet have changed."""
        super().notify_style_update()
        self._inks.clear()

    def _rewrap(self) -> None:
        top = self.scroll_offset.y - len(self._head)
        serial = self._lines.at(top)[0] if 0 <= top < self._lines.rows else None
        self._wrap_lines()
        self._wrap_edges()
        following = self.following
        self._measure()
        if following:
            self._scroll(self._furthest())
        elif serial is not None:
            self._scroll(len(self._head) + self._lines.row_of(serial))
        self.refresh()

    def _columns(self) -> int:
        return self.size.width - INDENT - 1

    def _wrap_lines(self) -> None:
        # What programs write keeps its columns; what models say is prose.
        self._lines.wrap(max(self._columns(), 1) if self.wrapped else None, words=self._gutters.on)

    def _wrap_edges(self) -> None:
        """Wrap our own lines; they are few and short."""
        columns = max(self.size.width - 1, 1) if self.wrapped else 10_000
        self._head = [(piece, edge) for edge in self._above for piece in self._edge_pieces(edge, columns)]
        self._foot = [(piece, edge) for edge in self._below for piece in self._edge_pieces(edge, columns)]

    def _height(self) -> int:
        return len(self._head) + self._lines.rows + len(self._rest_rows()) + len(self._foot)

    def _furthest(self) -> int:
        return max(self._height() - self._page, 0)

    @property
    def _pinned(self) -> int:
        """Rows at the top that do not scroll."""
        return 0 if self._status is None else 1

    @property
    def _page(self) -> int:
        return max(self.size.height - self._pinned, 0)

    def _rest_rows(self) -> list[str]:
        rest = split(self._rest)[1] if self._gutters.on else self._rest
        if not rest:
            return []
        return pieces(rest, max(self._columns(), 1), words=self._gutters.on) if self.wrapped else [rest]

    def _edge_pieces(self, edge: Edge, columns: int) -> list[str]:
        room = max(columns - (INDENT if edge.corner else MARGIN), 1)
        return pieces(edge.text, room, words=self._gutters.on)

    def _measure(self) -> None:
        wide = self.size.width if self.wrapped else 8_192
        self.set_content(Size(wide, self._height() + self._pinned))

    def _grown(self, dropped: int) -> None:
        """Rows came at the end and went at the top: keep what is looked at where it is, or follow."""
        following, top = self.following, self.scroll_offset.y
        self._measure()
        if following:
            self.scroll_to(y=self._furthest(), animate=False)
            self._follow(True)
        elif dropped:
            self._scroll(max(top - dropped, 0))
        self.refresh()

    # -- drawing -----------------------------------------------------------------------------------------------

    def render_line(self, y: int) -> Strip:
        """One row of the view."""
        cells = self.size.width
        if y < self._pinned:
            return self._status_line(cells)
        strip = self._strip(y - self._pinned + self.scroll_offset.y, self.scroll_offset.x, cells)
        if y == self.size.height - 1 and self.scroll_offset.y < self._furthest():
            strip = self._with_chip(strip, cells)
        return strip

    def _strip(self, row: int, left: int, cells: int) -> Strip:
        """A row, drawn before if it is a row of output: while it scrolls, most rows only move."""
        at = row - len(self._head)
        place = self._lines.at(at) if 0 <= at < self._lines.rows else None
        key = (place, left, cells, self._inks.version)
        strip = self._drawn.get(key) if place is not None and not self._wanted else None
        if strip is None:
            strip = self._row(row).strip(left + cells).crop(left)
            if place is not None:
                if len(self._drawn) > KEPT_STRIPS:
                    self._drawn.clear()
                self._drawn[key] = strip
        return strip

    def _row(self, row: int) -> Pen:
        pen = Pen(self._inks, self._look)
        if row < len(self._head):
            return self._edge_row(pen, *self._head[row])
        row -= len(self._head)
        if row < self._lines.rows:
            return self._output_row(pen, row)
        row -= self._lines.rows
        rest = self._rest_rows()
        if row < len(rest):
            return self._rest_row(pen, rest[row], first=row == 0)
        row -= len(rest)
        return self._edge_row(pen, *self._foot[row]) if row < len(self._foot) else pen

    def _edge_row(self, pen: Pen, text: str, edge: Edge) -> Pen:
        if edge.corner:
            pen.to(MARGIN).put(self._look.corner, Role.GUIDE).to(INDENT)
        return pen.to(MARGIN).put(text, edge.role, bold=edge.bold)

    def _output_row(self, pen: Pen, row: int) -> Pen:
        serial, start, end = self._lines.at(row)
        text = self._lines.text(serial)
        if serial in self._gaps:
            return pen.to(INDENT).put(text[start:end], Role.GREY)
        ink = self._gutters.lead(pen, self._look, serial, first=start == 0)
        if self._wanted:
            ground = Ground.CURSOR if serial == self._at else Ground.NEEDS_YOU
            for at, finish in matches(text, self._wanted, start, end):
                _write(pen, text[start:at], ink).put(text[at:finish], ground=ground, bold=True)
                start = finish
        return _write(pen, text[start:end], ink)

    def _rest_row(self, pen: Pen, text: str, *, first: bool) -> Pen:
        if self._gutters.on:
            return _write(pen, text, begin(pen, self._look, split(self._rest)[0], first=first))
        pen.to(MARGIN).put(self._look.guide, Role.GUIDE).to(INDENT)
        return _write(pen, text, PLAIN)

    def _status_line(self, cells: int) -> Strip:
        status = self._status or Status()
        figures = list(status.right)
        while len(figures) > 1 and width("  ".join(figures)) > cells - 2 * MARGIN:
            del figures[len(figures) // 2]
        right = "  ".join(figures)
        pen = Pen(self._inks, self._look).to(MARGIN)
        room = cells - width(right) - 2 * MARGIN - 2
        if room > LEAST_LEFT or not right:
            pen.put(status.left, Role.GREY, most=max(room, 0))
        return pen.to(cells - width(right) - MARGIN).put(right, Role.GREY).strip(cells)

    def _with_chip(self, strip: Strip, cells: int) -> Strip:
        chip = Pen(self._inks, self._look, Ground.PANEL).put(" ")
        if self.new:
            chip.put(f"+{self.new:,} new  ")
        chip.put(self._follow_key, bold=True).put(" follow ")
        left = max(cells - chip.taken - 1, 0)
        edge = Pen(self._inks, self._look).strip(max(cells - left - chip.taken, 0))
        return Strip.join([strip.crop(0, left), chip.strip(min(chip.taken, cells - left)), edge])


def _write(pen: Pen, text: str, ink: Ink) -> Pen:
    return pen.put(text, ink.role, bold=ink.bold, italic=ink.italic)
