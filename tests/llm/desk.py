"""An agent's side of a turn, for tests: who hears, where it sits, and the keys it has."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field

from skep.clock import VirtualClock
from skep.keys import Key, Pool, Secret
from skep.llm.client import ModelClient
from skep.llm.failure import AttemptFailed
from skep.llm.messages import Delta, Message, Turn
from skep.llm.turn import Cutoff, complete
from skep.model.states import WaitReason
from skep.providers import Prices, Provider

CANARY = "sk-canary-7c1e9f"
"""What every key of these tests begins with, and nothing that people see may contain."""


@dataclass
class Ear:
    """Keeps what it hears."""

    keys: list[str] = field(default_factory=list)
    deltas: list[Delta] = field(default_factory=list)
    failures: list[AttemptFailed] = field(default_factory=list)
    partials: list[str] = field(default_factory=list)
    some: asyncio.Event = field(default_factory=asyncio.Event)
    failed: asyncio.Event = field(default_factory=asyncio.Event)

    def attempt(self, key: str) -> None:
        self.keys.append(key)

    def delta(self, delta: Delta) -> None:
        self.deltas.append(delta)
        self.some.set()

    def struck(self, failure: AttemptFailed, partial: str, key: str) -> None:
        assert key == self.keys[-1]
        self.failures.append(failure)
        self.partials.append(partial)
        self.failed.set()


@dataclass
class Stool:
    """A seat whose waits are kept."""

    waits: list[tuple[WaitReason, str]] = field(default_factory=list)
    waits_now: asyncio.Event = field(default_factory=asyncio.Event)

    def waiting(self, reason: WaitReason, detail: str) -> AbstractAsyncContextManager[None]:
        return self._waiting(reason, detail)

    async def turn(self) -> None:
        """Nobody holds it."""

    async def held(self) -> str:
        return ""

    async def holds_slot(self) -> bool:
        return True

    @asynccontextmanager
    async def _waiting(self, reason: WaitReason, detail: str) -> AsyncIterator[None]:
        self.waits.append((reason, detail))
        self.waits_now.set()
        try:
            yield
        finally:
            self.waits_now.clear()


class Desk:
    """One agent with a client, ``keys`` keys and a clock that stands still."""

    def __init__(self, url: str, *, keys: int = 2, max_concurrency: int | None = None) -> None:
        self.clock = VirtualClock()
        self.provider = Provider(base_url=url, prices={"small": Prices(input=1.0, output=2.0)})
        self.client = ModelClient(user_agent=lambda agent: f"skep/0 (agent: {agent}; swarm: s)", clock=self.clock)
        self.pool = Pool(
            "sim",
            url,
            [key(number) for number in range(1, keys + 1)],
            self.clock,
            max_concurrency=max_concurrency,
            seed=7,
        )
        self.ear = Ear()
        self.stool = Stool()
        self.cutoff = Cutoff()

    async def complete(self, *messages: Message) -> Turn:
        return await complete(
            self.client,
            self.pool,
            self.provider,
            "small",
            messages or (Message("user", "Say hello"),),
            (),
            agent="a1",
            branch="b1",
            seat=self.stool,
            hears=self.ear,
            clock=self.clock,
            cutoff=self.cutoff,
        )

    async def sleeps(self) -> None:
        """Until somebody waits for the clock."""
        await until(lambda: self.clock.sleepers > 0)

    @property
    def in_flight(self) -> int:
        return sum(view.in_flight for view in self.pool.snapshot().keys)


async def until(condition: Callable[[], bool]) -> None:
    """Let everything else run until it is so."""
    for _ in range(100_000):
        if condition():
            return
        await asyncio.sleep(0)
    raise AssertionError("it never came to that")


def key(number: int = 1) -> Key:
    return Key(f"sim-{number}", Secret(f"{CANARY}-{number}"))


@asynccontextmanager
async def desk(url: str, *, keys: int = 2, max_concurrency: int | None = None) -> AsyncIterator[Desk]:
    """A desk at which nothing is left when the test ends: no lease and no task."""
    before = asyncio.all_tasks()
    made = Desk(url, keys=keys, max_concurrency=max_concurrency)
    yield made
    await made.client.aclose()
    for _ in range(3):  # for those that have been cancelled to end
        await asyncio.sleep(0)
    assert made.in_flight == 0
    left = [task for task in asyncio.all_tasks() - before if "skep" in repr(task.get_coro())]
    assert not left
