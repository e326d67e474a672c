"""How fast money goes, from what this room has seen: a few samples, and new words twice a minute at most."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping

EVERY = 30.0
"""Seconds between two samples, and so between two rates."""

SAMPLES = 11
"""So many are kept: the rate is that of the last five minutes."""


class Pace:
    """Samples of what each branch has cost; its rate is the slope from the oldest to the newest one."""

    def __init__(self) -> None:
        self._samples: deque[tuple[float, Mapping[str, int]]] = deque(maxlen=SAMPLES)

    def note(self, now: float, costs: Callable[[], Mapping[str, int]]) -> None:
        """Take in what branches have cost up to this moment (monotonic seconds), if it is time for it.

        Branches that have cost nothing may be left out.
        """
        if not self._samples or now - self._samples[-1][0] >= EVERY:
            self._samples.append((now, costs()))

    def hourly(self, agent: str) -> int | None:
        """How much the cost of this branch grows in an hour; None until two samples are there."""
        if len(self._samples) < 2:
            return None
        (since, first), (until, last) = self._samples[0], self._samples[-1]
        return max(round((last.get(agent, 0) - first.get(agent, 0)) * 3600 / (until - since)), 0)
