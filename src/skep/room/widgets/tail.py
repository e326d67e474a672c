"""The output of one agent as the operator reads it: what comes in, what is searched, where it stands."""

from __future__ import annotations

from typing import ClassVar

from textual.binding import BindingType

from skep.control.service import TailChunk
from skep.room.keymap import Place, bindings
from skep.room.widgets.tailcanvas import Edge as Edge
from skep.room.widgets.tailcanvas import Status as Status
from skep.room.widgets.tailcanvas import TailCanvas

SIDE_STEP = 8
"""Cells that one key press moves sideways where lines are not wrapped."""


class Tail(TailCanvas):
    """Shows a ring of lines of one agent; whoever owns it brings the lines."""

    ALLOW_SELECT = False
    BINDINGS: ClassVar[list[BindingType]] = [*bindings(Place.PANEL, Place.TAIL)]

    # -- what is shown -----------------------------------------------------------------------------------------

    def show(
        self,
        agent: str | None,
        above: list[Edge],
        below: list[Edge],
        *,
        follow: bool = True,
        gutters: bool = False,
    ) -> None:
        """Turn to another agent: its own lines above and below, and no output yet; at the end or at the top.

        With ``gutters`` the first two characters of each line say what it is.
        """
        self.agent = agent
        self._lines.clear()
        self._gutters.clear(on=gutters)
        self._wrap_lines()
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

    def set_status(self, status: Status | None) -> None:
        """Renew the line that does not scroll; None: there is none."""
        if status == self._status:
            return
        moved, self._status = (status is None) is not (self._status is None), status
        if moved:
            self._grown(0)
        self.refresh()

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
        dropped = self._lines.extend(self._gutters.take(lines, since))
        self._gutters.forget(self._lines.first)
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
        whole = [self._gutters.whole(serial, text) for serial, text in enumerate(self._lines, self._lines.first)]
        return [*whole, *([self._rest] if self._rest else [])]

    def text_in_view(self) -> list[str]:
        """The whole lines that have a row on the screen."""
        return self._lines.between(self.scroll_offset.y - len(self._head), self._page)

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
        if not self.scroll_offset.y <= row < self.scroll_offset.y + self._page:
            self._scroll(row - self._page // 2)

    # -- moving ------------------------------------------------------------------------------------------------

    def action_cursor_up(self) -> None:
        """One row up; it no longer follows."""
        self._scroll(self.scroll_offset.y - 1)

    def action_cursor_down(self) -> None:
        """One row down; at the end it follows again."""
        self._scroll(self.scroll_offset.y + 1)

    def action_page_up(self) -> None:
        """A page up, less one row."""
        self._scroll(self.scroll_offset.y - max(self._page - 1, 1))

    def action_page_down(self) -> None:
        """A page down, less one row."""
        self._scroll(self.scroll_offset.y + max(self._page - 1, 1))

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
