"""What keeps agents from starting: latches of the gate with their scopes, and the tombstones of a stop."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from skep.model.states import StopVerb, Strength

SWARM_SCOPE = ""
"""The scope of a latch that holds the whole swarm."""


class ScopeKind(StrEnum):
    """What a latch reaches."""

    SWARM = "swarm"
    BRANCH = "branch"
    MODEL = "model"
    ACCOUNT = "account"
    """The keys of one quota group; agents that have another one to go to are not held by it."""


@dataclass(frozen=True, slots=True)
class Scope:
    """What a latch reaches, by kind and name: an agent's id, ``PROVIDER/MODEL`` or ``PROVIDER/ACCOUNT``."""

    kind: ScopeKind
    name: str = ""

    @classmethod
    def read(cls, text: str) -> Scope:
        """The scope of such a text; whatever names no other kind is the id of an agent, which holds no colon."""
        if not text:
            return cls(ScopeKind.SWARM)
        kind, colon, name = text.partition(":")
        if colon and kind in (ScopeKind.MODEL, ScopeKind.ACCOUNT):
            return cls(ScopeKind(kind), name)
        return cls(ScopeKind.BRANCH, text)

    def __str__(self) -> str:
        """As events, requests and checkpoints carry it: nothing, an agent's id, ``model:…`` or ``account:…``."""
        return f"{self.kind}:{self.name}" if self.kind in (ScopeKind.MODEL, ScopeKind.ACCOUNT) else self.name


@dataclass(frozen=True, slots=True)
class Latch:
    """One hold; ``scope`` is the text of a :class:`Scope`, times are in epoch seconds."""

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
