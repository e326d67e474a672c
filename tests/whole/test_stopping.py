"""Stop means stopped: once it is said to be effective, nothing of it is left."""

from __future__ import annotations

import sys
from contextlib import ExitStack

import pytest

from tests.whole.fifos import Bell, Gate
from tests.whole.places import Place
from tests.whole.processes import Held, marked, most_memory

WORKER = """#!/bin/sh
echo $1 > bell
dd if=gate bs=1 count=1 2> /dev/null
"""

PREAMBLE = """
import os, signal, sys
def ring(): open("bell", "w").write(f"{sys.argv[0]} {os.getpid()}\\n")
def stay():
    while True: signal.pause()
"""
STUBBORN = """
for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP): signal.signal(number, signal.SIG_IGN)
ring()
stay()
"""
FAMILY = """
for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP): signal.signal(number, signal.SIG_IGN)
if os.fork() == 0:
    os.setsid()
    if os.fork(): os._exit(0)
ring()
stay()
"""
FLOOD = """
signal.signal(signal.SIGINT, signal.SIG_IGN)
block = (b"flood " * 20 + b"\\n") * 1_000
for _ in range(FLOOD_BYTES // len(block)): os.write(1, block)
ring()
while True: os.write(1, block)
"""
FLOOD_BYTES = 150_000_000
CAP_BYTES = 100_000
MOST_MEMORY = 140_000_000


async def test_an_interrupted_branch_ends_with_what_it_holds_and_its_siblings_go_on(place: Place) -> None:
    worker = place.script("worker", WORKER)
    items = ["x/1", "x/2", "x/3", "x/4", "y/1", "y/2"]
    with Gate(place.project / "gate") as gate, Bell(place.project / "bell") as bell, ExitStack() as stack:
        swarm = await place.launch("-c", f"{worker} {{item}}", "--group", "{dir}", "-j", "4", items=items)
        assert {await bell.rings() for _ in range(4)} == {"x/1", "x/2", "y/1", "y/2"}
        await place.skep("pause", f"{swarm}/x", "--wait")
        agents = await place.agents(swarm)
        of_x = [stack.enter_context(Held(pid)) for name in ("x/1", "x/2") for pid in agents[name]["pids"]]
        of_y = [stack.enter_context(Held(pid)) for name in ("y/1", "y/2") for pid in agents[name]["pids"]]
        assert (len(of_x), len(of_y)) == (2, 2)
        marks = {name: agents[name]["id"] for name in items}
        assert set(marked(swarm)) == {marks[name] for name in ("x/1", "x/2", "y/1", "y/2")}

        assert (await place.json("interrupt", f"{swarm}/x", "--branch", "--wait"))["effective"] is True
        assert [held.lives for held in of_x] == [False, False]
        assert [held.lives for held in of_y] == [True, True]
        assert set(marked(swarm)) == {marks["y/1"], marks["y/2"]}
        states = await place.states(swarm)
        assert [states[name] for name in ("x", *items)] == ["interrupted"] * 5 + ["running"] * 2

        gate.let_through(2)
        await place.until_over(swarm)
    events = await place.events(swarm)
    ends = {event["agent"]: event["state"] for event in events if event["kind"] == "agent_ended"}
    assert [ends[agent] for agent in (marks["y/1"], marks["y/2"], agents["y"]["id"])] == ["done"] * 3
    started = [event["agent"] for event in events if event["kind"] == "agent_admitted"]
    assert sorted(started) == sorted(marks[name] for name in ("x/1", "x/2", "y/1", "y/2"))


async def test_a_kill_ends_what_will_not_end_and_keeps_memory_and_disk_in_bounds(place: Place) -> None:
    zoo = {"stubborn": (STUBBORN, 1), "family": (FAMILY, 2), "flood": (FLOOD, 1)}
    python = f"#!{sys.executable} -ISB\n"
    commands = [place.script(name, python + PREAMBLE + _sized(program)) for name, (program, _) in zoo.items()]
    words = [word for command in commands for word in ("-c", command)]
    with Bell(place.project / "bell") as bell, ExitStack() as stack:
        swarm = await place.launch(*words, SKEP_TERM_GRACE="0.3", SKEP_OUTPUT_CAP_BYTES=str(CAP_BYTES))
        rung = [(await bell.rings()).split() for _ in range(sum(count for _, count in zoo.values()))]
        assert sorted(name for name, _ in rung) == ["./family", "./family", "./flood", "./stubborn"]
        held = [stack.enter_context(Held(int(pid))) for _, pid in rung]
        assert all(one.lives for one in held)
        memory = most_memory(place.engine(swarm))

        assert (await place.json("kill", swarm, "--wait"))["effective"] is True
        assert not any(one.lives for one in held)
        assert marked(swarm) == {}
    await place.engine_left(swarm)
    assert marked(swarm) == {}
    agents = (await place.agents(swarm)).values()
    assert {agent["state"] for agent in agents} == {"killed"}
    assert memory < MOST_MEMORY

    (flood,) = [agent for agent in agents if agent["name"] == "./flood"]
    log = place.read(flood["log"])
    assert log.startswith("flood flood")
    said = log[CAP_BYTES:]
    assert said.endswith("bytes were dropped here, over the cap]\n")
    dropped = int(said.split("[skep: ")[1].split()[0].replace(",", ""))
    assert dropped >= FLOOD_BYTES - CAP_BYTES
    ends = {event["agent"]: event for event in await place.events(swarm) if event["kind"] == "agent_ended"}
    assert ends[flood["id"]]["size"] == dropped + CAP_BYTES


@pytest.mark.parametrize("verb", ["interrupt", "kill"])
async def test_each_verb_climbs_the_ladder_no_further_than_it_must(place: Place, verb: str) -> None:
    polite = "#!/bin/sh\ntrap 'echo asked by INT; exit 3' INT\ntrap 'echo told by TERM; exit 4' TERM\n"
    command = place.script("polite", f"{polite}echo here > bell\nwhile :; do read line < gate; done\n")
    with Gate(place.project / "gate"), Bell(place.project / "bell") as bell:
        swarm = await place.launch("-c", command)
        await bell.rings()
        await place.skep(verb, swarm, "--wait")
    await place.engine_left(swarm)
    (agent,) = (await place.agents(swarm)).values()
    assert (agent["state"], agent["exit_code"]) == {"interrupt": ("interrupted", 3), "kill": ("killed", 4)}[verb]
    assert place.read(agent["log"]) == {"interrupt": "asked by INT\n", "kill": "told by TERM\n"}[verb]


async def test_a_stop_of_what_still_waits_means_that_it_never_ran(place: Place) -> None:
    worker = place.script("worker", WORKER)
    with Gate(place.project / "gate") as gate, Bell(place.project / "bell") as bell:
        swarm = await place.launch("-c", f"{worker} {{item}}", "-j", "1", items=["a", "b", "c"])
        assert await bell.rings() == "a"
        assert (await place.json("kill", f"{swarm}/b", "--wait"))["agents"] == ["a2"]
        gate.let_through(3)
        assert await bell.rings() == "c"
        await place.until_over(swarm)
    agents = await place.agents(swarm)
    assert {name: agent["state"] for name, agent in agents.items()} == {"a": "done", "b": "killed", "c": "done"}
    assert agents["b"]["seconds"] is None


def _sized(program: str) -> str:
    return program.replace("FLOOD_BYTES", str(FLOOD_BYTES))
