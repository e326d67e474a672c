"""Answers that go well: their order, their content, their tokens."""

from __future__ import annotations

import asyncio
import json

import pytest

from skep.simulator import Call, Conversation, Pace, Reply, Scenario
from skep.simulator.behaviour import ToolResultSeen
from skep.simulator.plausible import plausible

from .asking import TOOL, called, result, scripted_goal, user


async def test_a_stream_brings_the_text_in_order_then_the_reason_then_usage_then_its_end(asker):
    answer = await asker.ask(scripted_goal({"say": "one two three four"}))
    assert answer.text == "one two three four"
    assert answer.events[0]["choices"][0]["delta"] == {"role": "assistant", "content": ""}
    assert len([event for event in answer.events if event["choices"]]) == 1 + 5 + 1
    assert answer.events[-2]["choices"][0] == {"index": 0, "delta": {}, "finish_reason": "stop"}
    assert answer.events[-1]["choices"] == []
    assert answer.lines[-1] == "data: [DONE]"
    assert answer.usage["completion_tokens"] == 5
    assert answer.usage["total_tokens"] == answer.usage["prompt_tokens"] + 5


async def test_usage_comes_only_where_it_was_asked_for(asker):
    answer = await asker.ask(scripted_goal({"say": "x"}), stream_options=None)
    assert answer.done
    assert answer.usage is None


async def test_thinking_comes_before_the_text_and_counts(asker):
    answer = await asker.ask(scripted_goal({"think": "hmm, hmm", "say": "so"}))
    assert (answer.thinking, answer.text) == ("hmm, hmm", "so")
    assert answer.usage["completion_tokens"] == 3
    assert answer.usage["completion_tokens_details"] == {"reasoning_tokens": 2}


async def test_several_calls_at_once_come_with_arguments_in_several_deltas(asker):
    path = "a/long/path/to/a/file"
    step = {"say": "reading", "calls": [{"call": "read_file", "args": {"path": path}}, {"call": "list_files"}]}
    answer = await asker.ask(scripted_goal(step), tools=[TOOL])
    assert answer.text == "reading"
    assert [(name, json.loads(arguments)) for name, arguments in answer.calls] == [
        ("read_file", {"path": path}),
        ("list_files", {}),
    ]
    parts = [
        part
        for event in answer.events
        for choice in event["choices"]
        for part in choice["delta"].get("tool_calls", ())
    ]
    of_the_first = [part for part in parts if part["index"] == 0]
    assert len(of_the_first) > 3
    assert [part.get("id") for part in of_the_first[1:]] == [None] * (len(of_the_first) - 1)
    assert len({part["id"] for part in parts if "id" in part}) == 2
    assert answer.finish == ["tool_calls"]


async def test_without_a_stream_the_same_answer_comes_as_one_document(asker):
    step = {"think": "hm", "say": "héllo \U0001f41d", "call": "read_file", "args": {"path": "ä"}}
    streamed = await asker.ask(scripted_goal(step))
    whole = await asker.ask(scripted_goal(step), stream=False)
    message = whole.body["choices"][0]["message"]
    assert message["content"] == streamed.text == "héllo \U0001f41d"
    assert message["reasoning_content"] == streamed.thinking
    calls = [(call["function"]["name"], call["function"]["arguments"]) for call in message["tool_calls"]]
    assert calls == streamed.calls
    assert whole.body["choices"][0]["finish_reason"] == "tool_calls"
    assert whole.body["usage"] == streamed.usage


@pytest.mark.parametrize("stream", [True, False])
async def test_an_answer_is_cut_to_the_tokens_that_the_request_allows(asker, stream):
    answer = await asker.ask(scripted_goal({"say": "12345678901234"}), stream=stream, max_tokens=2)
    if stream:
        assert (answer.text, answer.finish, answer.usage["completion_tokens"]) == ("12345678", ["length"], 2)
    else:
        assert answer.body["choices"][0]["message"]["content"] == "12345678"
        assert answer.body["choices"][0]["finish_reason"] == "length"


async def test_a_script_goes_on_with_the_turns_and_says_what_the_tools_gave(asker):
    goal = scripted_goal({"call": "read_file", "args": {"path": "x"}}, {"say": "turn {turn} got {last}"})
    history = [user(goal), called("c1"), result("c1", "forty-two")]
    assert (await asker.ask(history)).text == "turn 1 got forty-two"
    over = [*history, {"role": "assistant", "content": "turn 1"}, user("and now?")]
    assert (await asker.ask(over)).text == "done"


async def test_results_may_come_in_any_order_and_the_last_one_sent_is_the_last(asker):
    goal = scripted_goal({"calls": [{"call": "a"}, {"call": "b"}]}, {"say": "{last}"})
    answer = await asker.ask([user(goal), called("c1", "c2"), result("c2", "second"), result("c1", "first")])
    assert answer.text == "first"


async def test_a_word_of_the_user_after_the_results_does_not_hide_them(asker):
    goal = scripted_goal({"call": "a"}, {"say": "{last}"})
    answer = await asker.ask([user(goal), called("c1"), result("c1", "forty-two"), user("hurry up")])
    assert answer.text == "forty-two"


async def test_the_prompt_that_an_earlier_turn_sent_counts_as_cached(asker):
    goal = scripted_goal({"call": "read_file"}, words="x" * 1000)
    first = await asker.ask(goal)
    second = await asker.ask([user(goal), called("c1"), result("c1")])
    assert first.usage["prompt_tokens_details"] == {"cached_tokens": 0}
    cached = second.usage["prompt_tokens_details"]["cached_tokens"]
    assert 0 < cached <= first.usage["prompt_tokens"]
    assert second.usage["prompt_tokens"] > first.usage["prompt_tokens"]


async def test_without_a_script_the_model_looks_around_reads_a_file_and_quotes_it(asker):
    listing = json.loads(json.dumps(TOOL).replace("read_file", "list_files"))
    tools = [TOOL, listing]
    history = [user("Summarise the notes")]
    first = await asker.ask(history, tools=tools)
    assert first.calls == [("list_files", '{"path": "."}')]
    history += [called("c1", name="list_files"), result("c1", "notes.txt\nold/\n")]
    second = await asker.ask(history, tools=tools)
    assert second.calls == [("read_file", '{"path": "notes.txt"}')]
    history += [called("c2"), result("c2", "bees dance")]
    third = await asker.ask(history, tools=tools)
    assert "Summarise the notes" in third.text
    assert "bees dance" in third.text
    assert third.finish == ["stop"]


async def test_a_behaviour_sees_the_conversation_and_its_dice_fall_by_seed_goal_and_turn(serve):
    seen: list[Conversation] = []

    def behave(conversation: Conversation) -> Reply:
        seen.append(conversation)
        return Reply(text=str(conversation.dice().random()), calls=[Call("read_file", "no json")])

    askers = [await serve(Scenario(behaviour=behave, seed=seed)) for seed in (1, 1, 2)]
    history = [{"role": "system", "content": "be brief"}, user("a goal")]
    answers = [await asker.ask(history, tools=[TOOL]) for asker in askers]
    assert answers[0].text == answers[1].text != answers[2].text
    assert answers[0].events[0]["id"] == answers[1].events[0]["id"]
    assert answers[0].calls == [("read_file", "no json")]
    assert (seen[0].goal, seen[0].system, seen[0].turn, seen[0].attempt) == ("a goal", "be brief", 0, 1)
    assert seen[0].tools == {"read_file"}
    await askers[0].ask(history, tools=[TOOL])
    assert seen[-1].attempt == 2
    await askers[0].ask([*history, called("c1"), result("c1", "text")], tools=[TOOL])
    assert (seen[-1].turn, seen[-1].last, seen[-1].results[0].name) == (1, "text", "read_file")


async def test_a_behaviour_that_fails_is_an_error_of_the_server_and_the_next_request_is_served(serve, caplog):
    def behave(conversation: Conversation) -> Reply:
        raise KeyError("lost")

    asker = await serve(Scenario(behaviour=behave))
    answer = await asker.ask("a goal")
    assert answer.status == 500
    assert "lost" in answer.error["message"]
    assert "the behaviour of the scenario failed" in caplog.text
    assert (await asker.ask(scripted_goal({"say": "still here"}))).text == "still here"


async def test_a_pace_spreads_the_tokens_and_the_speed_of_the_scenario_divides_it(serve):
    asker = await serve(Scenario(pace=Pace(first_token=20, rate=10), speed=1000))
    loop = asyncio.get_running_loop()
    began = loop.time()
    answer = await asker.ask(scripted_goal({"say": "abcd" * 30}))
    passed = loop.time() - began
    assert answer.text == "abcd" * 30
    # 20 s to the first token and 3 s for thirty of them, a thousand times as fast.
    assert passed >= 0.0225


async def test_a_connection_serves_one_request_after_the_other(asker):
    for _ in range(5):
        await asker.ask(scripted_goal({"say": "x"}))
        await asker.ask(scripted_goal({"status": 503}))
    assert asker.simulator.ledger.accepted == 1


async def test_forty_streams_at_once_are_all_whole(asker):
    goal = scripted_goal({"say": "abcd" * 20, "rate": 2000})
    answers = await asyncio.gather(*[asker.ask(goal) for _ in range(40)])
    assert {answer.text for answer in answers} == {"abcd" * 20}
    assert asker.simulator.ledger.completed == 40


async def test_models_are_listed_and_only_those_are_served_where_they_are_named(serve):
    asker = await serve(Scenario(models=["small", "large"]))
    listed = (await asker.client.get(f"{asker.simulator.base_url}/models")).json()
    assert [model["id"] for model in listed["data"]] == ["small", "large"]
    assert (await asker.ask("hello", model="small")).status == 200
    refused = await asker.ask("hello", model="huge")
    assert (refused.status, refused.error["code"], refused.error["param"]) == (404, "model_not_found", "model")


def test_a_model_without_a_script_reads_a_file_that_is_there():
    listing = ToolResultSeen("c", "list_files", "docs/\nnotes.txt  12 B\n")
    tools = frozenset({"list_files", "read_file"})
    reply = plausible(Conversation("look", [], turn=1, results=[listing], tools=tools))
    assert [(call.name, call.arguments) for call in reply.calls] == [("read_file", {"path": "notes.txt"})]
