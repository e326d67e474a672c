"""Titled rules instead of boxes: heavy where the focus is, dashed while the screen is frozen."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from textual import events
from textual.message import Message
from textual.reactive import reactive
from textual.strip import Strip
from textual.widget import Widget

from skep.room.look import ROLE_CLASSES, Look, Role, role_css
from skep.room.widgets.ink import Inks
from skep.room.widgets.pen import Pen
from skep.text import cut_end, width


@dataclass(frozen=True, slots=True)
class Heading:
    """What a rule says of its panel."""

    number: str
    title: str
    note: str = ""
    """At the right end."""
    count: str = ""
    """Beside the title on a tab."""


Piece = tuple[str, Role]


class _Ruled(Widget):
    """What both kinds of rules share: the look, the inks and one row."""

    COMPONENT_CLASSES: ClassVar[set[str]] = set(ROLE_CLASSES)

    dashed: reactive[bool] = reactive(False)

    def __init__(self, look: Look, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._look = look
        self._inks = Inks(self)

    def notify_style_update(self) -> None:
        """Theme or style sheet have changed."""
        super().notify_style_update()
        self._inks.clear()

    def _line(self, pen: Pen, cells: int, *, heavy: bool) -> None:
        look = self._look
        glyph = look.dashed_rule if self.dashed else look.heavy_rule if heavy else look.rule
        pen.put(glyph * max(cells, 0), Role.BLUE if heavy else Role.GUIDE)


class Rule(_Ruled):
    """``━ 1 Agents ━━━━━━━ note ━`` above a panel; a click on it selects the panel."""

    DEFAULT_CSS = "Rule { height: 1; width: 100%; }\n" + role_css("Rule")

    heading: reactive[Heading] = reactive(Heading("", ""))
    pieces: reactive[tuple[tuple[Piece, ...], ...]] = reactive(())
    """What stands on the rule instead of in a panel below it; groups that do not fit are counted."""
    focused: reactive[bool] = reactive(False)

    class Picked(Message):
        """Somebody clicked on the rule."""

        def __init__(self, rule: Rule) -> None:
            super().__init__()
            self.rule = rule

    def render_line(self, y: int) -> Strip:
        """The one row."""
        cells, heading, heavy = self.size.width, self.heading, self.focused
        pen = Pen(self._inks, self._look)
        self._line(pen, 1, heavy=heavy)
        title = cut_end(heading.title, max(cells - 8, 0))
        role = Role.BLUE if heavy else Role.TEXT
        pen.put(" ").put(heading.number, role, bold=True).put(" ").put(title, role, bold=heavy).put(" ")
        self._put_pieces(pen, cells - (width(heading.note) + 6 if heading.note else 2), heavy=heavy)
        room = cells - pen.taken - 5
        note = cut_end(heading.note, room) if room > 3 else ""
        if note:
            self._line(pen, cells - pen.taken - width(note) - 3, heavy=heavy)
            pen.put(" ").put(note, Role.GREY).put(" ")
        self._line(pen, cells - pen.taken, heavy=heavy)
        return pen.strip(cells)

    def _put_pieces(self, pen: Pen, end: int, *, heavy: bool) -> None:
        for at, group in enumerate(self.pieces):
            more = f"   +{len(self.pieces) - at}"
            last = at == len(self.pieces) - 1
            if pen.taken + 3 + sum(width(text) for text, _ in group) + (0 if last else len(more)) > end:
                pen.put(f"{more} ", Role.GREY)
                return
            if at == 0:
                self._line(pen, 1, heavy=heavy)
            pen.put("   " if at else " ")
            for text, role in group:
                pen.put(text, role)
        if self.pieces:
            pen.put(" ")

    def on_click(self) -> None:
        """The mouse selects."""
        self.post_message(self.Picked(self))


class TabRule(_Ruled):
    """``━ 1 Agents 40 ━─ 2 Tail ──`` where only one panel fits; heavy around the one that is shown."""

    DEFAULT_CSS = "TabRule { height: 1; width: 100%; }\n" + role_css("TabRule")

    headings: reactive[tuple[Heading, ...]] = reactive(())
    current: reactive[int] = reactive(0)

    class Picked(Message):
        """Somebody clicked on a tab."""

        def __init__(self, index: int) -> None:
            super().__init__()
            self.index = index

    def render_line(self, y: int) -> Strip:
        """The one row."""
        cells = self.size.width
        pen = Pen(self._inks, self._look)
        for index, heading in enumerate(self.headings):
            heavy = index == self.current
            self._line(pen, 1 if heavy or index == 0 else 2, heavy=heavy)
            role = Role.BLUE if heavy else Role.TEXT
            pen.put(" ").put(heading.number, role, bold=True).put(" ").put(heading.title, role, bold=heavy)
            if heading.count:
                pen.put(f" {heading.count}", role, bold=heavy)
            pen.put(" ")
            self._line(pen, 1, heavy=heavy)
        note = self.headings[self.current].note if self.headings else ""
        note = cut_end(note, cells - pen.taken - 5) if cells - pen.taken > 8 else ""
        if note:
            self._line(pen, cells - pen.taken - width(note) - 3, heavy=False)
            pen.put(" ").put(note, Role.GREY).put(" ")
        self._line(pen, cells - pen.taken, heavy=False)
        return pen.strip(cells)

    def on_click(self, event: events.Click) -> None:
        """The mouse selects."""
        at = 0
        for index, heading in enumerate(self.headings):
            at += width(f"  {heading.number} {heading.title} {heading.count} ") + 1
            if event.x < at:
                self.post_message(self.Picked(index))
                return


class Seam(_Ruled):
    """The one column between two panels side by side, with a joint where the rules meet."""

    DEFAULT_CSS = "Seam { width: 1; height: 100%; }\n" + role_css("Seam")

    def render_line(self, y: int) -> Strip:
        """``┬`` on top, ``│`` below."""
        joint = "+" if self._look.ascii else "┬"
        glyph = joint if y == 0 else self._look.guide
        return Pen(self._inks, self._look).put(glyph, Role.GUIDE).strip(self.size.width)
