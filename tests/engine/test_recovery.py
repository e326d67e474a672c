"""A new engine on a dead one's folder: what ran is lost, what was stopping has stopped, what waited waits."""

from __future__ import annotations

from pathlib import Path

import pytest

from skep.errors import NotFound, Refused
from skep.model.events import AgentAdmitted, AgentQueued, EngineStarted, LatchClosed, LatchOpened, SwarmEnded
from skep.model.states import State, Strength
from tests.engine.conftest import MakeHive, MakePipe
from tests.engine.hive import Hive, command, ends, group, patient, shell
from tests.kills.mutants import ForgetsLatches


async def _dead(hive: Hive, tmp_path: Path) -> Path:
    return await hive.die(tmp_path / "left")


def _ends(hive: Hive) -> dict[str, State]:
    return {agent: end.state for agent, end in ends(hive.records()).items()}


async def test_what_ran_is_lost_and_what_waited_keeps_its_place(
    make_hive: MakeHive, pipe: MakePipe, tmp_path: Path
):
    hive, gate = make_hive(), pipe("gate")
    asks = [group("g"), *(shell(f"g{n}", f"read x < {gate.path}", "g") for n in range(3)), patient("a")]
    await hive.launch(*asks, *(command(f"b{n}", "true") for n in range(3)), slots=2)
    await hive.are(State.RUNNING, "g0", "a")
    order = hive.positions()
    again = make_hive(await _dead(hive, tmp_path))
    await again.recover()
    assert _ends(again) == {"g0": State.LOST, "a": State.LOST}
    assert again.agent("a").error == "its engine died while it ran"
    assert again.held() == order == ["b0", "b1", "b2", "g1", "g2"]
    assert again.agent("g").state is State.WAITING
    assert again.living() == ()
    assert again.events(EngineStarted)[-1].recovered
    await again.unpause()
    gate.let_go(2)
    await again.over()
    assert [event.agent for event in again.events(AgentAdmitted)] == ["g0", "a", *order]
    assert again.status() == "failed"


async def test_nothing_restarts_by_itself_unless_it_is_asked_for(make_hive: MakeHive, tmp_path: Path):
    hive = make_hive()
    await hive.launch(command("a", "true"), command("b", "true"), slots=1, run=False)
    folder = await _dead(hive, tmp_path)
    again = make_hive(folder)
    await again.recover()
    assert again.held() == ["b"]
    with again.registry.read() as state:
        latch = state.latches["", Strength.SPAWNS]
    assert (latch.who, latch.until) == ("recovery", None)
    await again.pass_time(1e6)
    assert again.held() == ["b"]
    await again.close()
    third = make_hive(folder)
    await third.recover(go=True)
    await third.over()
    assert _ends(third)["b"] is State.DONE


async def no_hold_is_forgotten(make_hive: MakeHive, tmp_path: Path, **options: object) -> None:
    hive = make_hive()
    await hive.launch(group("g"), patient("g0", "g"), patient("a"), command("b", "true"), slots=2)
    await hive.are(State.RUNNING, "g0", "a")
    for scope, strength in (("g", Strength.SPAWNS), ("b", Strength.TURNS), ("", Strength.TURNS)):
        await hive.engine.pause(scope, strength, f"{scope} has to wait", "you", 3600)
    with hive.registry.read() as state:
        before = dict(state.latches)
    again = make_hive(await _dead(hive, tmp_path), **options)
    await again.recover(run=False)
    with again.registry.read() as state:
        del before["g", Strength.SPAWNS]  # its group has ended, with all that it held
        assert {key: latch for key, latch in state.latches.items() if latch.who != "recovery"} == before


async def test_no_hold_is_forgotten(make_hive: MakeHive, tmp_path: Path):
    await no_hold_is_forgotten(make_hive, tmp_path)


async def test_the_check_catches_a_recovery_that_forgets_holds(make_hive: MakeHive, tmp_path: Path):
    with pytest.raises(AssertionError):
        await no_hold_is_forgotten(make_hive, tmp_path, engine=ForgetsLatches)


async def test_recovering_twice_is_recovering_once(make_hive: MakeHive, tmp_path: Path):
    hive = make_hive()
    asks = [group("g"), patient("g0", "g"), patient("g1", "g"), patient("a"), command("b", "true")]
    await hive.launch(*asks, slots=2)
    await hive.are(State.RUNNING, "g0", "a")
    await hive.pause("g", reason="not yet")
    folder = await _dead(hive, tmp_path)
    views = []
    for _ in range(3):
        again = make_hive(folder)
        await again.recover(run=False)
        with again.registry.read() as state:
            holds = dict(state.latches), dict(state.shuts)
        views.append((again.states(), again.held(), again.positions(), holds))
        await again.close()
    assert views[0] == views[1] == views[2]
    assert len(make_hive(folder).events(LatchClosed)) == 2


async def test_a_try_that_waited_for_its_slot_is_made_by_the_next_engine(
    make_hive: MakeHive, pipe: MakePipe, tmp_path: Path
):
    hive, gate = make_hive(), pipe("gate")
    await hive.launch(shell("a", f"read x < {gate.path}; exit 1", retries=1), patient("b"), slots=1)
    await hive.are(State.RUNNING, "a")
    await hive.pause()
    gate.let_go()
    await hive.are(State.WAITING, "a")
    again = make_hive(await _dead(hive, tmp_path))
    await again.recover()
    assert again.held() == ["a", "b"]
    assert again.agent("a").detail == "try 2 of 2 after exit 1"
    await again.unpause()
    await again.are(State.RUNNING, "a")
    gate.let_go()
    await again.are(State.FAILED, "a")
    assert again.agent("a").attempt == 2


async def test_what_was_stopping_ends_with_its_cause(make_hive: MakeHive, pipe: MakePipe, tmp_path: Path):
    hive, marks = make_hive(), pipe("marks")
    stay = f"trap '' INT TERM; echo > {marks.path}; while :; do sleep 600; done"
    asks = [group("g"), shell("g0", stay, "g"), patient("g1", "g"), shell("a", stay), shell("t", stay, timeout=5)]
    await hive.launch(*asks, patient("b"), slots=3)
    for _ in range(3):
        await marks.line()
    await hive.interrupt("g", branch=True)
    await hive.kill("a")
    await hive.pass_time(5.1)
    await hive.until(lambda state: state.agents["t"].state is State.STOPPING)
    assert hive.agent("g").state is State.STOPPING
    again = make_hive(await _dead(hive, tmp_path))
    await again.recover()
    assert _ends(again) == {
        "g1": State.INTERRUPTED,
        "g0": State.INTERRUPTED,
        "g": State.INTERRUPTED,
        "a": State.KILLED,
        "t": State.TIMED_OUT,
    }
    assert again.agent("g0").error == "interrupted by you"
    assert again.agent("t").error == "timed out after 5s"
    assert again.held() == ["b"]


async def test_a_stop_whose_window_was_open_goes_on(make_hive: MakeHive, tmp_path: Path):
    hive = make_hive()
    await hive.launch(group("g"), patient("g0", "g"), patient("g1", "g"), command("b", "true"), slots=1)
    await hive.are(State.RUNNING, "g0")
    await hive.interrupt("g", branch=True, window=5)
    again = make_hive(await _dead(hive, tmp_path))
    await again.recover()
    assert _ends(again) == {"g0": State.LOST, "g1": State.INTERRUPTED, "g": State.FAILED}
    with pytest.raises(Refused):
        await again.engine.take_back("g", "you")
    assert again.held() == ["b"]
    await again.unpause()
    await again.over()


async def test_a_hold_with_an_end_keeps_its_end_and_the_swarm_stays_held(make_hive: MakeHive, tmp_path: Path):
    hive = make_hive()
    await hive.launch(patient("x"), group("g"), command("g0", "true", parent="g"), command("b", "true"), slots=1)
    await hive.are(State.RUNNING, "x")
    await hive.pause("g", seconds=100, reason="until noon")
    await hive.pause(seconds=50, reason="lunch")
    await hive.pass_time(20)
    again = make_hive(await _dead(hive, tmp_path))
    again.clock.advance(20)
    await again.recover()
    with again.registry.read() as state:
        whole, branch = state.latches["", Strength.SPAWNS], state.latches["g", Strength.SPAWNS]
    assert (whole.who, whole.until) == ("recovery", None)
    assert "lunch" in whole.reason
    assert branch.reason == "until noon"
    await again.pass_time(79)
    assert not again.events(LatchOpened)
    await again.pass_time(1.1)
    await again.until(lambda state: ("g", Strength.SPAWNS) not in state.latches)
    assert again.held() == ["g0", "b"]
    await again.unpause()
    await again.over()


async def test_a_hold_whose_end_is_past_opens_at_once_but_not_the_swarm(make_hive: MakeHive, tmp_path: Path):
    hive = make_hive()
    await hive.launch(patient("x"), command("b", "true"), slots=1)
    await hive.are(State.RUNNING, "x")
    await hive.pause(seconds=5)
    folder = await _dead(hive, tmp_path)
    again = make_hive(folder)
    again.clock.advance(1e6)
    await again.recover()
    await again.pass_time(1)
    assert again.held() == ["b"]
    await again.close()
    third = make_hive(folder)
    third.clock.advance(1e6)
    await third.recover(go=True)
    await third.over()


async def test_an_agent_that_was_being_started_is_lost_and_was_never_two(make_hive: MakeHive, tmp_path: Path):
    hive = make_hive()
    await hive.launch(command("a", "true"), command("b", "true"), slots=1, run=False)
    again = make_hive(await _dead(hive, tmp_path))
    await again.recover(go=True)
    await again.over()
    assert _ends(again)["a"] is State.LOST
    assert _ends(again)["b"] is State.DONE


async def test_when_everything_ran_nothing_is_left_to_do(make_hive: MakeHive, tmp_path: Path):
    hive = make_hive()
    await hive.launch(group("g"), patient("a", "g"), patient("b"))
    await hive.are(State.RUNNING, "a", "b")
    again = make_hive(await _dead(hive, tmp_path))
    await again.recover()
    await again.over()
    assert again.status() == "failed"


async def test_a_swarm_that_has_ended_stays_as_it_is(make_hive: MakeHive, tmp_path: Path):
    hive = make_hive()
    await hive.launch(command("a", "true"))
    await hive.over()
    pages = hive.registry.pages()
    again = make_hive(await _dead(hive, tmp_path))
    await again.recover()
    await again.over()
    assert again.registry.pages() == pages
    assert len(again.events(SwarmEnded)) == 1


async def test_a_folder_without_a_swarm_is_not_recovered(hive: Hive):
    with pytest.raises(NotFound):
        await hive.recover()
    assert hive.records() == []


async def test_a_swarm_is_launched_once(make_hive: MakeHive, tmp_path: Path):
    hive = make_hive()
    await hive.launch(command("a", "true"), run=False)
    count = len(hive.records())
    with pytest.raises(Exception, match="created once"):
        await hive.launch(command("b", "true"))
    assert len(hive.records()) == count
    assert [event.agent for event in hive.events(AgentQueued)] == ["root", "a"]
