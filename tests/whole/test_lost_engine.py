"""An open room whose engine is lost says so, sends nothing to it, and comes back by itself."""

from __future__ import annotations

import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from skep.model.holds import SWARM_SCOPE
from skep.model.states import Strength
from skep.model.swarm import SwarmState
from tests.whole.places import Place, running
from tests.whole.terminals import Terminal

WORKER = """#!/bin/sh
echo $1
exec sleep 600
"""
LEAVE = "q leave"


@asynccontextmanager
async def watched(place: Place) -> AsyncIterator[tuple[str, Terminal]]:
    """A swarm of which two agents run and four wait, and a room that is open on it."""
    worker = place.script("worker", WORKER)
    words = ("-c", f"{worker} {{item}}", "-j", "2", "--name", "bees")
    swarm = await place.launch(*words, items=[f"item-{number}" for number in range(1, 7)])
    async with Terminal.of(place, "attach", swarm) as room:
        await room.shows(LEAVE)
        yield swarm, room


def held(state: SwarmState) -> bool:
    return (SWARM_SCOPE, Strength.SPAWNS) in state.latches


async def asked_for(place: Place, swarm: str) -> list[str]:
    """What the journal says that somebody asked for."""
    return [event["kind"] for event in await place.events(swarm) if event.get("who") == "you"]


async def test_a_room_whose_engine_was_killed_goes_on_with_the_next_one(place: Place) -> None:
    async with watched(place) as (swarm, room):
        await place.kill_engine(swarm)
        await room.shows("its engine is gone")
        await room.shows(f"skep recover {swarm} takes it up again")
        room.type("P")
        await room.shows("its engine is gone: nothing is sent")

        await place.skep("recover", swarm)
        await room.shows("the engine is back")
        await room.shows("new spawns held in the swarm")
        assert await asked_for(place, swarm) == []
        async with place.link(swarm) as link:
            with link.registry.read() as state:
                lost = [agent.name for agent in state.agents.values() if agent.state == "lost"]
                assert len(lost) == 2
                assert held(state)
            room.type("P")
            await place.until(link, "the release that was asked for by a key", lambda state: not held(state))
            await place.until(link, "two others at work", lambda state: len(running(state)) == 2)
            assert not set(running(state)) & set(lost)
        room.type("q")
        await room.shows("bees runs on: 2 running")
        assert await room.ends() == 0
        await place.skep("kill", swarm, "--wait")


async def test_what_is_pressed_while_the_engine_stands_still_is_not_done_later(place: Place) -> None:
    async with watched(place) as (swarm, room):
        engine = place.engine(swarm)
        os.kill(engine, signal.SIGSTOP)
        try:
            await room.shows("the engine is silent")
            room.type("P")
            await room.shows("nothing is sent: the engine has not said a word")
        finally:
            os.kill(engine, signal.SIGCONT)
        await room.shows("the engine is back")
        room.type("q")
        await room.shows("bees runs on: 2 running, 4 queued")
        assert await room.ends() == 0
        assert await asked_for(place, swarm) == []
        await place.skep("kill", swarm, "--wait")
