"""The buttons of a dialog: one row each, pressed with ``enter`` only."""

from __future__ import annotations

from typing import ClassVar

from textual.binding import Binding, BindingType
from textual.message import Message
from textual.widget import Widget

DEAD_SECONDS = 0.3
"""After a dialog opened, ``enter`` does nothing for so long: it may have been meant for what was there before."""


class Choice(Widget, can_focus=True):
    """A one-row button: ``enter`` presses it; the mouse only moves the focus here."""

    DEFAULT_CSS = """
    Choice { width: auto; height: 1; margin-right: 2; padding: 0 1; background: $panel; color: $foreground; }
    Choice:focus { background: $primary-muted; text-style: bold; }
    Choice:disabled { color: $foreground-muted; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [Binding("enter", "press", "press", show=False)]

    class Pressed(Message):
        """The button was pressed."""

        def __init__(self, choice: Choice) -> None:
            super().__init__()
            self.choice = choice

    def __init__(self, label: str, *, id: str) -> None:
        super().__init__(id=id)
        self._label = label

    def render(self) -> str:
        """The label."""
        return self._label

    def get_content_width(self, container: object, viewport: object) -> int:
        """As wide as its label."""
        return len(self._label)

    def action_press(self) -> None:
        """Tell the dialog."""
        self.post_message(self.Pressed(self))
