"""How long a request may take before it counts as failed."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Clocks:
    """Limits in seconds of the injected clock."""

    connect: float = 10.0
    """Until the connection stands, TLS included."""
    first_event: float = 120.0
    """Until the first event of the answer; reasoning models may need 300 s."""
    byte: float = 60.0
    """Without a byte, once the first event was there."""
    progress: float = 180.0
    """Without an event that adds to the answer; comments that keep the line alive do not."""
    attempt: float = 600.0
    """For one request as a whole."""
    turn: float = 1800.0
    """For all requests of one turn together; waits for keys and between attempts do not count."""
    linger: float = 2.0
    """For the end of the stream once the answer is complete, so that its connection can be used again."""

    def __post_init__(self) -> None:
        if not all(limit > 0 for limit in self.limits()):
            raise ValueError("every clock needs a limit above zero")

    def limits(self) -> tuple[float, ...]:
        """All limits."""
        return (
            self.connect,
            self.first_event,
            self.byte,
            self.progress,
            self.attempt,
            self.turn,
            self.linger,
        )
