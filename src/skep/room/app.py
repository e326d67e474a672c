"""The room as a Textual program: one link, one clock, one timer; leaving it leaves the swarm running."""

from __future__ import annotations

import gc
import os
from collections.abc import Mapping, Sequence
from typing import ClassVar, Protocol

from textual import events
from textual.app import App
from textual.binding import Binding, BindingType
from textual.screen import Screen
from textual.types import CSSPathType
from textual.widgets import Input

from skep.clock import Clock
from skep.control.link import Link
from skep.errors import BadInput
from skep.model.states import State
from skep.room.keymap import NOTHING_STOPPED_KEYS, Keymap
from skep.room.look import Role, choose_look
from skep.room.pasting import HOLD_SECONDS, PasteGuard
from skep.room.screens.approve import ApproveDialog
from skep.room.screens.main import MainScreen
from skep.room.screens.stop import StopDialog
from skep.room.themes import THEMES
from skep.text import clean_line

TICKS = 12
"""Times a second that the room looks at what has changed."""


COLLECT_AFTER = (2_000, 5, 50)
"""Objects, and rounds, between two collections: a large tree makes thousands of rows that are no garbage."""


class RoomSettings(Protocol):
    """How the room looks, and which keys it listens to; ``skep.config.RoomConfig`` is one."""

    @property
    def theme(self) -> str:
        """Name of a theme."""

    @property
    def ascii(self) -> bool | None:
        """Draw with ASCII only; None: as the terminal allows."""

    @property
    def compact(self) -> bool:
        """Leave out what is not a row of data."""

    @property
    def keys(self) -> Mapping[str, Sequence[str]]:
        """Other keys, by the id of the act."""


class RoomApp(App[None]):
    """Shows a swarm and sends verbs. After it has ended, :attr:`farewell` is what the shell should print.

    Raises:
        BadInput: a theme or a key binding of the settings that does not exist.
    """

    CSS_PATH: ClassVar[CSSPathType | None] = ["styles/main.tcss", "styles/dialogs.tcss", "styles/palette.tcss"]
    ENABLE_COMMAND_PALETTE = False
    ALLOW_SELECT = False
    TITLE = "skep"
    BINDINGS: ClassVar[list[BindingType]] = [
        # Before the focused widget, because it would end the program if it ever came through.
        Binding(NOTHING_STOPPED_KEYS[0], "nothing_stopped", show=False, priority=True),
        Binding(NOTHING_STOPPED_KEYS[1], "nothing_stopped", show=False),
    ]

    def __init__(
        self,
        link: Link,
        clock: Clock,
        *,
        config: RoomSettings,
        window: float = 5.0,
        foreground: bool = False,
        attach_hint: str = "",
    ) -> None:
        super().__init__()
        self._link = link
        self._clock = clock
        self._config = config
        self._attach_hint = attach_hint
        self._keys = Keymap.of(config.keys)
        self._pasting = PasteGuard()
        self._titled = ""
        self.animation_level = "none"
        for theme in THEMES:
            self.register_theme(theme)
        if config.theme not in self.available_themes:
            raise BadInput(
                f"there is no theme {clean_line(config.theme, limit=40)}",
                where="room.theme",
                mend="one of " + ", ".join(sorted(self.available_themes)),
            )
        self.theme = config.theme
        self.set_keymap(self._keys.overrides())
        self.main = MainScreen(
            link,
            clock,
            choose_look(os.environ, ascii_only=config.ascii),
            self._keys,
            window=window,
            foreground=foreground,
            compact=config.compact,
        )

    def get_default_screen(self) -> Screen[None]:
        """The main screen."""
        return self.main

    def on_mount(self) -> None:
        """Start the one timer."""
        self.set_interval(1 / TICKS, self.tick)

    def on_ready(self) -> None:
        """The first picture stands. What it was made of stays: no collection has to walk it again."""
        if not self.is_headless:
            gc.freeze()
            gc.set_threshold(*COLLECT_AFTER)

    def tick(self) -> None:
        """Let the screen in front take in what has changed; what is behind it rests."""
        if not self.screen_stack:
            return  # the room is being left
        screen = self.screen
        if isinstance(screen, MainScreen | StopDialog | ApproveDialog):
            screen.tick()
        if screen is self.main:
            self._name_the_terminal()

    @property
    def farewell(self) -> str:
        """What goes on after the room was left, and how to come back or end it."""
        with self._link.registry.read() as state:
            name = clean_line(state.created.name, limit=200) if state.created is not None else "the swarm"
            if state.status is not None:
                return f"{name} is over: {state.status}. Look again: {self._attach_hint or f'skep attach {name}'}"
            back = self._attach_hint or f"skep attach {name}"
            if self._link.state.gone:
                return f"{name} has no engine any more, and nothing of it runs. {back} takes it up again"
            queued = len(state.line)
            asked = [agent for agent in state.agents.values() if agent.state is State.STOPPING]
            stopping = f", {len(asked)} stopping" if asked else ""
            return (
                f"{name} runs on: {state.slots_used} running, {queued} queued{stopping}. "
                f"Back: {back}. End it: skep kill {name}"
            )

    def action_nothing_stopped(self) -> None:
        """Keys that end programs elsewhere say what they would have to be here."""
        keys = self._keys
        self.main.message.tell(
            f"nothing stopped; {keys.key('leave')} leaves, {keys.key('stop')} interrupts, "
            f"{keys.key('hold.swarm')} holds all",
            Role.AMBER,
        )

    # -- pasted keys -------------------------------------------------------------------------------------------

    async def on_event(self, event: events.Event) -> None:
        """Keys outside of an input wait a moment, so that pasted text is known before it can do anything."""
        if not isinstance(event, events.Key) or event.is_forwarded:
            await super().on_event(event)
        elif self._pasting.holding or (event.is_printable and not isinstance(self.focused, Input)):
            if not self._pasting.holding:
                self.set_timer(HOLD_SECONDS, self._release_keys)
            self._pasting.hold(event)
        else:
            await super().on_event(event)

    async def _release_keys(self) -> None:
        typed, dropped = self._pasting.release()
        for key in typed:
            await super().on_event(key)
        if dropped:
            self.main.message.tell("pasted text was dropped here; : takes commands", Role.AMBER)

    # -- the terminal's title ----------------------------------------------------------------------------------

    def _name_the_terminal(self) -> None:
        total = self.main.header.total
        need = f" · {total.need_you} need you" if total.need_you else ""
        title = clean_line(f"skep · {total.name}{need}", limit=120)
        if title != self._titled:
            if not self._titled:
                self._write_terminal("\x1b[22;2t")  # keep the old title
            self._titled = title
            self._write_terminal(f"\x1b]2;{title}\x1b\\")

    def on_unmount(self) -> None:
        """Give the terminal its old title back."""
        if self._titled:
            self._write_terminal("\x1b[23;2t")

    def _write_terminal(self, sequence: str) -> None:
        if self._driver is not None and not self.is_headless:
            self._driver.write(sequence)
