"""``skep attach`` on a swarm whose engine died says what is left and asks; nothing is taken up by itself."""

from __future__ import annotations

import pytest

from skep.control.swarms import engine_pid
from tests.whole.places import Place
from tests.whole.terminals import ENTER, Terminal

WORKER = """#!/bin/sh
case $1 in quick) exit 0 ;; esac
exec sleep 600
"""
QUESTION = "enter takes it up again, held   r only looks at it   q leaves it:"
LEAVE = "q leave"


async def dead(place: Place) -> str:
    """A swarm of which one agent has ended, two ran and three waited when its engine was killed."""
    worker = place.script("worker", WORKER)
    items = ["quick", "x1", "x2", "y1", "y2", "y3"]
    swarm = await place.launch("-c", f"{worker} {{item}}", "-j", "2", "--name", "bees", items=items)
    async with place.link(swarm) as link:
        await place.until(link, "two at work", lambda state: state.slots_used == 2 and state.agents["a1"].ended)
    await place.kill_engine(swarm)
    return swarm


async def asked(terminal: Terminal) -> None:
    for words in ("(bees) has died", "the last that it wrote down is of", "ago", "2 ran, and are lost"):
        await terminal.shows(words)
    await terminal.shows("3 wait, and will be held")
    await terminal.shows("1 has ended")
    await terminal.shows(QUESTION)


async def test_enter_takes_it_up_held(place: Place) -> None:
    swarm = await dead(place)
    async with Terminal.of(place, "attach", swarm) as room:
        await asked(room)
        assert engine_pid(place.folder(swarm)) is None
        room.type("what?\r")
        await room.shows(QUESTION)
        room.type(ENTER)
        await room.shows("new spawns held in the swarm")
        await room.shows(LEAVE)
        assert engine_pid(place.folder(swarm)) is not None
        room.type("q")
        assert await room.ends() == 0
    states = await place.states(swarm)
    assert sorted(states.values()) == ["done", "lost", "lost", "queued", "queued", "queued"]
    await place.skep("kill", swarm, "--wait")


@pytest.mark.parametrize("answer", ["q\r", "\x04"], ids=["q", "the end of the input"])
async def test_q_leaves_it_as_it_is(place: Place, answer: str) -> None:
    swarm = await dead(place)
    before = await place.events(swarm)
    async with Terminal.of(place, "attach") as terminal:
        await asked(terminal)
        terminal.type(answer)
        assert await terminal.ends() == 0
    assert engine_pid(place.folder(swarm)) is None
    assert await place.events(swarm) == before


async def test_r_looks_at_it_and_changes_nothing(place: Place) -> None:
    swarm = await dead(place)
    before = await place.events(swarm)
    async with Terminal.of(place, "attach", swarm) as room:
        await asked(room)
        room.type("r\r")
        await room.shows("its engine is gone")
        await room.shows(LEAVE)
        room.type("P")
        await room.shows("looked at from its journal: nothing can change")
        room.type("q")
        await room.ends()
    assert engine_pid(place.folder(swarm)) is None
    assert await place.events(swarm) == before


@pytest.mark.parametrize("option", ["--yes", "--go"])
async def test_who_has_decided_is_not_asked(place: Place, option: str) -> None:
    swarm = await dead(place)
    async with Terminal.of(place, "attach", swarm, option) as room:
        await room.shows("a new one has taken it up")
        await room.shows(LEAVE)
        assert QUESTION not in room.text
        room.type("q")
        assert await room.ends() == 0
    held = {event["reason"] for event in await place.events(swarm) if event["kind"] == "latch_closed"}
    assert bool(held) is (option == "--yes")
    await place.skep("kill", swarm, "--wait")


async def test_without_a_terminal_it_is_an_error_and_nothing_is_taken_up(place: Place) -> None:
    swarm = await dead(place)
    done = await place.skep("attach", swarm, code=2)
    assert "not a terminal" in done.err
    assert engine_pid(place.folder(swarm)) is None
