"""Keeps what rows say and how they were drawn, so that only what has changed is asked or drawn again."""

from __future__ import annotations

from collections.abc import Iterable

from textual.strip import Strip

from skep.clock import Clock
from skep.model.registry import Registry
from skep.room.cells import Cells, branch_totals, cells_of
from skep.room.doing import Places
from skep.room.look import Columns, Look
from skep.room.rows import Row, gathered_key
from skep.room.widgets.rowpaint import RowPainter, Stand, times

KEPT = 2_000
"""Rows that are remembered; far more than any screen shows."""


class RowCache:
    """Row → cells → strip. A strip is kept under everything that it depends on."""

    def __init__(self, registry: Registry, clock: Clock, look: Look, painter: RowPainter) -> None:
        self._registry = registry
        self._clock = clock
        self._look = look
        self._painter = painter
        self._places = Places()
        self._gone = False
        self._totals: dict[str, tuple[int, int]] = {}
        self._cells: dict[str, tuple[Row, Cells]] = {}
        self._taken_at: dict[str, float] = {}
        self._painted: dict[str, tuple[tuple[object, ...], Strip]] = {}

    def strip(self, row: Row, columns: Columns, stand: Stand, theme: int, time: float) -> Strip:
        """A row as it looks at this moment (epoch seconds)."""
        cells = self._cells_of(row)
        if cells is None:
            return self._painter.note("", columns)
        shown = times(cells, time)
        key = (row, cells, columns, stand, theme, shown)
        painted = self._painted.get(row.key)
        if painted is None or painted[0] != key:
            if len(self._painted) > KEPT:
                self._painted.clear()
            painted = self._painted[row.key] = (key, self._painter.row(row, cells, columns, stand, shown))
        return painted[1]

    def forget(self, agent: str) -> None:
        """This agent has changed: ask again what its row says."""
        self._cells.pop(agent, None)
        self._cells.pop(gathered_key(agent), None)

    def set_gone(self, gone: bool) -> None:
        """Whether the engine of the swarm is gone: then nothing of it runs, whatever the last events said."""
        if gone != self._gone:
            self._gone = gone
            self.clear()

    def clear(self) -> None:
        """Ask again what every row says."""
        self._cells.clear()
        self._taken_at.clear()

    def age(self, row: Row, now: float) -> float:
        """For how long a row has said what it says, in seconds (monotonic)."""
        return now - self._taken_at.get(row.key, 0.0)

    def ticked(self, rows: Iterable[Row], time: float) -> list[Row]:
        """Those whose IN or AGE reads differently at this moment from what was drawn."""
        ticked = []
        for row in rows:
            kept, painted = self._cells.get(row.key), self._painted.get(row.key)
            if kept is not None and painted is not None and painted[0][-1] != times(kept[1], time):
                ticked.append(row)
        return ticked

    def count_places(self, rows: Iterable[Row]) -> list[Row]:
        """Count the line again, but only if one of these rows names a place in it; returns those that do.

        The line moves without an event of those who stand in it.
        """
        placed = [row for row in rows if (kept := self._cells.get(row.key)) is not None and kept[1].placed]
        if placed:
            with self._registry.read() as state:
                moved = self._places.refresh(state)
            if not moved:
                placed = []
        for row in placed:
            self.forget(row.agent)
        return placed

    def sum_up(self) -> None:
        """Count lines and bytes of all branches again."""
        self._totals = branch_totals(self._registry)

    def _cells_of(self, row: Row) -> Cells | None:
        kept = self._cells.get(row.key)
        if kept is not None and kept[0] == row:
            return kept[1]
        live = self._registry.live(row.agent)
        with self._registry.read() as state:
            if not row.more and row.agent in state.line and row.agent not in self._places:
                self._places.refresh(state)
            cells = cells_of(state, row, live, self._places, self._totals, self._look, gone=self._gone)
        if cells is not None:
            if len(self._cells) > KEPT:
                self.clear()
            self._cells[row.key] = (row, cells)
            self._taken_at[row.key] = self._clock.monotonic()
        return cells
