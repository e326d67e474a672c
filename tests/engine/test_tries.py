"""Commands that fail, are tried again, take too long, or cannot be started at all."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from skep.errors import Refused
from skep.model.events import (
    ROOT,
    AgentAdmitted,
    AgentEnded,
    AgentQueued,
    AgentStopping,
    AgentWaiting,
    Event,
    SwarmCreated,
)
from skep.model.states import DriverKind, State, StopStep, StopVerb
from tests.engine.conftest import MakeHive, MakePipe
from tests.engine.hive import Hive, command, ends, patient, shell

# -- tries -------------------------------------------------------------------------------------------------------


async def test_an_agent_is_tried_again_until_it_is_done(hive: Hive, tmp_path: Path):
    line = f"echo x >> {tmp_path}/tries; test $(wc -l < {tmp_path}/tries) -ge 3"
    await hive.launch(shell("a", line, retries=5))
    await hive.over()
    one = hive.agent("a")
    assert (one.state, one.attempt, one.exit_code) == (State.DONE, 3, 0)
    assert [event.detail for event in hive.events(AgentWaiting)] == [
        "try 2 of 6 after exit 1",
        "try 3 of 6 after exit 1",
    ]


async def test_when_all_tries_have_failed_the_last_one_counts(hive: Hive, tmp_path: Path):
    line = f"echo x >> {tmp_path}/tries; echo try $(wc -l < {tmp_path}/tries); exit $(wc -l < {tmp_path}/tries)"
    await hive.launch(shell("a", line, retries=2))
    await hive.over()
    one = hive.agent("a")
    assert (one.state, one.attempt, one.exit_code, one.error) == (State.FAILED, 3, 3, "exit 3")
    assert one.result == "try 3"
    log = (hive.folder / "output" / "a.log").read_text()
    assert log == "try 1\n── try 2 of 3 ──\ntry 2\n── try 3 of 3 ──\ntry 3\n"
    assert one.lines == 5


async def test_a_program_that_is_killed_says_by_what(hive: Hive):
    await hive.launch(shell("a", "kill -SEGV $$"))
    await hive.over()
    one = hive.agent("a")
    assert (one.state, one.exit_code, one.signal, one.error) == (
        State.FAILED,
        None,
        signal.SIGSEGV,
        "ended by SEGV",
    )


async def test_no_try_waits_with_a_slot(hive: Hive, pipe: MakePipe):
    """What failed gives its slot back and takes its turn; the slots are never more than were asked for."""
    gate = pipe("gate")
    await hive.launch(*(shell(f"a{n}", f"read x < {gate.path}; exit 1", retries=2) for n in range(3)), slots=2)
    gate.let_go(9)
    await hive.over()
    used = 0
    for event in hive.events(AgentAdmitted, AgentWaiting, AgentEnded):
        if event.agent != "root":
            used += 1 if isinstance(event, AgentAdmitted) else -1
            assert 0 <= used <= 2
    assert {hive.agent(f"a{n}").attempt for n in range(3)} == {3}


async def test_a_try_waits_while_its_branch_is_paused(hive: Hive, pipe: MakePipe):
    gate = pipe("gate")
    await hive.launch(shell("a", f"read x < {gate.path}; exit 1", retries=1), patient("b"))
    await hive.are(State.RUNNING, "a")
    await hive.pause("a")
    gate.let_go()
    await hive.are(State.WAITING, "a")
    assert hive.held() == ["a"]
    await hive.unpause("a")
    await hive.are(State.RUNNING, "a")
    gate.let_go()
    await hive.are(State.FAILED, "a")


async def test_a_permit_is_for_the_present_try_of_an_agent_that_runs(hive: Hive, pipe: MakePipe):
    """What an earlier run of an agent may still ask for is fenced off by its number."""
    gate = pipe("gate")
    await hive.launch(shell("a", f"read x < {gate.path}"), command("b", "true"), slots=1)
    await hive.are(State.RUNNING, "a")
    for agent, generation in (("a", 0), ("a", 2), ("b", 0), ("b", 1), ("root", 0)):
        with pytest.raises(Refused):
            await hive.engine.permits.slot(agent, generation, "another try")
    assert not hive.events(AgentWaiting)
    gate.let_go()
    await hive.over()
    with pytest.raises(Refused):
        await hive.engine.permits.slot("a", 1, "another try")


async def test_a_program_may_fail_before_the_word_of_its_start_is_taken_in(hive: Hive):
    await hive.launch(*(command(f"a{n}", "false", retries=3) for n in range(30)), slots=10)
    await hive.over()
    assert {hive.agent(f"a{n}").attempt for n in range(30)} == {4}
    assert {hive.agent(f"a{n}").state for n in range(30)} == {State.FAILED}


# -- fail fast ---------------------------------------------------------------------------------------------------


async def test_after_a_failure_nothing_new_starts_and_what_runs_goes_on(hive: Hive, pipe: MakePipe):
    gate, fail = pipe("gate"), pipe("fail")
    asks = [shell("bad", f"read x < {fail.path}; exit 7"), shell("good", f"read x < {gate.path}")]
    await hive.launch(*asks, *(command(f"a{n}", "true") for n in range(5)), slots=2, fail_fast=True)
    await hive.are(State.RUNNING, "bad", "good")
    await hive.pause("a3")
    fail.let_go()
    await hive.are(State.FAILED, "bad")
    assert {hive.agent(f"a{n}").state for n in range(5)} == {State.INTERRUPTED}
    assert {hive.agent(f"a{n}").error for n in range(5)} == {"skipped: bad failed"}
    assert hive.agent("good").state is State.RUNNING
    gate.let_go()
    await hive.over()
    assert hive.agent("good").state is State.DONE
    assert hive.status() == "failed"


async def test_after_a_failure_no_try_in_line_is_made_and_no_new_one_is_asked_for(hive: Hive, pipe: MakePipe):
    gates = {name: pipe(name) for name in ("bad", "again", "late")}
    tries = {"bad": 0, "again": 5, "late": 5}
    asks = [shell(name, f"read x < {gates[name].path}; exit 1", retries=tries[name]) for name in gates]
    await hive.launch(*asks, slots=3, fail_fast=True)
    await hive.are(State.RUNNING, *gates)
    await hive.pause("again")
    gates["again"].let_go()
    await hive.are(State.WAITING, "again")
    gates["bad"].let_go()
    await hive.are(State.FAILED, "bad")
    again = hive.agent("again")
    assert (again.state, again.error) == (State.INTERRUPTED, "not tried again: bad failed")
    gates["late"].let_go()
    await hive.over()
    assert (hive.agent("late").state, hive.agent("late").attempt) == (State.FAILED, 1)


async def test_a_failure_that_is_tried_again_is_no_failure_yet(hive: Hive, tmp_path: Path):
    line = f"test -e {tmp_path}/once || {{ touch {tmp_path}/once; exit 1; }}"
    await hive.launch(shell("a", line, retries=1), command("b", "true"), slots=1, fail_fast=True)
    await hive.over()
    assert hive.status() == "done"


@pytest.mark.parametrize("how", ["spawn", "time"])
async def test_fail_fast_counts_every_kind_of_failure(hive: Hive, how: str):
    bad = command("bad", "/no/such/program") if how == "spawn" else patient("bad", timeout=5)
    await hive.launch(bad, command("b", "true"), slots=1, fail_fast=True)
    if how == "time":
        await hive.are(State.RUNNING, "bad")
        await hive.pass_time(5.1)
    await hive.over()
    assert hive.agent("b").state is State.INTERRUPTED


# -- time limits -------------------------------------------------------------------------------------------------


async def test_an_agent_whose_time_is_up_is_told_at_once_and_ends_timed_out(hive: Hive, pipe: MakePipe):
    marks = pipe("marks")
    line = f"trap 'echo > {marks.path}' TERM; echo > {marks.path}; while :; do sleep 0.01; done"
    await hive.launch(shell("a", line, timeout=30), patient("b", timeout=31))
    await marks.line()
    await hive.are(State.RUNNING, "a", "b")
    await hive.pass_time(29.9)
    assert hive.states() == {"root": "waiting", "a": "running", "b": "running"}
    await hive.pass_time(0.2)
    await marks.line()
    assert hive.agent("a").state is State.STOPPING
    await hive.pass_time(5.1)
    await hive.over()
    one = hive.agent("a")
    assert (one.state, one.error) == (State.TIMED_OUT, "timed out after 30s")
    assert hive.agent("b").state is State.TIMED_OUT
    assert {(event.verb, event.step) for event in hive.events(AgentStopping)} == {
        (StopVerb.TIMEOUT, StopStep.CANCEL),
        (StopVerb.TIMEOUT, StopStep.KILL),
    }
    assert hive.status() == "failed"


async def test_all_tries_share_one_limit_and_waiting_in_line_is_not_counted(hive: Hive, pipe: MakePipe):
    gate = pipe("gate")
    line = f"read x < {gate.path}; exit 1"
    await hive.launch(shell("a", line, timeout=100, retries=9), slots=1)
    await hive.are(State.RUNNING, "a")
    await hive.pass_time(60)
    await hive.pause()
    gate.let_go()
    await hive.are(State.WAITING, "a")
    await hive.pass_time(5_000)
    assert hive.agent("a").state is State.WAITING
    await hive.unpause()
    await hive.until(lambda state: state.agents["a"].attempt == 2 and bool(state.agents["a"].pids))
    await hive.pass_time(39)
    assert hive.agent("a").state is State.RUNNING
    await hive.pass_time(1.1)
    await hive.over()
    assert (hive.agent("a").state, hive.agent("a").attempt) == (State.TIMED_OUT, 2)


async def test_an_agent_in_line_does_not_use_up_its_time(hive: Hive, pipe: MakePipe):
    gate = pipe("gate")
    await hive.launch(
        shell("a", f"read x < {gate.path}"), shell("b", f"read x < {gate.path}", timeout=10), slots=1
    )
    await hive.are(State.RUNNING, "a")
    await hive.pass_time(1_000)
    gate.let_go(2)
    await hive.over()
    assert hive.agent("b").state is State.DONE


async def test_a_limit_does_not_outlive_its_agent(hive: Hive):
    await hive.launch(command("a", "true", timeout=10), patient("b"))
    await hive.are(State.DONE, "a")
    await hive.are(State.RUNNING, "b")
    await hive.pass_time(100)
    assert not hive.events(AgentStopping)


async def test_a_stop_that_is_under_way_is_not_renamed_by_the_clock(hive: Hive):
    await hive.launch(patient("a", timeout=3))
    await hive.are(State.RUNNING, "a")
    os.kill(hive.wardens[0].pid, signal.SIGSTOP)
    try:
        await hive.interrupt("a")
        await hive.pass_time(4)
    finally:
        os.kill(hive.wardens[0].pid, signal.SIGCONT)
    await hive.over()
    assert hive.agent("a").state is State.INTERRUPTED
    assert hive.steps("a") == [StopStep.SOFT]


# -- faults at the start -----------------------------------------------------------------------------------------


async def test_what_cannot_be_started_fails_with_the_reason_and_the_others_run(hive: Hive, tmp_path: Path):
    plain = tmp_path / "plain"
    plain.write_text("no program")
    asks = [
        command("missing", "no-such-program-anywhere"),
        command("plain", str(plain)),
        command("nowhere", "true", cwd=str(tmp_path / "no")),
        command("nul", "echo", "a\0b"),
        command("huge", "echo", "x" * 3_000_000),
    ]
    await hive.launch(*asks, command("good", "true"), slots=2)
    await hive.over()
    found = ends(hive.records())
    assert found["good"].state is State.DONE
    errors = {ask.id: found[ask.id].error or "" for ask in asks}
    assert {found[ask.id].state for ask in asks} == {State.FAILED}
    assert "no such program" in errors["missing"]
    assert "not executable" in errors["plain"]
    assert "no such folder" in errors["nowhere"]
    assert "could not start" in errors["nul"]
    assert "could not start" in errors["huge"]


async def test_what_cannot_be_started_is_not_tried_again(hive: Hive):
    await hive.launch(command("a", "no-such-program-anywhere", retries=50))
    await hive.over()
    assert hive.agent("a").attempt == 1


@pytest.mark.parametrize("log", ["a folder", "below a file", "a pipe that nobody reads"])
async def test_an_agent_whose_output_cannot_be_kept_fails_and_does_not_run(hive: Hive, tmp_path: Path, log: str):
    (tmp_path / "file").touch()
    os.mkfifo(tmp_path / "fifo")
    paths = {"a folder": tmp_path, "below a file": tmp_path / "file" / "a.log"}
    path = paths.get(log, tmp_path / "fifo")
    await hive.launch(shell("a", f"touch {tmp_path}/ran", log=str(path)), command("b", "true"))
    await hive.over()
    one = hive.agent("a")
    assert one.state is State.FAILED
    assert str(path) in (one.error or "")
    assert "output cannot be kept" in (one.error or "")
    assert not (tmp_path / "ran").exists()
    assert hive.agent("b").state is State.DONE


async def test_a_spec_that_is_none_fails_its_agent_and_nobody_else(make_hive: MakeHive):
    """It can only come from a journal that somebody else wrote; even so the engine lives on."""
    hive = make_hive()
    with hive.ledger.decide() as decision:
        for event in _written_by_somebody_else(hive.swarm):
            decision.emit(event)
    await hive.recover(go=True)
    await hive.over()
    assert {name: hive.agent(name).state for name in ("odd", "b")} == {"odd": State.FAILED, "b": State.DONE}


def _written_by_somebody_else(swarm: str) -> list[Event]:
    return [
        SwarmCreated(swarm, "n", "/", 2),
        AgentQueued(ROOT, None, "n", DriverKind.GROUP, "", {}),
        AgentQueued("odd", ROOT, "odd", DriverKind.COMMAND, "", {"argv": [], "cheese": True}),
        AgentQueued("b", ROOT, "b", DriverKind.COMMAND, "", {"argv": ["true"], "cwd": "/"}),
    ]
