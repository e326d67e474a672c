"""The room in a real terminal: it opens on a run, lets go of it, comes back, and ends it by keys."""

from __future__ import annotations

from contextlib import suppress

from skep.control.client import SocketLink
from skep.model.events import ROOT
from tests.whole.fifos import Bell, Gate
from tests.whole.places import Place, is_over
from tests.whole.processes import marked
from tests.whole.terminals import ENTER, RIGHT, Terminal
from tests.whole.waiting import deadline

WORKER = """#!/bin/sh
echo $1 > bell
dd if=gate bs=1 count=1 2> /dev/null
"""
LEAVE = "q leave"


async def test_q_leaves_the_swarm_running_and_attach_comes_back_to_end_it(place: Place) -> None:
    worker = place.script("worker", WORKER)
    words = ("run", *("-c", f"{worker} one"), *("-c", f"{worker} two"), "--name", "bees")
    with Gate(place.project / "gate"), Bell(place.project / "bell") as bell:
        async with Terminal.of(place, *words) as room:
            assert {await bell.rings(), await bell.rings()} == {"one", "two"}
            await room.shows(LEAVE)
            (folder,) = (place.state / "swarms").iterdir()
            swarm = folder.name
            room.type("q")
            await room.shows("bees runs on: 2 running")
            await room.shows("skep attach")
            assert await room.ends() == 0
        assert len(marked(swarm)) == 2

        async with place.link(swarm) as link, Terminal.of(place, "attach", SKEP_WINDOW="0") as room:
            await room.shows(LEAVE)
            await interrupt_all(room, link, "X")
            await place.until(link, "the end of the swarm", is_over)
            assert marked(swarm) == {}
            room.type("q")
            await room.shows("bees is over: interrupted")
            assert await room.ends() == 0
        await place.engine_left(swarm)
    assert set((await place.states(swarm)).values()) == {"interrupted"}


async def test_in_the_foreground_q_asks_and_the_room_takes_its_swarm_along(place: Place) -> None:
    worker = place.script("worker", WORKER)
    words = ("run", *("-c", f"{worker} one"), "--foreground", "--name", "bees")
    with Gate(place.project / "gate"), Bell(place.project / "bell") as bell:
        async with Terminal.of(place, *words, SKEP_WINDOW="0") as room:
            await bell.rings()
            await room.shows(LEAVE)
            (folder,) = (place.state / "swarms").iterdir()
            swarm = folder.name
            async with place.link(swarm) as link:
                await interrupt_all(room, link, "q")
                await place.until(link, "the end of the swarm", is_over)
            room.type("q")
            assert await room.ends() == 130
        assert marked(swarm) == {}


async def interrupt_all(room: Terminal, link: SocketLink, key: str) -> None:
    """The stop dialog on the root, and its button."""
    room.type(key)
    await room.shows("Kill at once")
    room.type(RIGHT)
    async with deadline("the stop that was asked for by keys"):
        asked = False
        while not asked:
            room.type(ENTER)  # a dialog that has just opened does not listen to it yet
            with suppress(TimeoutError):
                await link.until(lambda state: state.agents[ROOT].asked_at is not None, 0.5)
                asked = True
