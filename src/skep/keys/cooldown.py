"""How long something rests after a refusal, and which refusals are one and the same."""

from __future__ import annotations

import math
from dataclasses import dataclass

FIRST = 5.0
"""Seconds of the first cooldown for which the provider named no time; each further one doubles."""

LONGEST = 300.0
"""Seconds of the longest cooldown for which the provider named no time."""

UNAUTHORIZED = 60.0
"""Seconds that a key rests after a 401."""

STRIKES = 2
"""So many refusals of a key in a row, each after a rest, and it is not tried again."""


@dataclass(slots=True)
class Episode:
    """One cooldown: leases up to number ``began_after`` were granted before it began and cannot start another."""

    until: float = -math.inf
    began_after: int = 0

    def covers(self, lease: int) -> bool:
        """Whether a failure of this lease was caused by what the cooldown already answers."""
        return lease <= self.began_after


@dataclass(slots=True)
class Bucket(Episode):
    """What one key knows of the limits for one model."""

    escalation: int = 0

    def rate_limited(self, lease: int, granted: int, now: float, retry_after: float | None) -> bool:
        """Begin a cooldown unless this lease belongs to the last one; ``granted`` leases were granted so far."""
        if self.covers(lease):
            return False
        if retry_after is not None and math.isfinite(retry_after) and retry_after > 0:
            self.until = now + retry_after
        else:
            # A wait of no seconds is none that could be kept: it would be answered with the next refusal.
            self.until = now + min(FIRST * 2.0**self.escalation, LONGEST)
            self.escalation = min(self.escalation + 1, 10)
        self.began_after = granted
        return True

    def accepted(self, lease: int) -> None:
        """Forget the escalation; an answer to a request from before the cooldown proves nothing."""
        if not self.covers(lease):
            self.escalation = 0


@dataclass(slots=True)
class Standing(Episode):
    """Whether the provider takes a key at all."""

    strikes: int = 0
    refused_at: float = -math.inf
    quarantined: bool = False

    def unauthorized(self, lease: int, granted: int, now: float) -> bool:
        """Rest; for the second time in a row, for good. False if the lease belongs to the last refusal."""
        self.refused_at = now
        if self.covers(lease):
            return False
        self.strikes += 1
        self.until = now + UNAUTHORIZED
        self.began_after = granted
        self.quarantined = self.strikes >= STRIKES
        return True

    def accepted(self, lease: int) -> None:
        """The provider does take it."""
        if not self.covers(lease):
            self.strikes = 0

    def pardon(self) -> None:
        """It was not the key: it rests as it would have after one refusal."""
        self.strikes = 0
        self.quarantined = False
