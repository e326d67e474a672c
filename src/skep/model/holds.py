"""What keeps agents from starting: latches of the gate, and the tombstones of a stop."""

from __future__ import annotations

from dataclasses import dataclass

from skep.model.states import StopVerb, Strength

SWARM_SCOPE = ""
"""The scope of a latch that holds the whole swarm."""


@dataclass(frozen=True, slots=True)
class Latch:
    """One hold: ``scope`` is an agent id or :data:`SWARM_SCOPE`; times in epoch seconds."""

    scope: str
    strength: Strength
    reason: str
    who: str
    since: float
    until: float | None = None


@dataclass(frozen=True, slots=True)
class Shut:
    """A tombstone: nothing new starts there, because a stop was asked for."""

    agent: str
    branch: bool
    verb: StopVerb
    who: str
    since: float
    until: float | None = None
