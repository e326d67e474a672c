"""Everything at once: every verb in any order, at any moment, over programs of every kind; nothing may be left."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from skep.errors import NotFound, Refused
from skep.model.events import ROOT, AgentAdmitted, AgentEnded, AgentQueued, AgentWaiting, BranchShut, Record
from skep.model.launch import AgentAsk, EngineSettings
from skep.model.swarm import SwarmState
from tests.engine.conftest import MakeHive
from tests.engine.hive import Hive, command, ends, group, patient, shell, turns

SLOTS = 4
SETTINGS = EngineSettings(quiet_after=10, in_tool_after=20, idle_after=20)


def _program(choice: random.Random, name: str, parent: str) -> AgentAsk:
    kind = choice.randrange(7)
    if kind == 0:
        return command(name, "true", parent=parent)
    if kind == 1:
        return command(name, "false", parent=parent, retries=choice.randrange(4))
    if kind == 2:
        return command(name, "no-such-program-anywhere", parent=parent, retries=2)
    if kind == 3:
        return patient(name, parent, timeout=choice.choice([0, 5, 40]), retries=choice.randrange(2))
    if kind == 4:
        return shell(name, "trap '' INT; sleep 600 & wait; sleep 600", parent)
    if kind == 5:
        return shell(name, "trap '' INT TERM; setsid sleep 600 & while :; do sleep 600; done", parent)
    return shell(name, "trap 'exit 3' INT; echo working; sleep 600 & wait", parent, retries=1)


def _agents(choice: random.Random) -> list[AgentAsk]:
    asks = [group("g0"), group("g1", "g0"), group("g2")]
    parents = [ROOT, "g0", "g1", "g2"]
    return [*asks, *(_program(choice, f"a{number}", choice.choice(parents)) for number in range(12))]


async def _do_something(hive: Hive, choice: random.Random, names: list[str]) -> None:
    name = choice.choice(names[1:] * 4 + names)
    branch = choice.random() < 0.7
    window = choice.choice([0.0, 0.0, 5.0])
    act = choice.randrange(9)
    if act == 0:
        await hive.pause(choice.choice(["", name]), choice.choice([None, 3.0, 30.0]))
    elif act == 1:
        await hive.unpause(choice.choice(["", name]))
    elif act == 2 and choice.random() < 0.5:
        await hive.interrupt(name, branch=branch, window=window)
    elif act == 3 and choice.random() < 0.5:
        await hive.kill(name, branch=branch)
    elif act == 4:
        await hive.hurry(name, branch=branch, kill=choice.random() < 0.3)
    elif act == 5:
        await hive.engine.take_back(name, "you")
    elif act == 6:
        await hive.pass_time(choice.choice([0.5, 2.0, 5.1, 11.0]))
    elif act == 7:
        await turns(choice.randrange(40))
    else:
        # Real events of the journal: meanwhile programs start, fail and end.
        for _ in range(choice.randrange(12)):
            await hive.unpause(await _some_latch(hive, name))


async def _some_latch(hive: Hive, name: str) -> str:
    await hive.pause(name, reason="passing")
    return name


@pytest.mark.parametrize("seed", range(4))
async def test_whatever_is_asked_the_swarm_ends_whole(make_hive: MakeHive, seed: int, tmp_path: Path):
    choice = random.Random(seed)
    hive = make_hive(settings=SETTINGS)
    asks = _agents(choice)
    names = [ROOT, *(ask.id for ask in asks)]
    await hive.launch(*asks, slots=SLOTS, fail_fast=choice.random() < 0.3)
    for _ in range(60):
        if hive.status() is not None:
            break
        try:
            await _do_something(hive, choice, names)
        except (Refused, NotFound):
            continue
    if choice.random() < 0.4:
        hive = make_hive(await hive.die(tmp_path / "left"), settings=SETTINGS)
        await hive.recover(go=choice.random() < 0.5)
    await hive.kill(ROOT, branch=True)
    await hive.hurry(ROOT, branch=True, kill=True)
    await hive.over()
    _check(hive, names)


def _check(hive: Hive, names: list[str]) -> None:
    records = hive.records()
    assert set(ends(records)) == set(names), "somebody has not ended"
    assert hive.living() == ()
    _check_the_slots(records)
    _check_that_nothing_started_in_what_was_stopping(records)


def _check_the_slots(records: list[Record]) -> None:
    used: set[str] = set()
    for record in records:
        if isinstance(record.event, AgentAdmitted):
            used.add(record.event.agent)
        elif isinstance(record.event, AgentEnded | AgentWaiting):
            used.discard(record.event.agent)
        assert len(used) <= SLOTS


def _check_that_nothing_started_in_what_was_stopping(records: list[Record]) -> None:
    """Once a stop is past its window, nobody under it is admitted, whatever came before or after."""
    state = SwarmState()
    parents: dict[str, str | None] = {}
    stopping: set[str] = set()
    for record in records:
        state.fold(record)
        if isinstance(record.event, AgentQueued):
            parents[record.event.agent] = record.event.parent
        elif isinstance(record.event, BranchShut) and record.event.until is None:
            stopping.add(record.event.agent)
        elif isinstance(record.event, AgentAdmitted):
            at: str | None = record.event.agent
            while at is not None:
                assert at not in stopping, f"{record.event.agent} was admitted although {at} was stopping"
                at = parents[at]
