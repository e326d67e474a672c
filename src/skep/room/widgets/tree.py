"""The tree of agents as the operator moves in it: cursor, marks, folds, filter, order, and what is new."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

from textual import events
from textual.binding import BindingType
from textual.message import Message

from skep.clock import Clock
from skep.errors import BadInput
from skep.model.registry import Changes, Registry
from skep.room.keymap import Place, bindings
from skep.room.look import Look, Number, columns_for
from skep.room.rows import Fold
from skep.room.widgets.treecanvas import HEADS, TreeCanvas

DOING_EVERY = 0.5
"""Seconds for which a row keeps an activity line."""
TOTALS_EVERY = 2.0
"""Seconds between two sums over the branches."""


class AgentTree(TreeCanvas):
    """Every agent of the swarm, one row each; cursor and marks go by agent, never by line."""

    BINDINGS: ClassVar[list[BindingType]] = [*bindings(Place.PANEL, Place.TREE)]

    class CursorMoved(Message):
        """Another agent is under the cursor (None: a row that stands for several)."""

        def __init__(self, agent: str | None) -> None:
            super().__init__()
            self.agent = agent

    class Opened(Message):
        """The operator wants to see this agent's output."""

        def __init__(self, agent: str) -> None:
            super().__init__()
            self.agent = agent

    def __init__(self, registry: Registry, clock: Clock, look: Look, *, id: str | None = None) -> None:
        super().__init__(registry, clock, look, id=id)
        self._registry = registry
        self._totals_at = float("-inf")
        self._totals_due = True
        self._live_later: set[str] = set()
        self._holds: tuple[object, ...] = ()

    def on_mount(self) -> None:
        """The first rows."""
        self._rebuild()

    # -- what others read and set ----------------------------------------------------------------------------

    @property
    def cursor(self) -> str | None:
        """The agent under the cursor; None on a row that stands for several, and before there is any row."""
        return self.outline.cursor

    @cursor.setter
    def cursor(self, agent: str | None) -> None:
        if agent is not None:
            self.go_to(agent)

    @property
    def marked(self) -> frozenset[str]:
        """The agents that verbs act on instead of the cursor's."""
        return frozenset(self.outline.marked)

    @property
    def hits(self) -> tuple[int, int] | None:
        """While a filter is on: how many agents fit, of how many."""
        return self.outline.rows.hits

    @property
    def sort_name(self) -> str:
        """The order among siblings, in words."""
        return self.outline.order

    @property
    def title(self) -> str:
        """What the rule above shows at its left."""
        return "Agents"

    @property
    def note(self) -> str:
        """What the rule above shows at its right: how many, what is filtered, how many are marked."""
        return self.outline.note

    @property
    def alerts_only(self) -> bool:
        """Only what needs the operator is shown, with the branches above it."""
        return self.outline.view.alerts_only

    @alerts_only.setter
    def alerts_only(self, wanted: bool) -> None:
        self.outline.view.alerts_only = wanted
        self._rebuild()

    @property
    def hide_ended(self) -> bool:
        """Agents that ended more than 5 minutes ago are left out."""
        return self.outline.view.hide_ended

    def set_filter(self, text: str) -> str | None:
        """Show only what fits, with the branches above it; returns what is wrong with the text, or None."""
        try:
            self.outline.set_filter(text)
        except BadInput as error:
            return f"{error.what}; {error.mend}" if error.mend else error.what
        self._rebuild()
        return None

    def go_to(self, agent: str) -> bool:
        """Put the cursor on an agent, wherever it is hidden; False if there is no such agent."""
        with self._registry.read() as state:
            if agent not in state.agents:
                return False
            self.outline.reveal(state, agent)
        if agent not in self.outline.rows.index:
            self._rebuild()
        before = self.cursor
        found = self.outline.go_to(agent)
        self._moved(before)
        return found

    def next_match(self, step: int) -> bool:
        """To the next (-1: the former) row that fits the filter; False if there is none."""
        before = self.cursor
        found = self.outline.next_match(step)
        self._moved(before)
        return found

    def next_alert(self) -> bool:
        """To the next agent that needs the operator, also in a closed branch; False if there is none."""
        with self._registry.read() as state:
            agent = self.outline.next_alert(state)
        return agent is not None and self.go_to(agent)

    def cycle_sort(self) -> None:
        """The next order among siblings: asked, state (worst first), name, in, exit."""
        self.outline.next_sort()
        self._rebuild()

    def reverse_sort(self) -> None:
        """Turn the order round."""
        self.outline.view.reverse = not self.outline.view.reverse
        self._rebuild()

    def toggle_hide_ended(self) -> None:
        """Leave out, or show again, what ended more than 5 minutes ago."""
        self.outline.view.hide_ended = not self.outline.view.hide_ended
        self._rebuild()

    def set_registry(self, registry: Registry) -> None:
        """Look at another registry (a link that was made anew, another moment); the cursor stays by id."""
        self._registry = registry
        self._cache = self._cache_of(registry)
        self._cache.set_gone(self._gone)
        self._cache.sum_up()
        self._totals_due = True
        self._rebuild()

    # -- news ------------------------------------------------------------------------------------------------

    def refresh_changes(self, changes: Changes) -> None:
        """Take in what a watch saw; called by the screen's one tick, also with nothing, and cheap then."""
        now = self._clock.monotonic()
        with self._registry.read() as state:
            holds: tuple[object, ...] = (*state.latches.values(), *state.shuts)
            self.outline.notice(state, changes)
        self._totals_due = self._totals_due or bool(changes.agents or changes.live)
        if holds != self._holds:
            self._holds = holds
            self._cache.clear()
            self.refresh()
        for agent in changes.agents:
            self._cache.forget(agent)
        self._live_later |= changes.live
        if self.outline.due(now):
            self._rebuild(anew=False)
        if changes.agents or self._live_later:
            self._redraw(changes.agents, now)

    def refresh_ages(self) -> None:
        """Once a second: draw the visible rows whose IN, AGE, place or sums read differently now."""
        now = self._clock.monotonic()
        if self.outline.view.filter is not None and self.outline.view.filter.timed:
            self.outline.outdate()
        if self._totals_due and now - self._totals_at >= TOTALS_EVERY and Number.OUTPUT in self._columns.numbers:
            self._cache.sum_up()
            self._totals_at, self._totals_due = now, False
            self._retake(row for row in self._visible() if row.fold is not Fold.LEAF)
        self._refresh_rows(self._cache.count_places(self._visible()))
        self.refresh_changes(Changes())
        self._refresh_rows(self._cache.ticked(self._visible(), self._time()))

    def _redraw(self, changed: set[str], now: float) -> None:
        later = set()
        for row in self._visible():
            if row.agent in changed:
                self._refresh_rows((row,))
            elif row.agent in self._live_later:
                if self._cache.age(row, now) < DOING_EVERY:
                    later.add(row.agent)
                else:
                    self._retake((row,))
        for agent in self._live_later - later:
            self._cache.forget(agent)
        self._live_later = later

    # -- rows and cursor -------------------------------------------------------------------------------------

    def _rebuild(self, *, anew: bool = True) -> None:
        """Make the rows anew; the cursor's row stays on its line of the screen."""
        before, seen = self.cursor, self._visible()
        line = self.outline.at - self.scroll_offset.y
        with self._registry.read() as state:
            self.outline.rebuild(state, self._clock.time(), self._clock.monotonic())
        # The first conversation brings other columns.
        columns = columns_for(self._columns.width, chat=self.outline.rows.chat)
        anew, self._columns = anew or columns != self._columns, columns
        self._set_height()
        if 0 <= line < self._page:
            self.scroll_to(y=self.outline.at - line, animate=False)
        shown = self._visible()
        if anew:
            self._cache.clear()
        if anew or shown != seen:
            self.refresh()
        if self.cursor != before:
            self.post_message(self.CursorMoved(self.cursor))

    def _moved(self, before: str | None, was: int | None = None) -> None:
        """The cursor may be elsewhere; with its former place ``was`` nothing else has changed."""
        self.outline.touch(self._clock.monotonic())
        top = self.scroll_offset.y
        self._keep_in_sight()
        if was is None or self.scroll_offset.y != top:
            self.refresh()
        else:
            self.refresh_line(was + HEADS)
            self.refresh_line(self.outline.at + HEADS)
        if self.cursor != before:
            self.post_message(self.CursorMoved(self.cursor))

    def _go(self, at: int) -> None:
        before, was = self.cursor, self.outline.at
        self.outline.go(at)
        if was != self.outline.at:
            self._moved(before, was)

    def on_click(self, event: events.Click) -> None:
        """A click selects, a second one opens; neither acts on the swarm."""
        at = self.scroll_offset.y + event.y - HEADS
        if event.y < HEADS or self.outline.row(at) is None:
            return
        self._go(at)
        if event.chain == 2:
            self.action_open()

    # -- actions ---------------------------------------------------------------------------------------------

    def action_cursor_up(self) -> None:
        """One row up."""
        self._go(self.outline.at - 1)

    def action_cursor_down(self) -> None:
        """One row down."""
        self._go(self.outline.at + 1)

    def action_page_up(self) -> None:
        """A page up."""
        self._go(self.outline.at - self._page + 1)

    def action_page_down(self) -> None:
        """A page down."""
        self._go(self.outline.at + self._page - 1)

    def action_home(self) -> None:
        """To the first row."""
        self._go(0)

    def action_end(self) -> None:
        """To the last row."""
        self._go(len(self.outline) - 1)

    def action_fold(self) -> None:
        """Close the branch; on a leaf or a closed one, go to the parent."""
        self._unless_rebuilt(self.outline.fold)

    def action_unfold(self) -> None:
        """Open the branch or the gathering row; on an open one, go to the first child."""
        self._unless_rebuilt(self.outline.unfold)

    def _unless_rebuilt(self, step: Callable[[], bool]) -> None:
        before = self.cursor
        if step():
            self._rebuild()
        self._moved(before)

    def action_fold_all(self) -> None:
        """Close all branches."""
        with self._registry.read() as state:
            self.outline.fold_all(state)
        self._rebuild()

    def action_unfold_all(self) -> None:
        """Open all branches."""
        self.outline.unfold_all()
        self._rebuild()

    def action_to_parent(self) -> None:
        """To the row above which this one hangs."""
        above = self.outline.parent_of(self.outline.at)
        if above is not None:
            self._go(above)

    def action_open(self) -> None:
        """Ask for the output of the cursor's agent; a gathering row opens instead."""
        if self.cursor is not None:
            self.post_message(self.Opened(self.cursor))
        else:
            self.action_unfold()

    def action_mark(self) -> None:
        """Mark the row, or take its mark off, and go on to the next."""
        before = self.cursor
        self.outline.mark()
        self._moved(before)

    def action_mark_range(self) -> None:
        """Mark all rows from the last mark to here."""
        self.outline.mark_range()
        self.refresh()

    def action_clear_marks(self) -> None:
        """Take all marks off."""
        self.outline.clear_marks()
        self.refresh()

    def action_sort(self) -> None:
        """Sort siblings by the next column."""
        self.cycle_sort()

    def action_sort_turn(self) -> None:
        """Turn the order round."""
        self.reverse_sort()
