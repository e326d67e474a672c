"""The dialog before a branch is stopped: what would go with it, counted live, and three buttons."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar

from textual import events, on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.reactive import reactive
from textual.screen import ModalScreen
from textual.widgets import Input, Static

from skep.clock import Clock
from skep.control.verbs import Previewed, UncommittedShown
from skep.errors import SkepError
from skep.room.look import Look
from skep.room.screens.reach import Reach, Rows, facts
from skep.room.widgets.choice import DEAD_SECONDS, Choice
from skep.room.widgets.facts import Facts
from skep.text import clean_line, cut_end

COUNT_OVER = 10
"""From one agent more on, the number has to be typed."""

RENEW_SECONDS = 1.0

FILES_SECONDS = 5.0
"""Between the answer about files and the next question about them: somebody has to look at the folders for it."""

FRAME_ROWS = 6
"""Rows of the frame and of the buttons, with what parts them."""

COUNT_ROWS = 2
"""Those of the field for the number."""

FRAME_CELLS = 4
"""Cells of the frame."""

MOST_ROWS, MOST_OF_THE_SCREEN = 22, 0.94
MOST_CELLS, MOST_OF_THE_WIDTH = 76, 0.96


class How(StrEnum):
    """The two ways to stop."""

    INTERRUPT = "interrupt"
    KILL = "kill"


@dataclass(frozen=True, slots=True)
class StopPlan:
    """What the dialog asks about."""

    previews: list[Previewed]
    name: str
    how: How
    """What ``enter`` in the number field means."""
    window: float
    """Seconds in which an interrupt can be taken back."""
    renew: Callable[[], Awaitable[list[Previewed]]]
    files: Callable[[], Awaitable[UncommittedShown]]
    """What is in no commit; takes its time."""
    rate: Callable[[], int | None]
    """Micro-dollars an hour; None while it is not known."""
    undo: str
    """The key that takes it back; empty if there is none."""


class StopDialog(ModalScreen[How | None]):
    """Shows what goes with a branch; its answer is how to stop it, or None."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "cancel", "cancel", show=False),
        Binding("left,up", "app.focus_previous", "the button before", show=False),
        Binding("right,down", "app.focus_next", "the next button", show=False),
    ]

    reach: reactive[Reach | None] = reactive(None, init=False)

    def __init__(self, plan: StopPlan, clock: Clock, look: Look) -> None:
        super().__init__()
        self._plan = plan
        self._clock = clock
        self._look = look
        self._opened = clock.monotonic()
        self._renewed: float | None = clock.monotonic()
        """When the last counts came; None while they are asked for."""
        self._looked: float | None = None
        """When the last answer about files came; None while one is looked for."""
        self._files: UncommittedShown | str | None = None
        self._rows = Rows()
        self._typed_of: int | None = None
        self._more = 0
        self.set_reactive(StopDialog.reach, Reach.of(plan.previews))

    @property
    def many(self) -> bool:
        """True if the number of agents has to be typed."""
        return self.reach is not None and self.reach.count > COUNT_OVER

    def compose(self) -> ComposeResult:
        """Facts, the number, the buttons."""
        with Vertical(id="stop-frame") as frame:
            frame.border_title = Content(self._title())
            frame.border_subtitle = "counts are live"
            yield Facts(self._look, id="stop-facts")
            with Horizontal(id="stop-count"):
                yield Static(id="stop-count-label", markup=False)
                yield Input(compact=True, restrict=r"[0-9]*", max_length=7, id="stop-number")
                yield Static(id="stop-count-hint", markup=False)
            with Horizontal(id="stop-choices"):
                yield Choice("Cancel", id="cancel")
                yield Choice("Interrupt", id="interrupt")
                yield Choice("Kill at once", id="kill")

    def on_mount(self) -> None:
        """Focus on Cancel, or in the field where the number has to be typed."""
        self._show()
        (self.query_one("#stop-number") if self.many else self.query_one("#cancel")).focus()
        self.run_worker(self._look_at_files(), group="files")

    def on_resize(self) -> None:
        """Under 24 rows the lists shrink first."""
        self._show()

    def _title(self) -> str:
        verb = "Kill" if self._plan.how is How.KILL else "Interrupt"
        below = self.reach is not None and self.reach.count > len(self._plan.previews)
        under = f" and all under {'it' if len(self._plan.previews) == 1 else 'them'}" if below else ""
        return f"{verb} {cut_end(self._plan.name, 44)}{under}?"

    # -- live counts -------------------------------------------------------------------------------------------

    def tick(self) -> None:
        """Called by the app's one timer: ask again once a second."""
        now = self._clock.monotonic()
        if self._renewed is not None and now - self._renewed >= RENEW_SECONDS:
            self._renewed = None
            self.run_worker(self._renew(), group="counts")
        if self._looked is not None and now - self._looked >= FILES_SECONDS:
            self._looked = None
            self.run_worker(self._look_at_files(), group="files")

    async def _renew(self) -> None:
        try:
            self.reach = Reach.of(await self._plan.renew())
        except SkepError as error:
            self.query_one("#stop-frame").border_subtitle = Content(cut_end(clean_line(str(error)), 60))
        self._renewed = self._clock.monotonic()

    async def _look_at_files(self) -> None:
        try:
            self._files = await self._plan.files()
        except SkepError as error:
            self._files = clean_line(error.what)
        self._looked = self._clock.monotonic()
        self._show()

    def watch_reach(self, reach: Reach | None) -> None:
        """A branch that has grown since the number was typed has to be counted again."""
        if reach is None or not self.is_mounted:
            return
        more = reach.count - (self._typed_of or reach.count)
        if more > 0:
            self._typed_of = None
            self._more = more
            self.query_one("#stop-number", Input).value = ""
        self._show()

    def _show(self) -> None:
        reach = self.reach
        if reach is None:
            return
        field = self.query_one("#stop-count")
        had_field, field.display = field.display, self.many
        self._rows.grow(reach)
        most = min(MOST_ROWS, int(self.size.height * MOST_OF_THE_SCREEN)) - FRAME_ROWS - COUNT_ROWS * self.many
        plan = self._plan
        back = f"{plan.undo} within {plan.window:g} s; nothing new starts meanwhile"
        shown = facts(
            reach,
            self._files,
            plan.rate(),
            back if plan.undo and plan.window else "",
            self._rows,
            cells=min(MOST_CELLS, int(self.size.width * MOST_OF_THE_WIDTH)) - FRAME_CELLS,
            most=most,
        )
        self.query_one(Facts).show(shown)
        self.query_one("#stop-count-label", Static).update(f"Type {reach.count}")
        self._free()
        if self.many and not had_field:
            self.query_one("#stop-number").focus()  # the button that had the focus may be grey now

    def _free(self) -> None:
        """The acting buttons are grey until the number is right."""
        field = self.query_one("#stop-number", Input)
        right = not self.many or (self.reach is not None and field.value == str(self.reach.count))
        for id in ("interrupt", "kill"):
            self.query_one(f"#{id}").disabled = not right
        if self.many:
            verb = "kills" if self._plan.how is How.KILL else "interrupts"
            waits = f"{self._more:,} more since" if self._more else "enter with nothing typed cancels"
            self._hint(f"enter {verb}" if right else waits)

    def _hint(self, text: str) -> None:
        self.query_one("#stop-count-hint", Static).update(text)

    # -- answers -----------------------------------------------------------------------------------------------

    @on(Input.Changed, "#stop-number")
    def _typed(self) -> None:
        value = self.query_one("#stop-number", Input).value
        self._typed_of = self.reach.count if value and self.reach is not None else None
        if value:
            self._more = 0
        self._free()

    @on(Input.Submitted, "#stop-number")
    def _number_entered(self, event: Input.Submitted) -> None:
        if self._dead():
            return
        if not event.value:
            self.dismiss(None)
        elif self.reach is not None and event.value == str(self.reach.count):
            self.dismiss(self._plan.how)
        else:
            self._hint(f"that is not {self.reach.count if self.reach is not None else 'it'}")

    @on(Choice.Pressed)
    def _pressed(self, event: Choice.Pressed) -> None:
        if not self._dead():
            id = event.choice.id
            self.dismiss(How(id) if id in tuple(How) else None)

    def on_key(self, event: events.Key) -> None:
        """What was typed for the screen below must not press a button here."""
        if event.key == "enter" and self._dead():
            event.stop()

    def action_cancel(self) -> None:
        """Nothing happens."""
        self.dismiss(None)

    def _dead(self) -> bool:
        return self._clock.monotonic() - self._opened < DEAD_SECONDS
