"""The output of one agent on the line API: follows, wraps, searches; only the rows in view are ever drawn."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from textual.binding import BindingType
from textual.geometry import Size
from textual.message import Message
from textual.strip import Strip

from skep.control.service import TailChunk
from skep.room.keymap import Place, bindings
from skep.room.look import ROLE_CLASSES, Ground, Look, Role, role_css
from skep.room.widgets.canvas import Canvas
from skep.room.widgets.ink import Inks
from skep.room.widgets.lines import Lines, matches, pieces
from skep.room.widgets.pen import Pen

MARGIN = 1
"""Blank cells at the left edge."""

INDENT = 3
"""Cells before each line of output: the margin and its guide."""

SIDE_STEP = 8
"""Cells that one key press moves sideways where lines are not wrapped."""

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


class Tail(Canvas, can_focus=True, inherit_bindings=False):
    """Shows a ring of lines of one agent; whoever owns it brings the lines."""

    ALLOW_SELECT = False
    BINDINGS: ClassVar[list[BindingType]] = [*bindings(Place.PANEL, Place.TAIL)]
    COMPONENT_CLASSES: ClassVar[set[str]] = set(ROLE_CLASSES)
    DEFAULT_CSS = """
    Tail {
        background: $background;
        color: $foreground;
        overflow: scroll;
        scrollbar-size: 0 0;
    }
    """ + role_css("Tail")

    class Changed(Message):
        """What the panel's rule says has changed: following, wrapping, or the search."""

    def __init__(self, look: Look, *, follow_key: str = "G", id: str | None = None) -> None:
        super().__init__(id=id)
        self._look = look
        self._follow_key = follow_key
        self._inks = Inks(self)
        self._lines = Lines()
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

    # -- what is shown -----------------------------------------------------------------------------------------

    def show(self, agent: str | None, above: list[Edge], below: list[Edge], *, follow: bool = True) -> None:
        """Turn to another agent: its own lines above and below, and no output yet; at the end or at the top."""
        self.agent = agent
        self._lines.clear()
        self._gaps.clear()
        self._above, self._below = above, below
        self._rest = ""
        self._next = 0
        self._drawn.clear()
        self._found, self._at = [], None
        self.new = 0
        self.following = follow
        self._wrap_edges()
        self._grown(0)
        if not follow:
            self._scroll(0)
        self.post_message(self.Changed())

    def edge(self, above: list[Edge], below: list[Edge]) -> None:
        """Renew the lines above and below, for the same agent."""
        if (above, below) != (self._above, self._below):
            self._above, self._below = above, below
            self._wrap_edges()
            self._grown(0)

    def take(self, chunk: TailChunk) -> None:
        """Add output; what is there already is not added again, and what never came is counted in a line."""
        first, lines = chunk.first, chunk.lines
        if first < self._next:
            lines = lines[self._next - first :]
            first = self._next
        elif first > self._next:
            where = "dropped here" if self._next else "before these are in the log"
            self._gaps.add(self._lines.after)
            lines = (f"{first - self._next:,} lines {where}", *lines)
        if not lines and chunk.rest == self._rest:
            return
        self._next = max(self._next, chunk.first + len(chunk.lines))
        if self._next == chunk.first + len(chunk.lines):
            self._rest = chunk.rest
        since = self._lines.after
        dropped = self._lines.extend(lines)
        self._gaps = {serial for serial in self._gaps if serial >= self._lines.first}
        if self._wanted:
            self._found = [serial for serial in self._found if serial >= self._lines.first]
            self._found += self._lines.find(self._wanted, since=since)
        if not self.following:
            self.new += len(lines)
        self._grown(dropped)

    @property
    def next(self) -> int:
        """Number of the first line of output that has not been seen."""
        return self._next

    @property
    def note(self) -> str:
        """What the panel's rule says of the search and of wrapping."""
        says = []
        if self._wanted:
            at = self._found.index(self._at) + 1 if self._at in self._found else 0
            says.append(f"{at} of {len(self._found)}  /{self._wanted}" if self._found else f"no {self._wanted}")
        if not self.wrapped:
            says.append("not wrapped")
        return "   ".join(says)

    @property
    def searching(self) -> bool:
        """True while matches are shown."""
        return bool(self._wanted)

    def text(self) -> list[str]:
        """All lines at hand."""
        return [*self._lines, *([self._rest] if self._rest else [])]

    def text_in_view(self) -> list[str]:
        """The whole lines that have a row on the screen."""
        return self._lines.between(self.scroll_offset.y - len(self._head), self.size.height)

    # -- searching ---------------------------------------------------------------------------------------------

    def search(self, wanted: str) -> int:
        """Show the matches of a text and go to the last one; empty ends the search. Returns how many there are."""
        self._wanted = wanted
        self._drawn.clear()
        self._found = self._lines.find(wanted) if wanted else []
        self._at = None
        if self._found:
            self._go_to(self._found[-1])
        self.refresh()
        self.post_message(self.Changed())
        return len(self._found)

    def next_match(self, step: int) -> bool:
        """To the next match (1) or the one before (-1), round the ends; False if there is none."""
        if not self._found:
            return False
        at = self._found.index(self._at) if self._at in self._found else -1 if step > 0 else 0
        self._go_to(self._found[(at + step) % len(self._found)])
        self.refresh()
        self.post_message(self.Changed())
        return True

    def _go_to(self, serial: int) -> None:
        self._at = serial
        at = self._lines.text(serial).casefold().find(self._wanted.casefold())
        row = len(self._head) + self._lines.row_of(serial, max(at, 0))
        if not self.scroll_offset.y <= row < self.scroll_offset.y + self.size.height:
            self._scroll(row - self.size.height // 2)

    # -- moving ------------------------------------------------------------------------------------------------

    def action_cursor_up(self) -> None:
        """One row up; it no longer follows."""
        self._scroll(self.scroll_offset.y - 1)

    def action_cursor_down(self) -> None:
        """One row down; at the end it follows again."""
        self._scroll(self.scroll_offset.y + 1)

    def action_page_up(self) -> None:
        """A page up, less one row."""
        self._scroll(self.scroll_offset.y - max(self.size.height - 1, 1))

    def action_page_down(self) -> None:
        """A page down, less one row."""
        self._scroll(self.scroll_offset.y + max(self.size.height - 1, 1))

    def action_home(self) -> None:
        """To the oldest line at hand."""
        self._scroll(0)

    def action_end(self) -> None:
        """To the newest line, and follow."""
        self._scroll(self._height())

    def action_column_left(self) -> None:
        """To the left, where lines are not wrapped."""
        self.scroll_to(x=max(self.scroll_offset.x - SIDE_STEP, 0), animate=False)

    def action_column_right(self) -> None:
        """To the right, where lines are not wrapped."""
        self.scroll_to(x=self.scroll_offset.x + SIDE_STEP, animate=False)

    def toggle_wrap(self) -> None:
        """Wrap lines at the edge, or let them run out of it; the line at the top stays."""
        self.wrapped = not self.wrapped
        self._rewrap()
        self.post_message(self.Changed())

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
        self._lines.wrap(max(self._columns(), 1) if self.wrapped else None)
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

    def _wrap_edges(self) -> None:
        """Wrap our own lines; they are few and short."""
        columns = max(self.size.width - 1, 1) if self.wrapped else 10_000
        self._head = [(piece, edge) for edge in self._above for piece in _edge_pieces(edge, columns)]
        self._foot = [(piece, edge) for edge in self._below for piece in _edge_pieces(edge, columns)]

    def _height(self) -> int:
        return len(self._head) + self._lines.rows + len(self._rest_rows()) + len(self._foot)

    def _furthest(self) -> int:
        return max(self._height() - self.size.height, 0)

    def _rest_rows(self) -> list[str]:
        if not self._rest:
            return []
        if not self.wrapped:
            return [self._rest]
        return pieces(self._rest, max(self._columns(), 1))

    def _measure(self) -> None:
        wide = self.size.width if self.wrapped else 8_192
        self.set_content(Size(wide, self._height()))

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
        strip = self._strip(y + self.scroll_offset.y, self.scroll_offset.x, cells)
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
            return pen.to(MARGIN).put(self._look.guide, Role.GUIDE).to(INDENT).put(rest[row])
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
        pen.to(MARGIN).put(self._look.guide, Role.GUIDE).to(INDENT)
        if not self._wanted:
            return pen.put(text[start:end])
        ground = Ground.CURSOR if serial == self._at else Ground.NEEDS_YOU
        for begin, finish in matches(text, self._wanted, start, end):
            pen.put(text[start:begin]).put(text[begin:finish], ground=ground, bold=True)
            start = finish
        return pen.put(text[start:end])

    def _with_chip(self, strip: Strip, cells: int) -> Strip:
        chip = Pen(self._inks, self._look, Ground.PANEL).put(" ")
        if self.new:
            chip.put(f"+{self.new:,} new  ")
        chip.put(self._follow_key, bold=True).put(" follow ")
        left = max(cells - chip.taken - 1, 0)
        edge = Pen(self._inks, self._look).strip(max(cells - left - chip.taken, 0))
        return Strip.join([strip.crop(0, left), chip.strip(min(chip.taken, cells - left)), edge])


def _edge_pieces(edge: Edge, columns: int) -> list[str]:
    return pieces(edge.text, max(columns - (INDENT if edge.corner else MARGIN), 1))
