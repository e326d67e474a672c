"""What passes between an engine and a host: what to run, what happened, and what an agent must ask for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from skep.model.agent import Live
from skep.model.events import Json
from skep.model.logs import TailChunk
from skep.model.states import DriverKind, State, StopStep


@dataclass(frozen=True, slots=True)
class Assignment:
    """One agent to run; ``generation`` fences off what an earlier run of it may still say."""

    agent: str
    generation: int
    driver: DriverKind
    spec: dict[str, Json]
    output: str
    """Path of the file that keeps its output."""


@dataclass(frozen=True, slots=True)
class Started:
    """The agent runs; ``pids`` are its main processes (none for drivers without)."""

    agent: str
    generation: int
    pids: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Ended:
    """The agent has ended and nothing of it is left: request, task, processes.

    ``state`` is what the driver saw (``done``, ``failed``); a stop that is under way decides over it.
    """

    agent: str
    generation: int
    state: State
    exit_code: int | None = None
    signal: int | None = None
    error: str | None = None
    result: str | None = None
    live: Live | None = None


@dataclass(frozen=True, slots=True)
class Left:
    """After the last rung of the ladder something is still there; ``evidence`` names it (pids, their state)."""

    agent: str
    generation: int
    evidence: str


@dataclass(frozen=True, slots=True)
class Pulse:
    """One answer to the heartbeat: is the agent's own task or process there, and how long has nothing moved?"""

    agent: str
    generation: int
    alive: bool
    idle: float
    """Seconds since its last progress, on the host's monotonic clock."""


Report = Started | Ended | Left


class Permits(Protocol):
    """What an agent may not decide for itself; plain values in and out, so that a call could cross a wire."""

    async def slot(self, agent: str, generation: int, why: str) -> int:
        """Give the slot back and wait at the front of the line for a new one.

        Returns the new generation.

        Raises:
            Refused: it may not try again (the branch is stopping, or the swarm fails fast).
            asyncio.CancelledError: it was stopped while it waited.
        """


class Host(Protocol):
    """Where agents run. The engine submits and controls; it pulls reports and acknowledges them."""

    async def submit(self, assignment: Assignment) -> None:
        """Start an agent; what happens comes as reports."""

    async def control(self, agent: str, generation: int, step: StopStep) -> None:
        """Carry out a rung of the stop ladder; unknown or ended agents are ignored."""

    async def pull(self, ack: int) -> tuple[int, Sequence[Report]]:
        """Wait for reports after number ``ack``; returns the number of the last one and all of them."""

    def news(self) -> list[tuple[str, Live]]:
        """Live figures that changed since the last call."""

    async def pulses(self) -> Sequence[Pulse]:
        """The heartbeat of every agent that runs here."""

    def tail(self, agent: str, first: int, limit: int) -> TailChunk | None:
        """Output of an agent that runs here (see :class:`TailChunk`); None for any other."""

    async def close(self) -> None:
        """End everything that still runs and wait until it is gone."""
