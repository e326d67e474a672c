"""The warden dies: what ran is gone and says so, nothing is left, and what waits is run by a new one."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable

from skep.errors import SkepError
from skep.model.states import State
from skep.warden.client import Warden, WardenLost
from tests.engine.conftest import MakeHive, MakePipe
from tests.engine.hive import Hive, Watch, command, patient, shell


async def test_what_ran_fails_and_what_waits_goes_on_with_a_new_warden(
    hive: Hive, pipe: MakePipe, watch: Callable[..., Watch]
):
    marks = pipe("marks")
    line = f"setsid sleep 600 & echo $! > {marks.path}; exec sleep 600"
    await hive.launch(shell("a", line), shell("b", line), *(command(f"c{n}", "true") for n in range(6)), slots=2)
    await hive.are(State.RUNNING, "a", "b")
    family = watch(*map(int, await marks.lines(2)), *hive.agent("a").pids, *hive.agent("b").pids)
    os.kill(hive.wardens[0].pid, signal.SIGKILL)
    await hive.are(State.FAILED, "a", "b")
    assert family.living() == set()
    assert hive.agent("a").error == "its guard was lost, how it ended is unknown"
    await hive.over()
    assert {hive.agent(f"c{n}").state for n in range(6)} == {State.DONE}
    assert len(hive.wardens) == 2


async def test_what_is_tried_again_is_run_by_the_new_warden(hive: Hive, pipe: MakePipe):
    """The last act of a lost warden is a sweep of the swarm's processes: it must not hit the new ones."""
    gate = pipe("gate")
    line = f"read x < {gate.path}"
    await hive.launch(*(shell(f"a{n}", line, retries=1) for n in range(8)), slots=8)
    await hive.until(lambda state: all(state.agents[f"a{n}"].state is State.RUNNING for n in range(8)))
    os.kill(hive.wardens[0].pid, signal.SIGKILL)
    await hive.until(lambda state: all(one.attempt == 2 and one.pids for one in state.agents.values() if one.spec))
    gate.let_go(8)
    await hive.over()
    assert {hive.agent(f"a{n}").state for n in range(8)} == {State.DONE}


async def test_the_warden_may_die_again_and_again(hive: Hive):
    await hive.launch(*(patient(f"a{n}") for n in range(3)), slots=1)
    for number in range(3):
        await hive.until(lambda state, name=f"a{number}": bool(state.agents[name].pids))
        os.kill(hive.wardens[-1].pid, signal.SIGKILL)
        await hive.are(State.FAILED, f"a{number}")
    await hive.over()
    assert len(hive.wardens) == 3


async def test_a_stop_goes_on_when_the_warden_dies_in_the_middle(hive: Hive):
    await hive.launch(patient("a"), patient("b"))
    await hive.are(State.RUNNING, "a", "b")
    os.kill(hive.wardens[0].pid, signal.SIGSTOP)
    await hive.interrupt("a")
    os.kill(hive.wardens[0].pid, signal.SIGKILL)
    await hive.over()
    assert hive.agent("a").state is State.INTERRUPTED
    assert hive.agent("b").state is State.FAILED


class Stillborn(Warden):
    """Never starts."""

    @classmethod
    async def start(cls, *_: object) -> Warden:
        raise WardenLost("the warden did not start", where="swarm", why="no more processes")


async def test_without_a_warden_every_agent_fails_with_the_reason(make_hive: MakeHive):
    hive = make_hive(warden=Stillborn)
    await hive.launch(*(command(f"a{n}", "true", retries=2) for n in range(20)), slots=3)
    await hive.over()
    assert {hive.agent(f"a{n}").state for n in range(20)} == {State.FAILED}
    assert "the warden did not start" in (hive.agent("a0").error or "")
    assert issubclass(WardenLost, SkepError)


async def test_an_outsider_who_was_handed_the_output_keeps_nobody_waiting(hive: Hive, pipe: MakePipe):
    """A program may pass its output on to a process that is none of ours; its own end is the end."""
    keep = pipe("keep")
    holder = os.open(keep.path, os.O_RDWR | os.O_CLOEXEC)
    try:
        line = f"echo $$ > {keep.path}; read x < {keep.path}.go; echo done"
        go = pipe("keep.go")
        await hive.launch(shell("a", line))
        pid = int(await keep.line())
        outsider = os.open(f"/proc/{pid}/fd/1", os.O_WRONLY | os.O_CLOEXEC)
        go.let_go()
        await hive.over()
        assert (hive.agent("a").state, hive.agent("a").result) == (State.DONE, "done")
        os.close(outsider)
    finally:
        os.close(holder)
