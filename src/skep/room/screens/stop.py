"""The dialog before a branch is stopped: what would go with it, counted live, and three buttons."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
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
from skep.control.verbs import InFlight, Previewed
from skep.errors import SkepError
from skep.model.states import State
from skep.room.look import Look, Role
from skep.room.widgets.choice import DEAD_SECONDS, Choice
from skep.room.widgets.facts import LABEL_AT, VALUE_AT, Fact, Facts, blank, value_row
from skep.room.widgets.pen import Pen
from skep.text import clean_line, cut_end, duration, money

COUNT_OVER = 10
"""From one agent more on, the number has to be typed."""

RENEW_SECONDS = 1.0

SHOWN_FLIGHTS = 3


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


@dataclass(frozen=True, slots=True)
class Reach:
    """What a stop would take with it, over all that it was asked for."""

    agents: tuple[str, ...]
    states: tuple[tuple[str, int], ...]
    """What they are doing, in a word, and how many of them."""
    flights: tuple[InFlight, ...]
    """The longest programs in flight."""
    running: int
    """How many programs are in flight, also those that are not named."""
    turns: int = 0
    """Model calls that were made there so far."""
    cost: float | None = None
    """US dollars that they cost; None where nothing is known of it."""
    at_least: bool = False
    """True if the price of some of them is unknown."""

    @classmethod
    def of(cls, previews: Sequence[Previewed]) -> Reach:
        """The previews summed up; programs in flight longest first."""
        agents: list[str] = []
        states: dict[str, int] = {}
        flights: list[InFlight] = []
        held = in_flight = 0
        for one in previews:
            agents += one.agents
            flights += one.in_flight
            held += one.held
            in_flight += one.running
            for state, count in one.states.items():
                states[state] = states.get(state, 0) + count
        flights.sort(key=lambda flight: -flight.seconds)
        running = states.pop(State.RUNNING, 0) + states.pop(State.STARTING, 0)
        waiting, stopping = states.pop(State.WAITING, 0), states.pop(State.STOPPING, 0)
        counted = {
            "running": running,
            "wait": waiting,
            "stopping": stopping,
            "queued": sum(states.values()) - held,
            "held": held,
        }
        shown = tuple((word, count) for word, count in counted.items() if count > 0)
        costs = [one.cost_usd for one in previews if one.cost_usd is not None]
        turns, at_least = sum(one.turns for one in previews), any(one.cost_is_lower_bound for one in previews)
        return cls(tuple(agents), shown, tuple(flights), in_flight, turns, sum(costs) if costs else None, at_least)


def _facts(reach: Reach, window: float, flights: int) -> list[Fact]:
    """The rows for this reach, with at most so many programs."""
    rows: list[Fact] = [_agents_row(reach), *([_spent_row(reach)] if reach.turns else []), blank]
    rows.append(_in_flight_row(reach))
    shown = reach.flights[:flights]
    rows += [_flight_row(flight) for flight in shown]
    if reach.running > len(shown) and shown:
        rows.append(value_row("", f"+{reach.running - len(shown):,}", Role.GREY))
    rows.append(blank)
    rows.append(value_row("how", "soft first, then cancel, then kill; the end is verified"))
    if window:
        rows.append(value_row("take back", f"u within {window:g} s; nothing new starts meanwhile"))
    return rows


def _agents_row(reach: Reach) -> Fact:
    def draw(pen: Pen, cells: int) -> Pen:
        pen.to(LABEL_AT - 1).put("agents", Role.GREY).to(VALUE_AT - 1)
        pen.put(f"{len(reach.agents):,} live", bold=True).put(" ")
        for word, count in reach.states:
            pen.put(f"  {count:,} {word}", Role.GREY)
        return pen

    return draw


def _spent_row(reach: Reach) -> Fact:
    micro = round(reach.cost * 1_000_000) if reach.cost is not None else None
    return value_row("spent", f"{money(micro, lower_bound=reach.at_least)} in {reach.turns:,} turns")


def _in_flight_row(reach: Reach) -> Fact:
    count = reach.running
    what = "at work" if reach.turns else f"program{'s' if count > 1 else ''}"
    words = "nothing runs" if not count else f"{count:,} {what}, longest first"
    return value_row("in flight", words)


def _flight_row(flight: InFlight) -> Fact:
    def draw(pen: Pen, cells: int) -> Pen:
        took = duration(flight.seconds)
        pen.to(VALUE_AT - 1).put(clean_line(flight.name), Role.GREY, most=14).to(VALUE_AT + 14)
        pen.put(cut_end(clean_line(flight.doing), max(cells - pen.taken - len(took) - 3, 0)))
        return pen.to(cells - len(took) - 1).put(took, Role.GREY)

    return draw


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
        self._renewed = clock.monotonic()
        self._typed_of: int | None = None
        self._more = 0
        self.set_reactive(StopDialog.reach, Reach.of(plan.previews))

    @property
    def many(self) -> bool:
        """True if the number of agents has to be typed."""
        return self.reach is not None and len(self.reach.agents) > COUNT_OVER

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

    def on_resize(self) -> None:
        """Under 24 rows the lists shrink first."""
        self._show()

    def _title(self) -> str:
        verb = "Kill" if self._plan.how is How.KILL else "Interrupt"
        below = self.reach is not None and len(self.reach.agents) > len(self._plan.previews)
        under = f" and all under {'it' if len(self._plan.previews) == 1 else 'them'}" if below else ""
        return f"{verb} {cut_end(self._plan.name, 44)}{under}?"

    # -- live counts -------------------------------------------------------------------------------------------

    def tick(self) -> None:
        """Called by the app's one timer: ask again once a second."""
        now = self._clock.monotonic()
        if now - self._renewed >= RENEW_SECONDS:
            self._renewed = now
            self.run_worker(self._renew(), exclusive=True)

    async def _renew(self) -> None:
        try:
            self.reach = Reach.of(await self._plan.renew())
        except SkepError as error:
            self.query_one("#stop-frame").border_subtitle = Content(cut_end(clean_line(str(error)), 60))

    def watch_reach(self, reach: Reach | None) -> None:
        """A branch that has grown since the number was typed has to be counted again."""
        if reach is None or not self.is_mounted:
            return
        more = len(reach.agents) - (self._typed_of or len(reach.agents))
        if more > 0:
            self._typed_of = None
            self._more = more
            self.query_one("#stop-number", Input).value = ""
        self._show()

    def _show(self) -> None:
        reach = self.reach
        if reach is None:
            return
        room = max(0, min(SHOWN_FLIGHTS, self.size.height - 20))
        self.query_one(Facts).show(_facts(reach, self._plan.window, room))
        self.query_one("#stop-count").display = self.many
        self.query_one("#stop-count-label", Static).update(f"Type {len(reach.agents)}")
        self._free()

    def _free(self) -> None:
        """The acting buttons are grey until the number is right."""
        field = self.query_one("#stop-number", Input)
        right = not self.many or (self.reach is not None and field.value == str(len(self.reach.agents)))
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
        self._typed_of = len(self.reach.agents) if value and self.reach is not None else None
        if value:
            self._more = 0
        self._free()

    @on(Input.Submitted, "#stop-number")
    def _number_entered(self, event: Input.Submitted) -> None:
        if self._dead():
            return
        if not event.value:
            self.dismiss(None)
        elif self.reach is not None and event.value == str(len(self.reach.agents)):
            self.dismiss(self._plan.how)
        else:
            self._hint(f"that is not {len(self.reach.agents) if self.reach is not None else 'it'}")

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
