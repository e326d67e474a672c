"""The keys panel: a table with one row for each key, or, where rows are scarce, pieces for the rule above it."""

from __future__ import annotations

from typing import ClassVar

from textual import events
from textual.binding import BindingType
from textual.geometry import Size
from textual.strip import Strip

from skep.clock import Clock
from skep.room.board import USABLE, Board, KeyRow
from skep.room.keymap import Place, bindings
from skep.room.look import ROLE_CLASSES, Look, Role, role_css
from skep.room.widgets.canvas import Canvas
from skep.room.widgets.ink import Inks
from skep.room.widgets.pen import Pen
from skep.text import UNKNOWN, cut_end, cut_middle, tokens

HEADS = 1
"""Lines above the rows that do not scroll."""
SHOWN = 6
"""Rows that the panel takes at most while others are beside it."""

BAR = 8
FULL_FROM = 0.9
"""Load from which on a bar is amber."""

_KEY_AT, _STATE_AT, _STATE, _FLIGHT = 3, 13, 20, 16
_STATE_NARROW, _WIDE_FROM = 14, 104
_FIGURES: tuple[tuple[str, int, int], ...] = (
    ("REQ/MIN", 8, _WIDE_FROM),
    ("TOK/MIN", 9, _WIDE_FROM),
    ("429", 6, 56),
    ("TTFT", 7, 92),
    ("COST", 8, 66),
)
"""Heads, cells (the gap before them included), and the width of the panel from which on they are shown."""
_USED_FROM = 14
"""Cells under which USED BY is left out."""

Piece = tuple[str, Role]


class KeysPanel(Canvas, can_focus=True, inherit_bindings=False):
    """Shows a board; whoever owns it brings the board."""

    ALLOW_SELECT = False
    BINDINGS: ClassVar[list[BindingType]] = [*bindings(Place.PANEL)]
    COMPONENT_CLASSES: ClassVar[set[str]] = set(ROLE_CLASSES)
    DEFAULT_CSS = """
    KeysPanel { background: $background; color: $foreground; overflow: scroll; scrollbar-size: 0 0; }
    """ + role_css("KeysPanel")

    def __init__(self, clock: Clock, look: Look, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._clock = clock
        self._look = look
        self._inks = Inks(self)
        self._board = Board()
        self._said: tuple[object, ...] = ()

    @property
    def wanted(self) -> int:
        """The rows that it would like to have."""
        return HEADS + max(min(len(self._board.rows), SHOWN), 1)

    def show(self, board: Board) -> None:
        """Draw a board, if it reads differently from what stands there."""
        now = self._clock.time()
        said = (*((row, row.words(now)) for row in board.rows), board.trouble)
        if said != self._said:
            self._board, self._said = board, said
            self.set_content(Size(self.size.width, HEADS + len(board.rows)))
            self.refresh()

    def on_resize(self, event: events.Resize) -> None:
        """Columns follow the width."""
        self.set_content(Size(event.size.width, HEADS + len(self._board.rows)))
        self._scroll(0)

    def notify_style_update(self) -> None:
        """Theme or style sheet have changed."""
        super().notify_style_update()
        self._inks.clear()

    # -- drawing -----------------------------------------------------------------------------------------------

    def render_line(self, y: int) -> Strip:
        """One line of the widget, counted from its top."""
        cells, rows = self.size.width, self._board.rows
        pen = Pen(self._inks, self._look)
        if y < HEADS:
            return self._heads(pen, cells).strip(cells)
        at = y - HEADS + self.scroll_offset.y
        if at < len(rows):
            return self._row(pen, rows[at], cells).strip(cells)
        if not rows and at == 0:
            pen.to(_KEY_AT).put(self._board.trouble or "no key: skep keys says what is missing", Role.GREY)
        return pen.strip(cells)

    def _heads(self, pen: Pen, cells: int) -> Pen:
        pen.to(_KEY_AT).put("KEY", Role.GREY).to(_STATE_AT).put("STATE", Role.GREY)
        flight_at = _flight_at(cells)
        pen.to(flight_at).put("IN FLIGHT", Role.GREY).to(flight_at + _FLIGHT)
        for head, wide, least in _FIGURES:
            if cells >= least:
                pen.put(head.rjust(wide), Role.GREY)
        if cells - pen.taken - 3 >= _USED_FROM:
            pen.to(pen.taken + 3).put("USED BY", Role.GREY)
        return pen

    def _row(self, pen: Pen, row: KeyRow, cells: int) -> Pen:
        words, flight_at = row.words(self._clock.time()), _flight_at(cells)
        role = Role.GREY if row.state == USABLE else row.role
        pen.to(1).put(row.glyph(self._look), row.role).to(_KEY_AT).put(
            cut_middle(row.label, _STATE_AT - _KEY_AT - 1)
        )
        pen.to(_STATE_AT).put(words, role, most=flight_at - _STATE_AT - 2).to(flight_at)
        self._flight(pen, row)
        pen.to(flight_at + _FLIGHT)
        figures = (
            (str(row.requests), Role.TEXT if row.requests else Role.GREY),
            (tokens(row.tokens), Role.TEXT if row.tokens else Role.GREY),
            (f"{row.limited}%" if row.limited is not None else UNKNOWN, _limited_role(row.limited)),
            (f"{row.first_token:.1f}s" if row.first_token is not None else UNKNOWN, Role.GREY),
            (row.cost, Role.GREY),
        )
        for (_, wide, least), (text, ink) in zip(_FIGURES, figures, strict=True):
            if cells >= least:
                pen.put(text[:wide].rjust(wide), ink)
        room = cells - pen.taken - 4
        if room >= _USED_FROM - 1:
            pen.to(pen.taken + 3).put(row.used_by, Role.GREY, most=room)
        return pen

    def _flight(self, pen: Pen, row: KeyRow) -> None:
        """A bar where a cap is known, and the figures."""
        if row.cap:
            full = min(round(BAR * row.load), BAR) if row.in_flight else 0
            full = max(full, 1) if row.in_flight else 0
            pen.put(self._look.heavy_rule * full, Role.AMBER if row.load >= FULL_FROM else Role.GREEN)
            pen.put(self._look.rule * (BAR - full), Role.GUIDE).put(" ")
            pen.put(f"{row.in_flight}/{row.cap}", Role.TEXT if row.in_flight else Role.GREY)
        else:
            pen.to(pen.taken + BAR + 1).put(str(row.in_flight), Role.TEXT if row.in_flight else Role.GREY)

    # -- moving ------------------------------------------------------------------------------------------------

    def _scroll(self, row: int) -> None:
        last = max(len(self._board.rows) - max(self.size.height - HEADS, 0), 0)
        self.scroll_to(y=max(0, min(row, last)), animate=False)
        self.refresh()

    def action_cursor_up(self) -> None:
        """One row up."""
        self._scroll(self.scroll_offset.y - 1)

    def action_cursor_down(self) -> None:
        """One row down."""
        self._scroll(self.scroll_offset.y + 1)

    def action_page_up(self) -> None:
        """A page up."""
        self._scroll(self.scroll_offset.y - SHOWN)

    def action_page_down(self) -> None:
        """A page down."""
        self._scroll(self.scroll_offset.y + SHOWN)

    def action_home(self) -> None:
        """To the first row."""
        self._scroll(0)

    def action_end(self) -> None:
        """To the last row."""
        self._scroll(len(self._board.rows))


def _flight_at(cells: int) -> int:
    return _STATE_AT + 1 + (_STATE if cells >= _WIDE_FROM else _STATE_NARROW)


def _limited_role(percent: int | None) -> Role:
    return Role.AMBER if percent is not None and percent >= 10 else Role.GREY


def strip_of(board: Board, look: Look, now: float) -> tuple[tuple[Piece, ...], ...]:
    """Each key in a few words, for the rule: sign, label, and its load or when it comes back."""
    return tuple(
        (
            (row.glyph(look), row.role),
            (f" {cut_middle(row.label, 16)} ", Role.TEXT),
            (cut_end(row.brief(now), 18), Role.GREY if row.state == USABLE else row.role),
        )
        for row in board.rows
    )
