"""What became of one HTTP attempt, as far as the key that it went out with is concerned."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar


class OutcomeKind(StrEnum):
    """The ways in which an attempt may end."""

    OK = "ok"
    """A complete answer."""
    RATE_LIMITED = "rate_limited"
    """429: too many requests or tokens."""
    UNAUTHORIZED = "unauthorized"
    """401: the provider does not take this key."""
    SERVER = "server"
    """5xx, 529, 408, or an error of the provider in the midst of a stream."""
    CONNECTION = "connection"
    """Connect, reset, timeout, a stream that was cut."""
    REFUSED = "refused"
    """Any other 4xx: the request is at fault, the key is not."""
    CANCELLED = "cancelled"
    """The attempt was given up from this side; it says nothing about the key."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """One of the constants below, or ``Outcome.rate_limited(seconds)``."""

    kind: OutcomeKind
    retry_after: float | None = None
    """Seconds that the provider wants to be left alone, where it said so."""

    OK: ClassVar[Outcome]
    UNAUTHORIZED: ClassVar[Outcome]
    SERVER: ClassVar[Outcome]
    CONNECTION: ClassVar[Outcome]
    REFUSED: ClassVar[Outcome]
    CANCELLED: ClassVar[Outcome]

    @staticmethod
    def rate_limited(retry_after: float | None = None) -> Outcome:
        """A 429, and after how many seconds the provider will listen again if it said so."""
        return Outcome(OutcomeKind.RATE_LIMITED, retry_after)


Outcome.OK = Outcome(OutcomeKind.OK)
Outcome.UNAUTHORIZED = Outcome(OutcomeKind.UNAUTHORIZED)
Outcome.SERVER = Outcome(OutcomeKind.SERVER)
Outcome.CONNECTION = Outcome(OutcomeKind.CONNECTION)
Outcome.REFUSED = Outcome(OutcomeKind.REFUSED)
Outcome.CANCELLED = Outcome(OutcomeKind.CANCELLED)
