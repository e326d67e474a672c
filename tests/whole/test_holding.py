"""A pause loses nothing: what waits keeps its place, over a restart of the engine too."""

from __future__ import annotations

from typing import Any

from skep.model.states import State
from skep.model.swarm import SwarmState
from tests.whole.fifos import Bell, Gate
from tests.whole.places import Place
from tests.whole.processes import marked

WORKER = """#!/bin/sh
echo $1 > bell
dd if=gate bs=1 count=1 2> /dev/null
echo $1 >> order
"""
ITEMS = ["a", "b", "c", "d", "e", "f"]


async def test_what_is_held_starts_in_its_order_once_it_is_released(place: Place) -> None:
    worker = place.script("worker", WORKER)
    with Gate(place.project / "gate") as gate, Bell(place.project / "bell") as bell:
        swarm = await place.launch("-c", f"{worker} {{item}}", "-j", "1", items=ITEMS)
        assert await bell.rings() == "a"
        await place.skep("pause", swarm, "--reason", "lunch", "--wait")
        gate.let_through(len(ITEMS))
        async with place.link(swarm) as link:
            await place.until(link, "the end of a", lambda state: state.agents["a1"].ended)
        waiting = _waiting(await place.agents(swarm))
        assert waiting == {name: ("gate", number) for number, name in enumerate("bcdef", 1)}
        assert place.read("order") == "a\n"

        await place.skep("unpause", swarm)
        await place.until_over(swarm)
    assert place.read("order").split() == ITEMS
    assert await _admitted(place, swarm) == ITEMS


async def test_a_hold_and_its_order_survive_the_death_of_the_engine(place: Place) -> None:
    worker = place.script("worker", WORKER)
    with Gate(place.project / "gate") as gate, Bell(place.project / "bell") as bell:
        swarm = await place.launch("-c", f"{worker} {{item}}", "-j", "2", items=ITEMS)
        assert {await bell.rings(), await bell.rings()} == {"a", "b"}
        await place.skep("pause", swarm, "--reason", "lunch")
        await place.kill_engine(swarm)

        assert (await place.skep("recover", swarm)).out.strip() == swarm
        assert marked(swarm) == {}
        agents = await place.agents(swarm)
        assert _waiting(agents) == {name: ("gate", number) for number, name in enumerate("cdef", 1)}
        assert (agents["a"]["state"], agents["b"]["state"]) == ("lost", "lost")
        async with place.link(swarm) as link:
            with link.registry.read() as state:
                assert [latch.reason for latch in state.latches.values()] == ["lunch"]

        gate.let_through(len(ITEMS))
        await place.skep("unpause", swarm)
        await place.until_over(swarm)
    assert await _admitted(place, swarm) == ITEMS
    states = await place.states(swarm)
    assert list(states) == ITEMS
    assert list(states.values()) == ["lost", "lost", "done", "done", "done", "done"]
    assert sorted(place.read("order").split()) == ["c", "d", "e", "f"]


async def test_a_hold_of_one_branch_leaves_the_others_alone(place: Place) -> None:
    worker = place.script("worker", WORKER)
    items = ["x/1", "y/1", "x/2", "y/2"]
    with Gate(place.project / "gate") as gate, Bell(place.project / "bell") as bell:
        swarm = await place.launch("-c", f"{worker} {{item}}", "--group", "{dir}", "-j", "2", items=items)
        assert {await bell.rings(), await bell.rings()} == {"x/1", "y/1"}
        await place.skep("pause", f"{swarm}/x")
        gate.let_through(len(items))
        async with place.link(swarm) as link:
            await place.until(link, "the end of all that is not held", _only_held_are_left)
            with link.registry.read() as state:
                assert {agent.name for agent in state.agents.values() if agent.state is State.QUEUED} == {"x/2"}
                assert state.agents["g2"].state is State.DONE
        await place.skep("unpause", f"{swarm}/x")
        await place.until_over(swarm)
    assert set((await place.states(swarm)).values()) == {"done"}


async def test_a_hold_may_end_by_itself(place: Place) -> None:
    worker = place.script("worker", WORKER)
    with Gate(place.project / "gate") as gate, Bell(place.project / "bell") as bell:
        swarm = await place.launch("-c", f"{worker} {{item}}", "-j", "1", items=ITEMS)
        await bell.rings()
        await place.skep("pause", swarm, "--for", "0.2")
        gate.let_through(len(ITEMS))
        await place.until_over(swarm)
    assert place.read("order").split() == ITEMS


def _waiting(agents: dict[str, dict[str, Any]]) -> dict[str, tuple[str, int]]:
    return {
        name: (agent["waiting"]["reason"], agent["waiting"]["position"])
        for name, agent in agents.items()
        if agent["waiting"] is not None
    }


async def _admitted(place: Place, swarm: str) -> list[str]:
    names = {f"a{number}": name for number, name in enumerate(ITEMS, 1)}
    return [names[event["agent"]] for event in await place.events(swarm) if event["kind"] == "agent_admitted"]


def _only_held_are_left(state: SwarmState) -> bool:
    return state.slots_used == 0 and sum(agent.state is State.QUEUED for agent in state.agents.values()) == 1
