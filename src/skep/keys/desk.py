"""Everything that a pool knows about one of its keys: whether it may be used, by whom it is, and how it did."""

from __future__ import annotations

import math
from collections import Counter

from skep.keys.cooldown import Bucket, Episode, Standing
from skep.keys.lease import Lease
from skep.keys.minute import Minute
from skep.keys.outcome import Outcome, OutcomeKind
from skep.keys.secret import Key
from skep.keys.view import KeyState, KeyView
from skep.model.states import Strength

_WEIGHT = 0.2  # of the newest time to first token in the average
_FAILURES = frozenset({OutcomeKind.SERVER, OutcomeKind.CONNECTION, OutcomeKind.UNAUTHORIZED})


class Desk:
    """One key at work. Its pool guards it with a lock; times are monotonic seconds."""

    __slots__ = (
        "_buckets", "_cost", "_failures", "_first_token", "_holders", "_rate_limited", "_requests", "_successes",
        "_tokens", "_unpriced", "cap", "hold", "in_flight", "key", "rotations", "standing",
    )  # fmt: skip

    def __init__(self, key: Key, cap: int | None) -> None:
        self.key = key
        self.cap = cap
        self.hold: Strength | None = None
        """Who is kept from it: everybody (turns), whoever has not used it last (spawns), or nobody."""
        self.in_flight = 0
        self.rotations = 0
        self.standing = Standing()
        self._buckets: dict[str, Bucket] = {}
        self._holders: Counter[str] = Counter()
        self._requests = Minute()
        self._tokens = Minute()
        self._rate_limited = 0
        self._successes = 0
        self._failures = 0
        self._cost = 0
        self._unpriced = False
        self._first_token: float | None = None

    def free_at(self, model: str) -> float:
        """When its last cooldown for this model ends or ended; never mind its cap and quarantine."""
        bucket = self._buckets.get(model)
        return self.standing.until if bucket is None else max(bucket.until, self.standing.until)

    def is_healthy(self, model: str, now: float) -> bool:
        """Whether nothing but its cap stands against using it."""
        return not self.standing.quarantined and self.free_at(model) <= now

    @property
    def has_room(self) -> bool:
        """Whether it is under its cap."""
        return self.cap is None or self.in_flight < self.cap

    def next_end(self, now: float) -> float:
        """When the first of its cooldowns that still run ends; infinite if none does."""
        episodes: tuple[Episode, ...] = (self.standing, *self._buckets.values())
        return min((episode.until for episode in episodes if episode.until > now), default=math.inf)

    def grant(self, lease: Lease) -> None:
        """Begin an attempt."""
        self.in_flight += 1
        self._holders[lease.branch] += 1
        self._requests.add(1, lease.granted_at)

    def release(self, lease: Lease) -> None:
        """End an attempt."""
        self.in_flight -= 1
        self._holders[lease.branch] -= 1
        if not self._holders[lease.branch]:
            del self._holders[lease.branch]

    def judge(self, lease: Lease, outcome: Outcome, granted: int, now: float) -> bool:
        """Take note of how an attempt ended; whether that began a cooldown."""
        self._failures += outcome.kind in _FAILURES
        match outcome.kind:
            case OutcomeKind.OK:
                self._successes += 1
                self.standing.accepted(lease.number)
                if (bucket := self._buckets.get(lease.model)) is not None:
                    bucket.accepted(lease.number)
            case OutcomeKind.RATE_LIMITED:
                self._rate_limited += 1
                bucket = self._buckets.setdefault(lease.model, Bucket())
                return bucket.rate_limited(lease.number, granted, now, outcome.retry_after)
            case OutcomeKind.UNAUTHORIZED:
                return self.standing.unauthorized(lease.number, granted, now)
        return False

    def spend(self, tokens: int, cost: int | None, now: float) -> None:
        """Add to what it has used."""
        self._tokens.add(tokens, now)
        self._cost += cost or 0
        self._unpriced = self._unpriced or cost is None

    def hear(self, seconds: float) -> None:
        """Note how long an attempt took to its first token."""
        before = seconds if self._first_token is None else self._first_token
        self._first_token = before + _WEIGHT * (seconds - before)

    def view(self, now: float, epoch: float) -> KeyView:
        """What people see; ``epoch`` is the epoch time at the monotonic moment 0."""
        state, until, reason, model = self._state(now)
        return KeyView(
            label=self.key.label,
            account=self.key.account,
            fingerprint=self.key.fingerprint,
            state=state,
            until=None if until is None else epoch + until,
            reason=reason,
            model=model,
            in_flight=self.in_flight,
            cap=self.cap,
            requests_minute=self._requests.total(now),
            tokens_minute=self._tokens.total(now),
            rate_limited=self._rate_limited,
            successes=self._successes,
            failures=self._failures,
            rotations=self.rotations,
            cost=self._cost,
            cost_is_lower_bound=self._unpriced,
            first_token=self._first_token,
            holders=dict(self._holders),
        )

    def _state(self, now: float) -> tuple[KeyState, float | None, str, str | None]:
        if self.standing.quarantined:
            return KeyState.QUARANTINED, None, "refused twice (401)", None
        if self.hold is not None:
            return KeyState.HELD, None, f"{self.hold} held", None
        if self.standing.until > now:
            return KeyState.COOLING, self.standing.until, "refused (401)", None
        model = max(self._buckets, key=lambda name: self._buckets[name].until, default=None)
        if model is None or self._buckets[model].until <= now:
            return KeyState.OK, None, "", None
        return KeyState.COOLING, self._buckets[model].until, "rate limited (429)", model
