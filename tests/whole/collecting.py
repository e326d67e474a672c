"""A client that writes down every event that an engine tells it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from skep.control.client import SocketLink
from skep.errors import Unreachable
from skep.model.events import Record
from tests.whole.waiting import deadline


class Collected:
    """Events from number 1 on, as they were told."""

    def __init__(self) -> None:
        self.records: list[Record] = []
        self._news = asyncio.Event()

    @property
    def last(self) -> int:
        """Number of the newest one."""
        return self.records[-1].seq if self.records else 0

    async def reaches(self, seq: int) -> None:
        """Wait until this event was told."""
        async with deadline(f"event {seq}"):
            while self.last < seq:
                self._news.clear()
                await self._news.wait()

    @asynccontextmanager
    async def listening(self, link: SocketLink) -> AsyncIterator[None]:
        """Take in what is told within; it ends once no engine is left to tell more."""
        task = asyncio.create_task(self.listen(link))
        try:
            yield
            async with deadline("the link to say that its engine is gone"):
                await task
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def listen(self, link: SocketLink) -> None:
        """Take in what is told, until no engine is left to tell more."""
        try:
            async for record in link.events(self.last):
                self.records.append(record)
                self._news.set()
        except Unreachable:
            return
