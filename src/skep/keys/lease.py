"""The right to one HTTP attempt with one key, held until its stream is closed."""

from __future__ import annotations

from types import TracebackType
from typing import Protocol, Self

from skep.keys.outcome import Outcome
from skep.keys.secret import Key


class Owner(Protocol):
    """What a lease tells its pool. All of it may be called from any thread."""

    def reported(self, lease: Lease, outcome: Outcome) -> None:
        """The attempt ended so; only the first report of a lease counts."""

    def released(self, lease: Lease) -> None:
        """The attempt is over; only the first release of a lease counts."""

    def heard(self, lease: Lease) -> None:
        """The first token arrived; only the first one of a lease counts."""

    def spent(self, lease: Lease, tokens_in: int, tokens_out: int, cost: int | None) -> None:
        """The attempt used so much."""


class Lease:
    """One attempt with one key. Every method is synchronous and may be called from any thread.

    ``with lease:`` releases it. ``report`` and ``release`` count once however often they are called, and each
    counts without the other.
    """

    __slots__ = (
        "_owner", "agent", "branch", "granted_at", "has_heard", "is_released", "is_reported", "key", "model",
        "number",
    )  # fmt: skip

    def __init__(
        self, owner: Owner, key: Key, model: str, agent: str, branch: str, *, granted_at: float, number: int
    ) -> None:
        self._owner = owner
        self.key = key
        self.model = model
        self.agent = agent
        self.branch = branch
        self.granted_at = granted_at
        """Seconds of the pool's monotonic clock."""
        self.number = number
        """1 for the first lease that its pool ever granted, and so on."""
        # The pool sets these under its lock.
        self.is_reported = False
        self.is_released = False
        self.has_heard = False

    @property
    def label(self) -> str:
        """The label of its key."""
        return self.key.label

    def report(self, outcome: Outcome) -> None:
        """Say how the attempt ended: this key, and no other, is blamed or praised."""
        self._owner.reported(self, outcome)

    def first_token(self) -> None:
        """Say that the first token has arrived."""
        self._owner.heard(self)

    def used(self, tokens_in: int, tokens_out: int, cost: int | None) -> None:
        """Add to what the key has used: tokens, and micro-dollars or None where the price is unknown."""
        self._owner.spent(self, tokens_in, tokens_out, cost)

    def release(self) -> None:
        """Give the key's place to the next attempt."""
        self._owner.released(self)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()

    def __repr__(self) -> str:
        return f"<lease {self.number} of {self.label} for {self.agent}>"
