"""Many programs that flood at once: the engine answers, its memory and its disk hold, and others do not notice."""

from __future__ import annotations

import re
import statistics
import sys

import pytest

from skep.clock import SystemClock
from skep.control.client import SocketLink
from tests.chat.asking import call, delegate, task
from tests.whole.fifos import Bell
from tests.whole.models import goal, serving
from tests.whole.places import Place
from tests.whole.processes import marked, most_memory

PROGRAM = """
import os, signal, sys, time
what = sys.argv[1].partition("-")[0]
if what == "ticks":
    for number in range(100_000):
        os.write(1, b"tick %d\\n" % number)
        time.sleep(0.05)
for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP): signal.signal(number, signal.SIG_IGN)
block = {
    "words": b"flood of words\\n" * 4_000,
    "colours": b"\\x1b[31mred\\x1b[0m \\x1b]0;title\\x07caf\\xc3\\xa9\\n" * 2_000,
    "noise": os.urandom(60_000),
    "line": b"x" * 60_000,
    "blanks": b"\\n" * 60_000,
    "returns": b"50 %\\r" * 10_000,
}[what]
open("bell", "w").write("up\\n")
while True: os.write(1, block)
"""
FLOODS = [f"{kind}-{n}" for n in range(2) for kind in ("words", "colours", "noise", "line", "blanks", "returns")]
TICKS = 40
EVERY = 0.05
"""Seconds between two ticks; it is the program that sleeps."""
BUSY = 5.0
"""How many times longer things may take on a machine that is busy with floods."""
CAP_BYTES = 300_000
MOST_MEMORY = 140_000_000
GRACE = 0.5
SHORT = {"SKEP_GRACE": str(GRACE), "SKEP_TERM_GRACE": str(GRACE), "SKEP_OUTPUT_CAP_BYTES": str(CAP_BYTES)}


@pytest.mark.parametrize("who", ["commands", "tools"])
async def test_a_dozen_floods_leave_the_engine_its_time_its_memory_and_its_power_to_stop_them(
    place: Place, who: str
) -> None:
    command = place.script("program", f"#!{sys.executable} -ISB\n{PROGRAM}")
    names = [*FLOODS, "ticks"]
    slots = str(len(names) + 1)
    with Bell(place.project / "bell") as bell:
        async with serving(place):
            if who == "commands":
                swarm = await place.launch("-c", f"{command} {{item}}", "-j", slots, items=names, **SHORT)
            else:
                tasks = [task(name, call("terminal", command=f"{command} {name}", timeout=600)) for name in names]
                goals = (goal("flood", delegate(*tasks)), "--allow-commands", "-j", slots)
                swarm = await place.launch(*goals, **SHORT)
            for _ in FLOODS:
                assert await bell.rings() == "up"
            async with place.link(swarm) as link:
                await _others_go_on(link)
            assert most_memory(place.engine(swarm)) < MOST_MEMORY
            stopped = await place.json("interrupt", swarm, "--branch", "--wait")
            assert stopped["effective"] is True
            assert marked(swarm) == {}
            await place.engine_left(swarm)
    agents = await place.agents(swarm)
    assert {agents[name]["state"] for name in names} == {"interrupted"}
    await _ended_in_time(place, swarm, [agents[name]["id"] for name in FLOODS])
    # A conversation shows no lines that are blank to the end of what was read: there it is no flood.
    for name in (name for name in FLOODS if who == "commands" or not name.startswith("blanks")):
        _is_capped((place.project / agents[name]["log"]).read_bytes())


async def _others_go_on(link: SocketLink) -> None:
    with link.registry.read() as state:
        (ticker,) = [agent.id for agent in state.agents.values() if agent.name == "ticks"]
    clock = SystemClock()
    waits: list[float] = []
    began = clock.monotonic()
    first = last = (await link.tail(ticker, -1, 1)).total
    while last < first + TICKS:
        asked = clock.monotonic()
        last = (await link.tail(ticker, -1, 1)).total
        waits.append(clock.monotonic() - asked)
    assert clock.monotonic() - began < TICKS * EVERY * BUSY, "who writes little is held up by those who write much"
    assert statistics.median(waits) < 0.1, "the engine answers late"
    assert max(waits) < 2.0


async def _ended_in_time(place: Place, swarm: str, agents: list[str]) -> None:
    asked: dict[str, float] = {}
    took: dict[str, float] = {}
    for event in await place.events(swarm):
        if event["kind"] == "agent_stopping":
            asked.setdefault(event["agent"], event["time"])
        elif event["kind"] == "agent_ended" and event["agent"] in asked:
            took[event["agent"]] = event["time"] - asked[event["agent"]]
    assert max(took[agent] for agent in agents) < 2 * GRACE + 2.0


def _is_capped(log: bytes) -> None:
    """The first bytes are there, and it is said how many are not."""
    assert CAP_BYTES <= len(log) < CAP_BYTES + 200
    (dropped,) = re.findall(rb"\[skep: ([\d,]+) bytes were dropped here, over the cap\]\n$", log)
    assert int(dropped.replace(b",", b"")) > 0
