"""What a stop would take with it, as the rows of its dialog; where rows are scarce the lists shrink first."""

from __future__ import annotations

import posixpath
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from skep.control import losses
from skep.control.verbs import Flight, InFlight, Previewed, Standing, UncommittedShown, WorktreeShown
from skep.room.look import Role
from skep.room.widgets.facts import LABEL_AT, VALUE_AT, Fact, blank, value_row
from skep.room.widgets.pen import Pen
from skep.text import clean_line, cut_end, duration, money, tokens, width

SHOWN_FLIGHTS = 3

FILES_NAMED = 5


@dataclass(frozen=True, slots=True)
class Reach:
    """What a stop would take with it, over all that it was asked for."""

    count: int
    standing: tuple[tuple[Standing, int], ...]
    flights: tuple[tuple[Flight, int], ...]
    in_flight: tuple[InFlight, ...]
    """Programs and tools that have been at it longest."""
    turns: int = 0
    """Model calls that were made there so far."""
    tokens: int = 0
    cost: float | None = None
    """US dollars that they cost; None where nothing is known of it."""
    at_least: bool = False
    """True if the price of some of them is unknown."""

    @classmethod
    def of(cls, previews: Sequence[Previewed]) -> Reach:
        """The previews summed up."""
        standing: Counter[Standing] = Counter()
        flights: Counter[Flight] = Counter()
        for one in previews:
            standing.update(one.standing)
            flights.update(one.flights)
        listed = [flight for one in previews for flight in one.in_flight if flight.kind is not Flight.REQUEST]
        listed.sort(key=lambda flight: -flight.seconds)
        costs = [one.cost_usd for one in previews if one.cost_usd is not None]
        return cls(
            count=sum(one.count for one in previews),
            standing=tuple((one, standing[one]) for one in Standing if standing[one]),
            flights=tuple(flights.items()),
            in_flight=tuple(listed[:SHOWN_FLIGHTS]),
            turns=sum(one.turns for one in previews),
            tokens=sum(one.tokens for one in previews),
            cost=sum(costs) if costs else None,
            at_least=any(one.cost_is_lower_bound for one in previews),
        )

    @property
    def listable(self) -> int:
        """Programs and tools in flight, those that are not named included."""
        return sum(count for kind, count in self.flights if kind is not Flight.REQUEST)


@dataclass(slots=True)
class Rows:
    """How many rows the parts take that may shrink; kept while the dialog is open, so that it does not jump."""

    agents: int = 1
    flights: int = 0
    """Rows of the list of flights, with the one that counts the rest."""
    spent: bool = False

    def grow(self, reach: Reach) -> None:
        """Make room for all of it; what was given once stays."""
        wanted = min(reach.listable, SHOWN_FLIGHTS) + (reach.listable > SHOWN_FLIGHTS)
        self.flights = max(self.flights, wanted)
        self.spent = self.spent or reach.turns > 0


def facts(
    reach: Reach,
    files: UncommittedShown | str | None,
    rate: int | None,
    back: str,
    rows: Rows,
    *,
    cells: int,
    most: int,
) -> list[Fact]:
    """At most so many rows, each so many cells wide.

    ``files`` is what is in no commit, or why that is not known, or None while it is looked for; ``rate`` what the
    branch costs in an hour, in micro-dollars; ``back`` how the stop can be taken back, empty if it cannot.
    """
    said = "soft first, then cancel, then kill; the end is verified"
    # The list of flights gives way first, then what has the highest rank.
    agents = _agents_rows(reach, cells - VALUE_AT)
    rows.agents = max(rows.agents, len(agents))
    ranked: list[tuple[int, Fact]] = [(0, fact) for fact in agents]
    ranked += [(6, blank)] * (rows.agents - len(agents))
    if rows.spent:
        ranked.append((4, _spent_row(reach, rate)))
    ranked += [(7, blank), (1, in_flight := value_row("in flight", _in_flight(reach)))]
    ranked += [(7, blank), (2, value_row("uncommitted", *_uncommitted(files))), (8, _where_row(files))]
    ranked += [(7, blank), (5, value_row("how", said))]
    if back:
        ranked.append((3, value_row("take back", back)))
    room = min(rows.flights, max(most - len(ranked), 0))
    while len(ranked) > max(most, 1):
        highest = max(rank for rank, _ in ranked)
        ranked = [row for row in ranked if row[0] != highest]
    kept = [fact for _, fact in ranked]
    at = kept.index(in_flight) + 1 if room else 0
    return [*kept[:at], *_flight_rows(reach, room), *kept[at:]]


def _agents_rows(reach: Reach, cells: int) -> list[Fact]:
    """How many they are and how they stand; what does not fit beside the total goes on below it."""
    total = f"{reach.count:,} live"
    lines = [""]
    for word, count in reach.standing:
        part = f"  {count:,} {word}"
        if len(lines) == 1 and width(total + lines[0] + part) > cells:
            lines.append("")
        lines[-1] += part

    def draw(pen: Pen, cells: int) -> Pen:
        pen.to(LABEL_AT - 1).put("agents", Role.GREY).to(VALUE_AT - 1).put(total, bold=True)
        return pen.put(lines[0], Role.GREY, most=cells - pen.taken - 1)

    return [draw, *(value_row("", line.strip(), Role.GREY) for line in lines[1:])]


def _spent_row(reach: Reach, rate: int | None) -> Fact:
    micro = round(reach.cost * 1_000_000) if reach.cost is not None else None
    hourly = f", burning {money(rate)}/h" if rate is not None else ""
    used = f"   {tokens(reach.tokens)} tok in {losses.counted(reach.turns, 'turn')}{hourly}"

    def draw(pen: Pen, cells: int) -> Pen:
        pen.to(LABEL_AT - 1).put("spent", Role.GREY).to(VALUE_AT - 1)
        pen.put(money(micro, lower_bound=reach.at_least))
        return pen.put(used, Role.GREY, most=cells - pen.taken - 1)

    return draw


def _in_flight(reach: Reach) -> str:
    flights = dict(reach.flights)
    if not flights:
        return "nothing"
    order = ", longest first" if reach.listable > 1 else ""
    kept = "; partial text is kept" if flights.get(Flight.REQUEST) else order
    return f"{losses.in_flight(flights)}{kept}"


def _flight_rows(reach: Reach, room: int) -> list[Fact]:
    """The longest, and how many there are besides; blanks for those that have gone meanwhile."""
    shown = reach.in_flight[: room - 1 if reach.listable > room > 1 else room]
    drawn = [_flight_row(flight) for flight in shown]
    more = reach.listable - len(shown)
    if more > 0 and len(drawn) < room:
        drawn.append(value_row("", f"+{more:,}", Role.GREY))
    return drawn + [blank] * (room - len(drawn))


def _flight_row(flight: InFlight) -> Fact:
    def draw(pen: Pen, cells: int) -> Pen:
        took = duration(flight.seconds)
        pen.to(VALUE_AT - 1).put(clean_line(flight.name), Role.GREY, most=14).to(VALUE_AT + 14)
        pen.put(cut_end(clean_line(flight.doing), max(cells - pen.taken - len(took) - 3, 0)))
        return pen.to(cells - len(took) - 1).put(took, Role.GREY)

    return draw


def _uncommitted(files: UncommittedShown | str | None) -> tuple[str, Role]:
    if files is None:
        return "looking", Role.GREY
    if isinstance(files, str):
        return f"unknown: {files}", Role.AMBER
    said = losses.uncommitted(files)
    if not said:
        return "no folder is under git", Role.GREY
    known = any(tree.unknown is None for tree in files.worktrees)
    return f"{said}{', all kept' if files.files else ''}", Role.TEXT if known else Role.AMBER


def _where_row(files: UncommittedShown | str | None) -> Fact:
    if files is None or isinstance(files, str):
        return blank
    worth = [tree for tree in files.worktrees if tree.files or tree.unknown is not None]
    if len(files.worktrees) == 1:
        parts = [name for tree in worth for name in tree.names]
        rest = sum(tree.files for tree in worth) - len(parts)
    else:
        reason = losses.unknown(files)
        parts = [f"{_label(tree)} {losses.in_worktree(tree)}" for tree in worth if tree.unknown is None]
        parts = [*([reason] if reason else []), *parts]
        rest = files.left_out

    def draw(pen: Pen, cells: int) -> Pen:
        return pen.to(VALUE_AT - 1).put(_fitted(parts, rest, cells - pen.taken - 1), Role.GREY)

    return draw


def _label(tree: WorktreeShown) -> str:
    """An agent that has a working tree for itself gives it its name."""
    return tree.agent if tree.agents == 1 else posixpath.basename(tree.path.rstrip("/")) or tree.path


def _fitted(parts: Sequence[str], rest: int, cells: int) -> str:
    """As many parts as fit, then ``+n`` for what is left out."""
    for shown in range(len(parts), 0, -1):
        more = len(parts) - shown + rest
        line = ", ".join([*parts[:shown], *([f"+{more:,}"] if more else [])])
        if width(line) <= cells or shown == 1:
            return cut_end(line, cells)
    return ""
