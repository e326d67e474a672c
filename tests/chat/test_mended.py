"""Conversations that providers would refuse, answers that are no whole ones, and keys that are not hoarded."""

from __future__ import annotations

import json

import pytest

from skep.drivers.chat.history import NOTHING_SAID, History
from skep.llm.messages import Message, ToolCall
from skep.model.events import ROOT, AgentEnded, AttemptStruck, ToolEnded
from skep.model.states import State, StopVerb, Strength
from tests.chat.asking import call, chat, delegate, task
from tests.chat.conftest import ChatHive, MakeChatHive, MakePlayedHive
from tests.llm.provider import Exchange


def test_calls_get_ids_that_no_other_turn_uses():
    history = History([Message("user", "go")])
    calls = (ToolCall("call_0", "list_files", "{}"), ToolCall("call_0", "list_files", "{}"))
    ids = [one.id for turn in (1, 2) for one in history.answered(Message("assistant", "", calls)).tool_calls]
    assert len(set(ids)) == 4
    assert [one.id for message in history.messages[1:] for one in message.tool_calls] == ids


@pytest.mark.parametrize("arguments", ['{"path": "a', "", "[1]", "nonsense", "[" * 10_000])
def test_what_is_sent_back_has_a_name_and_arguments_that_can_be_sent(arguments: str):
    history = History([])
    answer = history.answered(Message("assistant", "", (ToolCall("x", "list files! " * 20, arguments),)))
    [kept] = history.messages[0].tool_calls
    assert answer.tool_calls[0].arguments == arguments, "the call itself is refused as it came"
    assert json.loads(kept.arguments) == {}
    assert kept.name.replace("_", "").isalnum()
    assert len(kept.name) <= 64


def test_an_empty_answer_is_not_sent_back_empty():
    history = History([])
    history.answered(Message("assistant", ""))
    assert history.messages[0].content == NOTHING_SAID


async def test_an_empty_answer_while_children_work_is_followed_by_another_turn(chat_hive: ChatHive):
    root = chat(
        ROOT,
        delegate(task("c", {"say": "x"}), background=True),
        {"say": ""},
        {"say": "now"},
        cwd=chat_hive.workspace,
    )
    await chat_hive.launch(root=root)
    await chat_hive.over()
    assert chat_hive.agent(ROOT).result == "now"


async def test_a_long_answer_is_kept_whole_where_its_parent_can_read_it(chat_hive: ChatHive):
    answer = "word " * 4_000
    root = chat(
        ROOT,
        delegate(task("talks", {"say": answer})),
        call("read_file", path=".skep/answers/a1.md"),
        {"say": "ok"},
        cwd=chat_hive.workspace,
    )
    await chat_hive.launch(root=root)
    await chat_hive.over()
    reads = [event for event in chat_hive.events(ToolEnded) if event.tool == "read_file"]
    assert [event.ok for event in reads] == [True]
    assert reads[0].content.startswith("word word")
    place = chat_hive.workspace / ".skep" / "answers" / "a1.md"
    assert place.read_text() == answer
    assert str(place) in chat_hive.agent("a1").result


async def test_a_long_answer_is_not_written_through_a_link(
    chat_hive: ChatHive, tmp_path_factory: pytest.TempPathFactory
):
    outside = tmp_path_factory.mktemp("outside")
    (chat_hive.workspace / ".skep").symlink_to(outside)
    await chat_hive.launch(root=chat(ROOT, {"say": "word " * 4_000}, cwd=chat_hive.workspace))
    await chat_hive.over()
    assert chat_hive.agent(ROOT).state is State.DONE
    assert "it could not be written" in chat_hive.agent(ROOT).result
    assert not list(outside.iterdir())


async def test_what_a_cut_request_used_is_a_lower_bound(chat_hive: ChatHive):
    root = chat(ROOT, call("list_files"), {"say": "words", "silent": 3}, cwd=chat_hive.workspace)
    await chat_hive.launch(root=root)
    await chat_hive.until(lambda state: state.agents[ROOT].turns == 1)
    await chat_hive.simulator.ledger.until(lambda ledger: ledger.open == 1 and ledger.completed == 1)
    await chat_hive.engine.stop(ROOT, branch=True, verb=StopVerb.INTERRUPT, who="you")
    await chat_hive.over()
    [struck] = chat_hive.events(AttemptStruck)
    assert not struck.settled
    with chat_hive.registry.read() as state:
        assert state.spend(ROOT).is_lower_bound
        assert state.spend(ROOT).unpriced == 0


async def test_a_hold_of_spawns_lets_a_parent_come_back_to_its_results(chat_hive: ChatHive):
    root = chat(ROOT, delegate(task("c", {"say": "x"}), background=False), {"say": "ok"}, cwd=chat_hive.workspace)
    await chat_hive.launch(root=root, slots=1)
    await chat_hive.engine.pause("", Strength.SPAWNS, "lunch", "you", None)
    await chat_hive.until(lambda state: len(state.agents) == 2)
    assert chat_hive.agent("a1").state is State.QUEUED
    await chat_hive.engine.unpause("", Strength.SPAWNS, "you")
    await chat_hive.until(lambda state: state.agents["a1"].attempt == 1)
    await chat_hive.engine.pause("", Strength.SPAWNS, "lunch", "you", None)
    await chat_hive.over()
    assert {event.state for event in chat_hive.events(AgentEnded)} == {State.DONE}


async def test_nobody_stands_in_line_for_a_slot_with_a_key_in_hand(make_chat_hive: MakeChatHive):
    """One key for one request at a time, two agents, and a rest that outlasts the patience of a slot."""
    hive = await make_chat_hive(cap=1)
    steps = (
        {"status": 429, "times": 1, "retry_after": 90},
        *(call("list_files") for _ in range(4)),
        {"say": "ok"},
    )
    agents = [chat(f"a{n}", *steps, cwd=hive.workspace) for n in range(2)]
    await hive.launch(*agents, slots=1)
    while not all(hive.agent(f"a{n}").ended for n in range(2)):
        await hive.pass_time(10)
        with hive.registry.read() as state:
            held = {key.label: dict(key.holders) for key in hive.pool.snapshot().keys if key.in_flight}
            standing = [one.id for one in state.agents.values() if one.id in state.line]
        assert not any(agent in holders for holders in held.values() for agent in standing)
    await hive.over()
    assert {hive.agent(f"a{n}").state for n in range(2)} == {State.DONE}


@pytest.mark.parametrize("finish", ["length", "content_filter"])
async def test_an_answer_that_was_cut_short_is_no_success(make_played_hive: MakePlayedHive, finish: str):
    async def cut(exchange: Exchange) -> None:
        await exchange.head()
        await exchange.text("half an ans")
        await exchange.event(choices=[{"index": 0, "delta": {}, "finish_reason": finish}])
        await exchange.event(choices=[], usage={"prompt_tokens": 12, "completion_tokens": 3})
        await exchange.send(b"data: [DONE]\n\n")
        await exchange.end()

    hive, _ = await make_played_hive(cut)
    await hive.launch(root=chat(ROOT, cwd=hive.workspace))
    await hive.over()
    one = hive.agent(ROOT)
    assert (one.state, one.result, one.turns) == (State.FAILED, "half an ans", 1)
    assert "answer" in one.error
