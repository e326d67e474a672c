"""The first line: which swarm, how far, how many run, wait and need somebody; what lacks room goes by rank."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

from textual.strip import Strip
from textual.widget import Widget

from skep.clock import Clock
from skep.control.link import SILENT_SECONDS, LinkState
from skep.model.events import ROOT
from skep.model.registry import Changes, Registry
from skep.room.cells import cost
from skep.room.headline import Headline, headline
from skep.room.look import ROLE_CLASSES, Ground, Look, Role, role_css
from skep.room.widgets.ink import Inks
from skep.room.widgets.pace import Pace
from skep.room.widgets.pen import Pen
from skep.text import clean_line, cut_middle, duration, money, tokens, width

EVERY = 1.0
"""Seconds between two looks at the figures."""
BEHIND_FROM = SILENT_SECONDS
"""Seconds without a word from the engine from which on the header says so."""
NAME_CELLS = 40
LEAST_NAME = 8


@dataclass(frozen=True, slots=True)
class Part:
    """Something that the header says. Parts of the highest rank give way first, those of rank 0 never do."""

    rank: int
    pieces: tuple[tuple[str, Role], ...]
    gap: int = 2
    """Blanks before it."""
    bold: bool = False
    chip: bool = False

    @property
    def cells(self) -> int:
        """How much room it takes, its gap included."""
        return self.gap + sum(width(text) for text, _ in self.pieces)


class Header(Widget):
    """One row on ``$panel``; it looks at the registry once a second at most."""

    COMPONENT_CLASSES: ClassVar[set[str]] = set(ROLE_CLASSES)
    DEFAULT_CSS = f"Header {{ height: 1; width: 100%; background: $panel; }}\n{role_css('Header')}"

    def __init__(
        self,
        registry: Registry,
        clock: Clock,
        look: Look,
        link: Callable[[], LinkState],
        *,
        id: str | None = None,
    ) -> None:
        super().__init__(id=id)
        self._registry = registry
        self._clock = clock
        self._look = look
        self._link = link
        self._inks = Inks(self)
        self._due = True
        self._looked_at = float("-inf")
        self._total = Headline()
        self._pace = Pace()
        self._runs = False
        self._said: tuple[tuple[Part, ...], tuple[Part, ...]] = ((), ())

    @property
    def total(self) -> Headline:
        """The figures as they were last looked at."""
        return self._total

    def hourly(self, agent: str) -> int | None:
        """What a branch costs in an hour as far as this room has seen it, in micro-dollars; None if it has not."""
        return self._pace.hourly(agent) if self._runs else None

    def set_registry(self, registry: Registry) -> None:
        """Look at another registry."""
        self._registry = registry
        self._due = True
        self._looked_at = float("-inf")
        self.refresh_from(Changes())

    def refresh_from(self, changes: Changes) -> None:
        """Take in what a watch saw; called by the screen's tick, and draws only what reads differently."""
        self._due = self._due or changes.structure or bool(changes.agents)
        now = self._clock.monotonic()
        if now - self._looked_at < EVERY:
            return
        self._looked_at = now
        link = self._link()
        if self._due or (link.gone and self._total.status is None) != self._total.gone:
            with self._registry.read() as state:
                self._total = headline(state, gone=link.gone)
            self._due = False
        self._runs = link.live and not link.gone and self._total.status is None
        if self._runs:
            self._pace.note(now, self._costs)
        said = header_parts(self._total, link, self._clock.time(), self.hourly(ROOT))
        if said != self._said:
            self._said = said
            self.refresh()

    def _costs(self) -> dict[str, int]:
        with self._registry.read() as state:
            return {agent: spend.cost for agent, spend in state.spends.items()}

    def on_mount(self) -> None:
        """The first figures."""
        self.refresh_from(Changes())

    def notify_style_update(self) -> None:
        """Theme or style sheet have changed."""
        super().notify_style_update()
        self._inks.clear()

    def render_line(self, y: int) -> Strip:
        """The one row."""
        cells = self.size.width
        left, right = fit(*self._said, cells)
        pen = Pen(self._inks, self._look)
        for at, part in enumerate(left):
            self._put(pen, part, part.gap if at else 1)
        pen.to(cells - sum(part.cells for part in right) - 1)
        for part in right:
            self._put(pen, part, part.gap)
        return pen.strip(cells)

    def _put(self, pen: Pen, part: Part, gap: int) -> None:
        pen.to(pen.taken + gap)
        for text, role in part.pieces:
            pen.put(text, role, bold=part.bold, ground=Ground.NEEDS_YOU if part.chip else None)


def header_parts(
    total: Headline, link: LinkState, now: float, rate: int | None = None
) -> tuple[tuple[Part, ...], tuple[Part, ...]]:
    """What the header says at its left and at its right, before anything gives way.

    ``rate`` is in micro-dollars per hour; None while it is not known.
    """
    text, grey = Role.TEXT, Role.GREY
    name = cut_middle(clean_line(total.name, limit=200), NAME_CELLS)
    left = [Part(0, ((" SIMULATED ", Role.AMBER),), bold=True, chip=True)] if total.simulated else []
    left += [
        Part(9, (("skep", Role.BRAND),), gap=1, bold=True),
        Part(1, ((name, text),), bold=True),
        Part(8, ((total.status or ("no engine" if total.gone else "running"), Role.RED if total.gone else grey),)),
        Part(3, ((duration(total.elapsed(now)), grey),), gap=1),
        Part(2, ((f"{total.running:,}/{total.slots:,}", text), (" run", grey)), gap=3),
        Part(4, ((f"{total.queued:,}", text), (" queued", grey))),
    ]
    if total.held:
        left.append(Part(5, ((f"{total.held:,} held", Role.BLUE),)))
    if total.need_you:
        left.append(Part(0, ((f" {total.need_you:,} need you ", text),), bold=True, chip=True))
    if total.asking:
        left.append(Part(6, ((f"{total.asking:,} ask", Role.AMBER),)))
    if total.stuck:
        left.append(Part(6, ((f"{total.stuck:,} stuck", Role.AMBER),)))
    if total.failed:
        left.append(Part(6, ((f"{total.failed:,} failed", Role.RED),)))
    if total.lost:
        left.append(Part(5, ((f"{total.lost:,} lost", Role.RED),)))
    if link.live and not link.gone and link.behind >= BEHIND_FROM:
        left.append(Part(1, ((f"link {duration(link.behind)} behind", Role.AMBER),)))
    if link.read_only:
        left.append(Part(7, (("read-only", grey),)))
    done = ((f"{total.done:,}", text), (f"/{total.agents:,} done", grey))
    right = _spent(total, rate, Part(5, done, gap=3)) if total.chat else (Part(0, done),)
    return tuple(part for part in left if part.pieces[0][0]), right


def _spent(total: Headline, rate: int | None, done: Part) -> tuple[Part, ...]:
    spend = total.spend
    used = tokens(spend.tokens_in + spend.tokens_out)
    hourly = ((f"{money(rate)}/h", Role.GREY),) if rate is not None else (("", Role.GREY),)
    parts = (
        done,
        Part(0, ((cost(spend), Role.TEXT),), bold=True, gap=3),
        Part(7, hourly),
        Part(10, ((f"{used} tok", Role.GREY),)),
    )
    return tuple(part for part in parts if part.pieces[0][0])


def fit(left: tuple[Part, ...], right: tuple[Part, ...], cells: int) -> tuple[tuple[Part, ...], tuple[Part, ...]]:
    """Leave parts out, the highest rank first, until the rest fits; a name is cut before it goes."""
    spare = cells - 1
    while (taken := sum(part.cells for part in (*left, *right))) > spare:
        rank = max((part.rank for part in (*left, *right)), default=0)
        if rank == 0:
            break
        last = next(part for part in reversed((*left, *right)) if part.rank == rank)
        room = width(last.pieces[0][0]) - (taken - spare)
        if rank == 1 and last.bold and room >= LEAST_NAME:
            text, role = last.pieces[0]
            shorter = Part(rank, ((cut_middle(text, room), role),), last.gap, bold=True)
            left = tuple(shorter if part is last else part for part in left)
            break
        left = tuple(part for part in left if part is not last)
        right = tuple(part for part in right if part is not last)
    return left, right
