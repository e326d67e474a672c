"""The way to one client: put into words when it is its turn, and sent at the pace at which it takes it."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from skep.clock import Clock
from skep.control.channel import Channel
from skep.control.service import Service
from skep.control.turns import Account, Turns
from skep.control.words import Words

T = TypeVar("T")


STRANGER_SECONDS: Final = 2.0
"""So long a client has been there before what it uses is counted apart from that of others who came just now."""


@dataclass(frozen=True, slots=True)
class Common:
    """What all clients of an engine have in common."""

    service: Service
    clock: Clock
    turns: Turns
    words: Words


class Outlet:
    """Whatever is done for one client goes through here, so that it can be counted and waited for."""

    def __init__(self, channel: Channel, turns: Turns, clock: Clock) -> None:
        self._channel = channel
        self._turns = turns
        self._clock = clock
        self._came_at = clock.monotonic()
        self._own: Account | None = None

    @property
    def _account(self) -> Account:
        if self._own is None and self._clock.monotonic() - self._came_at >= STRANGER_SECONDS:
            self._own = Account()
        return self._own or self._turns.strangers

    @property
    def wrote_at(self) -> float:
        """When the last frame was written, in seconds of the monotonic clock."""
        return self._channel.wrote_at

    def turn(self, *, small: bool = False) -> AbstractAsyncContextManager[None]:
        """This client's next turn, for a piece of work without an await in it."""
        return self._turns.turn(self._account, small=small)

    async def metered(self, work: Coroutine[Any, Any, T]) -> T:
        """The result of work that was begun in a turn and takes longer."""
        return await self._turns.metered(self._account, work)

    async def tell(self, words: Callable[[], bytes], *, small: bool = True) -> None:
        """Send what ``words`` says when it is this one's turn. Raises Unreachable if it is not taken in time."""
        async with self.turn(small=small):
            frame = words()
        await self._channel.write(frame)

    async def write(self, frame: bytes) -> None:
        """Send a frame that is put together already."""
        await self._channel.write(frame)
