"""Slots of agents that wait: given back at every depth, got again from the front, in the order of coming back."""

from __future__ import annotations

import pytest

from skep.model.approvals import Commands
from skep.model.events import ROOT, AgentAdmitted, AgentEnded, AgentRunning, AgentWaiting
from skep.model.states import State, WaitReason
from tests.chat.asking import call, chat, delegate, task
from tests.chat.conftest import ChatHive, MakeChatHive
from tests.chat.holding import check
from tests.engine.hive import group


def story(hive: ChatHive, agent: str) -> list[str]:
    """What happened to the slot of an agent."""
    said = []
    for event in hive.events(AgentAdmitted, AgentWaiting, AgentEnded, agent=agent):
        said.append(str(event.reason) if isinstance(event, AgentWaiting) else event.kind.removeprefix("agent_"))
    return said


async def test_a_parent_whose_results_arrive_goes_before_everybody_new(chat_hive: ChatHive):
    lead = chat("lead", delegate(task("child", {"say": "c"})), {"say": "l"}, cwd=chat_hive.workspace)
    others = [chat(f"q{n}", {"say": "q"}, cwd=chat_hive.workspace, parent="g") for n in range(8)]
    await chat_hive.launch(lead, group("g"), *others, slots=1)
    await chat_hive.over()
    events = chat_hive.events(AgentAdmitted, AgentWaiting)
    back = next(n for n, event in enumerate(events) if getattr(event, "reason", None) is WaitReason.SLOT)
    assert events[back].agent == events[back + 1].agent == "lead"
    assert story(chat_hive, "lead") == ["admitted", "child", "slot", "admitted", "ended"]
    check(chat_hive)


async def test_who_comes_back_first_goes_on_first(chat_hive: ChatHive):
    """Two that were allowed something come back while the one slot is taken."""
    ask = call("terminal", command="true")
    asks = [chat(n, ask, {"say": n}, cwd=chat_hive.workspace, commands=Commands.ASK) for n in ("first", "second")]
    hung, new = (chat(n, s, cwd=chat_hive.workspace) for n, s in (("hung", {"hang": True}), ("new", {"say": "n"})))
    await chat_hive.launch(*asks, hung, new, slots=1)
    await chat_hive.are(State.RUNNING, "hung")
    for agent in ("second", "first"):
        await chat_hive.engine.answer(agent, chat_hive.agent(agent).question["hash"], allow=True, who="you")
        await chat_hive.until(lambda state, a=agent: state.agents[a].reason is WaitReason.SLOT)
    assert chat_hive.positions() == ["second", "first", "new"]
    await chat_hive.interrupt("hung")
    await chat_hive.over()
    admitted = [event.agent for event in chat_hive.events(AgentAdmitted)]
    assert admitted[3:] == ["second", "first", "new"]
    check(chat_hive)


async def test_an_agent_in_line_for_its_old_slot_can_be_stopped(chat_hive: ChatHive):
    ask = call("terminal", command="true")
    asks = chat("asks", ask, {"say": "x"}, cwd=chat_hive.workspace, commands=Commands.ASK)
    await chat_hive.launch(asks, chat("hung", {"hang": True}, cwd=chat_hive.workspace), slots=1)
    await chat_hive.are(State.RUNNING, "hung")
    await chat_hive.engine.answer("asks", chat_hive.agent("asks").question["hash"], allow=True, who="you")
    await chat_hive.until(lambda state: state.agents["asks"].reason is WaitReason.SLOT)
    await chat_hive.interrupt("asks")
    await chat_hive.are(State.INTERRUPTED, "asks")
    assert chat_hive.agent("asks").lines > 0, "what it had said so far is kept"
    assert chat_hive.agent("hung").state is State.RUNNING
    await chat_hive.kill("hung")
    await chat_hive.over()
    check(chat_hive)


@pytest.mark.parametrize("slots", [1, 2, 3])
async def test_calls_of_one_turn_that_wait_and_work_in_any_mixture_end(make_chat_hive: MakeChatHive, slots: int):
    hive = await make_chat_hive(max_depth=3, approval_timeout=100)
    leaf = task("leaf", call("terminal", command="true"), {"say": "leaf"})
    mixed = {
        "calls": [
            {"call": "delegate", "args": {"tasks": [leaf, leaf]}},
            {"call": "terminal", "args": {"command": "echo one"}},
            {"call": "list_files", "args": {}},
            {"call": "delegate", "args": {**leaf, "background": True}},
            {"call": "delegate", "args": {"tasks": [leaf]}},
        ]
    }
    lead = task("lead", mixed, mixed, {"say": "lead"}, {"say": "lead again"}, role="orchestrator")
    top = [chat(f"t{n}", delegate(lead, lead), {"say": "ok"}, cwd=hive.workspace) for n in range(2)]
    await hive.launch(*top, slots=slots)
    await hive.over()
    ends = [event for event in hive.events(AgentEnded) if event.agent != ROOT]
    assert {event.state for event in ends} == {State.DONE}
    assert len(ends) == 2 * (1 + 2 * (1 + 8))
    check(hive)


async def test_an_agent_that_goes_on_says_so_and_holds_a_slot_when_it_asks_its_model(make_chat_hive: MakeChatHive):
    hive = await make_chat_hive()
    root = chat(ROOT, delegate(task("c", {"say": "x"})), {"hang": True}, cwd=hive.workspace)
    await hive.launch(root=root, slots=1)
    await hive.until(lambda state: any(one.name == "c" and one.ended for one in state.agents.values()))
    await hive.until(lambda state: state.agents[ROOT].state is State.RUNNING)
    assert hive.agent(ROOT).slot
    assert hive.agent(ROOT).detail == ""
    await hive.interrupt(ROOT)
    await hive.over()
    assert len(hive.events(AgentRunning, agent=ROOT)) >= 1
    check(hive)
