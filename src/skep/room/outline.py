"""Where the operator is in the tree: cursor, marks, folds, order and filter, all by agent and never by line."""

from __future__ import annotations

from collections.abc import Callable

from skep.model.agent import Agent
from skep.model.events import ROOT
from skep.model.registry import Changes
from skep.model.swarm import SwarmState
from skep.room.filter import is_quiet, needs_you, parse_filter
from skep.room.rows import Fold, Row, Rows, Sort, View, build_rows, gathered_key

STRUCTURE_EVERY = 0.25
"""Seconds between two changes of which rows there are."""
FILTER_EVERY = 1.0
"""The same while a filter is on, for which every agent has to be looked at."""
SORT_EVERY = 2.0
"""Seconds between two changes of a live order; also how long it keeps still after a key."""


class Outline:
    """The rows of one tree and the place in them; what could change the rows waits for :meth:`rebuild`."""

    def __init__(self) -> None:
        self.view = View()
        self.rows = Rows()
        self.at = 0
        """The cursor's row."""
        self.marked: set[str] = set()
        self._anchor: str | None = None
        self._outdated = True
        self._built_at = float("-inf")
        self._touched_at = float("-inf")

    # -- reading ---------------------------------------------------------------------------------------------

    def __len__(self) -> int:
        return len(self.rows.rows)

    def row(self, at: int) -> Row | None:
        """The row at a place, None outside."""
        return self.rows.rows[at] if 0 <= at < len(self.rows.rows) else None

    @property
    def here(self) -> Row | None:
        """The cursor's row."""
        return self.row(self.at)

    @property
    def cursor(self) -> str | None:
        """The cursor's agent; None on a row that stands for several."""
        row = self.here
        return row.agent if row is not None and not row.more else None

    @property
    def order(self) -> str:
        """The order among siblings, in words."""
        return f"{self.view.sort.value}{' reversed' if self.view.reverse else ''}"

    @property
    def note(self) -> str:
        """How many, what is filtered, how many are marked: what the rule above the tree shows at its right."""
        view, hits = self.view, self.rows.hits
        parts = [
            f"{len(self.marked):,} marked" if self.marked else "",
            f"by {self.order}" if view.sort is not Sort.ASKED or view.reverse else "",
            "ended hidden" if view.hide_ended else "",
        ]
        if hits is None:
            parts.append(f"{self.rows.commands:,}")
        else:
            parts += [
                f"{hits[0]:,} of {hits[1]:,}",
                "alerts only" if view.alerts_only else "",
                view.filter.text if view.filter is not None else "",
                "esc clears",
            ]
        return "  ".join(part for part in parts if part)

    # -- rows ------------------------------------------------------------------------------------------------

    def touch(self, now: float) -> None:
        """The operator pressed a key (monotonic seconds): a live order keeps still for a while."""
        self._touched_at = now

    def outdate(self) -> None:
        """The rows are not what they should be any more."""
        self._outdated = True

    def notice(self, state: SwarmState, changes: Changes) -> None:
        """See whether these changes make the rows out of date."""
        self._outdated = self._outdated or self.rows.outdated(state, changes, self.view)

    def due(self, now: float) -> bool:
        """Should the rows be made anew at this moment (monotonic seconds)?"""
        if not self._outdated:
            return False
        if self.view.sort in (Sort.ASKED, Sort.NAME):
            return now - self._built_at >= (FILTER_EVERY if self.view.filtered else STRUCTURE_EVERY)
        return now - self._built_at >= SORT_EVERY and now - self._touched_at >= SORT_EVERY

    def rebuild(self, state: SwarmState, time: float, now: float) -> None:
        """Make the rows anew; the cursor stays with its agent, or goes to what now stands for it."""
        before = self.here
        self.rows = build_rows(state, self.view, time, self.rows)
        self._outdated = False
        self._built_at = now
        self.marked &= state.agents.keys()
        if before is not None and before.key in self.rows.index:
            self.at = self.rows.index[before.key]
        elif before is not None and before.agent in state.agents:
            self.at = self._stand_in(state, before.agent)
        self.at = max(min(self.at, len(self) - 1), 0)

    def _stand_in(self, state: SwarmState, agent: str) -> int:
        """The row of the nearest that is shown: of the agent, of those gathered with it, or above it."""
        index = self.rows.index
        for one in state.ancestors(agent):
            if one.id in index:
                gathered = index.get(gathered_key(one.id))
                return gathered if gathered is not None and one.id != agent else index[one.id]
        return self.at

    # -- moving ----------------------------------------------------------------------------------------------

    def go(self, at: int) -> None:
        """Put the cursor on a row; beyond an end, on the last one there."""
        self.at = max(min(at, len(self) - 1), 0)

    def go_to(self, key: str) -> bool:
        """Put the cursor on the row with this key; False if there is none."""
        at = self.rows.index.get(key)
        if at is None:
            return False
        self.at = at
        return True

    def parent_of(self, at: int) -> int | None:
        """The row above which this one hangs; None for the first."""
        row = self.row(at)
        if row is None:
            return None
        for above in range(at - 1, -1, -1):
            if self.rows.rows[above].level < row.level:
                return above
        return None

    def reveal(self, state: SwarmState, agent: str) -> None:
        """Open whatever hides an agent: folds above it, gathering; a filter that hides it is taken off."""
        if agent in self.rows.index or agent not in state.agents:
            return
        above = list(state.ancestors(agent))
        self.view.folded.difference_update(one.id for one in above[1:])
        if len(above) > 1:
            self.view.all_queued.add(above[1].id)
        found = state.agents[agent]
        if self.view.filtered and not self._is_hit(state, found):
            self.view.filter, self.view.alerts_only = None, False
        self.view.hide_ended = self.view.hide_ended and not found.ended

    def _is_hit(self, state: SwarmState, agent: Agent) -> bool:
        fits = self.view.filter is None or self.view.filter.fits(state, agent, state.time)
        return fits and (not self.view.alerts_only or needs_you(agent))

    def next_match(self, step: int) -> bool:
        """To the next (or with -1 the former) row that fits the filter, round the ends; False if there is none."""
        if not self.view.filtered or not len(self):
            return False
        for distance in range(1, len(self) + 1):
            at = (self.at + step * distance) % len(self)
            row = self.rows.rows[at]
            if not row.pale and not row.more:
                self.at = at
                return True
        return False

    def next_alert(self, state: SwarmState) -> str | None:
        """The next agent, in tree order from the cursor and round the end, that needs the operator.

        If none does, the next one that is quiet: that is where the next trouble comes from.
        """
        if ROOT not in state.agents:
            return None
        return self._next(state, needs_you) or self._next(state, is_quiet)

    def _next(self, state: SwarmState, wanted: Callable[[Agent], bool]) -> str | None:
        row = self.here
        first: str | None = None
        passed = row is None
        for agent in state.subtree(ROOT):
            if wanted(agent):
                if passed:
                    return agent.id
                first = first if first is not None else agent.id
            passed = passed or (row is not None and agent.id == row.agent)
        return first

    # -- folding ---------------------------------------------------------------------------------------------

    def fold(self) -> bool:
        """Close the branch, or go to the parent from a leaf; True if the rows have to be made anew."""
        row = self.here
        if row is None:
            return False
        if row.fold is Fold.OPEN and not self.view.filtered:
            self.view.folded.add(row.agent)
            return True
        parent = self.parent_of(self.at)
        if parent is not None:
            self.at = parent
        return False

    def unfold(self) -> bool:
        """Open the branch or the gathering row, or go to the first child; True if the rows must be made anew."""
        row = self.here
        if row is None:
            return False
        if row.more:
            self.view.all_queued.add(row.agent)
            return True
        if row.fold is Fold.CLOSED:
            self.view.folded.discard(row.agent)
            return True
        if row.fold is Fold.OPEN:
            self.go(self.at + 1)
        return False

    def fold_all(self, state: SwarmState) -> None:
        """Close every branch but the whole; queued children are gathered again."""
        self.view.folded = {agent.id for agent in state.agents.values() if agent.children and agent.id != ROOT}
        self.view.all_queued.clear()

    def unfold_all(self) -> None:
        """Open every branch."""
        self.view.folded.clear()

    # -- marks -----------------------------------------------------------------------------------------------

    def mark(self) -> None:
        """Mark the cursor's agent, or take its mark off, and go on to the next row."""
        agent = self.cursor
        if agent is not None:
            self.marked ^= {agent}
            self._anchor = agent
        self.go(self.at + 1)

    def mark_range(self) -> None:
        """Mark every agent from the last one marked to the cursor."""
        agent = self.cursor
        start = self.rows.index.get(self._anchor) if self._anchor is not None else None
        low, high = sorted((start if start is not None else self.at, self.at))
        self.marked |= {row.agent for row in self.rows.rows[low : high + 1] if not row.more}
        self._anchor = agent if agent is not None else self._anchor

    def clear_marks(self) -> None:
        """Take all marks off."""
        self.marked.clear()
        self._anchor = None

    # -- what is shown ---------------------------------------------------------------------------------------

    def set_filter(self, text: str) -> None:
        """Show only what fits (a blank text: everything again). Raises BadInput for a term that means nothing."""
        self.view.filter = parse_filter(text)

    def next_sort(self) -> None:
        """The next order, from what fits first; programs have an exit, conversations a cost."""
        useless = Sort.EXIT if self.rows.chat else Sort.COST
        orders = [sort for sort in Sort if sort is not useless]
        self.view.sort = orders[(orders.index(self.view.sort) + 1) % len(orders)]
