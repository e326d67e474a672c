"""A disk that takes no more: the swarm waits, says so wherever one looks, and goes on when there is room."""

from __future__ import annotations

import os
import resource
from asyncio import StreamReader

from skep.control.swarms import engine_pid
from skep.journal.verify import verify
from tests.whole.fifos import Bell, Gate
from tests.whole.places import Place, finished
from tests.whole.processes import marked
from tests.whole.waiting import deadline

WORKER = """#!/bin/sh
echo $1 > bell
dd if=gate bs=1 count=1 2> /dev/null
"""
FULL = "the journal cannot be written"


async def test_a_swarm_on_a_full_disk_starts_nothing_says_so_and_goes_on(place: Place) -> None:
    worker = place.script("worker", WORKER)
    words = ("run", *("-c", f"{worker} a"), *("-c", f"{worker} b"), *("-j", "1"), "--headless")
    with Gate(place.project / "gate") as gate, Bell(place.project / "bell") as bell:
        run = await place.start(*words)
        assert await bell.rings() == "a"
        (folder,) = (place.state / "swarms").iterdir()
        engine = engine_pid(folder)
        assert engine is not None
        room = resource.prlimit(engine, resource.RLIMIT_FSIZE)
        full = os.stat(folder / "journal.db-wal").st_size
        resource.prlimit(engine, resource.RLIMIT_FSIZE, (full, room[1]))
        gate.let_through(1)
        assert run.stderr is not None
        await _says(run.stderr, FULL)
        async with deadline("skep tree to say so, too"):
            while FULL not in (await place.skep("tree", folder.name)).err:
                pass  # the next look is a program, which takes its time
        assert "a2" not in marked(folder.name), "it was started although nobody could know of it"

        resource.prlimit(engine, resource.RLIMIT_FSIZE, room)
        assert await bell.rings() == "b"
        await _says(run.stderr, "the journal is written again")
        gate.let_through(1)
        assert (await finished(run)).code == 0
        await place.engine_left(folder.name)
    assert set((await place.states(folder.name)).values()) == {"done"}
    events = await place.events(folder.name)
    assert [event["seq"] for event in events] == list(range(1, verify(folder).rows + 1))


async def _says(stream: StreamReader, words: str) -> None:
    async with deadline(f"{words!r} on standard error"):
        while words not in (line := (await stream.readline()).decode()):
            assert line, f"it ended and did not say {words!r}"
