"""The dialog that allows or denies one dangerous thing: all of it is shown, and nothing else is answered."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import ClassVar, Self

from textual import events, on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.geometry import Size
from textual.screen import ModalScreen
from textual.strip import Strip
from textual.widgets import Static

from skep.clock import Clock
from skep.model.registry import Registry
from skep.model.swarm import SwarmState
from skep.room.look import ROLE_CLASSES, Look, Role, role_css
from skep.room.widgets.canvas import Canvas
from skep.room.widgets.choice import DEAD_SECONDS, Choice
from skep.room.widgets.facts import Fact, Facts, blank, value_row
from skep.room.widgets.ink import Inks
from skep.room.widgets.lines import TAB, pieces
from skep.room.widgets.pen import Pen
from skep.text import clean_line, clean_whole, cut_end, duration

LEAVES_AFTER = 2.0
"""Seconds for which the dialog says that it has been overtaken, before it closes."""

TEXT_AT = 4
"""Cells before what is asked for."""

FIXED_ROWS = 16
"""Rows of the dialog and around it that are not for what is asked for."""

_OF_THE_QUESTION = frozenset({"hash", "tool", "headline", "until", "agent"})
_SHOWN_APART = frozenset({"command", "cwd", "timeout"})


@dataclass(frozen=True, slots=True)
class Asked:
    """What an agent asks, as it is shown; ``hash`` belongs to exactly this."""

    agent: str
    path: str
    tool: str
    hash: str
    what: tuple[str, ...]
    """Cleaned lines, uncut: all that the answer covers."""
    folder: str
    timeout: float | None
    """Seconds that it may take."""
    until: float | None
    """When it is denied by itself, epoch seconds."""

    @classmethod
    def of(cls, state: SwarmState, agent: str) -> Self | None:
        """What this agent asks now; None if it asks nothing."""
        found = state.agents.get(agent)
        if found is None or found.ended or found.question is None:
            return None
        question = found.question
        names = [clean_line(one.name, limit=60) for one in state.ancestors(agent)]
        timeout, until = question.get("timeout"), question.get("until")
        command = question.get("command")
        rest = {key: value for key, value in question.items() if key not in _OF_THE_QUESTION | _SHOWN_APART}
        texts = [command] if isinstance(command, str) else [str(question.get("headline") or "")]
        texts += [f"{key}: {json.dumps(value, ensure_ascii=False)}" for key, value in rest.items()]
        return cls(
            agent=agent,
            path=" / ".join(reversed(names)),
            tool=clean_line(str(question.get("tool") or ""), limit=60),
            hash=str(question.get("hash") or ""),
            what=tuple(line for text in texts for line in _whole(text)),
            folder=clean_line(str(question.get("cwd") or ""), limit=1_000),
            timeout=timeout if isinstance(timeout, int | float) else None,
            until=until if isinstance(until, int | float) else None,
        )


def _whole(text: str) -> list[str]:
    return [line.expandtabs(TAB) for line in clean_whole(text)]


class Script(Canvas, can_focus=False):
    """What is asked for, wrapped; it scrolls, but never takes the focus from the buttons."""

    COMPONENT_CLASSES: ClassVar[set[str]] = set(ROLE_CLASSES)
    DEFAULT_CSS = """
    Script { background: $panel; color: $foreground; overflow: scroll; scrollbar-size: 0 0; height: 1; }
    """ + role_css("Script")

    def __init__(self, lines: tuple[str, ...], look: Look, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._lines = lines
        self._look = look
        self._inks = Inks(self)
        self._rows: list[str] = []
        self.read = False
        """True once its end was in view."""

    @property
    def rows(self) -> int:
        """How many rows it has at this width."""
        return len(self._rows)

    def fit(self, cells: int, most: int) -> None:
        """Wrap to so many cells, and take at most so many rows of the screen."""
        columns = max(cells - TEXT_AT - 2, 1)
        self._rows = [piece for line in self._lines for piece in pieces(line, columns)]
        height = max(min(len(self._rows), most), 1)
        self.styles.height = height
        self.set_content(Size(cells, len(self._rows)))
        self.read = self.read or len(self._rows) <= height
        self.refresh()

    def notify_style_update(self) -> None:
        """Theme or style sheet have changed."""
        super().notify_style_update()
        self._inks.clear()

    def move(self, rows: int) -> None:
        """Scroll by so many rows."""
        last = max(len(self._rows) - self.size.height, 0)
        to = max(0, min(self.scroll_offset.y + rows, last))
        self.scroll_to(y=to, animate=False)
        self.read = self.read or to >= last

    @property
    def place(self) -> str:
        """Which rows are in view, if not all."""
        if len(self._rows) <= self.size.height:
            return ""
        first = self.scroll_offset.y
        return f"lines {first + 1:,} to {min(first + self.size.height, self.rows):,} of {self.rows:,}"

    def render_line(self, y: int) -> Strip:
        """One row."""
        at = y + self.scroll_offset.y
        pen = Pen(self._inks, self._look).to(TEXT_AT - 2)
        if at == 0:
            pen.put("$ ", Role.GREY)
        pen.to(TEXT_AT).put(self._rows[at] if at < len(self._rows) else "", bold=True)
        return pen.strip(self.size.width)


class ApproveDialog(ModalScreen[bool | None]):
    """Its answer is True to allow, False to deny, None if nothing was answered."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "cancel", "cancel", show=False),
        Binding("left", "app.focus_previous", "the button before", show=False),
        Binding("right", "app.focus_next", "the next button", show=False),
        Binding("up,k", "scroll_by(-1)", "one row up", show=False),
        Binding("down,j", "scroll_by(1)", "one row down", show=False),
        Binding("pageup,ctrl+u", "scroll_by(-10)", "ten rows up", show=False),
        Binding("pagedown,ctrl+d", "scroll_by(10)", "ten rows down", show=False),
    ]

    def __init__(self, asked: Asked, registry: Registry, clock: Clock, look: Look) -> None:
        super().__init__()
        self._asked = asked
        self._registry = registry
        self._clock = clock
        self._look = look
        self._opened = clock.monotonic()
        self._left = ""
        self._leaves_at: float | None = None
        self.overtaken = ""
        """Why there is nothing to answer any more; empty while there is."""

    def compose(self) -> ComposeResult:
        """Who asks, all of what is asked, two buttons."""
        with Vertical(id="approve-frame") as frame:
            frame.border_title = Content(f"Allow {cut_end(self._asked.path.rpartition(' / ')[2], 44)} to do this?")
            frame.border_subtitle = "esc leaves it unanswered"
            yield Facts(self._look, id="approve-facts")
            yield Script(self._asked.what, self._look, id="approve-script")
            with Horizontal(id="approve-choices"):
                yield Choice("Deny", id="deny")
                yield Choice("Allow", id="allow")
                yield Static(id="approve-hint", markup=False)

    def on_mount(self) -> None:
        """Show it."""
        self._fit()

    def on_resize(self) -> None:
        """Wrap anew."""
        self._fit()

    def tick(self) -> None:
        """Called by the app's one timer: the time that is left, and whether the question still stands."""
        if not self._is_whole:
            return
        if self._leaves_at is not None:
            if self._clock.monotonic() >= self._leaves_at:
                self.dismiss(None)
            return
        with self._registry.read() as state:
            agent = state.agents.get(self._asked.agent)
            question = agent.question if agent is not None and not agent.ended else None
        if question is None:
            self._overtake("answered or withdrawn meanwhile")
        elif question.get("hash") != self._asked.hash:
            self._overtake("it asks something else now")
        elif self._until() != self._left:
            self._show()

    def _overtake(self, why: str) -> None:
        self.overtaken = why
        self._leaves_at = self._clock.monotonic() + LEAVES_AFTER
        for choice in self.query(Choice):
            choice.disabled = True
        self._show()

    # -- showing -----------------------------------------------------------------------------------------------

    @property
    def _is_whole(self) -> bool:
        """False while its parts are being put together, or taken apart: they come one level after the other."""
        return bool(self.query("#approve-hint"))

    def _fit(self) -> None:
        if not self._is_whole:
            if self.is_attached:
                self.call_after_refresh(self._fit)
            return
        frame = self.query_one("#approve-frame")
        cells = min(76, max(int(self.size.width * 0.96), 1)) - 4
        self.query_one(Script).fit(frame.size.width or cells, max(min(self.size.height, 24) - FIXED_ROWS, 1))
        self._show()

    def _until(self) -> str:
        until = self._asked.until
        if until is None:
            return "it waits until it is answered"
        return f"{duration(max(until - self._clock.time(), 0.0))} left, then it is denied"

    def _show(self) -> None:
        asked, self._left = self._asked, self._until()
        rows: list[Fact] = [value_row("agent", asked.path), value_row("tool", asked.tool)]
        if asked.folder:
            rows.append(value_row("folder", asked.folder))
        if asked.timeout is not None:
            rows.append(value_row("at most", duration(asked.timeout)))
        rows.append(value_row("answer", self._left) if not self.overtaken else self._says_overtaken())
        self.query_one("#approve-facts", Facts).show([*rows, blank])
        script, hint = self.query_one(Script), self.query_one("#approve-hint", Static)
        self.query_one("#allow").disabled = bool(self.overtaken) or not script.read
        where = f"{script.place}   pgup pgdn" if script.place else ""
        hint.update(self._look.own(where if script.read else f"{where}   read it to its end"))

    def _says_overtaken(self) -> Fact:
        return value_row("answer", f"{self.overtaken}: nothing was sent", Role.AMBER, bold=True)

    def action_scroll_by(self, rows: int) -> None:
        """Move what is asked for."""
        self.query_one(Script).move(rows)
        self._show()

    # -- answers -----------------------------------------------------------------------------------------------

    @on(Choice.Pressed)
    def _pressed(self, event: Choice.Pressed) -> None:
        self.tick()
        if not self._dead() and not self.overtaken:
            self.dismiss(event.choice.id == "allow")

    def on_key(self, event: events.Key) -> None:
        """What was typed for the screen below must not press a button here."""
        if event.key == "enter" and self._dead():
            event.stop()

    def action_cancel(self) -> None:
        """Leave it unanswered."""
        self.dismiss(None)

    def _dead(self) -> bool:
        return self._clock.monotonic() - self._opened < DEAD_SECONDS
