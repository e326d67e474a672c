"""The row above the footer: prompt, question, take-back window, outcome of my last act, or the cursor's agent."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.message import Message
from textual.strip import Strip
from textual.suggester import SuggestFromList
from textual.widget import Widget
from textual.widgets import Input, Static

from skep.clock import Clock
from skep.errors import SkepError
from skep.room.look import ROLE_CLASSES, Look, Role, role_css
from skep.room.widgets.ink import Inks
from skep.room.widgets.pen import Pen
from skep.text import clean_line, cut_end, width

OUTCOME_SECONDS = 6.0
"""How long an outcome stands, counted from the last step that it made."""


@dataclass(frozen=True, slots=True)
class Part:
    """A piece of the line."""

    text: str
    role: Role = Role.TEXT
    bold: bool = False
    least: int | None = None
    """Where the line is too long, this piece is cut before others are, down to so many cells; 0: it goes whole."""


@dataclass(frozen=True, slots=True)
class Says:
    """What the line shows: pieces from the left, keys with their words at the right."""

    parts: tuple[Part, ...] = ()
    keys: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Question:
    """Waits for ``enter``; any other key means no. ``keys`` answer with something else than yes."""

    says: Says
    yes: Callable[[], None] | None = None
    keys: tuple[tuple[str, Callable[[], None]], ...] = ()


class PromptKind(StrEnum):
    """What is being typed."""

    FILTER = "filter"
    SEARCH = "search"
    COMMAND = "command"
    REASON = "reason"
    SAVE = "save"


class MessageLine(Widget):
    """Shows the first that applies of all that it was told."""

    COMPONENT_CLASSES: ClassVar[set[str]] = set(ROLE_CLASSES)
    DEFAULT_CSS = """
    MessageLine {
        height: 1;
        layout: horizontal;
        background: $surface;
        color: $foreground;
    }
    MessageLine > Static { display: none; width: auto; height: 1; background: $surface; }
    MessageLine > Input { display: none; width: 1fr; height: 1; background: $surface; }
    MessageLine > Input:focus { background-tint: $foreground 0%; }
    MessageLine > #prompt-trouble { color: $text-error; max-width: 60%; padding: 0 1; }
    MessageLine.-prompting > Static, MessageLine.-prompting > Input { display: block; }
    """ + role_css("MessageLine")

    class Entered(Message):
        """A prompt was finished with ``enter``."""

        def __init__(self, kind: PromptKind, text: str) -> None:
            super().__init__()
            self.kind = kind
            self.text = text

    class Typed(Message):
        """The text of a prompt has changed."""

        def __init__(self, kind: PromptKind, text: str) -> None:
            super().__init__()
            self.kind = kind
            self.text = text

    def __init__(self, look: Look, clock: Clock, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._look = look
        self._clock = clock
        self._inks = Inks(self)
        self._prompt: PromptKind | None = None
        self._error: Says | None = None
        self._window: Says | None = None
        self._outcome: Says | None = None
        self._outcome_until = 0.0
        self._agent = Says()
        self._shown = Says()
        self.question: Question | None = None
        """The question that waits for its answer."""

    def compose(self) -> ComposeResult:
        """The prompt's parts; they show only while something is typed."""
        yield Static(id="prompt-label", markup=False)
        yield Input(compact=True, select_on_focus=False, id="prompt")
        yield Static(id="prompt-trouble", markup=False)

    # -- what is told ------------------------------------------------------------------------------------------

    def describe(self, says: Says) -> None:
        """The cursor's agent: shown while nothing else is."""
        self._agent = says
        self._settle()

    def report(self, says: Says, *, seconds: float = OUTCOME_SECONDS) -> None:
        """The outcome of my last act, or a new step of it."""
        self._outcome = says
        self._outcome_until = self._clock.monotonic() + seconds
        self._settle()

    def renew(self, says: Says) -> None:
        """New words for the step that is shown, without more time for it."""
        if self._outcome is not None:
            self._outcome = says
            self._settle()

    def tell(self, text: str, role: Role = Role.TEXT) -> None:
        """A plain sentence, as an outcome."""
        self.report(Says((Part(text, role),)))

    def fail(self, error: SkepError) -> None:
        """Why something did not happen; stays until the next key."""
        what = clean_line(f"{error.where}: {error.what}" if error.where else error.what)
        rest = "  ".join(clean_line(part) for part in (error.why, error.mend) if part)
        self._error = Says((Part(what, Role.RED, bold=True), Part(f"  {rest}" if rest else "", Role.RED)))
        self._settle()

    def show_window(self, says: Says | None) -> None:
        """The open take-back window with its countdown; None when it has closed."""
        self._window = says
        self._settle()

    def ask(self, question: Question) -> None:
        """Put a question; ``enter`` is yes."""
        self.question = question
        self._settle()

    def amend(self, question: Question, says: Says) -> Question:
        """The same question in other words, if it still waits; returns what waits then."""
        if self.question is not question:
            return question
        amended = replace(question, says=says)
        self.ask(amended)
        return amended

    def drop_question(self) -> Question | None:
        """Take the question away, unanswered; returns it."""
        question, self.question = self.question, None
        self._settle()
        return question

    def key_pressed(self) -> None:
        """An error has been seen."""
        if self._error is not None:
            self._error = None
            self._settle()

    def tick(self) -> None:
        """Let an outcome go when its time is over."""
        if self._outcome is not None and self._clock.monotonic() >= self._outcome_until:
            self._outcome = None
            self._settle()

    @property
    def outcome(self) -> str:
        """What the line says now, as plain text."""
        return "".join(part.text for part in self._shown.parts)

    # -- the prompt --------------------------------------------------------------------------------------------

    @property
    def prompting(self) -> PromptKind | None:
        """What is being typed; None if nothing is."""
        return self._prompt

    def prompt(self, kind: PromptKind, label: str, value: str = "", suggestions: Sequence[str] = ()) -> None:
        """Open a prompt and give it the focus."""
        self._prompt = kind
        self.question = None
        self.query_one("#prompt-label", Static).update(f" {label}")
        self.query_one("#prompt-trouble", Static).update("")
        field = self.query_one("#prompt", Input)
        field.suggester = SuggestFromList(suggestions) if suggestions else None
        with self.prevent(Input.Changed):
            field.value = value
        field.cursor_position = len(value)
        self.add_class("-prompting")
        field.focus()

    def trouble(self, text: str) -> None:
        """What is wrong with the text so far; empty if nothing is."""
        self.query_one("#prompt-trouble", Static).update(clean_line(text))

    def close_prompt(self) -> None:
        """Put the prompt away."""
        self._prompt = None
        self.remove_class("-prompting")
        self._settle()

    @on(Input.Submitted, "#prompt")
    def _submitted(self, event: Input.Submitted) -> None:
        event.stop()
        if self._prompt is not None:
            self.post_message(self.Entered(self._prompt, event.value))

    @on(Input.Changed, "#prompt")
    def _changed(self, event: Input.Changed) -> None:
        event.stop()
        if self._prompt is not None:
            self.post_message(self.Typed(self._prompt, event.value))

    # -- drawing -----------------------------------------------------------------------------------------------

    def notify_style_update(self) -> None:
        """Theme or style sheet have changed."""
        super().notify_style_update()
        self._inks.clear()

    def _settle(self) -> None:
        question = self.question.says if self.question is not None else None
        shown = question or self._error or self._window or self._outcome or self._agent
        if shown != self._shown:
            self._shown = shown
            self.refresh()

    def render_line(self, y: int) -> Strip:
        """The one row; keys at the right give way last, for they are what has to be pressed."""
        cells = self.size.width
        right = Pen(self._inks, self._look)
        for key, word in self._shown.keys:
            right.put("   ").put(key, bold=True).put(f" {word}", Role.GREY)
        right.put(" ")
        pen = Pen(self._inks, self._look).put(" ")
        for part in _giving_way(self._shown.parts, cells - right.taken - pen.taken):
            room = cells - right.taken - pen.taken
            if room > 0:
                pen.put(part.text, part.role, most=room, bold=part.bold)
        left = max(cells - right.taken, 0)
        return Strip.join([pen.strip(left), right.strip(right.taken)]).adjust_cell_length(cells)


def _giving_way(parts: Sequence[Part], cells: int) -> list[Part]:
    """The pieces, those that may give way cut as far as it takes: first those that may go whole."""
    fitted = list(parts)
    for at, part in sorted(enumerate(parts), key=lambda one: one[1].least or 0):
        over = sum(width(one.text) for one in fitted) - cells
        if over > 0 and part.least is not None:
            room = max(width(part.text) - over, part.least) if part.least else 0
            fitted[at] = replace(part, text=cut_end(part.text, room))
    return fitted


def sentence(*parts: str | Part) -> Says:
    """A line of plain and of coloured pieces."""
    return Says(tuple(part if isinstance(part, Part) else Part(part) for part in parts))
