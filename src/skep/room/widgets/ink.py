"""The styles of a widget's roles: taken from its component classes, combined, and kept until the theme changes."""

from __future__ import annotations

from rich.style import Style
from textual.widget import Widget

from skep.room.look import Ground, Role, role_class


class Inks:
    """Role, background and weight → style. A widget that uses it calls :meth:`clear` when its styles change."""

    def __init__(self, widget: Widget) -> None:
        self._widget = widget
        self._styles: dict[tuple[Role, Ground | None, bool, bool], Style] = {}
        self.version = 0
        """Changes with the theme; part of the key of whatever was drawn with these styles."""

    def clear(self) -> None:
        """Forget everything: theme or style sheet have changed."""
        self._styles.clear()
        self.version += 1

    def style(
        self, role: Role, ground: Ground | None = None, *, bold: bool = False, italic: bool = False
    ) -> Style:
        """The colour of a role, on a ground of its own or (None) on the background of the widget."""
        key = (role, ground, bold, italic)
        style = self._styles.get(key)
        if style is None:
            # Only the colour is taken: mixing two component classes would put the ground of one over the other.
            colour = self._widget.get_component_rich_style(role_class(role)).color
            # A line-API widget has to paint its own background: Textual fills in only what no strip covers.
            below = (
                self._widget.get_component_rich_style(role_class(ground))
                if ground is not None
                else self._widget.rich_style
            ).bgcolor
            style = Style(color=colour, bgcolor=below, bold=bold or None, italic=italic or None)
            self._styles[key] = style
        return style
