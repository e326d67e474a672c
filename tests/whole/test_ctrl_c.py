"""Ctrl-C in a terminal asks once what to do, and each answer does what it says."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from skep.control.verbs import Hurry
from skep.model.events import ROOT
from skep.model.states import State
from tests.whole.fifos import Bell, Gate
from tests.whole.places import Place, is_over
from tests.whole.processes import marked
from tests.whole.terminals import CTRL_C, ENTER, Terminal

QUESTION = "[l]eave it running, [i]nterrupt it, [k]ill it"
WORKER = """#!/bin/sh
trap '' $1
echo $1 > bell
dd if=gate bs=1 count=1 2> /dev/null
"""


@asynccontextmanager
async def waited_for(
    place: Place, ignores: str = "HUP", grace: str = "0.3"
) -> AsyncIterator[tuple[Terminal, Gate, str]]:
    """A run with one agent that runs and one that waits, in a terminal; its commands ignore these signals."""
    worker = place.script("worker", WORKER)
    words = ("run", "-c", f"{worker} '{ignores}'", "-c", f"{worker} '{ignores}'", "-j", "1", "--headless")
    with Gate(place.project / "gate") as gate, Bell(place.project / "bell") as bell:
        async with Terminal.of(place, *words, SKEP_GRACE=grace, SKEP_TERM_GRACE="0.3") as terminal:
            await bell.rings()
            await terminal.shows("1 running, 1 queued")
            (folder,) = (place.state / "swarms").iterdir()
            yield terminal, gate, folder.name


async def test_it_can_be_left_and_the_swarm_goes_on(place: Place) -> None:
    async with waited_for(place) as (terminal, gate, swarm):
        terminal.type(CTRL_C)
        await terminal.shows(QUESTION)
        terminal.type("l" + ENTER)
        await terminal.shows(f"left; the swarm goes on: skep attach {swarm}")
        assert await terminal.ends() == 130
        assert len(marked(swarm)) == 1
        gate.let_through(2)
        await place.until_over(swarm)
    assert set((await place.states(swarm)).values()) == {"done"}


@pytest.mark.parametrize(("answer", "end"), [("i", "interrupted"), ("k", "killed")])
async def test_it_can_be_ended_and_is_waited_for(place: Place, answer: str, end: str) -> None:
    async with waited_for(place) as (terminal, _, swarm):
        terminal.type(CTRL_C)
        await terminal.shows(QUESTION)
        terminal.type(answer + ENTER)
        await terminal.shows("asked; waiting until nothing is left")
        assert await terminal.ends() == 130
        assert marked(swarm) == {}
        assert "interrupted: 2 stopped" in terminal.text
    assert set((await place.states(swarm)).values()) == {end}


async def test_enter_goes_on_as_if_nothing_had_been(place: Place) -> None:
    async with waited_for(place) as (terminal, gate, _):
        terminal.type(CTRL_C)
        await terminal.shows(QUESTION)
        terminal.type(ENTER)
        await terminal.shows("1 running, 1 queued")
        terminal.type(CTRL_C)
        await terminal.shows(QUESTION)
        terminal.type(ENTER)
        gate.let_through(2)
        await terminal.shows("done: 2 done")
        assert await terminal.ends() == 0


async def test_a_second_one_instead_of_an_answer_leaves(place: Place) -> None:
    async with waited_for(place) as (terminal, _, swarm):
        terminal.type(CTRL_C)
        await terminal.shows(QUESTION)
        terminal.type(CTRL_C)
        await terminal.shows(f"left; the swarm goes on: skep attach {swarm}")
        assert await terminal.ends() == 130
        async with place.link(swarm) as link:
            with link.registry.read() as state:
                assert not is_over(state)
                assert not state.shuts
        assert len(marked(swarm)) == 1


async def test_a_second_one_while_it_is_ended_leaves_and_what_was_asked_holds(place: Place) -> None:
    async with waited_for(place, ignores="INT TERM", grace="600") as (terminal, _, swarm):
        terminal.type(CTRL_C)
        await terminal.shows(QUESTION)
        terminal.type("i" + ENTER)
        await terminal.shows("interrupt asked")
        terminal.type(CTRL_C)
        await terminal.shows(f"left; the stop goes on: skep attach {swarm}")
        assert await terminal.ends() == 130
        async with place.link(swarm) as link:
            with link.registry.read() as state:
                assert state.agents["a1"].state is State.STOPPING
                assert state.agents["a2"].state is State.INTERRUPTED
            await link.call(Hurry(agent=ROOT, branch=True, kill=True))
            await place.until(link, "the end of the swarm", is_over)
            with link.registry.read() as state:
                assert state.status == "interrupted"
        assert marked(swarm) == {}
