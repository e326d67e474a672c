"""A command that has to wait for the engine says for what, and then what came of it."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from skep.control.server import ControlServer
from skep.control.swarms import describe
from skep.journal import FolderLock
from skep.paths import private_dir, socket_path
from tests.control.listed import ListService, born, runs
from tests.whole.places import Place, finished

SWARM = "s-1"
FULL = "the journal cannot be written: No space left on device (make room on that disk)"


@asynccontextmanager
async def engine_of(place: Place) -> AsyncIterator[ListService]:
    """An engine in this very process, whose verbs wait as long as the test wants."""
    folder = _made(place)
    with FolderLock(folder):
        service = ListService(folder)
        service.happens(*born(), *runs("a1"))
        server = await ControlServer.start(service, socket_path(folder))
        try:
            yield service
        finally:
            await server.close()


def _made(place: Place) -> Path:
    private_dir(place.state / "swarms")
    folder = private_dir(place.folder(SWARM))
    describe(folder, SWARM, "migrate", time.time(), str(place.project))
    return folder


@pytest.mark.parametrize("words", [("pause", SWARM), ("pause", f"{SWARM}/a1", "--reason", "lunch", "--json")])
async def test_on_a_full_disk_a_verb_says_what_it_waits_for(place: Place, words: tuple[str, ...]) -> None:
    async with engine_of(place) as service:
        service.gate.clear()
        service.trouble = FULL
        command = await place.start(*words)
        assert command.stderr is not None
        said = await command.stderr.readline()
        assert said.decode() == f"skep: still waiting: {FULL}\n"
        service.trouble = None
        said = await command.stderr.readline()
        assert said == b"skep: still waiting: the engine has not answered yet\n"
        service.gate.set()
        done = await finished(command)
        assert done.code == 0
        assert done.err == ""
        assert "held" in done.out or '"seq": 8' in done.out


async def test_a_verb_that_is_answered_at_once_says_nothing_of_waiting(place: Place) -> None:
    async with engine_of(place):
        assert (await place.skep("pause", SWARM)).err == ""
