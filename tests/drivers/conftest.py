"""What the tests of drivers share: one warden per test, and permits in the hand of the test."""

from __future__ import annotations

import asyncio
import itertools
import os
from collections.abc import AsyncIterator

import pytest

from skep.errors import Refused
from skep.warden.client import Warden, marked, sweep_markers

_swarms = itertools.count(1)


class Permits:
    """Gives another slot as often as it was told to, and notes what it was asked."""

    def __init__(self) -> None:
        self.slots = 0
        self.asked: list[str] = []

    async def slot(self, agent: str, generation: int, why: str) -> int:
        self.asked.append(why)
        if not self.slots:
            raise Refused("no more tries")
        self.slots -= 1
        return generation + 1


@pytest.fixture
def permits() -> Permits:
    return Permits()


@pytest.fixture
async def warden() -> AsyncIterator[Warden]:
    swarm = f"driver-{os.getpid()}-{next(_swarms)}"
    started = await Warden.start(swarm, os.environ)
    try:
        yield started
        async with asyncio.timeout(12):
            await started.close(grace=0)
        assert marked(swarm) == ()
    finally:
        await sweep_markers(swarm)
