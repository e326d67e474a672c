"""What the engine's tests share: engines that leave nothing behind, and pipes to talk to their commands."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest

from skep.warden.client import marked, sweep_markers
from tests.engine.hive import Hive, Pipe, Watch

MakeHive = Callable[..., Hive]
MakePipe = Callable[[str], Pipe]


@pytest.fixture
async def make_hive(tmp_path: Path) -> AsyncIterator[MakeHive]:
    """Makes engines; at the end none of them, no process of theirs and no descriptor is left."""
    made: list[Hive] = []
    before = len(os.listdir("/proc/self/fd"))

    def make(folder: str | Path = "swarm", kind: type[Hive] = Hive, **options: object) -> Hive:
        made.append(kind(tmp_path / folder, **options))
        return made[-1]

    yield make
    left = {}
    try:
        for hive in made:
            hive.ledger.allow(None)
            await hive.close()
            left[hive.swarm] = marked(hive.swarm)
    finally:
        for hive in made:
            await sweep_markers(hive.swarm)
    assert not any(left.values()), f"processes were left: {left}"
    await asyncio.sleep(0)
    assert len(os.listdir("/proc/self/fd")) <= before, "descriptors were left"


@pytest.fixture
async def hive(make_hive: MakeHive) -> Hive:
    return make_hive()


@pytest.fixture
def pipe(tmp_path: Path) -> Iterator[MakePipe]:
    made: list[Pipe] = []

    def make(name: str) -> Pipe:
        made.append(Pipe(tmp_path / name))
        return made[-1]

    yield make
    for one in made:
        one.close()


@pytest.fixture
def watch() -> Iterator[Callable[..., Watch]]:
    made: list[Watch] = []

    def make(*pids: int) -> Watch:
        made.append(Watch(*pids))
        return made[-1]

    yield make
    for one in made:
        one.close()
