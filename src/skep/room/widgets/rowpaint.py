"""Draws one row of the tree: cells and columns in, a strip of exactly the tree's width out."""

from __future__ import annotations

from dataclasses import dataclass

from rich.segment import Segment
from textual.strip import Strip

from skep.model.agent import Face
from skep.room.cells import Cells
from skep.room.doing import Doing, trouble_role
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
from skep.text import cut_end, cut_middle, duration, width

FULL_LEVELS = 4
"""Levels that are indented by two cells; deeper ones by one."""

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
        line = _Line(self._inks, self._look, None)
        line.put(" " * NAME_AT + "AGENT", Role.GREY, NAME_AT + columns.name + 1)
        line.put("IN".rjust(IN_WIDTH), Role.GREY, IN_WIDTH + 2)
        line.put("DOING", Role.GREY, columns.doing)
        for number in columns.numbers:
            line.put(_aligned(number, number.value), Role.GREY, NUMBER_WIDTHS[number] + 1)
        return line.strip(columns.width)

    def row(self, row: Row, cells: Cells, columns: Columns, stand: Stand, shown: tuple[str, str]) -> Strip:
        """One row; ``shown`` are the texts of IN and AGE."""
        line = _Line(self._inks, self._look, stand.ground)
        look = self._look
        if stand.marked:
            line.put(look.mark, Role.BLUE, 1, bold=True)
        else:
            line.put(look.cursor if stand.cursor else " ", Role.BLUE if stand.focused else Role.GREY, 1)
        glyph_role = Role.GREY if stand.pale and cells.live else cells.glyph_role
        line.put(cells.glyph, glyph_role, 2, bold=cells.doing.bold)
        self._name(line, row, cells, columns.name)
        line.put(" " + shown[0].rjust(IN_WIDTH), cells.in_role, IN_WIDTH + 3, bold=cells.doing.bold)
        self._doing(line, cells.doing, columns.doing)
        numbers = dict(cells.numbers)
        for number in columns.numbers:
            text = shown[1] if number is Number.AGE else numbers.get(number, "")
            line.put(_aligned(number, text), Role.GREY, NUMBER_WIDTHS[number] + 1)
        return line.strip(columns.width)

    def note(self, text: str, columns: Columns) -> Strip:
        """A grey line in the free rows below the tree."""
        line = _Line(self._inks, self._look, None)
        line.put(" " * NAME_AT + text, Role.GREY, columns.width)
        return line.strip(columns.width)

    def _name(self, line: _Line, row: Row, cells: Cells, field: int) -> None:
        left = field - self._guides(line, row.level, cells.held_from, field)
        if row.fold is not Fold.LEAF and left > 3:
            line.put(self._look.opened if row.fold is Fold.OPEN else self._look.closed, cells.name_role, 2)
            left -= 2
        name = cells.name if row.more else cut_middle(cells.name, left)
        line.put(name, cells.name_role, left, bold=cells.bold)

    def _guides(self, line: _Line, level: int, held_from: int | None, field: int) -> int:
        """Draw the indentation of a level; returns how many cells it took (never over half of the field)."""
        widths = [2 if at < FULL_LEVELS else 1 for at in range(level)]
        deeper = ""
        if sum(widths) > field // 2:
            while widths and sum(widths) + len(deeper) > field // 2:
                widths.pop()
                deeper = f"+{level - len(widths)} "
        for at, cells in enumerate(widths):
            if at == 0:
                line.put("", Role.GUIDE, cells)
            elif held_from is not None and at >= held_from:
                line.put(self._look.held_guide, Role.HELD_GUIDE, cells)
            else:
                line.put(self._look.guide, Role.GUIDE, cells)
        line.put(deeper, Role.GREY, len(deeper))
        return sum(widths) + len(deeper)

    def _doing(self, line: _Line, says: Doing, cells: int) -> None:
        counts = self._counts(says, cells)
        words = cut_end(says.words, cells)
        taken = width(words)
        line.put(words, says.role, taken, bold=says.bold)
        for at, (face, text) in enumerate(counts):
            gap = 2 if taken else 0
            last = at == len(counts) - 1
            need = gap + 1 + len(text) + (0 if last else 3)
            if taken + need > cells:
                if taken + gap + 1 <= cells:
                    line.put(" " * gap + "+", Role.GREY, gap + 1)
                    taken += gap + 1
                break
            colour = trouble_role(face)
            line.put("", Role.GREY, gap)
            line.put(self._look.faces[face], FACE_ROLES[face], 1)
            line.put(text, colour if colour is not None else Role.GREY, len(text))
            taken += gap + 1 + len(text)
        line.put("", Role.TEXT, cells - taken)

    def _counts(self, says: Doing, cells: int) -> list[tuple[Face, str]]:
        if cells >= WORDS_FROM:
            worded = [(face, f"{count} {FACE_WORDS[face]}") for face, count in says.counts]
            if width(says.words) + sum(3 + len(text) for _, text in worded) <= cells:
                return worded
        return [(face, str(count)) for face, count in says.counts]


def _aligned(number: Number, text: str) -> str:
    cells = NUMBER_WIDTHS[number]
    text = text[:cells]
    return " " + (text.ljust(cells) if number in LEFT_ALIGNED else text.rjust(cells))


class _Line:
    """Segments in the making; what lies on the cursor's ground is never grey."""

    def __init__(self, inks: Inks, look: Look, ground: Ground | None) -> None:
        self._inks = inks
        self._look = look
        self._ground = ground
        self._segments: list[Segment] = []
        self._taken = 0

    def put(self, text: str, role: Role, cells: int, *, bold: bool = False) -> None:
        """A text in so many cells: cut, or filled up with blanks."""
        if cells <= 0:
            return
        text = cut_end(text, cells)
        if self._look.ascii:
            text = self._look.own(text)
        if role is Role.GREY and self._ground is not None:
            role = Role.TEXT
        filled = text + " " * (cells - width(text))
        self._segments.append(Segment(filled, self._inks.style(role, self._ground, bold=bold)))
        self._taken += cells

    def strip(self, cells: int) -> Strip:
        """The finished line, exactly so many cells wide."""
        self.put("", Role.TEXT, cells - self._taken)
        strip = Strip(self._segments)
        return strip.adjust_cell_length(cells) if strip.cell_length != cells else strip
