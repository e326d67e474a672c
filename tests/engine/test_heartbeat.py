"""Slow, stuck and gone are told apart; nobody is blamed for the time that the machine slept."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

import pytest

from skep.engine.heartbeat import DEAD_AFTER, LATE_AFTER, TICK
from skep.model.events import AgentMarked, AgentStopping
from skep.model.launch import EngineSettings
from skep.model.states import Mark, OnStale, State, StopVerb
from tests.engine.conftest import MakeHive, MakePipe
from tests.engine.hive import LIMIT, Hive, patient, shell, turns

SOON = EngineSettings(quiet_after=10.0, in_tool_after=30.0, idle_after=20.0)


def _marks(hive: Hive, agent: str) -> list[Mark | None]:
    return [event.mark for event in hive.events(AgentMarked, agent=agent)]


async def _silent(hive: Hive, seconds: float) -> None:
    """So many seconds pass, heartbeat by heartbeat."""
    await hive.pass_time(seconds, step=TICK)


async def test_silence_is_first_quiet_then_stale_and_output_ends_it(make_hive: MakeHive, pipe: MakePipe):
    hive, gate, marks = make_hive(settings=SOON), pipe("gate"), pipe("marks")
    await hive.launch(shell("a", f"read x < {gate.path}; echo hello; echo > {marks.path}; read x < {gate.path}"))
    await hive.are(State.RUNNING, "a")
    await _silent(hive, 8)
    assert hive.agent("a").mark is None
    await _silent(hive, 4)
    assert hive.agent("a").mark is Mark.QUIET
    assert hive.agent("a").evidence.startswith("no output for 10s in $ read x < /")
    await _silent(hive, 20)
    assert hive.agent("a").mark is Mark.STALE
    assert hive.agent("a").evidence.startswith("no output for 30s in $ read x < /")
    gate.let_go()
    await marks.line()
    await turns()
    await _silent(hive, TICK)
    assert hive.agent("a").mark is None
    await _silent(hive, 12)
    assert hive.agent("a").mark is Mark.QUIET
    gate.let_go()
    await hive.over()
    assert _marks(hive, "a") == [Mark.QUIET, Mark.STALE, None, Mark.QUIET]
    assert hive.agent("a").mark is None


async def test_a_command_is_one_tool_so_the_longer_limit_is_its_own(make_hive: MakeHive):
    hive = make_hive(settings=EngineSettings(quiet_after=0, idle_after=4.0, in_tool_after=8.0))
    await hive.launch(patient("a"))
    await hive.are(State.RUNNING, "a")
    await _silent(hive, 6)
    assert hive.agent("a").mark is None
    await _silent(hive, 4)
    assert hive.agent("a").mark is Mark.STALE


async def test_limits_of_zero_mark_nobody(make_hive: MakeHive):
    hive = make_hive(settings=EngineSettings(quiet_after=0, in_tool_after=0))
    await hive.launch(patient("a"))
    await hive.are(State.RUNNING, "a")
    await _silent(hive, 60)
    assert not hive.events(AgentMarked)


async def test_who_waits_is_never_marked(make_hive: MakeHive, pipe: MakePipe):
    hive, gate = make_hive(settings=SOON), pipe("gate")
    line = f"read x < {gate.path}; exit 1"
    await hive.launch(shell("a", line, retries=1), patient("b"), patient("held"), slots=2)
    await hive.are(State.RUNNING, "a", "b")
    await hive.pause()
    gate.let_go()
    await hive.are(State.WAITING, "a")
    await _silent(hive, 40)
    assert _marks(hive, "a") == _marks(hive, "held") == []
    await hive.kill("b")
    await hive.kill("held")
    await hive.unpause()
    await hive.until(lambda state: state.agents["a"].attempt == 2 and bool(state.agents["a"].pids))
    await _silent(hive, 4)
    assert not _marks(hive, "a"), "what it waited in line counts as silence"
    gate.let_go()
    await hive.over()


async def test_a_process_that_cannot_be_seen_is_late_then_dead(hive: Hive, pipe: MakePipe):
    """Its main process is gone and something that it left behind refuses to end: that is no life."""
    marks = pipe("marks")
    line = f"sh -c 'trap \"\" TERM; echo > {marks.path}; while :; do sleep 600; done' & exec sleep 600"
    await hive.launch(shell("a", line))
    await marks.line()
    await hive.are(State.RUNNING, "a")
    await _silent(hive, 2)
    os.kill(hive.agent("a").pids[0], signal.SIGKILL)
    async with asyncio.timeout(LIMIT):
        while await _sees(hive, "a"):
            pass
    await _silent(hive, LATE_AFTER)
    assert hive.agent("a").mark is Mark.LATE
    assert hive.agent("a").evidence == "no heartbeat for 6s: its main process is gone"
    await _silent(hive, DEAD_AFTER - LATE_AFTER + TICK)
    assert hive.agent("a").mark is Mark.DEAD
    await hive.kill("a")
    await hive.hurry("a", kill=True)
    await hive.over()
    assert (hive.agent("a").state, hive.agent("a").signal) == (State.KILLED, signal.SIGKILL)


async def _sees(hive: Hive, agent: str) -> bool:
    """Whether the main process still exists; gives the loop a turn through a real event of the journal."""
    await hive.pause(reason="looking")
    await hive.unpause()
    pid = hive.agent(agent).pids[0]
    return _state(pid) not in ("Z", "")


def _state(pid: int) -> str:
    """The kernel's letter for a process; empty if there is none."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0]
    except FileNotFoundError:
        return ""


async def test_after_a_jump_of_the_clock_everybody_has_a_whole_interval(make_hive: MakeHive):
    hive = make_hive(settings=SOON)
    await hive.launch(patient("a"))
    await hive.are(State.RUNNING, "a")
    await _silent(hive, 6)
    await hive.pass_time(100_000)
    assert hive.agent("a").mark is None
    await _silent(hive, 8)
    assert hive.agent("a").mark is None
    await _silent(hive, 4)
    assert hive.agent("a").mark is Mark.QUIET


@pytest.mark.parametrize(("act", "end"), [(OnStale.INTERRUPT, State.INTERRUPTED), (OnStale.KILL, State.KILLED)])
async def test_what_is_stale_can_be_ended_by_itself(make_hive: MakeHive, act: OnStale, end: State):
    hive = make_hive(settings=SOON.model_copy(update={"on_stale": act}))
    await hive.launch(patient("a"), patient("b"), slots=1)
    await hive.are(State.RUNNING, "a")
    await _silent(hive, 34)
    await hive.are(end, "a")
    assert _marks(hive, "a") == [Mark.QUIET, Mark.STALE]
    assert [(event.verb, event.who) for event in hive.events(AgentStopping)] == [
        (StopVerb(act.value), "heartbeat: no output for 30s in $ sleep 600")
    ]
    await hive.are(State.RUNNING, "b")


async def test_what_became_stale_after_it_was_late_is_ended_too(make_hive: MakeHive):
    """Otherwise one missed heartbeat would save a stuck agent for ever."""
    hive = make_hive(settings=SOON.model_copy(update={"on_stale": OnStale.INTERRUPT}))
    await hive.launch(patient("a"))
    await hive.are(State.RUNNING, "a")
    with hive.ledger.decide() as decision:
        decision.emit(AgentMarked("a", Mark.LATE, "no heartbeat for 6s"))
    await _silent(hive, 34)
    await hive.are(State.INTERRUPTED, "a")


async def test_an_agent_that_stops_is_not_marked_over_its_ladder(make_hive: MakeHive):
    hive = make_hive(settings=SOON)
    await hive.launch(patient("a"))
    await hive.are(State.RUNNING, "a")
    os.kill(hive.wardens[0].pid, signal.SIGSTOP)
    try:
        await hive.interrupt("a")
        await _silent(hive, 8)
        assert not hive.events(AgentMarked)
    finally:
        os.kill(hive.wardens[0].pid, signal.SIGCONT)
    await hive.over()
