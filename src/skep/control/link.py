"""What a client holds on to: a registry that keeps itself up to date, and verbs that answer."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

from skep.control.service import TailChunk
from skep.control.verbs import Reply, Request
from skep.journal import Damage
from skep.model.registry import Registry

SILENT_SECONDS: Final = 3.0
"""Without a word for so long an engine that should say one a second counts as silent: nothing is sent to it."""


@dataclass(frozen=True, slots=True)
class LinkState:
    """How good the picture is: ``behind`` seconds without a word from a live engine, and what is wrong."""

    connected: bool
    live: bool
    """False when the swarm is looked at from its journal: nothing can change and no verb works."""
    read_only: bool
    behind: float = 0.0
    trouble: str | None = None
    """What the engine says of itself (disk full), or why the link is down."""
    gone: bool = False
    """True if no engine runs the swarm any more: what it had begun has ended with it."""
    foreign: str = ""
    """What to do, if the engine is of a version of skep that this one does not understand; else empty."""
    damage: Damage | None = None
    """What the journal cannot prove, if it is the journal that is looked at: the picture ends before that."""

    @property
    def silent(self) -> bool:
        """True if there is an engine, and a link to it, but no word of it."""
        return self.live and self.connected and self.behind >= SILENT_SECONDS


class Link(Protocol):
    """A swarm as seen by a room or a command: through the socket of its engine, or from its journal."""

    registry: Registry
    folder: Path

    @property
    def state(self) -> LinkState:
        """How good the picture is at this moment."""

    async def call(self, request: Request) -> Reply:
        """Ask for a verb; returns when it is durable. Raises SkepError (Refused for a past or read-only swarm).

        Nothing is kept for later: Unreachable comes at once while the engine cannot be reached, or is silent.
        """

    async def tail(self, agent: str, first: int = -500, limit: int = 500) -> TailChunk:
        """Output of an agent from line ``first`` on (negative: from the end)."""

    def follow(self, agent: str | None) -> None:
        """Have new output of this one agent told (None: of nobody)."""

    def take_output(self) -> list[tuple[str, TailChunk]]:
        """Output that was told since the last call; coalesced, never more than the newest 2,000 lines."""

    async def close(self) -> None:
        """Let go; the swarm goes on."""
