"""How fast money goes, from what this room has seen: a few samples, and new words twice a minute at most."""

from __future__ import annotations

from collections import deque

EVERY = 30.0
"""Seconds between two samples, and so between two rates."""

SAMPLES = 11
"""So many are kept: the rate is that of the last five minutes."""


class Pace:
    """Samples of a sum that grows; the rate is the slope from the oldest to the newest one."""

    def __init__(self) -> None:
        self._samples: deque[tuple[float, int]] = deque(maxlen=SAMPLES)
        self._rate: int | None = None

    def note(self, now: float, total: int) -> int | None:
        """Take in the sum of this moment (monotonic seconds); returns how much it grows in an hour.

        None until two samples are there.
        """
        if not self._samples or now - self._samples[-1][0] >= EVERY:
            self._samples.append((now, total))
            since, first = self._samples[0]
            if now > since:
                self._rate = max(round((total - first) * 3600 / (now - since)), 0)
        return self._rate
