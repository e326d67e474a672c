"""Stop means stopped: the ladder with its clock, its windows, and an end that is verified."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from skep.errors import NotFound, Refused
from skep.model.events import AgentAdmitted, AgentEnded, AgentStopping, BranchReopened, BranchShut
from skep.model.launch import AgentAsk, EngineSettings
from skep.model.states import Mark, State, StopStep, StopVerb
from skep.warden.client import Command, Leftover, Warden
from tests.engine.conftest import MakeHive, MakePipe
from tests.engine.hive import Hive, Pipe, Watch, command, ends, group, patient, shell, turns

SOFT, CANCEL, KILL = StopStep.SOFT, StopStep.CANCEL, StopStep.KILL
MakeWatch = Callable[..., Watch]


def stubborn(id: str, marks: Pipe, parent: str = "root") -> AgentAsk:
    """Ignores INT and TERM, and so does its grandchild in a session of its own; both tell their pids."""
    stay = f"trap '' INT TERM; echo \\$\\$ > {marks.path}; while :; do sleep 600; done"
    own = f'trap "" INT TERM; echo $$ > {marks.path}; while :; do wait; sleep 600; done'
    return shell(id, f'setsid sh -c "{stay}" & {own}', parent)


# -- the rungs ---------------------------------------------------------------------------------------------------


async def test_an_interrupt_that_is_heard_ends_at_the_first_rung(hive: Hive, pipe: MakePipe):
    marks = pipe("marks")
    line = f"trap 'echo bye; exit 3' INT; echo ready > {marks.path}; while :; do sleep 0.01; done"
    await hive.launch(shell("a", line))
    await marks.line()
    assert await hive.interrupt("a") == ["a"]
    await hive.over()
    one = hive.agent("a")
    assert (one.state, one.exit_code, one.result, one.error) == (State.INTERRUPTED, 3, "bye", "interrupted by you")
    assert hive.steps("a") == [SOFT]
    assert hive.status() == "interrupted"


async def test_what_hears_nothing_climbs_down_the_whole_ladder(hive: Hive, pipe: MakePipe, watch: MakeWatch):
    marks = pipe("marks")
    await hive.launch(stubborn("a", marks), patient("b"))
    family = watch(*map(int, await marks.lines(2)))
    await hive.interrupt("a")
    await hive.pass_time(9.9)
    assert hive.steps("a") == [SOFT]
    await hive.pass_time(0.2)
    await hive.until(lambda state: state.agents["a"].stop_step is CANCEL)
    await hive.pass_time(4.8)
    assert hive.agent("a").state is State.STOPPING
    assert len(family.living()) == 2
    await hive.pass_time(0.3)
    await hive.are(State.INTERRUPTED, "a")
    assert family.living() == set()
    assert hive.steps("a") == [SOFT, CANCEL, KILL]
    assert hive.agent("a").signal == signal.SIGKILL
    assert hive.agent("b").state is State.RUNNING
    one = hive.agent("a")
    assert one.asked_at is not None
    assert one.ended_at is not None
    assert one.asked_at == one.delivered_at < one.ended_at


async def test_a_kill_begins_at_the_second_rung(hive: Hive, pipe: MakePipe, watch: MakeWatch):
    marks = pipe("marks")
    await hive.launch(stubborn("a", marks))
    family = watch(*map(int, await marks.lines(2)))
    await hive.kill("a")
    assert hive.steps("a") == [CANCEL]
    await hive.pass_time(5.1)
    await hive.over()
    assert family.living() == set()
    assert (hive.agent("a").state, hive.steps("a")) == (State.KILLED, [CANCEL, KILL])


async def test_the_graces_are_those_of_the_settings(make_hive: MakeHive, pipe: MakePipe):
    hive = make_hive(settings=EngineSettings(grace=100.0, term_grace=0.0))
    marks = pipe("marks")
    await hive.launch(stubborn("a", marks))
    await marks.lines(2)
    await hive.interrupt("a")
    await hive.pass_time(99)
    assert hive.steps("a") == [SOFT]
    await hive.pass_time(1.1)
    await hive.over()
    assert hive.steps("a") == [SOFT, CANCEL, KILL]


async def test_hurrying_takes_one_rung_at_a_time_and_never_restarts_the_ladder(hive: Hive, pipe: MakePipe):
    marks = pipe("marks")
    await hive.launch(stubborn("a", marks))
    await marks.lines(2)
    await hive.interrupt("a")
    await hive.pass_time(8)
    assert await hive.interrupt("a") == ["a"]
    assert await hive.hurry("a") == ["a"]
    assert hive.steps("a") == [SOFT, CANCEL]
    await hive.pass_time(4)
    assert hive.steps("a") == [SOFT, CANCEL]
    assert await hive.hurry("a") == ["a"]
    await hive.over()
    assert (hive.agent("a").state, hive.steps("a")) == (State.INTERRUPTED, [SOFT, CANCEL, KILL])


async def test_kill_at_once_skips_the_rungs_between(hive: Hive, pipe: MakePipe):
    marks = pipe("marks")
    await hive.launch(stubborn("a", marks))
    await marks.lines(2)
    await hive.interrupt("a")
    assert await hive.hurry("a", kill=True) == ["a"]
    await hive.over()
    assert (hive.agent("a").state, hive.steps("a")) == (State.KILLED, [SOFT, KILL])
    assert hive.agent("a").error == "killed by you"


@pytest.mark.parametrize(("rung", "then"), [(SOFT, [SOFT, CANCEL]), (CANCEL, [SOFT, CANCEL, KILL])])
async def test_a_kill_after_an_interrupt_is_a_kill_and_takes_a_rung_more(
    hive: Hive, pipe: MakePipe, rung: StopStep, then: list[StopStep]
):
    marks = pipe("marks")
    await hive.launch(stubborn("a", marks))
    await marks.lines(2)
    await hive.interrupt("a")
    if rung is CANCEL:
        await hive.hurry("a")
    await hive.kill("a")
    assert hive.steps("a") == then
    await hive.pass_time(5.1)
    await hive.over()
    assert (hive.agent("a").state, hive.agent("a").error) == (State.KILLED, "killed by you")


async def test_an_interrupt_after_a_kill_changes_nothing(hive: Hive, pipe: MakePipe):
    marks = pipe("marks")
    await hive.launch(stubborn("a", marks))
    await marks.lines(2)
    await hive.kill("a")
    await hive.interrupt("a", window=5)
    with hive.registry.read() as state:
        assert (state.shuts["a"].verb, state.shuts["a"].until) == (StopVerb.KILL, None)
    with pytest.raises(Refused):
        await hive.engine.take_back("a", "you")
    await hive.pass_time(5.1)
    await hive.over()
    assert (hive.agent("a").state, hive.steps("a")) == (State.KILLED, [CANCEL, KILL])


class Unkillable:
    """A command that KILL does not reach until the test lets it, as if it slept in the kernel."""

    def __init__(self, command: Command, mortal: asyncio.Event) -> None:
        self._command = command
        self._mortal = mortal
        self._killing: asyncio.Task[None] | None = None
        self.left = (Leftover(command.pid, "D", "sleep"),)

    def __getattr__(self, name: str) -> object:
        return getattr(self._command, name)

    def kill(self) -> None:
        self._killing = asyncio.ensure_future(self._kill_later())

    async def _kill_later(self) -> None:
        await self._mortal.wait()
        self._command.kill()


class Immortal(Warden):
    """Starts what cannot be killed."""

    def __init__(self, *parts: object) -> None:
        super().__init__(*parts)  # type: ignore[arg-type]
        self.mortal = asyncio.Event()

    async def run(self, agent: str, *rest: object, **options: object) -> Unkillable:  # type: ignore[override]
        return Unkillable(await super().run(agent, *rest, **options), self.mortal)  # type: ignore[arg-type]


async def test_what_is_still_there_after_the_last_rung_is_said_and_not_called_stopped(
    make_hive: MakeHive, pipe: MakePipe
):
    hive, marks = make_hive(warden=Immortal), pipe("marks")
    await hive.launch(stubborn("a", marks), patient("b"), slots=1)
    await marks.lines(2)
    await hive.kill("a")
    await hive.hurry("a", kill=True)
    await hive.pass_time(1.9)
    assert hive.agent("a").mark is None
    await hive.pass_time(0.2)
    await hive.until(lambda state: state.agents["a"].mark is Mark.UNSTOPPED)
    one = hive.agent("a")
    assert (one.state, one.slot) == (State.STOPPING, True)
    assert one.evidence == f"not stopped: pid {one.pids[0]} (sleep) in D state"
    await hive.pass_time(1_000)
    assert hive.agent("a").state is State.STOPPING
    assert hive.agent("b").state is State.QUEUED
    immortal = hive.wardens[0]
    assert isinstance(immortal, Immortal)
    immortal.mortal.set()
    await hive.are(State.KILLED, "a")
    assert hive.agent("a").mark is None
    await hive.are(State.RUNNING, "b")


# -- branches ----------------------------------------------------------------------------------------------------


async def test_a_branch_ends_whole_and_its_siblings_go_on(hive: Hive, pipe: MakePipe, watch: MakeWatch):
    marks = pipe("marks")
    asks = [group("g"), stubborn("g0", marks, "g"), patient("g1", "g"), patient("g2", "g"), group("h", "g")]
    await hive.launch(*asks, patient("h0", "h"), patient("h1", "h"), patient("z0"), patient("z1"), slots=4)
    await hive.are(State.RUNNING, "g0", "g1", "z0", "z1")
    await hive.pause("h")
    family = watch(*map(int, await marks.lines(2)), *hive.agent("g1").pids)
    assert set(await hive.interrupt("g", branch=True)) == {"g", "g0", "g1", "g2", "h", "h0", "h1"}
    assert {hive.agent(name).state for name in ("g2", "h0", "h1", "h")} == {State.INTERRUPTED}
    await hive.are(State.INTERRUPTED, "g1")
    assert hive.agent("g").state is State.STOPPING
    await hive.hurry("g", branch=True)
    await hive.hurry("g", branch=True)
    await hive.are(State.INTERRUPTED, "g0", "g")
    assert family.living() == set()
    assert {hive.agent(name).state for name in ("z0", "z1")} == {State.RUNNING}
    assert len(hive.living()) == 2
    assert hive.agent("g2").error == "interrupted by you before it ran"
    order = [event.agent for event in hive.events(AgentEnded)]
    assert order.index("g0") < order.index("g")


async def test_a_stop_of_everything_ends_the_swarm(hive: Hive):
    await hive.launch(group("g"), *(patient(f"a{n}", "g" if n % 2 else "root") for n in range(12)), slots=5)
    await hive.until(lambda state: sum(one.state is State.RUNNING for one in state.agents.values()) == 5)
    assert len(await hive.interrupt("root", branch=True)) == 14
    await hive.over()
    assert {end.state for end in ends(hive.records()).values()} == {State.INTERRUPTED}
    assert hive.living() == ()


async def test_half_a_branch_is_not_stopped_by_mistake(hive: Hive):
    await hive.launch(group("g"), patient("a", "g"))
    await hive.are(State.RUNNING, "a")
    seq = hive.registry.seq
    with pytest.raises(Refused, match="live agents below"):
        await hive.interrupt("g")
    with pytest.raises(NotFound):
        await hive.interrupt("nobody")
    with pytest.raises(NotFound):
        await hive.hurry("nobody")
    with pytest.raises(NotFound):
        await hive.engine.take_back("nobody", "you")
    assert hive.registry.seq == seq


async def test_two_stops_that_overlap_end_everything_once(hive: Hive, pipe: MakePipe):
    marks = pipe("marks")
    asks = [group("g"), group("h", "g"), stubborn("h0", marks, "h"), patient("h1", "h"), patient("g0", "g")]
    await hive.launch(*asks, patient("z"), slots=4)
    await hive.are(State.RUNNING, "h0", "h1", "g0", "z")
    await marks.lines(2)
    await hive.interrupt("h", branch=True, window=5)
    await hive.interrupt("g", branch=True)
    with hive.registry.read() as state:
        assert state.shuts["h"].until is None
    with pytest.raises(Refused):
        await hive.engine.take_back("h", "you")
    await hive.kill("h", branch=True)
    await hive.interrupt("h", branch=True, window=5)
    with pytest.raises(Refused):
        await hive.engine.take_back("h", "you")
    await hive.pass_time(5.1)
    await hive.are(State.KILLED, "h0", "h")
    await hive.are(State.INTERRUPTED, "g0", "g")
    assert hive.steps("h0") == [SOFT, CANCEL, KILL]
    assert hive.agent("z").state is State.RUNNING
    assert not hive.events(BranchReopened)
    ends(hive.records())


# -- windows -----------------------------------------------------------------------------------------------------


async def test_in_its_window_a_stop_shuts_and_can_be_taken_back(hive: Hive, pipe: MakePipe):
    gate = pipe("gate")
    line = f"read x < {gate.path}"
    await hive.launch(group("g"), shell("g0", line, "g"), shell("g1", line, "g"), shell("z", line), slots=1)
    await hive.are(State.RUNNING, "g0")
    await hive.interrupt("g", branch=True, window=5)
    assert hive.held() == ["g1"]
    assert hive.agent("g0").asked_at is not None
    gate.let_go()
    await hive.are(State.RUNNING, "z")
    await hive.pass_time(4.9)
    await hive.engine.take_back("g", "you")
    assert hive.agent("g1").asked_at is None
    await hive.pass_time(100)
    gate.let_go(2)
    await hive.over()
    assert hive.status() == "done"
    assert [event.agent for event in hive.events(AgentAdmitted)] == ["g0", "z", "g1"]
    assert not hive.events(AgentStopping)


async def test_when_its_window_closes_the_stop_goes_on_and_cannot_be_taken_back(hive: Hive):
    await hive.launch(group("g"), patient("g0", "g"), patient("g1", "g"), patient("z"), slots=2)
    await hive.are(State.RUNNING, "g0", "z")
    await hive.interrupt("g", branch=True, window=5)
    await hive.pass_time(5.1)
    await hive.are(State.INTERRUPTED, "g", "g0", "g1")
    with pytest.raises(Refused, match="nothing to take back"):
        await hive.engine.take_back("g", "you")
    assert [event.until is None for event in hive.events(BranchShut)] == [False, True]


async def test_a_hurried_window_is_closed_for_everybody_to_see(hive: Hive, pipe: MakePipe):
    marks = pipe("marks")
    await hive.launch(stubborn("a", marks))
    await marks.lines(2)
    await hive.interrupt("a", window=5)
    assert await hive.hurry("a") == ["a"]
    with hive.registry.read() as state:
        assert state.shuts["a"].until is None
    assert hive.steps("a") == [SOFT]
    with pytest.raises(Refused):
        await hive.engine.take_back("a", "you")
    await hive.pass_time(5.1)
    assert hive.steps("a") == [SOFT]
    await hive.kill("a")
    await hive.pass_time(5.1)
    await hive.over()


async def test_a_kill_within_the_window_is_a_kill_at_once(hive: Hive, pipe: MakePipe):
    marks = pipe("marks")
    await hive.launch(group("g"), stubborn("a", marks, "g"), patient("b", "g"), slots=1)
    await marks.lines(2)
    await hive.interrupt("g", branch=True, window=5)
    assert set(await hive.hurry("g", branch=True, kill=True)) == {"g", "a", "b"}
    await hive.over()
    assert {hive.agent(name).state for name in "gab"} == {State.KILLED}


async def test_asking_again_never_makes_a_window_longer(hive: Hive):
    await hive.launch(patient("a"))
    await hive.are(State.RUNNING, "a")
    await hive.interrupt("a", window=5)
    await hive.pass_time(3)
    await hive.interrupt("a", window=60)
    await hive.pass_time(2.1)
    await hive.over()
    assert hive.agent("a").state is State.INTERRUPTED


async def test_hurrying_one_of_a_branch_leaves_the_others_their_window(hive: Hive):
    await hive.launch(group("g"), patient("a", "g"), patient("b", "g"), patient("c", "g"), slots=2)
    await hive.are(State.RUNNING, "a", "b")
    await hive.interrupt("g", branch=True, window=5)
    assert await hive.hurry("a", kill=True) == ["a"]
    await hive.are(State.KILLED, "a")
    assert (hive.agent("b").state, hive.held()) == (State.RUNNING, ["c"])
    await hive.engine.take_back("g", "you")
    await hive.are(State.RUNNING, "b", "c")


async def test_an_agent_may_end_by_itself_within_the_window(hive: Hive, pipe: MakePipe):
    gate = pipe("gate")
    await hive.launch(shell("a", f"read x < {gate.path}"), patient("b"))
    await hive.are(State.RUNNING, "a")
    await hive.interrupt("a", window=5)
    gate.let_go()
    await hive.are(State.DONE, "a")
    with pytest.raises(Refused):
        await hive.engine.take_back("a", "you")
    await hive.pass_time(10)
    await hive.are(State.RUNNING, "b")


async def test_a_time_limit_within_the_window_closes_it(hive: Hive, pipe: MakePipe):
    marks = pipe("marks")
    line = f"trap '' TERM; echo > {marks.path}; while :; do sleep 600; done"
    await hive.launch(shell("a", line, timeout=3))
    await marks.line()
    await hive.are(State.RUNNING, "a")
    await hive.interrupt("a", window=5)
    await hive.pass_time(3.1)
    with hive.registry.read() as state:
        assert state.shuts["a"].until is None
    with pytest.raises(Refused):
        await hive.engine.take_back("a", "you")
    await hive.pass_time(5.1)
    await hive.over()
    assert hive.agent("a").state is State.TIMED_OUT


# -- at every moment ---------------------------------------------------------------------------------------------


class Waits(Warden):
    """Hands an order on only when the test says so."""

    def __init__(self, *parts: object) -> None:
        super().__init__(*parts)  # type: ignore[arg-type]
        self.asked = asyncio.Event()
        self.go = asyncio.Event()

    async def run(self, agent: str, *rest: object, **options: object) -> Command:
        self.asked.set()
        await self.go.wait()
        return await super().run(agent, *rest, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("kill", [False, True])
async def test_a_stop_while_the_command_is_being_started_reaches_it(make_hive: MakeHive, kill: bool):
    hive = make_hive(warden=Waits)
    await hive.launch(patient("a"))
    await hive.has_warden.wait()
    warden = hive.wardens[0]
    assert isinstance(warden, Waits)
    await warden.asked.wait()
    assert hive.agent("a").state is State.STARTING
    await (hive.kill("a") if kill else hive.interrupt("a"))
    assert hive.agent("a").state is State.STOPPING
    warden.go.set()
    await hive.over()
    assert hive.agent("a").state is (State.KILLED if kill else State.INTERRUPTED)
    assert len(hive.steps("a")) == 1


async def test_a_kill_before_there_is_a_warden_starts_nothing(hive: Hive, tmp_path: Path):
    """Its only rung comes at once: if it were lost, nothing would ever stop the agent."""
    await hive.launch(shell("a", f"touch {tmp_path}/ran; exec sleep 600"), run=False)
    hive.run()
    stopping = asyncio.gather(hive.kill("a"), hive.hurry("a", kill=True))
    await stopping
    assert not hive.wardens
    await hive.over()
    assert hive.agent("a").state is State.KILLED
    assert not (tmp_path / "ran").exists()


async def test_a_stop_between_admission_and_its_effect_starts_nothing(hive: Hive, tmp_path: Path):
    await hive.launch(shell("a", f"touch {tmp_path}/ran; exec sleep 600"), run=False)
    await hive.interrupt("a")
    hive.run()
    await hive.over()
    assert hive.agent("a").state is State.INTERRUPTED
    assert not (tmp_path / "ran").exists()


async def test_a_stop_of_a_try_that_waits_for_its_slot_ends_it_at_once(hive: Hive, pipe: MakePipe):
    gate = pipe("gate")
    await hive.launch(shell("a", f"read x < {gate.path}; exit 1", retries=3), patient("b"), slots=1, run=False)
    await hive.pause()
    hive.run()
    await hive.are(State.RUNNING, "a")
    gate.let_go()
    await hive.are(State.WAITING, "a")
    assert hive.held() == ["a", "b"]
    await hive.interrupt("a")
    assert (hive.agent("a").state, hive.agent("a").error) == (
        State.INTERRUPTED,
        "interrupted by you between two tries",
    )
    await turns()
    assert not _is_open(hive.folder / "output" / "a.log"), "its driver waits for a slot that never comes"
    await hive.kill("b")
    await hive.over()


def _text(path: Path) -> str:
    return path.read_text()


def _is_open(path: Path) -> bool:
    links = [f"/proc/self/fd/{end}" for end in os.listdir("/proc/self/fd")]
    return str(path) in {os.readlink(link) for link in links if os.path.lexists(link)}


async def test_a_stop_right_after_another_try_was_admitted_starts_nothing(hive: Hive, pipe: MakePipe):
    """The driver does not know its new number yet when the stop arrives."""
    gate, marks = pipe("gate"), pipe("marks")
    line = f"echo try > {marks.path}; read x < {gate.path}; exit 1"
    await hive.launch(shell("a", line, retries=3), slots=1)
    await marks.line()
    await hive.pause()
    gate.let_go()
    await hive.are(State.WAITING, "a")
    await asyncio.gather(hive.unpause(), hive.kill("a"))
    await hive.over()
    assert (hive.agent("a").state, hive.agent("a").attempt, hive.agent("a").exit_code) == (State.KILLED, 2, 1)
    assert marks.nothing()
    assert _text(hive.folder / "output" / "a.log") == "", "a try is noted that was never made"


async def test_nothing_new_starts_in_a_branch_that_stops(hive: Hive, pipe: MakePipe):
    """A try that fails because it was told to stop is not tried again."""
    await hive.launch(patient("a", retries=9), patient("b", retries=9), slots=1)
    await hive.are(State.RUNNING, "a")
    await hive.interrupt("root", branch=True)
    await hive.over()
    assert [event.agent for event in hive.events(AgentAdmitted)] == ["a"]
    assert {hive.agent(name).state for name in "ab"} == {State.INTERRUPTED}
    assert hive.agent("a").stop_verb is StopVerb.INTERRUPT


async def test_what_was_done_when_the_stop_came_is_not_run_again(hive: Hive):
    await hive.launch(*(command(f"a{n}", "true") for n in range(20)), slots=3)
    await hive.interrupt("root", branch=True)
    await hive.over()
    found = ends(hive.records())
    assert {found[f"a{n}"].state for n in range(20)} <= {State.DONE, State.INTERRUPTED}
    assert max(one.attempt for one in map(hive.agent, (f"a{n}" for n in range(20)))) <= 1
