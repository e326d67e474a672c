"""A pause holds, loses nothing, ends when it should, and survives the engine."""

from __future__ import annotations

from pathlib import Path

import pytest

from skep.errors import NotFound, Refused
from skep.model.events import AgentAdmitted, LatchClosed, LatchOpened
from skep.model.states import State, Strength
from tests.engine.conftest import MakeHive, MakePipe
from tests.engine.hive import Hive, command, group, patient, shell


async def _admitted(hive: Hive) -> list[str]:
    return [event.agent for event in hive.events(AgentAdmitted)]


async def test_a_pause_holds_what_has_not_begun_and_leaves_what_has(hive: Hive, pipe: MakePipe):
    gate = pipe("gate")
    await hive.launch(*(shell(f"a{n}", f"read x < {gate.path}") for n in range(4)), slots=2)
    await hive.are(State.RUNNING, "a0", "a1")
    await hive.pause()
    gate.let_go(2)
    await hive.are(State.DONE, "a0", "a1")
    assert hive.held() == ["a2", "a3"]
    assert await _admitted(hive) == ["a0", "a1"]
    await hive.unpause()
    await hive.are(State.RUNNING, "a2", "a3")
    gate.let_go(2)
    await hive.over()
    assert await _admitted(hive) == ["a0", "a1", "a2", "a3"]


async def test_a_pause_of_a_branch_holds_that_branch_and_its_place_in_line(hive: Hive, pipe: MakePipe):
    gate = pipe("gate")
    line = f"read x < {gate.path}"
    asks = [shell("x", line), group("g"), *(shell(f"g{n}", line, "g") for n in range(3)), shell("z", line)]
    await hive.launch(*asks, slots=1, run=False)
    await hive.pause("g")
    hive.run()
    assert (hive.positions(), hive.held()) == (["z"], ["g0", "g1", "g2"])
    gate.let_go(1)
    await hive.are(State.RUNNING, "z")
    assert hive.agent("g0").state is State.QUEUED
    await hive.unpause("g")
    gate.let_go(4)
    await hive.over()
    assert await _admitted(hive) == ["x", "z", "g0", "g1", "g2"]


async def test_latches_are_independent_and_the_same_one_twice_is_one(hive: Hive):
    await hive.launch(group("g"), patient("a", parent="g"), slots=1)
    for scope in ("", "root", "g", "g"):
        await hive.pause(scope)
    await hive.engine.pause("", Strength.TURNS, "later", "you", None)
    for scope in ("root", ""):
        assert await hive.unpause(scope)
    assert not await hive.unpause("")
    with hive.registry.read() as state:
        assert set(state.latches) <= {("g", Strength.SPAWNS), ("", Strength.TURNS)}
    await hive.unpause("g")
    await hive.engine.unpause("", Strength.TURNS, "you")
    await hive.kill("a")
    await hive.over()


async def test_a_pause_for_some_time_ends_by_itself(hive: Hive):
    await hive.launch(patient("a"), command("b", "true"), slots=1)
    await hive.pause(seconds=60)
    await hive.kill("a")
    await hive.are(State.KILLED, "a")
    await hive.pass_time(59.9)
    assert hive.held() == ["b"]
    await hive.pass_time(0.2)
    await hive.over()
    assert hive.agent("b").state is State.DONE
    assert hive.events(LatchOpened) == [LatchOpened("", Strength.SPAWNS, "its end time")]


async def test_pausing_again_moves_the_end_and_no_old_end_opens_the_new_latch(hive: Hive):
    await hive.launch(patient("a"), command("b", "true"), slots=1)
    await hive.pause(seconds=10)
    await hive.pause(seconds=100)
    await hive.pass_time(50)
    assert hive.held() == ["b"]
    await hive.pause()
    await hive.pass_time(500)
    assert hive.held() == ["b"]
    await hive.pause(seconds=5)
    await hive.unpause()
    await hive.pause(reason="again")
    await hive.pass_time(50)
    assert hive.held() == ["b"]
    assert len(hive.events(LatchOpened)) == 1


async def test_what_cannot_be_paused_says_why_and_leaves_no_trace(hive: Hive):
    await hive.launch(command("a", "true"), patient("b"))
    await hive.are(State.DONE, "a")
    seq = hive.registry.seq
    with pytest.raises(NotFound):
        await hive.pause("nobody")
    with pytest.raises(Refused, match="has ended"):
        await hive.pause("a")
    assert hive.registry.seq == seq
    await hive.kill("b")
    await hive.over()
    with pytest.raises(Refused, match="swarm has ended"):
        await hive.pause()
    assert not hive.events(LatchClosed)


async def test_a_latch_ends_with_its_branch(hive: Hive):
    await hive.launch(group("g"), patient("a", "g"), patient("b"))
    await hive.pause("g", seconds=1_000)
    await hive.kill("g", branch=True)
    await hive.are(State.KILLED, "g")
    with hive.registry.read() as state:
        assert not state.latches
    await hive.are(State.RUNNING, "b")
    await hive.pass_time(2_000)
    assert hive.agent("b").state is State.RUNNING
    assert not hive.events(LatchOpened)


async def test_a_pause_survives_the_engine_and_so_does_the_order(make_hive: MakeHive, tmp_path: Path):
    hive = make_hive()
    asks = [group("g"), *(command(f"g{n}", "true", parent="g") for n in range(3)), group("h")]
    await hive.launch(*asks, *(command(f"h{n}", "true", parent="h") for n in range(3)), slots=1, run=False)
    await hive.pause("h", reason="not yet")
    order = (hive.positions(), hive.held())
    pages = hive.registry.pages()
    folder = await hive.die(tmp_path / "left")
    again = make_hive(folder)
    assert again.registry.pages() == pages
    assert (again.positions(), again.held()) == order == (["g1", "g2"], ["h0", "h1", "h2"])
    await again.recover(go=True)
    await again.are(State.DONE, "g1", "g2")
    assert again.held() == ["h0", "h1", "h2"]
    await again.unpause("h")
    await again.over()
    assert await _admitted(again) == ["g0", "g1", "g2", "h0", "h1", "h2"]
