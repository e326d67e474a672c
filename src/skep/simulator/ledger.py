"""What the simulator handed out, on which key, and which connections are open: the other side of every account."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from enum import StrEnum

from skep.simulator.behaviour import Json
from skep.simulator.openai import Usage

CLOSINGS_KEPT = 20_000


class Outcome(StrEnum):
    """How a request ended; each is a count of the account of its key."""

    COMPLETED = "completed"
    RATE_LIMITED = "rate_limited"
    REFUSED = "refused"
    FAILED = "failed"
    ABANDONED = "abandoned"


@dataclass(slots=True)
class KeyAccount:
    """What happened on one key. Every request ends in exactly one of the counts below, or is still open."""

    requests: int = 0
    open: int = 0
    """Requests that are being answered."""
    most_open: int = 0
    completed: int = 0
    """Answers of which the last byte, and so the usage, was handed to the network."""
    rate_limited: int = 0
    refused: int = 0
    """Other errors of the request: 4xx."""
    failed: int = 0
    """5xx, and streams that broke off on this side."""
    abandoned: int = 0
    """Answers during which the client closed the connection."""
    tokens_in: int = 0
    """Of completed answers, as are the other tokens."""
    tokens_out: int = 0
    cached: int = 0

    def document(self) -> dict[str, Json]:
        """Return it for JSON."""
        return {each.name: getattr(self, each.name) for each in fields(self)}


@dataclass(frozen=True, slots=True)
class Closing:
    """A connection that the client closed."""

    at: float
    """Seconds since the epoch."""
    key: str
    """The key of its last request; empty if there was none."""
    answering: bool
    """Whether an answer was under way."""


@dataclass(slots=True)
class Ledger:
    """The counts of a simulator; keys go by their labels."""

    keys: dict[str, KeyAccount] = field(default_factory=dict)
    unauthorized: int = 0
    """Requests without a key that is known: 401."""
    connections: int = 0
    """Connections that are open."""
    most_connections: int = 0
    accepted: int = 0
    """Connections there ever were."""
    first_request_at: float | None = None
    """Seconds since the epoch."""
    closings: deque[Closing] = field(default_factory=lambda: deque(maxlen=CLOSINGS_KEPT))
    """The latest connections that were closed by the client, oldest first."""
    _watchers: list[tuple[Callable[[Ledger], bool], asyncio.Future[None]]] = field(
        default_factory=list, repr=False
    )

    @property
    def open(self) -> int:
        """Requests that are being answered now."""
        return sum(account.open for account in self.keys.values())

    @property
    def tokens_in(self) -> int:
        """Prompt tokens of all completed answers."""
        return sum(account.tokens_in for account in self.keys.values())

    @property
    def tokens_out(self) -> int:
        """Tokens of all completed answers."""
        return sum(account.tokens_out for account in self.keys.values())

    @property
    def completed(self) -> int:
        """Completed answers."""
        return sum(account.completed for account in self.keys.values())

    async def until(self, condition: Callable[[Ledger], bool]) -> None:
        """Return as soon as the condition holds for the ledger; it is asked after every change."""
        if condition(self):
            return
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._watchers.append((condition, future))
        await future

    def document(self) -> dict[str, Json]:
        """Return everything for JSON."""
        return {
            "keys": {label: account.document() for label, account in self.keys.items()},
            "open": self.open,
            "completed": self.completed,
            "tokens_in": self.tokens_in,
            "tokens_out": self.tokens_out,
            "unauthorized": self.unauthorized,
            "connections": self.connections,
            "most_connections": self.most_connections,
            "accepted": self.accepted,
            "first_request_at": self.first_request_at,
            "closings": [{"at": each.at, "key": each.key, "answering": each.answering} for each in self.closings],
        }

    def reset(self) -> None:
        """Begin to count anew; what is open stays open."""
        for account in self.keys.values():
            for each in fields(account):
                setattr(account, each.name, 0 if each.name not in ("open", "most_open") else account.open)
        self.unauthorized = 0
        self.accepted = self.most_connections = self.connections
        self.closings.clear()
        self.first_request_at = None
        self.changed()

    def account(self, label: str) -> KeyAccount:
        """Return the account of a key."""
        return self.keys.setdefault(label, KeyAccount())

    def began(self, label: str) -> None:
        """A request with this key came in."""
        account = self.account(label)
        if self.first_request_at is None:
            self.first_request_at = time.time()
        account.requests += 1
        account.open += 1
        account.most_open = max(account.most_open, account.open)
        self.changed()

    def ended(self, label: str, outcome: Outcome, usage: Usage | None = None) -> None:
        """A request has ended; `usage` is that of a completed answer."""
        account = self.account(label)
        account.open -= 1
        setattr(account, outcome.value, getattr(account, outcome.value) + 1)
        if usage is not None:
            account.tokens_in += usage.tokens_in
            account.tokens_out += usage.tokens_out
            account.cached += usage.cached
        self.changed()

    def connected(self) -> None:
        """A connection was opened."""
        self.accepted += 1
        self.connections += 1
        self.most_connections = max(self.most_connections, self.connections)
        self.changed()

    def disconnected(self, key: str, *, at: float, by_client: bool, answering: bool) -> None:
        """A connection has closed, at that moment (seconds since the epoch)."""
        self.connections -= 1
        if by_client:
            self.closings.append(Closing(at, key, answering))
        self.changed()

    def changed(self) -> None:
        """Ask the conditions that somebody waits for."""
        for watcher in list(self._watchers):
            condition, future = watcher
            if future.done() or condition(self):
                self._watchers.remove(watcher)
                if not future.done():
                    future.set_result(None)
