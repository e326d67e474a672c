"""All keys, from the real key map, with the glyphs of the tree and the words of the ``:`` prompt."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from rich.style import Style
from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.screen import ModalScreen
from textual.widget import Widget

from skep.model.agent import FACES, Face
from skep.room.command import FORMS
from skep.room.keymap import Keymap, shown
from skep.room.look import FACE_ROLES, FACE_WORDS, ROLE_CLASSES, Look, Role, role_css
from skep.room.widgets.ink import Inks

KEYS_WIDE = 18
"""Cells of the column with the keys."""

_MEANINGS = {
    Face.ASKS: "waits for your answer",
    Face.STALE: "no progress for too long",
    Face.SPINNING: "does the same over and over",
    Face.FAILED: "failed, or took too long",
    Face.LOST: "its engine died while it ran",
    Face.OVER_LIMIT: "a limit was reached",
    Face.STOPPING: "is being stopped",
    Face.HELD: "held: it starts when released",
    Face.RUNNING: "works",
    Face.QUIET: "nothing has moved for a while",
    Face.WAITING: "waits: for a slot, or for those below it",
    Face.QUEUED: "stands in line",
    Face.DONE: "done",
    Face.STOPPED: "interrupted or killed",
}


class HelpText(Widget):
    """The text of the help, in the roles of the theme."""

    COMPONENT_CLASSES: ClassVar[set[str]] = set(ROLE_CLASSES)
    DEFAULT_CSS = "HelpText { height: auto; }\n" + role_css("HelpText")

    def __init__(self, keymap: Keymap, look: Look) -> None:
        super().__init__()
        self._keymap = keymap
        self._look = look
        self._inks = Inks(self)

    def notify_style_update(self) -> None:
        """Theme or style sheet have changed."""
        super().notify_style_update()
        self._inks.clear()

    def render(self) -> Text:
        """Keys by area, then glyphs, then commands."""
        text = Text()
        for piece, role, bold in self._pieces():
            style = self._inks.style(role, bold=bold)
            text.append(piece, Style(color=style.color, bold=bold))
        return text

    def _pieces(self) -> Iterator[tuple[str, Role, bool]]:
        area = ""
        for act in self._keymap.acts:
            if act.area != area:
                yield (f"{chr(10) if area else ''}{act.area}\n", Role.BLUE, True)
                area = act.area
            keys = "  ".join(shown(key) for key in act.keys) or "no key"
            yield (f"  {keys:<{KEYS_WIDE}} ", Role.BRAND, True)
            yield (f"{act.says}\n", Role.TEXT, False)
        yield ("\nglyphs\n", Role.BLUE, True)
        for face in FACES:
            yield (f"  {self._look.faces[face]} ", FACE_ROLES[face], True)
            yield (f"{FACE_WORDS[face]:<{KEYS_WIDE - 2}} ", Role.TEXT, False)
            yield (f"{_MEANINGS[face]}\n", Role.GREY, False)
        yield ("\ncommands, after the colon\n", Role.BLUE, True)
        for form in FORMS:
            yield (f"  {form}\n", Role.TEXT, False)


class HelpScreen(ModalScreen[None]):
    """Over the room, to be scrolled."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q,question_mark,f1", "dismiss(None)", "back", show=False),
        Binding("j", "down", "down", show=False),
        Binding("k", "up", "up", show=False),
    ]

    def __init__(self, keymap: Keymap, look: Look) -> None:
        super().__init__()
        self._keymap = keymap
        self._look = look

    def compose(self) -> ComposeResult:
        """One frame."""
        with VerticalScroll(id="help-frame") as frame:
            frame.border_title = "Keys"
            frame.border_subtitle = "esc back"
            yield HelpText(self._keymap, self._look)

    def on_mount(self) -> None:
        """The arrows scroll."""
        self.query_one("#help-frame").focus()

    def action_down(self) -> None:
        """One row down."""
        self.query_one("#help-frame").scroll_down(animate=False)

    def action_up(self) -> None:
        """One row up."""
        self.query_one("#help-frame").scroll_up(animate=False)
