"""What a key may do: requests at once, requests and tokens in a minute, and storms that refuse it everything."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from skep.simulator.refusals import Refusal

MINUTE = 60.0
_CONCURRENCY_WAIT = 1.0
"""Seconds that a key at its cap is told to wait; when a request will end nobody knows."""


@dataclass(frozen=True, slots=True)
class Storm:
    """From the request of this number on (1 is the key's first), the key answers 429 for so many seconds."""

    from_request: int
    seconds: float
    tells: bool = True
    """Whether the answers carry Retry-After."""


@dataclass(frozen=True, slots=True)
class KeyLimits:
    """The limits of one key; None: there is none."""

    concurrency: int | None = None
    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    """Tokens in and out; at the door only those of the prompt count, as nobody knows yet those of the answer."""
    storms: Sequence[Storm] = ()


class Window:
    """Amounts of the last minute, which slides."""

    def __init__(self, limit: int, seconds: float) -> None:
        self.limit = limit
        self._seconds = seconds
        self._entries: deque[tuple[float, int]] = deque()
        self._used = 0

    def used(self, now: float) -> int:
        """Return the sum over the window."""
        while self._entries and self._entries[0][0] <= now - self._seconds:
            self._used -= self._entries.popleft()[1]
        return self._used

    def add(self, now: float, amount: int) -> None:
        """Count an amount, also one that goes over the limit."""
        if amount:
            self._entries.append((now, amount))
            self._used += amount

    def wait(self, now: float, amount: int) -> float:
        """Return the seconds until so much more fits: 0 if it does now, the whole window if it never will."""
        excess = self.used(now) + amount - self.limit
        if excess <= 0:
            return 0.0
        for at, entry in self._entries:
            excess -= entry
            if excess <= 0:
                return max(0.0, at + self._seconds - now)
        return self._seconds


class Gate:
    """The door of one key. Times are seconds of a clock that never goes back, all durations already sped up."""

    def __init__(self, limits: KeyLimits, speed: float = 1.0) -> None:
        self.limits = limits
        self.open = 0
        self._speed = speed
        self._requests = 0
        self._refused_until = -math.inf
        self._told = True
        minute = MINUTE / speed
        self._windows: dict[str, Window] = {}
        if limits.requests_per_minute is not None:
            self._windows["requests"] = Window(limits.requests_per_minute, minute)
        if limits.tokens_per_minute is not None:
            self._windows["tokens"] = Window(limits.tokens_per_minute, minute)

    def enter(self, now: float, tokens_in: int) -> None:
        """Let a request in; `leave` follows once.

        Raises: Refusal (429) with Retry-After.
        """
        self._requests += 1
        for storm in self.limits.storms:
            if storm.from_request == self._requests:
                self._refused_until = max(self._refused_until, now + storm.seconds / self._speed)
                self._told = storm.tells
        if now < self._refused_until:
            raise self._refusal(
                "requests", "too many requests", self._refused_until - now if self._told else None, now
            )
        cap = self.limits.concurrency
        if cap is not None and self.open >= cap:
            wait = _CONCURRENCY_WAIT / self._speed
            raise self._refusal("concurrency", f"max concurrency reached: {cap} requests at once", wait, now)
        amounts = {"requests": 1, "tokens": tokens_in}
        for kind, window in self._windows.items():
            wait = window.wait(now, amounts[kind])
            if wait > 0:
                message = (
                    f"limit {window.limit} {kind} per minute, used {window.used(now)}, requested {amounts[kind]}"
                )
                raise self._refusal(kind, message, wait, now)
        for kind, window in self._windows.items():
            window.add(now, amounts[kind])
        self.open += 1

    def leave(self, now: float, tokens_out: int) -> None:
        """The request has ended; its answer had so many tokens."""
        self.open -= 1
        if "tokens" in self._windows:
            self._windows["tokens"].add(now, tokens_out)

    def headers(self, now: float) -> dict[str, str]:
        """Return the limits, what is left of them, and when all of it is back."""
        headers: dict[str, str] = {}
        for kind, window in self._windows.items():
            headers[f"x-ratelimit-limit-{kind}"] = str(window.limit)
            headers[f"x-ratelimit-remaining-{kind}"] = str(max(0, window.limit - window.used(now)))
            headers[f"x-ratelimit-reset-{kind}"] = go_duration(window.wait(now, window.limit))
        return headers

    def _refusal(self, kind: str, message: str, wait: float | None, now: float) -> Refusal:
        headers = self.headers(now) | (retry_after(wait) if wait is not None else {})
        return Refusal(429, message, kind=kind, code="rate_limit_exceeded", headers=headers)


def retry_after(seconds: float) -> dict[str, str]:
    """Return the headers that ask for a wait: whole seconds, never less than meant, and exact milliseconds."""
    return {"retry-after": str(math.ceil(seconds)), "retry-after-ms": str(math.ceil(seconds * 1000))}


def go_duration(seconds: float) -> str:
    """Return a duration as OpenAI writes it: `120ms`, `1.5s`, `6m0s`.

    >>> go_duration(0.12), go_duration(1.5), go_duration(360)
    ('120ms', '1.5s', '6m0s')
    """
    if seconds < 1:
        return f"{math.ceil(seconds * 1000)}ms"
    if seconds < 60:
        return f"{math.ceil(seconds * 1000) / 1000:g}s"
    minutes, rest = divmod(math.ceil(seconds), 60)
    return f"{minutes}m{rest}s"
