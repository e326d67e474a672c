"""The progress clock of one agent: how long nothing of it has changed, without the time that it waited."""

from __future__ import annotations

from collections.abc import Callable

from skep.clock import Clock


class Progress:
    """Runs from the last change on, and stands while the agent waits for somebody else.

    A wait takes nothing back: what was silent before it counts on after it.
    """

    def __init__(self, clock: Clock, moved: Callable[[], None]) -> None:
        """``moved`` is called at each change."""
        self._clock = clock
        self._told = moved
        self._silent = 0.0
        self._since: float | None = clock.monotonic()
        self.at = clock.time()
        """When it last changed, epoch seconds."""
        self.moves = 0
        """How often it has changed."""

    @property
    def idle(self) -> float:
        """Seconds without a change and without a wait."""
        return self._silent + (self._clock.monotonic() - self._since if self._since is not None else 0.0)

    def moved(self) -> None:
        """Something changed: a token, output of a tool, the next step of the agent."""
        self.at = self._clock.time()
        self.moves += 1
        self._silent = 0.0
        if self._since is not None:
            self._since = self._clock.monotonic()
        self._told()

    def stand(self) -> None:
        """It waits for somebody else from now on; again is harmless."""
        self._silent = self.idle
        self._since = None

    def go_on(self) -> None:
        """It works again; again is harmless."""
        if self._since is None:
            self._since = self._clock.monotonic()
