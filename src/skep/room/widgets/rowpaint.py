"""Draws one row of the tree: cells and columns in, a strip of exactly the tree's width out."""

from __future__ import annotations

from dataclasses import dataclass

from textual.strip import Strip

from skep.model.agent import Face
from skep.room.cells import Cells
from skep.room.doing import Doing
from skep.room.look import (
    FACE_ROLES,
    FACE_WORDS,
    IN_WIDTH,
    LEFT_ALIGNED,
    NAME_AT,
    NUMBER_WIDTHS,
    Columns,
    Ground,
    Look,
    Number,
    Role,
)
from skep.room.rows import Fold, Row
from skep.room.widgets.ink import Inks
from skep.room.widgets.pen import Pen
from skep.text import cut_middle, duration, width

FULL_LEVELS = 4
"""Levels that are indented by two cells; deeper ones by one."""

TROUBLE_ROLES = frozenset({Role.AMBER, Role.RED, Role.BLUE})
"""Colours in which a count of a composition is written along with its glyph; the others stay on the glyph."""

WORDS_FROM = 60
"""Cells of DOING from which on a composition has words."""


@dataclass(frozen=True, slots=True)
class Stand:
    """How a row stands among the others at this moment."""

    cursor: bool = False
    focused: bool = False
    marked: bool = False
    pale: bool = False
    """The link is lost: nothing that is shown is known to be so."""

    @property
    def ground(self) -> Ground | None:
        """The background of the row."""
        if not self.cursor:
            return None
        return Ground.CURSOR if self.focused else Ground.BLURRED


def times(cells: Cells, now: float) -> tuple[str, str]:
    """IN and AGE as text at this moment (epoch seconds)."""
    seconds = cells.took if cells.since is None else now - cells.since
    age = duration(now - cells.asked_at) if cells.asked_at is not None else ""
    return (duration(seconds) if seconds is not None else "", age)


class RowPainter:
    """Turns cells into strips, with the glyphs of a look and the inks of a widget."""

    def __init__(self, look: Look, inks: Inks) -> None:
        self._look = look
        self._inks = inks

    def heads(self, columns: Columns) -> Strip:
        """The line above the rows."""
        pen = Pen(self._inks, self._look).to(NAME_AT).put("AGENT", Role.GREY)
        pen.to(columns.in_at).put("IN".rjust(IN_WIDTH), Role.GREY)
        pen.to(columns.doing_at).put("DOING", Role.GREY)
        pen.to(columns.doing_at + columns.doing)
        for number in columns.numbers:
            pen.put(_aligned(number, number.value), Role.GREY)
        return pen.strip(columns.width)

    def note(self, text: str, columns: Columns) -> Strip:
        """A grey line in the free rows below the tree."""
        pen = Pen(self._inks, self._look).to(NAME_AT)
        return pen.put(text, Role.GREY, most=columns.width - NAME_AT).strip(columns.width)

    def row(self, row: Row, cells: Cells, columns: Columns, stand: Stand, shown: tuple[str, str]) -> Strip:
        """One row; ``shown`` are the texts of IN and AGE."""
        pen = Pen(self._inks, self._look, stand.ground)
        # On the cursor's ground grey would be hard to read.
        grey = Role.GREY if stand.ground is None else Role.TEXT
        look, bold = self._look, cells.doing.bold
        if stand.marked:
            pen.put(look.mark, Role.BLUE, bold=True)
        elif stand.cursor:
            pen.put(look.cursor, Role.BLUE if stand.focused else Role.GREY)
        glyph_role = Role.GREY if stand.pale and cells.live else cells.glyph_role
        pen.to(1).put(cells.glyph, _raised(glyph_role, grey), bold=bold)
        self._name(pen.to(NAME_AT), row, cells, columns.name, grey)
        pen.to(columns.in_at).put(shown[0].rjust(IN_WIDTH), _raised(cells.in_role, grey), bold=bold)
        self._doing(pen.to(columns.doing_at), cells.doing, columns.doing, grey)
        pen.to(columns.doing_at + columns.doing)
        numbers = dict(cells.numbers)
        for number in columns.numbers:
            text = shown[1] if number is Number.AGE else numbers.get(number, "")
            pen.put(_aligned(number, text), grey)
        return pen.strip(columns.width)

    def _name(self, pen: Pen, row: Row, cells: Cells, field: int, grey: Role) -> None:
        self._guides(pen, row.level, cells.held_from, field // 2, grey)
        role = _raised(cells.name_role, grey)
        if row.fold is not Fold.LEAF:
            pen.put(f"{self._look.opened if row.fold is Fold.OPEN else self._look.closed} ", role)
        pen.put(cut_middle(cells.name, NAME_AT + field - pen.taken), role, bold=cells.bold)

    def _guides(self, pen: Pen, level: int, held_from: int | None, most: int, grey: Role) -> None:
        """The indentation of a level; levels beyond what fits into ``most`` cells are only counted."""
        widths = [2 if at < FULL_LEVELS else 1 for at in range(level)]
        hidden = ""
        while widths and sum(widths) + len(hidden) > most:
            widths.pop()
            hidden = f"+{level - len(widths)} "
        for at, cells in enumerate(widths):
            held = held_from is not None and at >= held_from
            end = pen.taken + cells
            if at:
                glyph = self._look.held_guide if held else self._look.guide
                pen.put(glyph, Role.HELD_GUIDE if held else Role.GUIDE)
            pen.to(end)
        pen.put(hidden, grey)

    def _doing(self, pen: Pen, says: Doing, cells: int, grey: Role) -> None:
        end = pen.taken + cells
        pen.put(says.words, _raised(says.role, grey), most=cells, bold=says.bold)
        counts = self._counts(says, cells)
        for at, (face, text) in enumerate(counts):
            gap = "  " if at or says.words else ""
            # Whatever is not the last one leaves room for the sign that something is left out.
            need = len(gap) + 1 + len(text) + (0 if at == len(counts) - 1 else 3)
            if pen.taken + need > end:
                if pen.taken + len(gap) < end:
                    pen.put(f"{gap}+", grey)
                break
            role = FACE_ROLES[face]
            pen.put(gap).put(self._look.faces[face], _raised(role, grey))
            pen.put(text, role if role in TROUBLE_ROLES else grey)

    def _counts(self, says: Doing, cells: int) -> list[tuple[Face, str]]:
        if cells >= WORDS_FROM:
            worded = [(face, f"{count} {FACE_WORDS[face]}") for face, count in says.counts]
            if width(says.words) + sum(3 + len(text) for _, text in worded) <= cells:
                return worded
        return [(face, str(count)) for face, count in says.counts]


def _raised(role: Role, grey: Role) -> Role:
    return grey if role is Role.GREY else role


def _aligned(number: Number, text: str) -> str:
    cells = NUMBER_WIDTHS[number]
    # The end of a label tells keys apart.
    text = cut_middle(text, cells)
    return " " + (text.ljust(cells) if number in LEFT_ALIGNED else text.rjust(cells))
