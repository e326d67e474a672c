"""A new engine on the folder of a dead one: conversations are lost, with all that they had asked for."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from skep.model.events import ROOT, AgentAdmitted, AgentEnded
from skep.model.registry import to_pages
from skep.model.states import State, WaitReason
from tests.chat.asking import call, chat, delegate, task
from tests.chat.conftest import ChatHive, MakeChatHive
from tests.chat.holding import check, check_calls, replay
from tests.engine.hive import LIMIT, Hive, ends

HANGS = {"hang": True}


def states(hive: Hive) -> dict[str, State]:
    return {hive.agent(agent).name: end.state for agent, end in ends(hive.records()).items()}


@pytest.mark.parametrize("moment", range(0, 40, 3))
async def test_whenever_an_engine_dies_the_next_one_finds_a_whole_swarm(
    make_chat_hive: MakeChatHive, make_hive, tmp_path: Path, moment: int
):
    """It dies after so many events; whatever they were, the rest is lost or waits, and replays to the same."""
    hive = await make_chat_hive(max_depth=2)
    leaf = task("leaf", call("list_files"), {"say": "x"})
    lead = task("lead", delegate(leaf, leaf, background=True), delegate(leaf), {"say": "l"}, role="orchestrator")
    top = [chat(f"t{n}", delegate(lead), {"say": "t"}, cwd=hive.workspace) for n in range(2)]
    mine = [chat(f"q{n}", {"say": "q"}, cwd=hive.workspace) for n in range(2)]
    await hive.launch(*top, *mine, slots=2)
    await hive.until(lambda state: state.seq >= 10 + moment)
    folder = await hive.die(tmp_path / "left")
    again = make_hive(folder)
    before = again.records()
    await again.recover(run=False)
    records = again.records()
    assert records[: len(before)] == before
    state = replay(records)
    assert to_pages(state) == again.registry.pages()
    for one in state.agents.values():
        assert one.ended or one.id == ROOT or (one.state is State.QUEUED and not one.attempt), one
        assert one.question is None
        assert not one.slot
    check_calls(records)


async def test_what_ran_is_lost_and_what_waited_waits_on_whoever_had_asked_for_it(
    make_chat_hive: MakeChatHive, make_hive, tmp_path: Path
):
    hive = await make_chat_hive(max_depth=2)
    lead = chat("lead", delegate(*(task(f"c{n}", HANGS) for n in range(3))), cwd=hive.workspace)
    mine = [chat(f"q{n}", {"say": f"q{n}"}, cwd=hive.workspace, parent=ROOT) for n in range(2)]
    await hive.launch(lead, chat("h", HANGS, cwd=hive.workspace), *mine, slots=2)
    await hive.until(lambda state: state.agents["lead"].reason is WaitReason.CHILD)
    await hive.pause()
    folder = await hive.die(tmp_path / "left")
    unstarted = {one for one in hive.states() if hive.agent(one).attempt == 0 and one != ROOT}
    again = make_hive(folder)
    await again.recover()
    found = states(again)
    assert found["lead"] is found["h"] is State.LOST
    children = [agent for agent in again.states() if again.agent(agent).parent == "lead"]
    assert len(children) == 3
    for child in children:
        one = again.agent(child)
        assert one.state is (State.QUEUED if child in unstarted else State.LOST)
        assert one.error == (None if child in unstarted else "its engine died in turn 1")
    assert set(again.held()) == unstarted
    assert again.agent("lead").error == "its engine died in turn 2"


async def test_go_runs_what_the_operator_had_queued(make_chat_hive: MakeChatHive, tmp_path: Path):
    hive = await make_chat_hive()
    lead = chat("lead", delegate(task("c", HANGS)), cwd=hive.workspace)
    mine = [chat(f"q{n}", {"say": f"answer {n}"}, cwd=hive.workspace) for n in range(3)]
    await hive.launch(lead, *mine, slots=1, run=False)
    folder = await hive.die(tmp_path / "left")
    again = await make_chat_hive(folder=folder)
    await again.recover(go=True)
    await again.over()
    assert again.agent("lead").state is State.LOST, "it was admitted, so it may have run"
    assert [again.agent(f"q{n}").result for n in range(3)] == ["answer 0", "answer 1", "answer 2"]
    assert [event.agent for event in again.events(AgentAdmitted)] == ["lead", "q0", "q1", "q2"]
    check(again)


async def test_an_agent_in_line_for_its_old_slot_is_lost_and_not_begun_again(
    make_chat_hive: MakeChatHive, make_hive, tmp_path: Path
):
    hive = await make_chat_hive()
    lead = chat("lead", delegate(task("c", {"say": "c"})), {"say": "x"}, cwd=hive.workspace)
    await hive.launch(lead, chat("h", HANGS, cwd=hive.workspace), chat("i", HANGS, cwd=hive.workspace), slots=1)
    await hive.are(State.RUNNING, "h")
    await hive.interrupt("h")
    await hive.are(State.RUNNING, "i")
    await hive.interrupt("i", window=60)  # it keeps its slot for as long as that can be taken back
    await hive.pause("i")
    folder = await hive.die(tmp_path / "left")
    again = await make_chat_hive(folder=folder)
    await again.recover(go=True)
    await again.over()
    assert states(again) == {
        "lead": State.LOST,
        "c": State.DONE,
        "h": State.INTERRUPTED,
        "i": State.LOST,
        "hive": State.FAILED,
    }


async def test_recovering_twice_is_recovering_once(make_chat_hive: MakeChatHive, make_hive, tmp_path: Path):
    hive = await make_chat_hive()
    lead = chat("lead", delegate(task("c", HANGS), task("d", HANGS)), cwd=hive.workspace)
    await hive.launch(lead, chat("q", {"say": "q"}, cwd=hive.workspace), slots=1)
    await hive.until(lambda state: len(state.agents) == 5)
    folder = await hive.die(tmp_path / "left")
    seen = []
    for _ in range(3):
        again = make_hive(folder)
        await again.recover(run=False)
        seen.append((again.states(), again.held(), len(again.events(AgentEnded))))
        await again.close()
    assert seen[0] == seen[1] == seen[2]


async def test_an_engine_that_is_told_to_end_leaves_no_request_open(chat_hive: ChatHive, pipe):
    up = pipe("up")
    stays = call("terminal", command=f"trap '' INT TERM; echo > {up.path}; while :; do sleep 600; done")
    agents = [chat(f"h{n}", HANGS, cwd=chat_hive.workspace) for n in range(3)]
    await chat_hive.launch(*agents, chat("t", stays, cwd=chat_hive.workspace), slots=4)
    async with asyncio.timeout(LIMIT):
        await chat_hive.simulator.ledger.until(lambda ledger: ledger.open == 3)
    await up.line()
    await chat_hive.close()
    async with asyncio.timeout(LIMIT):
        await chat_hive.simulator.ledger.until(lambda ledger: ledger.open == 0)
    assert chat_hive.living() == ()
    assert json.loads(json.dumps(chat_hive.states()))["h0"] == "running", (
        "the next engine will say what became of it"
    )
