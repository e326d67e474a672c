"""What every driver offers to the host that runs it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from skep.model.agent import Live
from skep.model.logs import TailChunk
from skep.model.permits import Ended, Permits, Pulse
from skep.model.states import StopStep

Running = Callable[[int, tuple[int, ...]], None]
"""Told when an agent runs: its generation and its main processes."""


class Driver(Protocol):
    """One run of one agent; made by the host, ended by itself or down the ladder."""

    generation: int

    async def run(self, permits: Permits, running: Running) -> Ended:
        """Run to the end; returns when nothing of the agent is left. Never raises but CancelledError."""

    def stop(self, step: StopStep) -> None:
        """Carry out a rung of the ladder; returns at once."""

    async def pulse(self) -> Pulse:
        """The heartbeat: is its own process or task there, does it answer, and for how long has nothing moved?"""

    def steer(self, note: str, who: str) -> None:
        """Put a note of somebody's before the model at its next turn; returns at once.

        What becomes of it is told by the pulse, and as a message of the conversation once it is delivered. Raises
        Refused where there is no model to read it.
        """

    def diagnosis(self) -> str | None:
        """What it was doing, for whoever has to explain its end; None where there is nothing to add.

        Called once, when :meth:`run` has returned or raised.
        """

    def live(self) -> Live:
        """The figures that its row shows."""

    def tail(self, first: int, limit: int) -> TailChunk:
        """Its output from line ``first`` on (negative: from the end)."""

    def left(self) -> str:
        """What is still there after a kill, in words (pids and their state); empty if nothing is known."""
