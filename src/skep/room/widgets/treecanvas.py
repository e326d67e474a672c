"""Draws an outline of agents on Textual's line API: heads that stay, rows that scroll, and only those in sight."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

from textual import events
from textual.geometry import Region, Size
from textual.strip import Strip

from skep.clock import Clock
from skep.model.registry import Registry
from skep.room.look import ROLE_CLASSES, Look, columns_for, role_css
from skep.room.outline import Outline
from skep.room.rows import Row
from skep.room.widgets.canvas import Canvas
from skep.room.widgets.ink import Inks
from skep.room.widgets.rowcache import RowCache
from skep.room.widgets.rowpaint import RowPainter, Stand

HEADS = 1
"""Lines above the rows that do not scroll."""


class TreeCanvas(Canvas, can_focus=True, inherit_bindings=False):
    """The picture of a tree; who moves in it and what is new is its heir's business."""

    COMPONENT_CLASSES: ClassVar[set[str]] = set(ROLE_CLASSES)
    DEFAULT_CSS = f"""
    TreeCanvas {{
        background: $background;
        color: $foreground;
        overflow-x: hidden;
        overflow-y: scroll;
        scrollbar-size: 0 0;
    }}
    {role_css("TreeCanvas")}
    """

    def __init__(self, registry: Registry, clock: Clock, look: Look, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.outline = Outline()
        self._clock = clock
        self._look = look
        self._inks = Inks(self)
        self._painter = RowPainter(look, self._inks)
        self._columns = columns_for(80)
        self._cache = self._cache_of(registry)
        self._picture_at: float | None = None
        self._pale = False
        self._gone = False
        self._hints: tuple[str, ...] = ()

    def _cache_of(self, registry: Registry) -> RowCache:
        return RowCache(registry, self._clock, self._look, self._painter)

    def set_picture(self, at: float | None, *, pale: bool = False, gone: bool = False) -> None:
        """Let ages stand at a moment (epoch seconds; None: they run).

        ``pale`` greys whatever seems alive; ``gone`` says that no engine runs the swarm, so that nothing is.
        """
        if (at, pale, gone) != (self._picture_at, self._pale, self._gone):
            self._picture_at, self._pale, self._gone = at, pale, gone
            self._cache.set_gone(gone)
            self.refresh()

    def set_hints(self, hints: tuple[str, ...]) -> None:
        """Grey lines for the free rows below a short tree; they never lie over data."""
        if hints != self._hints:
            self._hints = hints
            self.refresh()

    def notify_style_update(self) -> None:
        """Theme or style sheet have changed."""
        super().notify_style_update()
        self._inks.clear()

    def on_resize(self, event: events.Resize) -> None:
        """Columns follow the widget's own width; the cursor stays in sight."""
        self._columns = columns_for(event.size.width, chat=self.outline.rows.chat)
        self._set_height()
        self._keep_in_sight()

    def on_focus(self) -> None:
        """The cursor's row looks different."""
        self.refresh_line(self.outline.at + HEADS)

    def on_blur(self) -> None:
        """The cursor's row looks different."""
        self.refresh_line(self.outline.at + HEADS)

    def render_line(self, y: int) -> Strip:
        """One line of the widget, counted from its top."""
        if y < HEADS:
            return self._painter.heads(self._columns)
        at = self.scroll_offset.y + y - HEADS
        row = self.outline.row(at)
        if row is None:
            return self._free_line(at - len(self.outline))
        marked = row.agent in self.outline.marked and not row.more
        stand = Stand(at == self.outline.at, self.has_focus, marked, self._pale)
        return self._cache.strip(row, self._columns, stand, self._inks.version, self._time())

    def _free_line(self, below: int) -> Strip:
        lines, hits, wanted = self._hints, self.outline.rows.hits, self.outline.view.filter
        if hits is not None and len(self.outline) <= 1 and not hits[0]:
            what = f"matches {wanted.text}" if wanted is not None else "needs you"
            lines = (f"nothing {what}, {hits[1]:,} hidden   esc clears",)
        text = lines[below - 1] if 1 <= below <= len(lines) else ""
        return self._painter.note(text, self._columns)

    def _time(self) -> float:
        return self._picture_at if self._picture_at is not None else self._clock.time()

    def _visible(self) -> tuple[Row, ...]:
        top = self.scroll_offset.y
        return self.outline.rows.rows[top : top + self._page]

    @property
    def _page(self) -> int:
        return max(self.size.height - HEADS, 1)

    def _refresh_rows(self, rows: Iterable[Row]) -> None:
        """Have these rows drawn again where they are in sight."""
        for row in rows:
            line = self.outline.rows.index.get(row.key, -1) + HEADS - self.scroll_offset.y
            if HEADS <= line < self.size.height:
                self.refresh(Region(0, line, self.size.width, 1))

    def _retake(self, rows: Iterable[Row]) -> None:
        """Ask again what these rows say, and have them drawn."""
        rows = tuple(rows)
        for row in rows:
            self._cache.forget(row.agent)
        self._refresh_rows(rows)

    def _set_height(self) -> None:
        self.set_content(Size(self.size.width, len(self.outline) + HEADS))

    def _keep_in_sight(self) -> None:
        at, top = self.outline.at, self.scroll_offset.y
        if at < top:
            self.scroll_to(y=at, animate=False)
        elif at >= top + self._page:
            self.scroll_to(y=at - self._page + 1, animate=False)
