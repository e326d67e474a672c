"""A stop of chat agents: the connection is closed at once, the branch goes with its parent, siblings go on."""

from __future__ import annotations

import asyncio

import pytest

from skep.model.events import ROOT, AgentEnded, AttemptStruck
from skep.model.states import State, StopVerb
from tests.chat.asking import call, chat, delegate, task
from tests.chat.conftest import ChatHive, MakeChatHive
from tests.engine.hive import group, turns

STREAMS = {
    "never answers": {"hang": True},
    "silent": {"say": "some words and then", "silent": True},
    "trickles": {"say": "word " * 500, "trickle": 0.05},
    "keeps alive": {"say": "words", "keepalive": True},
}


async def asked(hive: ChatHive, count: int) -> None:
    """Wait until the simulator answers so many requests at the same time."""
    async with asyncio.timeout(20):
        await hive.simulator.ledger.until(lambda ledger: ledger.open >= count)


@pytest.mark.parametrize("verb", [StopVerb.INTERRUPT, StopVerb.KILL])
@pytest.mark.parametrize("stream", STREAMS)
async def test_after_a_stop_the_provider_has_no_connection_open(chat_hive: ChatHive, stream: str, verb: StopVerb):
    agents = [chat(f"a{n}", STREAMS[stream], cwd=chat_hive.workspace) for n in range(4)]
    await chat_hive.launch(*agents, slots=4)
    await asked(chat_hive, 4)
    await chat_hive.engine.stop(ROOT, branch=True, verb=verb, who="you")
    await chat_hive.over()
    assert chat_hive.simulator.ledger.open == 0
    assert {event.state for event in chat_hive.events(AgentEnded)} == {verb.end}


async def test_what_had_come_of_a_turn_is_kept_as_struck(chat_hive: ChatHive):
    step = {"say": "the first words of many", "silent": 15}
    await chat_hive.launch(root=chat(ROOT, {**step, "silent": 15}, cwd=chat_hive.workspace))
    await asked(chat_hive, 1)
    await chat_hive.until(lambda state: state.agents[ROOT].state is State.RUNNING)
    async with asyncio.timeout(20):
        while (
            "first"
            not in "".join(chat_hive.engine.tail(ROOT, 0, 100).lines) + chat_hive.engine.tail(ROOT, 0, 9).rest
        ):
            await turns(1)
    await chat_hive.engine.stop(ROOT, branch=True, verb=StopVerb.INTERRUPT, who="you")
    await chat_hive.over()
    [struck] = chat_hive.events(AttemptStruck)
    assert struck.outcome == "interrupted"
    assert "first" in struck.text
    assert "first" in chat_hive.agent(ROOT).result
    assert chat_hive.agent(ROOT).error == "interrupted by you"


async def test_a_parent_takes_its_branch_along_and_siblings_go_on(chat_hive: ChatHive):
    def lead(name: str, *steps: dict) -> dict:
        return task(
            name, delegate(*(task(f"{name} {n}", *steps) for n in range(3))), {"say": "x"}, role="orchestrator"
        )

    root = chat(
        ROOT,
        delegate(lead("hung", {"hang": True}), lead("busy", call("terminal", command="true"), {"say": "y"})),
        {"say": "{last}"},
        cwd=chat_hive.workspace,
    )
    await chat_hive.launch(root=root, slots=8)
    await asked(chat_hive, 3)
    hung = await chat_hive.named("hung")
    await chat_hive.until(
        lambda state: sum(a.state is State.RUNNING and a.parent == hung for a in state.agents.values()) == 3
    )
    await chat_hive.engine.stop(hung, branch=True, verb=StopVerb.INTERRUPT, who="you")
    await chat_hive.over()
    states = {chat_hive.agent(event.agent).name: event.state for event in chat_hive.events(AgentEnded)}
    assert states.pop("root") is State.DONE
    assert {name: state for name, state in states.items() if name.startswith("hung")} == dict.fromkeys(
        ["hung", "hung 0", "hung 1", "hung 2"], State.INTERRUPTED
    )
    assert {state for name, state in states.items() if name.startswith("busy")} == {State.DONE}
    assert chat_hive.simulator.ledger.open == 0


async def test_a_timeout_reaches_an_agent_before_its_first_word(chat_hive: ChatHive):
    await chat_hive.launch(root=chat(ROOT, {"hang": True}, cwd=chat_hive.workspace, timeout=30))
    await asked(chat_hive, 1)
    await chat_hive.pass_time(31)
    await chat_hive.over()
    assert chat_hive.agent(ROOT).state is State.TIMED_OUT
    assert chat_hive.simulator.ledger.open == 0


async def test_a_timeout_of_a_parent_ends_its_branch(chat_hive: ChatHive):
    root = chat(ROOT, delegate(task("c", {"hang": True})), {"say": "x"}, cwd=chat_hive.workspace, timeout=60)
    await chat_hive.launch(root=root)
    await asked(chat_hive, 1)
    await chat_hive.until(lambda state: state.agents[ROOT].state is State.WAITING)
    await chat_hive.pass_time(61)
    await chat_hive.over()
    assert chat_hive.agent(ROOT).state is State.TIMED_OUT
    assert [e.state for e in chat_hive.events(AgentEnded) if e.agent != ROOT] == [State.INTERRUPTED]


async def test_the_programs_of_its_tools_go_with_an_agent(chat_hive: ChatHive):
    step = call("terminal", command="trap '' INT TERM; echo up; while :; do sleep 600; done")
    await chat_hive.launch(root=chat(ROOT, step, cwd=chat_hive.workspace))
    async with asyncio.timeout(20):
        while not any("up" in line for line in chat_hive.engine.tail(ROOT, 0, 100).lines):
            await turns(1)
    await chat_hive.engine.stop(ROOT, branch=True, verb=StopVerb.INTERRUPT, who="you")
    await chat_hive.pass_time(20)
    await chat_hive.over()
    assert chat_hive.agent(ROOT).state is State.INTERRUPTED


async def test_what_is_queued_under_a_stopping_parent_never_starts(make_chat_hive: MakeChatHive):
    hive = await make_chat_hive()
    root = chat(ROOT, delegate(*(task(f"c{n}", {"hang": True}) for n in range(30))), cwd=hive.workspace)
    await hive.launch(root=root, slots=2)
    await asked(hive, 2)
    await hive.engine.stop(ROOT, branch=True, verb=StopVerb.KILL, who="you")
    await hive.over()
    assert len(hive.events(AgentEnded)) == 31
    assert {event.state for event in hive.events(AgentEnded)} == {State.KILLED}
    assert sum(account.requests for account in hive.simulator.ledger.keys.values()) == 3


async def test_several_goals_stand_under_one_group(chat_hive: ChatHive):
    await chat_hive.launch(
        group("g"), *(chat(f"a{n}", {"say": "hi"}, cwd=chat_hive.workspace, parent="g") for n in range(3))
    )
    await chat_hive.over()
    assert chat_hive.agent("g").state is State.DONE


async def test_a_program_is_told_to_stop_once_on_each_rung(chat_hive: ChatHive, pipe):
    heard = pipe("heard")
    line = f"exec 3<>{heard.path}; trap 'echo int >&3' INT; trap 'echo term >&3' TERM; echo up >&3; "
    step = call("terminal", command=line + "while :; do sleep 600 & wait; done")
    await chat_hive.launch(root=chat(ROOT, step, cwd=chat_hive.workspace))
    assert await heard.line() == "up"
    await chat_hive.interrupt(ROOT)
    assert await heard.line() == "int"
    await turns(200)
    await chat_hive.pass_time(11)
    assert await heard.line() == "term"
    await chat_hive.pass_time(6)
    await chat_hive.over()
    assert heard.nothing()
    assert chat_hive.agent(ROOT).state is State.INTERRUPTED


async def test_a_program_of_an_agent_whose_time_is_up_is_not_asked_again_politely(chat_hive: ChatHive, pipe):
    heard = pipe("heard")
    line = f"exec 3<>{heard.path}; trap 'echo int >&3' INT; trap 'echo term >&3' TERM; echo up >&3; "
    step = call("terminal", command=line + "while :; do sleep 600 & wait; done")
    await chat_hive.launch(root=chat(ROOT, step, cwd=chat_hive.workspace, timeout=30))
    assert await heard.line() == "up"
    await chat_hive.pass_time(31)
    assert await heard.line() == "term"
    await turns(200)
    await chat_hive.pass_time(6)
    await chat_hive.over()
    assert heard.nothing()
    assert chat_hive.agent(ROOT).state is State.TIMED_OUT


async def test_an_answer_without_a_newline_and_an_unfinished_line_of_a_program_stay_in_the_tail(
    chat_hive: ChatHive, pipe
):
    up = pipe("up")
    step = call("terminal", command=f"printf 'half a line'; echo > {up.path}; sleep 600")
    agents = [
        chat("said", {"say": "no newline"}, cwd=chat_hive.workspace),
        chat("cut", step, cwd=chat_hive.workspace),
    ]
    await chat_hive.launch(*agents)
    await up.line()
    await turns(50)
    await chat_hive.interrupt("cut")
    await chat_hive.over()
    assert any("no newline" in line for line in chat_hive.engine.tail("said", 0, 100).lines)
    assert any("half a line" in line for line in chat_hive.engine.tail("cut", 0, 100).lines)
