"""What clients see is one and the same, whenever they came, and what the journal says afterwards."""

from __future__ import annotations

import pytest

from skep.clock import SystemClock
from skep.control.archive import ArchiveLink
from skep.control.client import SocketLink
from skep.control.verbs import Done, Pause, Stop, Unpause
from skep.errors import Refused
from skep.model.holds import SWARM_SCOPE
from skep.model.states import State, Strength
from tests.whole.fifos import Bell, Gate
from tests.whole.places import Place, is_over

WORKER = """#!/bin/sh
echo $1 > bell
dd if=gate bs=1 count=1 2> /dev/null
case $1 in *bad*) exit 7 ;; esac
"""


async def test_what_one_client_does_the_others_see_and_all_end_with_the_same_picture(place: Place) -> None:
    worker = place.script("worker", WORKER)
    items = ["x/1", "x/bad", "y/1", "y/2", "y/3"]
    with Gate(place.project / "gate") as gate, Bell(place.project / "bell") as bell:
        words = ("-c", f"{worker} {{item}}", "--group", "{dir}", "-j", "2", "--retries", "1")
        swarm = await place.launch(*words, items=items)
        async with place.link(swarm, "one") as one, place.link(swarm, "two") as two:
            assert {await bell.rings(), await bell.rings()} == {"x/1", "y/1"}
            await one.call(Pause(scope=SWARM_SCOPE, reason="look here"))
            await place.until(
                two, "the other's hold", lambda state: (SWARM_SCOPE, Strength.SPAWNS) in state.latches
            )
            with two.registry.read() as state:
                latch = state.latches[SWARM_SCOPE, Strength.SPAWNS]
            assert (latch.who, latch.reason) == ("one", "look here")

            async with place.link(swarm, "guest", read_only=True) as guest:
                for request in (Unpause(), Pause(), Stop(agent="root", branch=True)):
                    with pytest.raises(Refused):
                        await guest.call(request)
                await _caught_up(place, guest, one)
                assert guest.registry.pages() == one.registry.pages()

            stopped = await two.call(Stop(agent="a1"))
            assert isinstance(stopped, Done)
            await place.until(one, "the other's stop", lambda state: state.agents["a1"].state is State.INTERRUPTED)
            await two.call(Unpause())
            gate.let_through(len(items) + 1)
            async with place.link(swarm, "three") as three:
                for link in (one, two, three):
                    await place.until(link, "the end", is_over)
                pictures = [link.registry.pages() for link in (one, two, three)]
                told = await one.records()
        await place.engine_left(swarm)

    archive = ArchiveLink.open(place.folder(swarm), SystemClock())
    try:
        assert pictures == [archive.registry.pages()] * 3
        assert await archive.records() == told
        with archive.registry.read() as state:
            ends = {agent.name: (agent.state, agent.attempt) for agent in state.agents.values() if agent.attempt}
    finally:
        await archive.close()
    assert ends == {
        "x/1": (State.INTERRUPTED, 1),
        "x/bad": (State.FAILED, 2),
        "y/1": (State.DONE, 1),
        "y/2": (State.DONE, 1),
        "y/3": (State.DONE, 1),
    }


async def _caught_up(place: Place, link: SocketLink, other: SocketLink) -> None:
    await place.until(link, "all that the other one knows", lambda state: state.seq >= other.registry.seq)
