"""What is over the slots waits in line: nobody is refused, and there is never one too many."""

from __future__ import annotations

import json
from collections.abc import Iterable
from itertools import accumulate

from skep.model.states import State
from tests.whole.fifos import Bell, Gate
from tests.whole.places import Place, finished, running

WORKER = """#!/bin/sh
echo begin $1 >> marks
echo $1 > bell
dd if=gate bs=1 count=1 2> /dev/null
echo end $1 >> marks
"""


async def test_fifteen_agents_on_four_slots_all_run_and_never_more_than_four_at_once(place: Place) -> None:
    items = [f"item-{number}" for number in range(15)]
    worker = place.script("worker", WORKER)
    with Gate(place.project / "gate") as gate, Bell(place.project / "bell") as bell:
        words = ("run", "--each-line", "-", "-c", f"{worker} {{item}}", "-j", "4", "--json")
        run = await place.start(*words, feed=True)
        assert run.stdin is not None
        run.stdin.write("\n".join(items).encode())
        run.stdin.close()
        assert {await bell.rings() for _ in range(4)} == set(items[:4])
        (swarm,) = [folder.name for folder in (place.state / "swarms").iterdir()]
        async with place.link(swarm) as link:
            await place.until(link, "four that run", lambda state: len(running(state)) == 4)
            with link.registry.read() as state:
                queued = [agent.name for agent in state.agents.values() if agent.state is State.QUEUED]
        assert queued == items[4:]
        gate.let_through(15)
        done = await finished(run)

    assert done.code == 0, done.err
    document = json.loads(done.out)
    assert [(agent["name"], agent["state"]) for agent in document["agents"]] == [(item, "done") for item in items]

    marks = [line.split() for line in place.read("marks").splitlines()]
    assert sorted(item for what, item in marks if what == "begin") == sorted(items)
    assert _most_at_once(what for what, _ in marks) == 4

    events = await place.events(swarm)
    names = {agent["id"]: agent["name"] for agent in document["agents"]}
    assert [names[event["agent"]] for event in events if event["kind"] == "agent_admitted"] == items
    kinds = {"agent_admitted": "begin", "agent_ended": "end"}
    told = [event for event in events if event["kind"] in kinds and event["agent"] in names]
    assert _most_at_once(kinds[event["kind"]] for event in told) == 4


async def test_branches_take_turns_and_each_keeps_its_own_order(place: Place) -> None:
    items = [*(f"long/{number}" for number in range(6)), *(f"short/{number}" for number in range(2))]
    swarm = await place.launch("-c", "true {item}", "--group", "{dir}", "-j", "1", items=items)
    await place.until_over(swarm)
    names = {f"a{number}": item for number, item in enumerate(items, 1)}
    admitted = [names[event["agent"]] for event in await place.events(swarm) if event["kind"] == "agent_admitted"]
    assert admitted == ["long/0", "short/0", "long/1", "short/1", "long/2", "long/3", "long/4", "long/5"]


def _most_at_once(marks: Iterable[str]) -> int:
    return max(accumulate(1 if mark == "begin" else -1 for mark in marks))
