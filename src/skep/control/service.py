"""What the control server needs from an engine; the engine offers it, the server knows nothing else of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from skep.control.verbs import Reply, Request
from skep.model.events import Record
from skep.model.logs import TailChunk
from skep.model.registry import Registry

__all__ = ["Service", "TailChunk", "Who"]


@dataclass(frozen=True, slots=True)
class Who:
    """Who asks: shown on rows, in the banner and in the journal."""

    name: str
    """``you`` for a person of this user, else the client's own word for itself."""
    read_only: bool = False


class Service(Protocol):
    """An engine as the control server sees it. All methods are called in the engine's event loop."""

    registry: Registry
    folder: Path

    @property
    def durable(self) -> int:
        """Number of the last event that may be published."""

    @property
    def trouble(self) -> str | None:
        """What keeps the engine from writing (disk full), in words; None if all is well."""

    async def published(self, after: int) -> None:
        """Wait until an event after this number is durable."""

    async def records(self, after: int, limit: int) -> Sequence[Record]:
        """Durable events after this number, oldest first, at most ``limit``."""

    async def call(self, request: Request, who: Who) -> Reply:
        """Carry out a verb; returns once its events are durable. Raises SkepError."""

    async def tail(self, agent: str, first: int, limit: int) -> TailChunk:
        """Output of an agent from line ``first`` on (negative: so many from the end), at most ``limit`` lines."""
