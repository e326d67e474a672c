"""A machine without a free core: whoever works is marked by nobody, and who hangs is found all the same."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.chat.asking import call
from tests.whole.models import goal, serving
from tests.whole.places import Place
from tests.whole.waiting import deadline

AGENTS = 60
AT_LEAST = 20.0
"""Seconds that all of them are at work at the same time."""
LIMITS = {"SKEP_QUIET_AFTER": "4", "SKEP_IDLE_AFTER": "8", "SKEP_IN_TOOL_AFTER": "8"}
"""Far below the real ones, and far above what a turn is silent on a free machine."""


@contextmanager
def burners() -> Iterator[None]:
    """Two programs on each core that do nothing but keep it busy."""
    burning = [
        subprocess.Popen([sys.executable, "-c", "while True: pass"], stdin=subprocess.DEVNULL)
        for _ in range(2 * (os.cpu_count() or 1))
    ]
    try:
        yield
    finally:
        for one in burning:
            one.kill()
            one.wait()


def work(number: int) -> str:
    """Half a minute of tokens, programs that print, and work on files in threads; no two calls are alike."""
    prints = f"for i in $(seq 1 8); do echo {number} $i; sleep 0.5; done"
    steps = [
        {"think": "word " * 40, "say": "word " * 40, "rate": 10, **call("terminal", command=prints)},
        {"say": "word " * 60, "rate": 10, **call("search_files", pattern=f"needle {number}")},
        {"say": "word " * 60, "rate": 10, **call("read_file", path="big.txt", offset=number + 1)},
        {"say": "word " * 60, "rate": 10, **call("list_files", pattern=f"*{number}.txt")},
        {"say": "word " * 20, "rate": 10},
    ]
    return goal(f"work {number}", *steps)


@pytest.mark.full
async def test_on_a_machine_without_a_free_core_only_who_hangs_is_marked(place: Place) -> None:
    (place.project / "big.txt").write_text("a line of a big file\n" * 400_000)
    goals = [work(number) for number in range(AGENTS)]
    async with serving(place) as models:
        with burners():
            swarm = await place.launch(
                *goals, goal("hangs", {"hang": True}), "-j", str(AGENTS + 1), "--allow-commands", "--role", "leaf",
                **LIMITS,
            )  # fmt: skip
            await models.answering(AGENTS + 1)
            began = time.monotonic()
            async with place.link(swarm) as link:

                def fewer(state) -> bool:
                    return sum(agent.slot for agent in state.agents.values()) < 51

                async with deadline("the first of them to end", 240):
                    await link.until(fewer)
            together = time.monotonic() - began
        events = await place.events(swarm)
        await place.skep("kill", swarm, "--branch", "--wait")
    names = {event["agent"]: event["name"] for event in events if event["kind"] == "agent_queued"}
    marked = [
        (names[event["agent"]], event["mark"], event["evidence"])
        for event in events
        if event["kind"] == "agent_marked"
    ]
    print(f"{together:.1f} s with at least 51 of {AGENTS + 1} at work, {len(marked)} marks: {marked}")
    assert together >= AT_LEAST
    assert {name for name, _, _ in marked} == {"hangs"}
    assert [mark for _, mark, _ in marked] == ["quiet", "stale"]
