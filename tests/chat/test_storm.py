"""Everything at once: every verb at any moment, over trees of chat agents and programs; nothing may be left."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path

import pytest

from skep.errors import NotFound, Refused
from skep.model.approvals import Commands
from skep.model.events import ROOT, AgentAdmitted, AgentQueued, BranchShut, Record
from skep.model.launch import AgentAsk
from skep.model.swarm import SwarmState
from skep.simulator.scenario import Scenario, SimulatedKey
from tests.chat.asking import call, chat, delegate, task
from tests.chat.conftest import KEYS, ChatHive, MakeChatHive
from tests.chat.holding import check, check_calls, check_left, replay
from tests.engine.hive import LIMIT, command, ends, group, patient, shell, turns

SETTINGS = {
    "quiet_after": 10.0,
    "idle_after": 40.0,
    "in_tool_after": 60.0,
    "max_depth": 3,
    "approval_timeout": 30.0,
}
SLOTS = 4


def steps(choice: random.Random, depth: int) -> list[dict]:
    """What one agent does, turn by turn; those that may delegate do so now and then."""
    said = []
    for _ in range(choice.randrange(1, 4)):
        said.append(step(choice, depth))
    return [*said, {"say": "the end of it"}]


def step(choice: random.Random, depth: int) -> dict:
    kind = choice.randrange(13)
    if depth and kind in (0, 1, 2, 3):
        return delegate(*(child(choice, depth - 1) for _ in range(choice.randrange(1, 4))), background=kind == 0)
    if kind == 4:
        return {"hang": True}
    if kind == 5:
        return {"say": "some words and then", "silent": 12}
    if kind == 6:
        return {"say": "word " * 200, "trickle": 0.01}
    if kind == 7:
        return {"fail": "no more of this"}
    if kind == 8:
        return {"status": choice.choice([429, 503]), "times": choice.randrange(1, 3), "say": "after all"}
    if kind == 9:
        line = choice.choice(["true", "sleep 600", "trap '' INT TERM; setsid sleep 600 & sleep 600", "exit 3"])
        return call("terminal", command=line)
    if kind == 10:
        calls = [call("terminal", command="true"), call("list_files")]
        if depth:
            calls.append(delegate(child(choice, depth - 1), child(choice, 0)))
        return {"calls": calls}
    return {"say": "x"} | call("list_files")


def child(choice: random.Random, depth: int) -> dict:
    fields: dict = {"role": "orchestrator"} if depth else {}
    if choice.random() < 0.2:
        fields["timeout"] = choice.choice([3, 20])
    return task(f"c{choice.randrange(1000)}", *steps(choice, depth), **fields)


def asks(choice: random.Random, cwd: Path) -> list[AgentAsk]:
    made = [group("g0"), group("g1")]
    for number in range(6):
        name, parent = f"a{number}x", choice.choice([ROOT, "g0", "g1"])
        commands = choice.choice([Commands.ASK, Commands.ALLOW])
        made.append(chat(name, *steps(choice, 2), cwd=cwd, parent=parent, commands=commands))
    for number in range(4):
        name, parent = f"p{number}", choice.choice([ROOT, "g0", "g1"])
        kind = choice.randrange(3)
        if kind == 0:
            made.append(command(name, "false", parent=parent, retries=2))
        elif kind == 1:
            made.append(patient(name, parent, timeout=choice.choice([0, 40])))
        else:
            made.append(shell(name, "trap '' INT; sleep 600 & wait", parent))
    return made


async def act(hive: ChatHive, choice: random.Random) -> None:
    with hive.registry.read() as state:
        live = [one.id for one in state.agents.values() if not one.ended]
        asking = [(one.id, str(one.question["hash"])) for one in state.agents.values() if one.question is not None]
    name = choice.choice(live)
    branch = choice.random() < 0.7
    kind = choice.randrange(10)
    if kind == 0:
        await hive.pause(choice.choice(["", name]), choice.choice([None, 3.0, 30.0]))
    elif kind == 1:
        await hive.unpause(choice.choice(["", name]))
    elif kind == 2 and name != ROOT:
        await hive.interrupt(name, branch=branch, window=choice.choice([0.0, 5.0]))
    elif kind == 3 and name != ROOT and choice.random() < 0.5:
        await hive.kill(name, branch=branch)
    elif kind == 4:
        await hive.hurry(name, branch=branch, kill=choice.random() < 0.3)
    elif kind == 5:
        await hive.engine.take_back(name, "you")
    elif kind == 6 and asking:
        agent, hash = choice.choice(asking)
        await hive.engine.answer(agent, hash, allow=choice.random() < 0.5, who="you")
    elif kind == 7:
        await hive.pass_time(choice.choice([0.5, 2.0, 5.1, 11.0]))
    else:
        await happens(hive, choice.randrange(1, 12))


async def happens(hive: ChatHive, count: int) -> None:
    """Let so many events happen, if there are so many to come by themselves."""
    with hive.registry.read() as state:
        aim = state.seq + count
    for _ in range(100):
        await asyncio.to_thread(lambda: None)
        await turns(3)
        with hive.registry.read() as state:
            if state.seq >= aim or state.status is not None:
                return


@pytest.mark.parametrize("seed", range(10))
async def test_whatever_is_asked_the_swarm_ends_whole(
    make_chat_hive: MakeChatHive, make_hive, seed: int, tmp_path: Path
):
    choice = random.Random(seed)
    hive = await make_chat_hive(
        scenario=Scenario(keys=[SimulatedKey(key) for key in KEYS[:2]]),
        cap=choice.choice([None, 2]),
        on_stale=choice.choice(["mark", "interrupt"]),
        **SETTINGS,
    )
    await hive.launch(*asks(choice, hive.workspace), slots=SLOTS, fail_fast=choice.random() < 0.2)
    for _ in range(60):
        if hive.status() is not None:
            break
        try:
            await act(hive, choice)
        except (Refused, NotFound):
            continue
    if choice.random() < 0.3 and hive.status() is None:
        again = make_hive(await hive.die(tmp_path / "left"))
        await again.recover()
        await again.kill(ROOT, branch=True)
        await again.over()
        check_story(replay_of(again.records()))
        async with asyncio.timeout(LIMIT):
            await hive.simulator.ledger.until(lambda ledger: ledger.open == 0)
        check_left(hive)
        return
    await hive.kill(ROOT, branch=True)
    await hive.hurry(ROOT, branch=True, kill=True)
    await hive.over()
    check(hive)
    check_story(replay_of(hive.records()))


def replay_of(records: list[Record]) -> list[Record]:
    replay(records)
    check_calls(records)
    return records


def check_story(records: list[Record]) -> None:
    """Everybody has ended once, and nobody was admitted or asked for under what was stopping."""
    asked = {record.event.agent for record in records if isinstance(record.event, AgentQueued)}
    assert set(ends(records)) == asked
    state = SwarmState()
    stopping: set[str] = set()
    for record in records:
        event = record.event
        state.fold(record)
        if isinstance(event, BranchShut) and event.until is None and event.branch:
            stopping.add(event.agent)
        elif isinstance(event, AgentAdmitted | AgentQueued):
            above = {one.id for one in state.ancestors(event.agent)}
            assert not above & stopping, f"{event.kind} of {event.agent} under what was stopping"
