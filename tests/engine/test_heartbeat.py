"""Slow, stuck and gone are told apart; nobody is blamed for the time that the machine slept."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Mapping
from pathlib import Path

import pytest
from pydantic import ValidationError

from skep.engine.engine import Engine
from skep.engine.heartbeat import DEAD_AFTER, LATE_AFTER, TICK
from skep.errors import NotFound, Refused
from skep.hosts.local import LocalHost
from skep.model.events import AgentEnded, AgentMarked, AgentStopping, MessageAdded
from skep.model.launch import EngineSettings
from skep.model.permits import Ended, Left, Pulse, Started
from skep.model.states import Mark, OnStale, State, StopVerb, WaitReason
from skep.warden.client import Warden
from tests.engine.conftest import MakeHive, MakePipe
from tests.engine.hive import LIMIT, Hive, Pipe, patient, shell, turns
from tests.engine.test_staleness import BlamesForLag

SOON = EngineSettings(quiet_after=10.0, in_tool_after=30.0, idle_after=20.0)


def _marks(hive: Hive, agent: str) -> list[Mark | None]:
    return [event.mark for event in hive.events(AgentMarked, agent=agent)]


async def _silent(hive: Hive, seconds: float) -> None:
    """So many seconds pass, heartbeat by heartbeat; what they brought is in the journal then."""
    await hive.pass_time(seconds, step=TICK)
    await _kept(hive)


async def _kept(hive: Hive) -> None:
    with hive.registry.read() as state:
        seq = state.seq
    await hive.ledger.settle(seq)


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


# -- clocks that jump, and an engine that is late ---------------------------------------------------------------


async def test_after_a_suspend_of_the_machine_everybody_has_a_whole_interval(make_hive: MakeHive):
    """The monotonic clock stands in it, the wall clock does not."""
    hive = make_hive(settings=SOON)
    await hive.launch(patient("a"), patient("b"))
    await hive.are(State.RUNNING, "a", "b")
    await _silent(hive, 8)
    hive.clock.jump(3_600)
    await _silent(hive, 8)
    assert not hive.events(AgentMarked)
    await _silent(hive, 4)
    assert hive.agent("a").evidence == "no output for 20s in $ sleep 600"
    hive.clock.jump(3_600)
    await _silent(hive, 28)
    assert _marks(hive, "a") == [Mark.QUIET], "what was true before it is not taken back, and nothing is added"
    await _silent(hive, 4)
    assert _marks(hive, "a") == [Mark.QUIET, Mark.STALE]


async def test_a_wall_clock_that_is_set_back_changes_nothing(make_hive: MakeHive):
    hive = make_hive(settings=SOON)
    await hive.launch(patient("a"))
    await hive.are(State.RUNNING, "a")
    await _silent(hive, 6)
    hive.clock.jump(-90_000)
    await _silent(hive, 2)
    assert not hive.events(AgentMarked)
    await _silent(hive, 4)
    assert _marks(hive, "a") == [Mark.QUIET]


class Blames(Engine):
    """Counts its own lag against its agents."""

    def __init__(self, *args: object, **options: object) -> None:
        super().__init__(*args, **options)  # type: ignore[arg-type]
        self._heartbeat = BlamesForLag(self._clock, self._settings, self._act_on)


async def _works_in_a_busy_engine(hive: Hive, gate: Pipe, marks: Pipe) -> None:
    """Every tick is three seconds late, and so is what its program writes: every fifteen seconds a line."""
    line = f"while read x < {gate.path}; do echo hello; echo > {marks.path}; done"
    await hive.launch(shell("a", line))
    await hive.are(State.RUNNING, "a")
    for _ in range(8):
        await hive.pass_time(15, step=TICK + 3)
        gate.let_go()
        await marks.line()
        await turns()
    await _kept(hive)
    assert not hive.events(AgentMarked)
    await hive.pass_time(40, step=TICK + 3)
    assert hive.agent("a").mark is Mark.QUIET, "a busy engine finds nobody any more"
    await hive.kill("a")
    await hive.over()


async def test_what_the_engine_itself_is_late_counts_against_nobody(make_hive: MakeHive, pipe: MakePipe):
    await _works_in_a_busy_engine(make_hive(settings=SOON), pipe("gate"), pipe("marks"))


async def test_an_engine_that_blames_others_for_its_lag_is_found_out(make_hive: MakeHive, pipe: MakePipe):
    with pytest.raises(AssertionError):
        await _works_in_a_busy_engine(make_hive(settings=SOON, engine=Blames), pipe("gate"), pipe("marks"))


# -- alive ------------------------------------------------------------------------------------------------------


class Slow(Warden):
    """Does not come up before it may."""

    may: asyncio.Event

    @classmethod
    async def start(cls, swarm: str, env: Mapping[str, str]) -> Slow:
        await cls.may.wait()
        return await super().start(swarm, env)


async def test_a_command_that_does_not_come_to_run_is_marked_while_it_starts(make_hive: MakeHive):
    """Who should start it does not answer: it holds a slot and gets nowhere."""
    Slow.may = asyncio.Event()
    hive = make_hive(settings=SOON, warden=Slow)
    try:
        await hive.launch(patient("a"))
        await hive.are(State.STARTING, "a")
        async with asyncio.timeout(LIMIT):
            while hive.engine._host is None or "a" not in hive.engine._host._drivers:
                await asyncio.to_thread(lambda: None)
        await _silent(hive, 12)
        assert hive.agent("a").mark is Mark.QUIET
        assert hive.agent("a").evidence == "no process for 10s: $ sleep 600"
    finally:
        Slow.may.set()
    await hive.are(State.RUNNING, "a")
    await _silent(hive, TICK)
    assert hive.agent("a").mark is None


class Forgetful(LocalHost):
    """Loses sight of an agent that the engine believes to run."""

    async def pulses(self):
        return [pulse for pulse in await super().pulses() if pulse.agent != "a"]


class Faulty(LocalHost):
    """The driver of one agent cannot say how it is."""

    def _driver_for(self, assignment):
        driver, output = super()._driver_for(assignment)
        if assignment.agent == "a":

            async def pulse() -> Pulse:
                raise RuntimeError("no pulse")

            driver.pulse = pulse
        return driver, output


@pytest.mark.parametrize(
    ("host", "why"), [(Forgetful, "its host does not know it"), (Faulty, "its driver failed: RuntimeError")]
)
async def test_who_gives_no_answer_is_late_then_dead_and_the_others_are_asked_all_the_same(
    make_hive: MakeHive, host: type[LocalHost], why: str
):
    hive = make_hive(settings=SOON, host=host)
    await hive.launch(patient("a"), patient("b"))
    await hive.are(State.RUNNING, "a", "b")
    await _silent(hive, LATE_AFTER + TICK)
    assert hive.agent("a").mark is Mark.LATE
    assert hive.agent("a").evidence.startswith(f"no heartbeat for 6s: {why}")
    await _silent(hive, DEAD_AFTER - LATE_AFTER + TICK)
    assert hive.agent("a").mark is Mark.DEAD
    assert hive.agent("b").mark is Mark.QUIET


async def test_what_does_not_answer_and_does_not_get_on_is_ended_if_that_is_wanted(make_hive: MakeHive):
    """Otherwise the worst of all marks would save it."""
    hive = make_hive(settings=SOON.model_copy(update={"on_stale": OnStale.KILL}), host=Faulty)
    await hive.launch(patient("a"))
    await hive.are(State.RUNNING, "a")
    await _silent(hive, 18)
    assert _marks(hive, "a") == [Mark.LATE, Mark.DEAD]
    await _silent(hive, 4)
    await hive.are(State.KILLED, "a")
    assert {event.who for event in hive.events(AgentStopping)} == {"heartbeat: no progress for 20s"}


# -- what is done about it --------------------------------------------------------------------------------------


async def test_each_agent_may_say_for_itself_what_is_to_be_done(make_hive: MakeHive):
    hive = make_hive(settings=SOON.model_copy(update={"on_stale": OnStale.INTERRUPT}))
    await hive.launch(patient("a"), patient("b", on_stale="mark"), patient("c", on_stale="kill"))
    await hive.are(State.RUNNING, "a", "b", "c")
    await _silent(hive, 34)
    await hive.until(lambda state: state.agents["a"].ended and state.agents["c"].ended)
    assert hive.states() == {"root": "waiting", "a": "interrupted", "b": "running", "c": "killed"}
    assert hive.agent("b").mark is Mark.STALE


async def test_a_command_is_only_marked_where_the_swarm_wants_to_steer(make_hive: MakeHive):
    hive = make_hive(settings=SOON.model_copy(update={"on_stale": OnStale.STEER}))
    await hive.launch(patient("a"))
    await hive.are(State.RUNNING, "a")
    await _silent(hive, 34)
    assert (hive.agent("a").mark, hive.agent("a").evidence) == (
        Mark.STALE,
        "no output for 30s in $ sleep 600",
    )
    with pytest.raises(ValidationError, match="no model that could read a note"):
        patient("b", on_stale="steer")
    with pytest.raises(Refused, match="cannot be steered"):
        await hive.engine._host.steer("a", 1, "a note", "you")
    with pytest.raises(NotFound):
        await hive.engine._host.steer("b", 1, "a note", "you")


async def test_what_moves_just_before_the_tick_is_left_alone(make_hive: MakeHive, pipe: MakePipe):
    hive = make_hive(settings=SOON.model_copy(update={"on_stale": OnStale.KILL}))
    gate, marks = pipe("gate"), pipe("marks")
    await hive.launch(shell("a", f"while read x < {gate.path}; do echo hello; echo > {marks.path}; done"))
    await hive.are(State.RUNNING, "a")
    await _silent(hive, 28)
    hive.clock.advance(TICK - 0.1)
    gate.let_go()
    await marks.line()
    await turns()
    await _silent(hive, TICK)
    assert hive.agent("a").state is State.RUNNING
    assert _marks(hive, "a") == [Mark.QUIET, None]
    assert not hive.events(AgentStopping)


async def test_the_late_result_of_an_agent_that_was_declared_lost_is_refused(make_hive: MakeHive, pipe: MakePipe):
    """Its host was given up and comes back: what it reports is about a generation that is over."""
    hive, gate = make_hive(), pipe("gate")
    await hive.launch(shell("a", f"read x < {gate.path}; exit 1", retries=3), patient("b"))
    await hive.are(State.RUNNING, "a", "b")
    with hive.ledger.decide() as decision:
        decision.emit(AgentEnded("a", State.LOST, error="its host was lost"))
    await _kept(hive)
    gate.let_go()
    host = hive.engine._host
    await until_gone(host, "a")
    late = [
        Started("a", 1, (1,)),
        Left("a", 1, "pid 1"),
        Ended("a", 1, State.DONE, 0, result="all well"),
        Ended("a", 2, State.DONE, 0, result="all well"),
    ]
    for report in late:
        host._report(report)
    await turns(100)
    assert (hive.agent("a").state, hive.agent("a").result) == (State.LOST, None)
    assert [event.state for event in hive.events(AgentEnded, agent="a")] == [State.LOST]
    for ask in (
        hive.engine.permits.go("a", 1),
        hive.engine.permits.slot("a", 1, "again"),
        hive.engine.permits.rest("a", 1, WaitReason.KEY, "", keeps_slot=True),
        hive.engine.permits.resume("a", 1),
        hive.engine.permits.note("a", 1, MessageAdded("a", 1, "late")),
    ):
        with pytest.raises(Refused):
            await ask
    await hive.kill("b")
    await hive.over()


async def until_gone(host: LocalHost, agent: str) -> None:
    """Until nothing of this agent runs there; the loop turns through real events of the journal."""
    async with asyncio.timeout(LIMIT):
        while agent in host._running:
            await asyncio.to_thread(lambda: None)
