"""What a line of output is, drawn: by structure, so that no text can pass for a call, a result or the operator."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from skep.model.logs import Gutter
from skep.room.look import Look, Role
from skep.room.widgets.pen import Pen

MARGIN = 1
"""Blank cells at the left edge."""

INDENT = 3
"""Cells before each line of output: the margin and its guide or sign."""

GUTTER = 2
"""Characters at the beginning of a line that say what it is."""


@dataclass(frozen=True, slots=True)
class Ink:
    """How a text is written."""

    role: Role = Role.TEXT
    bold: bool = False
    italic: bool = False


PLAIN = Ink()

_INKS = {
    Gutter.TEXT: PLAIN,
    Gutter.THINKING: Ink(Role.GREY, italic=True),
    Gutter.CALL: Ink(bold=True),
    Gutter.OUTPUT: Ink(Role.GREY),
    Gutter.END: Ink(Role.GREY),
    Gutter.FAULT: Ink(Role.RED),
    Gutter.NOTE: Ink(Role.BLUE),
}
_BY_SIGN = {gutter.value: gutter for gutter in Gutter}


def split(line: str) -> tuple[Gutter, str]:
    """What a line is, and its text; a line without a gutter is text."""
    gutter = _BY_SIGN.get(line[:GUTTER])
    return (gutter, line[GUTTER:]) if gutter is not None else (Gutter.TEXT, line)


class Gutters:
    """The gutters of the lines that a ring holds, by their serial numbers."""

    def __init__(self) -> None:
        self._kinds: dict[int, Gutter] = {}
        self.on = False
        """True for the output of a chat agent; that of programs has no gutters."""

    def clear(self, *, on: bool) -> None:
        """Begin anew, with or without gutters."""
        self._kinds.clear()
        self.on = on

    def take(self, lines: Sequence[str], serial: int) -> list[str]:
        """The texts of lines that the ring holds from this serial number on; keeps what they are."""
        if not self.on:
            return list(lines)
        found = [split(line) for line in lines]
        self._kinds.update(enumerate((gutter for gutter, _ in found), serial))
        return [text for _, text in found]

    def forget(self, before: int) -> None:
        """Lines with a smaller serial number are no longer held."""
        if self._kinds and next(iter(self._kinds)) < before:
            # Serial numbers only grow, and so they stand in their order.
            for serial in [*self._kinds]:
                if serial >= before:
                    break
                del self._kinds[serial]

    def whole(self, serial: int, text: str) -> str:
        """The line as it came."""
        return f"{self._kinds.get(serial, Gutter.TEXT).value}{text}" if self.on else text

    def lead(self, pen: Pen, look: Look, serial: int, *, first: bool) -> Ink:
        """Begin a row of a line, its ``first`` or a further one; returns how its text is written."""
        if not self.on:
            pen.to(MARGIN).put(look.guide, Role.GUIDE).to(INDENT)
            return PLAIN
        return begin(pen, look, self._kinds.get(serial, Gutter.TEXT), first=first)


def begin(pen: Pen, look: Look, gutter: Gutter, *, first: bool) -> Ink:
    """Write what stands before the text of a row of this kind; returns how the text is written."""
    ink = _INKS[gutter]
    pen.to(MARGIN)
    if gutter is Gutter.OUTPUT:
        pen.put(look.guide, Role.GUIDE)
    elif first and gutter in (Gutter.END, Gutter.FAULT):
        pen.put(look.corner, ink.role if gutter is Gutter.FAULT else Role.GUIDE)
    elif first and gutter is Gutter.NOTE:
        pen.put(">", ink.role, bold=True)
    if not (first and gutter is Gutter.CALL):
        pen.to(INDENT)
    return ink
