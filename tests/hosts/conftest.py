from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from skep.clock import VirtualClock
from skep.drivers.program import Programs
from skep.hosts.environment import for_tools
from skep.hosts.uncommitted import Git
from skep.warden.client import Warden, marked
from tests.hosts.repositories import Repository, Wire

MakeGit = Callable[..., Git]
MakeRepository = Callable[..., Repository]
CANARY = "sk-canary"
"""What the programs that an operator starts may know, and git may not."""
SWARM = f"hosts-{os.getpid()}"


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock()


@pytest.fixture
def home(tmp_path: Path) -> Path:
    made = tmp_path / "home"
    made.mkdir()
    return made


@pytest.fixture
def repository(tmp_path: Path, home: Path) -> MakeRepository:
    return lambda name="repository", **files: Repository.make(tmp_path / name, home, **files)


@pytest.fixture
def wire(tmp_path: Path) -> Wire:
    return Wire(tmp_path)


@pytest.fixture
async def make_git(clock: VirtualClock, home: Path) -> AsyncIterator[MakeGit]:
    """Makes what is tested, over a real warden; in the end no process of it is left."""
    wardens: list[Warden] = []

    async def warden() -> Warden:
        if not wardens:
            wardens.append(await Warden.start(SWARM, {"KIMI_API_KEY": CANARY, "GIT_DIR": "/somewhere/else"}))
        return wardens[0]

    def make(**env: str) -> Git:
        return Git(Programs(warden), clock, for_tools(os.environ) | {"HOME": str(home)} | env)

    yield make
    for one in wardens:
        await one.close()
    assert marked(SWARM) == ()


@pytest.fixture
async def git(make_git: MakeGit) -> Git:
    return make_git()
