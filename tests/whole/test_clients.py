"""What clients see is one and the same, whenever they came, and what the journal says afterwards."""

from __future__ import annotations

import asyncio
import json

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


async def test_commands_and_rooms_that_act_on_one_agent_at_once_are_all_told_the_truth(place: Place) -> None:
    worker = place.script("worker", WORKER)
    with Gate(place.project / "gate"), Bell(place.project / "bell") as bell:
        swarm = await place.launch("-c", f"{worker} {{item}}", "-j", "1", items=["x", "y"])
        assert await bell.rings() == "x"
        async with place.link(swarm, "one") as one, place.link(swarm, "two") as two:
            agent, other = "a1", "a2"
            words = (
                ("pause", f"{swarm}/{other}"),
                ("unpause", f"{swarm}/{other}"),
                ("interrupt", f"{swarm}/{agent}"),
            )
            commands = [asyncio.create_task(place.skep(*verb, "--json")) for verb in words]
            answers = await asyncio.gather(
                one.call(Pause(scope=other, reason="one")),
                two.call(Unpause(scope=other)),
                one.call(Stop(agent=agent)),
                two.call(Stop(agent=agent, how="kill")),
            )
            seqs = [answer.seq for answer in answers if isinstance(answer, Done)]
            seqs += [json.loads(done.out)["seq"] for done in await asyncio.gather(*commands)]
            assert len(seqs) == len(answers) + len(words)
            await place.until(one, "the stop", lambda state: state.agents[agent].ended)
            await _caught_up(place, one, two)
            await _caught_up(place, two, one)
            records = await one.records()
            kinds = {record.seq: record.event.kind for record in records}
            # Whatever anybody was told of is in the journal, and nothing else of that kind is.
            holds = [seq for seq, kind in kinds.items() if kind in ("latch_closed", "latch_opened")]
            assert set(holds) <= set(seqs)
            assert {seq for seq in seqs if seq} <= set(kinds)
            with one.registry.read() as state:
                last = kinds[max(holds)]
                assert ((other, Strength.SPAWNS) in state.latches) is (last == "latch_closed")
                assert state.agents[agent].state in (State.INTERRUPTED, State.KILLED)
            if one.registry.seq == two.registry.seq:
                assert one.registry.pages() == two.registry.pages()
        await place.skep("kill", swarm, "--wait")


async def _caught_up(place: Place, link: SocketLink, other: SocketLink) -> None:
    await place.until(link, "all that the other one knows", lambda state: state.seq >= other.registry.seq)
