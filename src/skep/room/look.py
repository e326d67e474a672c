"""How the room draws: its glyphs in two sets, the roles that colours have, and the columns that fit a width."""

from __future__ import annotations

import locale
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType

from skep.model.agent import Face
from skep.text import CUT, UNKNOWN


class Role(StrEnum):
    """What a colour means; ``room-look`` knows five meanings and some shades of grey."""

    TEXT = "text"
    GREY = "grey"
    GREEN = "green"
    AMBER = "amber"
    AMBER_DIM = "amber-dim"
    RED = "red"
    BLUE = "blue"
    GUIDE = "guide"
    HELD_GUIDE = "held-guide"
    BRAND = "brand"


class Ground(StrEnum):
    """What a background means."""

    CURSOR = "cursor"
    BLURRED = "blurred"
    NEEDS_YOU = "needs-you"
    HOLD = "hold"
    BROKEN = "broken"
    PANEL = "panel"


_ROLE_COLOURS = {
    Role.TEXT: "$foreground",
    Role.GREY: "$foreground-muted",
    Role.GREEN: "$text-success",
    Role.AMBER: "$text-warning",
    Role.AMBER_DIM: "$text-warning 75%",
    Role.RED: "$text-error",
    Role.BLUE: "$text-primary",
    Role.GUIDE: "$foreground 22%",
    Role.HELD_GUIDE: "$text-primary 45%",
    Role.BRAND: "$text-accent",
}
_GROUND_COLOURS = {
    Ground.CURSOR: "$primary-muted",
    Ground.BLURRED: "$panel",
    Ground.NEEDS_YOU: "$warning-muted",
    Ground.HOLD: "$primary-muted",
    Ground.BROKEN: "$error-muted",
    Ground.PANEL: "$panel",
}


def role_class(role: Role | Ground) -> str:
    """The component class that carries this role."""
    return f"{'ground' if isinstance(role, Ground) else 'role'}--{role.value}"


ROLE_CLASSES = frozenset(role_class(role) for role in (*Role, *Ground))
"""All component classes, for the widgets that draw with roles."""


def role_css(widget: str) -> str:
    """The default CSS that gives the roles of a widget (its class name) their colours.

    Colours come from theme variables, and only from those that are concrete: ``$text-muted`` is ``auto`` and
    would come out as plain white in a line-API widget.
    """
    rules = [f"{widget} > .{role_class(role)} {{ color: {colour}; }}" for role, colour in _ROLE_COLOURS.items()]
    rules += [
        f"{widget} > .{role_class(ground)} {{ background: {colour}; }}"
        for ground, colour in _GROUND_COLOURS.items()
    ]
    return "\n".join(rules)


FACE_ROLES: Mapping[Face, Role] = MappingProxyType(
    {
        Face.ASKS: Role.AMBER,
        Face.STALE: Role.AMBER,
        Face.SPINNING: Role.AMBER,
        Face.FAILED: Role.RED,
        Face.LOST: Role.RED,
        Face.OVER_LIMIT: Role.AMBER,
        Face.STOPPING: Role.BLUE,
        Face.HELD: Role.BLUE,
        Face.RUNNING: Role.GREEN,
        Face.QUIET: Role.AMBER_DIM,
        Face.WAITING: Role.GREY,
        Face.QUEUED: Role.GREY,
        Face.DONE: Role.GREY,
        Face.STOPPED: Role.GREY,
    }
)
"""The colour of each face's glyph."""

FACE_WORDS: Mapping[Face, str] = MappingProxyType(
    {face: face.value.replace("_", " ") for face in Face} | {Face.ASKS: "ask", Face.WAITING: "wait"}
)
"""The word that goes with each face where there is room for it."""


@dataclass(frozen=True)
class Look:
    """A set of glyphs, each exactly one cell wide in every terminal."""

    faces: Mapping[Face, str]
    starting: str
    opened: str
    closed: str
    mark: str
    cursor: str
    guide: str
    held_guide: str
    corner: str
    rule: str
    heavy_rule: str
    dashed_rule: str
    ascii: bool

    def own(self, text: str) -> str:
        """Cleaned text with the signs that skep itself puts into it (cuts, unknown) in this set."""
        return text.translate(_ASCII_SIGNS) if self.ascii else text


_ASCII_SIGNS = str.maketrans({CUT: "~", UNKNOWN: "-", "─": "-", "≥": ">"})

UNICODE = Look(
    faces=MappingProxyType(
        {
            Face.ASKS: "?",
            Face.STALE: "▲",
            Face.SPINNING: "∞",
            Face.FAILED: "×",
            Face.LOST: "†",
            Face.OVER_LIMIT: "≥",
            Face.STOPPING: "↓",
            Face.HELD: "║",
            Face.RUNNING: "●",
            Face.QUIET: "~",
            Face.WAITING: "○",
            Face.QUEUED: "·",
            Face.DONE: "✓",
            Face.STOPPED: "■",
        }
    ),
    starting="»",
    opened="▼",
    closed="►",
    mark="+",
    cursor="▌",
    guide="│",
    held_guide="║",
    corner="└",
    rule="─",
    heavy_rule="━",
    dashed_rule="╌",
    ascii=False,
)
"""The glyphs of most terminals."""

ASCII = Look(
    faces=MappingProxyType(
        {
            Face.ASKS: "?",
            Face.STALE: "!",
            Face.SPINNING: "@",
            Face.FAILED: "x",
            Face.LOST: "L",
            Face.OVER_LIMIT: ">",
            Face.STOPPING: "v",
            Face.HELD: "=",
            Face.RUNNING: "*",
            Face.QUIET: "~",
            Face.WAITING: "o",
            Face.QUEUED: ".",
            Face.DONE: "d",
            Face.STOPPED: "#",
        }
    ),
    starting=":",
    opened="v",
    closed=">",
    mark="+",
    cursor=">",
    guide="|",
    held_guide="=",
    corner="`",
    rule="-",
    heavy_rule="=",
    dashed_rule="-",
    ascii=True,
)
"""The glyphs where nothing but ASCII can be trusted."""


def choose_look(environment: Mapping[str, str], *, ascii_only: bool | None = None) -> Look:
    """The set to draw with: as asked for, else ASCII on a Linux console or without a UTF-8 locale."""
    if ascii_only is None:
        utf8 = locale.getpreferredencoding(False).lower().replace("-", "") == "utf8"
        ascii_only = environment.get("TERM") == "linux" or not utf8
    return ASCII if ascii_only else UNICODE


class Number(StrEnum):
    """A column of figures after DOING."""

    TRY = "TRY"
    LINES = "LINES"
    OUTPUT = "OUTPUT"
    EXIT = "EXIT"
    TURN = "TURN"
    TOKENS = "TOKENS"
    COST = "COST"
    KEY = "KEY"
    AGE = "AGE"


NUMBER_WIDTHS: Mapping[Number, int] = MappingProxyType(
    {
        Number.TRY: 4,
        Number.LINES: 6,
        Number.OUTPUT: 6,
        Number.EXIT: 7,
        Number.TURN: 4,
        Number.TOKENS: 6,
        Number.COST: 6,
        Number.KEY: 7,
        Number.AGE: 5,
    }
)
"""Cells of each column; one blank stands before it."""

LEFT_ALIGNED = frozenset({Number.EXIT, Number.KEY})

IN_WIDTH = 5
NAME_AT = 3


@dataclass(frozen=True)
class Columns:
    """Where the cells of a row stand in a tree of a certain width."""

    width: int
    name: int
    """Cells of the name field, which starts at :data:`NAME_AT`."""
    doing: int
    """Cells of DOING."""
    numbers: tuple[Number, ...]

    @property
    def in_at(self) -> int:
        """Where IN begins."""
        return NAME_AT + self.name + 1

    @property
    def doing_at(self) -> int:
        """Where DOING begins."""
        return self.in_at + IN_WIDTH + 2


_Numbers = tuple[Number, ...]

# From the widest on: the least width, the name field, and what outlives the narrowing. Of programs that is EXIT.
# Of conversations it is COST, and after it KEY: which key it burns is what no other tool shows.
_LAYOUTS: tuple[tuple[int, int, _Numbers, _Numbers], ...] = (
    (
        120,
        28,
        (Number.TRY, Number.LINES, Number.OUTPUT, Number.EXIT, Number.AGE),
        (Number.TURN, Number.TOKENS, Number.COST, Number.KEY, Number.AGE),
    ),
    (
        88,
        22,
        (Number.TRY, Number.LINES, Number.OUTPUT, Number.EXIT),
        (Number.TURN, Number.TOKENS, Number.COST, Number.KEY),
    ),
    (72, 20, (Number.OUTPUT, Number.EXIT), (Number.COST, Number.KEY)),
    (56, 18, (Number.EXIT,), (Number.COST,)),
    (0, 16, (), ()),
)


def columns_for(width: int, *, chat: bool = False) -> Columns:
    """The columns of a tree so many cells wide; they follow the widget, not the screen.

    ``chat``: the swarm has conversations, whose figures are others than those of programs.
    """
    _, name, *figures = next(layout for layout in _LAYOUTS if width >= layout[0])
    numbers = figures[chat]
    taken = sum(NUMBER_WIDTHS[number] + 1 for number in numbers)
    # One blank stays at the right edge.
    doing = width - (NAME_AT + name + 1 + IN_WIDTH + 2) - taken - 1
    return Columns(width, name, max(doing, 0), numbers)
