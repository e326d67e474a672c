"""Which of the room's layouts fits a terminal: two tests, one for its width and one for its height."""

from __future__ import annotations

from enum import StrEnum


class Layout(StrEnum):
    """How the panels stand; the value is the screen's style class."""

    WIDE = "wide"
    """Tree and tail side by side."""
    STACKED = "stacked"
    """The tail below the tree."""
    TABS = "tabs"
    """One panel at a time, under a rule with tabs."""
    SMALL = "small"
    """The tree, the message line and the footer."""
    NONE = "none"
    """One line that says how much room is needed."""


ROOMY_HEIGHT = 40
"""Rows from which on a wide screen has room for all of the keys."""

LEAST_WIDTH, LEAST_HEIGHT = 40, 8
"""Below this nothing can be shown."""


def layout_for(width: int, height: int) -> Layout:
    """The layout for so many columns and rows."""
    if width < LEAST_WIDTH or height < LEAST_HEIGHT:
        return Layout.NONE
    if width < 60 or height < 16:
        return Layout.SMALL
    if height < 30 or width < 100:
        return Layout.TABS
    return Layout.WIDE if width >= 150 else Layout.STACKED
