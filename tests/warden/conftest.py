"""What the warden's tests share: a warden per test, and a way to start commands whose output can be waited for."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path

import pytest

from skep.warden.client import Command, Warden, marked, sweep_markers
from tests.warden.support import LIMIT, Output, Start, Watch

_swarms = itertools.count(1)


@pytest.fixture
def swarm() -> str:
    return f"test-{os.getpid()}-{next(_swarms)}"


@pytest.fixture
async def warden(swarm: str) -> AsyncIterator[Warden]:
    started = await Warden.start(swarm, {**os.environ, "BASE": "of all"})
    watch = Watch()
    watch.add(started.pid)
    try:
        yield started
        async with asyncio.timeout(LIMIT):
            await started.close(grace=0)
        assert not watch.living()
        assert marked(swarm) == ()
    finally:
        await sweep_markers(swarm)
        watch.close()


@pytest.fixture
def watch() -> Iterator[Watch]:
    with contextlib.closing(Watch()) as made:
        yield made


@pytest.fixture
async def start(warden: Warden, tmp_path: Path) -> AsyncIterator[Start]:
    """Starts a command with a pipe for its output, of which the test holds the reading end only."""
    outputs = []

    async def start(
        argv: Sequence[str], agent: str = "bee", env: dict[str, str] | None = None
    ) -> tuple[Command, Output]:
        output = Output()
        outputs.append(output)
        async with asyncio.timeout(LIMIT):
            command = await warden.run(agent, argv, cwd=str(tmp_path), env=env or {}, output=output.writing)
        output.close_writing()
        return command, output

    yield start
    for output in outputs:
        output.close()
