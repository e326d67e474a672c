"""The two themes of skep's own; every other theme of Textual stays selectable."""

from __future__ import annotations

from textual.theme import Theme

SKEP_DARK = Theme(
    name="skep-dark",
    dark=True,
    background="#14161a",
    surface="#1a1d22",
    panel="#20242b",
    foreground="#d4d7dd",
    primary="#5b9bd5",
    secondary="#5b9bd5",
    success="#6fb36f",
    warning="#e0954a",
    error="#e05561",
    accent="#d9a441",
    variables={
        "footer-background": "#20242b",
        "footer-key-foreground": "#d9a441",
        "footer-description-foreground": "#d4d7dd",
    },
)
"""The default."""

SKEP_LIGHT = Theme(
    name="skep-light",
    dark=False,
    background="#f7f6f2",
    surface="#efede7",
    panel="#e6e3db",
    foreground="#23262b",
    primary="#1f5fa8",
    secondary="#1f5fa8",
    success="#2a6b2a",
    warning="#a04a00",
    error="#b3202c",
    accent="#8a5a00",
    variables={
        "footer-background": "#e6e3db",
        "footer-key-foreground": "#8a5a00",
        "footer-description-foreground": "#23262b",
    },
)
"""The same roles on paper."""

THEMES = (SKEP_DARK, SKEP_LIGHT)
