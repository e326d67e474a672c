"""What a pool looks like at one moment: for the keys panel, ``skep keys`` and JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from skep.model.events import Json


class KeyState(StrEnum):
    """Whether a key may be used."""

    OK = "ok"
    COOLING = "cooling"
    """Not before ``until``."""
    HELD = "held"
    """Somebody holds its account."""
    QUARANTINED = "quarantined"
    """Not again in this process: the provider does not take it."""


@dataclass(frozen=True, slots=True)
class KeyView:
    """One key at one moment; counts are since the process began."""

    label: str
    account: str
    """Its quota group."""
    fingerprint: str
    state: KeyState
    until: float | None
    """When its longest cooldown ends, in seconds since the epoch."""
    reason: str
    """Why it is not ok, in words; empty while it is."""
    model: str | None
    """The model that it cools for; None for all of them."""
    in_flight: int
    cap: int | None
    """Most requests at once; None where nobody knows."""
    requests_minute: int
    """Attempts that began in the last minute."""
    tokens_minute: int
    """Tokens in and out that were reported in the last minute."""
    rate_limited: int
    """Answers with 429."""
    successes: int
    failures: int
    """5xx, cut or refused connections, and 401; neither 429 nor faults of the request."""
    rotations: int
    """Attempts that moved on to another key after this one failed."""
    cost: int
    """Micro-dollars."""
    cost_is_lower_bound: bool
    """Some of what it used had no known price."""
    first_token: float | None
    """Seconds until the first token, averaged over recent attempts."""
    holders: Mapping[str, int]
    """Branch → attempts of it that are in flight."""

    def document(self) -> dict[str, Json]:
        """The same as plain JSON."""
        return {
            "label": self.label,
            "account": self.account,
            "fingerprint": self.fingerprint,
            "state": self.state.value,
            "until": self.until,
            "reason": self.reason,
            "model": self.model,
            "in_flight": self.in_flight,
            "cap": self.cap,
            "requests_minute": self.requests_minute,
            "tokens_minute": self.tokens_minute,
            "rate_limited": self.rate_limited,
            "successes": self.successes,
            "failures": self.failures,
            "rotations": self.rotations,
            "cost_usd": self.cost / 1_000_000,
            "cost_is_lower_bound": self.cost_is_lower_bound,
            "first_token_seconds": self.first_token,
            "holders": dict(self.holders),
        }


@dataclass(frozen=True, slots=True)
class PoolView:
    """One pool at one moment."""

    provider: str
    endpoint: str
    at: float
    """When this was so, in seconds since the epoch."""
    keys: tuple[KeyView, ...]
    waiters: int
    """Attempts that wait for a key."""
    oldest_wait: float | None
    """Seconds that the first of them has waited."""

    def document(self) -> dict[str, Json]:
        """The same as plain JSON."""
        return {
            "provider": self.provider,
            "endpoint": self.endpoint,
            "at": self.at,
            "keys": [key.document() for key in self.keys],
            "waiters": self.waiters,
            "oldest_wait": self.oldest_wait,
        }
