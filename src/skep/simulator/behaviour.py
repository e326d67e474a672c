"""What a simulated model is: a function from the conversation it was sent to the reply it gives.

A behaviour keeps no state of its own. Everything it may go by stands in the `Conversation`: the goal, how many
turns were answered already, the results of the last tool calls, how often exactly this request came before, and
dice that fall the same way for the same seed, goal and turn.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TypeAlias

Json: TypeAlias = "bool | int | float | str | Sequence[Json] | Mapping[str, Json] | None"


@dataclass(frozen=True, slots=True)
class ToolResultSeen:
    """A tool result that came with the request."""

    call_id: str
    name: str
    content: str


@dataclass(frozen=True, slots=True)
class Conversation:
    """A request as a behaviour sees it; its history was found well formed before."""

    goal: str
    """Text of the first user message."""
    messages: Sequence[Mapping[str, Json]]
    """The whole history as it came over the wire."""
    turn: int = 0
    """Assistant messages so far: 0 at the first request."""
    results: Sequence[ToolResultSeen] = ()
    """Results of the calls of the last turn, in the order they were sent; empty if that turn called nothing."""
    model: str = ""
    tools: frozenset[str] = frozenset()
    """Names of the tools offered with the request."""
    system: str = ""
    """Text of the system messages."""
    attempt: int = 1
    """1 when this request comes for the first time, 2 when the same request is sent again after it, and so on."""
    seed: int = 0

    @property
    def last(self) -> str:
        """The content of the last tool result of the last turn, or nothing."""
        return self.results[-1].content if self.results else ""

    def dice(self) -> random.Random:
        """Return dice that depend on the seed, the goal and the turn only."""
        return random.Random(f"{self.seed}\0{self.turn}\0{self.goal}")


@dataclass(frozen=True, slots=True)
class Call:
    """A tool call of a reply. Arguments given as text go out as they stand, also if they are no JSON."""

    name: str
    arguments: Mapping[str, Json] | str = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Pace:
    """How fast a reply comes: seconds to its first token, then tokens per second (0: all at once)."""

    first_token: float = 0.0
    rate: float = 0.0


class FaultKind(StrEnum):
    """The ways in which an answer goes wrong; `faults` plays them."""

    STATUS = "status"
    """An HTTP error instead of an answer: `status`, `message`, `retry_after`."""
    HANG = "hang"
    """The request is read and nothing ever comes, not even headers."""
    SILENT = "silent"
    """Headers and `characters` of the reply, then nothing, the connection stays open."""
    KEEPALIVE = "keepalive"
    """Headers, `characters` of the reply, then only comments, one every `seconds`."""
    TRICKLE = "trickle"
    """The whole reply, a token every `seconds`."""
    CUT = "cut"
    """The connection is closed in the middle of an event after `characters` of the reply; the framing tells it."""
    CUT_UNFRAMED = "cut_unframed"
    """As cut, but in an answer that only the end of the connection ends: nothing tells it from a whole one."""
    RESET = "reset"
    """As cut, but with a reset instead of an orderly end."""
    IN_BAND_ERROR = "in_band_error"
    """An error object as an event where the reply should finish, behind a status of 200."""
    GARBAGE = "garbage"
    """A line that is no JSON, `message`, after `characters`; the stream goes on to its finish, without usage."""
    NO_FINISH = "no_finish"
    """The whole reply and `[DONE]`, but no finish_reason and no usage."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that goes wrong with a reply. Which of the fields count is said at the kinds."""

    kind: FaultKind
    status: int = 503
    message: str = ""
    retry_after: float | None = None
    """Seconds sent as Retry-After; None sends no such header."""
    characters: int = 0
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Reply:
    """What the model answers: thinking, then text, then tool calls, at a pace, and what goes wrong with it."""

    text: str = ""
    thinking: str = ""
    calls: Sequence[Call] = ()
    fault: Fault | None = None
    pace: Pace | None = None
    """None: the pace of the scenario."""


Behaviour: TypeAlias = Callable[[Conversation], Reply]
