"""A widget on the line API whose strips go to the screen as they are drawn."""

from __future__ import annotations

from textual.geometry import Region, Size
from textual.scroll_view import ScrollView
from textual.strip import Strip
from textual.widget import Widget


class Canvas(ScrollView, can_focus=True, inherit_bindings=False):
    """Lines of full width that paint their own background; a line that is kept is never rendered again.

    Textual's own way lays borders, padding and tints over each line, and makes a new strip of it each time.
    A canvas has none of these.
    """

    def render_lines(self, crop: Region) -> list[Strip]:
        """The lines of a part of the view."""
        strips = [self.render_line(y) for y in crop.line_range]
        if crop.column_span != (0, self.size.width):
            strips = [strip.crop(*crop.column_span) for strip in strips]
        _, background = self.background_colors
        for each in self.get_line_filters():
            strips = [strip.apply_filter(each, background) for strip in strips]
        return strips

    def set_content(self, size: Size) -> None:
        """The content has so many cells now. Without scrollbars that moves nothing else: no layout is needed."""
        self.set_reactive(Widget.virtual_size, size)
