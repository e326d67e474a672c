"""More agents than slots: none refused, never too many at once, in order, and all of them done."""

from __future__ import annotations

from pathlib import Path

import pytest

from skep.engine.endings import Endings
from skep.engine.engine import Engine
from skep.engine.ledger import Decision
from skep.model.agent import Agent
from skep.model.events import AgentAdmitted, AgentEnded, AgentWaiting, SwarmEnded
from skep.model.permits import Ended
from skep.model.states import DriverKind, State
from tests.engine.conftest import MakeHive, MakePipe
from tests.engine.hive import Hive, Pipe, command, ends, group, patient, shell, turns

AGENTS = 15
SLOTS = 4


class AdmitsTheLast(Engine):
    """Ignores the line: the last to come is admitted first."""

    def _admit(self, decision: Decision) -> None:
        state = decision.state
        while state.slots_free > 0 and (ready := state.line.positions()):
            decision.emit(AgentAdmitted(ready[-1]))
            decision.then(self._start(state.agents[ready[-1]], state.agents[ready[-1]].attempt))


class GivesSlotsBackTwice(Endings):
    """Gives a slot back twice when its agent ends."""

    def after(self, decision: Decision, agent: str, end: Ended | None = None) -> None:
        one: Agent = decision.state.agents[agent]
        if one.ended and one.driver is DriverKind.COMMAND:
            decision.state.slots_used -= 1
        super().after(decision, agent, end)


class CountsSlotsTwice(Engine):
    """An engine with such ends."""

    def __init__(self, *given: object, **options: object) -> None:
        super().__init__(*given, **options)  # type: ignore[arg-type]
        self._endings.__class__ = GivesSlotsBackTwice


async def _run_fifteen_on_four(hive: Hive, marks: Pipe, gate: Pipe, file: Path) -> None:
    """Each command notes its start and its end, and waits in between until the test lets one go."""
    line = f"echo start $0 | tee -a {file} > {marks.path}; read x < {gate.path}; echo end $0 >> {file}"
    asks = [command(f"a{n}", "/bin/sh", "-c", line, f"a{n}") for n in range(AGENTS)]
    await hive.launch(*asks, slots=SLOTS)
    begun = [await marks.line() for _ in range(SLOTS)]
    for left in range(AGENTS - SLOTS, 0, -1):
        gate.let_go()
        begun.append(await marks.line())
        assert len(hive.positions()) == left - 1
    gate.let_go(SLOTS)
    await hive.over()
    _check_the_journal(hive)
    _check_the_commands(file)


def _check_the_journal(hive: Hive) -> None:
    assert {end.state for end in ends(hive.records()).values()} == {State.DONE}
    assert len(ends(hive.records())) == AGENTS + 1
    running = most = 0
    for event in hive.events(AgentAdmitted, AgentEnded):
        running += 1 if isinstance(event, AgentAdmitted) else -1 if event.agent != "root" else 0
        most = max(most, running)
    assert most == SLOTS
    assert [event.agent for event in hive.events(AgentAdmitted)] == [f"a{n}" for n in range(AGENTS)]
    assert hive.events(SwarmEnded) == [SwarmEnded("done")]


def _check_the_commands(file: Path) -> None:
    marks = file.read_text().split("\n")
    running: set[str] = set()
    most = 0
    for mark in filter(None, marks):
        what, agent = mark.split()
        (running.add if what == "start" else running.remove)(agent)
        most = max(most, len(running))
    assert most == SLOTS
    assert not running
    assert len(marks) == 2 * AGENTS + 1


async def test_fifteen_agents_on_four_slots(hive: Hive, pipe: MakePipe, tmp_path: Path):
    await _run_fifteen_on_four(hive, pipe("marks"), pipe("gate"), tmp_path / "file")


@pytest.mark.parametrize("mutant", [AdmitsTheLast, CountsSlotsTwice])
async def test_the_fifteen_catch(make_hive: MakeHive, pipe: MakePipe, tmp_path: Path, mutant: type[Engine]):
    with pytest.raises(AssertionError):
        await _run_fifteen_on_four(make_hive(engine=mutant), pipe("marks"), pipe("gate"), tmp_path / "file")


async def test_branches_share_the_slots(hive: Hive, pipe: MakePipe):
    gate = pipe("gate")
    line = f"read x < {gate.path}"
    asks = [group("g"), group("h"), *(shell(f"g{n}", line, "g") for n in range(4))]
    await hive.launch(*asks, shell("h0", line, "h"), shell("h1", line, "h"), shell("a", line), slots=1)
    assert hive.positions() == ["h0", "a", "g1", "h1", "g2", "g3"]
    gate.let_go(7)
    await hive.over()
    assert [event.agent for event in hive.events(AgentAdmitted)] == ["g0", "h0", "a", "g1", "h1", "g2", "g3"]


async def test_an_agent_that_comes_back_goes_before_all_new_ones(hive: Hive, pipe: MakePipe, tmp_path: Path):
    gate = pipe("gate")
    first = f"read x < {gate.path}; test -e {tmp_path}/once || {{ touch {tmp_path}/once; exit 3; }}"
    await hive.launch(
        shell("a", first, retries=1), *(shell(f"b{n}", f"read x < {gate.path}") for n in range(3)), slots=1
    )
    gate.let_go(5)
    await hive.over()
    assert [event.agent for event in hive.events(AgentAdmitted)] == ["a", "a", "b0", "b1", "b2"]
    assert [event.detail for event in hive.events(AgentWaiting)] == ["try 2 of 2 after exit 3"]


async def test_groups_hold_no_slot_and_end_with_their_last_agent(hive: Hive):
    asks = [group("g"), group("h", "g"), command("a", "true", parent="h"), command("b", "false", parent="g")]
    await hive.launch(*asks, slots=1)
    await hive.over()
    order = [event.agent for event in hive.events(AgentEnded)]
    assert order.index("a") < order.index("h") < order.index("g") < order.index("root")
    assert {agent: end.state for agent, end in ends(hive.records()).items()} == {
        "a": State.DONE,
        "h": State.DONE,
        "b": State.FAILED,
        "g": State.FAILED,
        "root": State.FAILED,
    }
    assert hive.status() == "failed"


async def test_a_group_without_anybody_is_over_before_it_began(hive: Hive):
    await hive.launch(group("g"), group("h", "g"), group("i", "h"), command("a", "true"))
    assert {hive.agent(name).state for name in "ghi"} == {State.DONE}
    await hive.over()
    assert hive.status() == "done"


async def test_a_swarm_of_nothing_but_empty_groups_ends_at_once(hive: Hive):
    await hive.launch(group("g"), group("h", "g"))
    await hive.over()
    assert hive.status() == "done"


async def test_an_engine_that_is_ended_admits_nobody_on_its_way_out(make_hive: MakeHive, tmp_path: Path):
    """The slots of what is ended are free then, and whoever took one would be lost without having run."""
    hive = make_hive()
    await hive.launch(patient("a", retries=5), patient("b"), patient("c"), slots=2)
    await hive.are(State.RUNNING, "a", "b")
    await hive.close()
    again = make_hive()
    assert again.states() == {"root": "waiting", "a": "running", "b": "running", "c": "queued"}
    assert not again.events(AgentWaiting)
    assert again.living() == ()


async def test_an_engine_on_its_way_out_admits_nobody_whom_a_client_releases(make_hive: MakeHive):
    hive = make_hive()
    await hive.launch(patient("a"), patient("b"), command("c", "true"), slots=2)
    await hive.are(State.RUNNING, "a", "b")
    await hive.pause("c")
    await hive.kill("b")
    await hive.are(State.KILLED, "b")
    hive.cancel()
    await turns(3)
    await hive.unpause("c")
    await hive.close()
    again = make_hive()
    assert again.positions() == ["c"]


async def test_nothing_is_asked_of_a_swarm_that_has_ended(hive: Hive):
    await hive.launch(command("a", "true"))
    await hive.over()
    seq = hive.registry.seq
    assert await hive.interrupt("a") == []
    assert await hive.kill("root", branch=True) == []
    assert await hive.unpause() == 0
    assert await hive.hurry("a", kill=True) == []
    await turns()
    assert hive.registry.seq == seq


async def test_an_engine_that_is_cancelled_while_it_closes_still_closes_whole(hive: Hive):
    """The fixture sees to it that neither a warden nor a descriptor is left."""
    await hive.launch(command("a", "true"))
    await hive.are(State.DONE, "a")
    for _ in range(5):
        hive.cancel()
        await turns(3)
