"""Requests that a strict provider would refuse: each gets a 400 that says what is wrong and where."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest

from .asking import TOOL, called, result, user

GOAL = user("a goal")
ANSWER = {"role": "assistant", "content": "an answer"}


def system(text: str = "be brief") -> dict[str, Any]:
    return {"role": "system", "content": text}


HISTORIES = {
    "a result that is missing before the next turn": (
        [GOAL, called("c1", "c2"), result("c1")],
        "messages[2]",
        "without a result before the next turn: c2",
    ),
    "a result that is missing before a message of the user": (
        [GOAL, called("c1", "c2"), result("c2"), user("go on")],
        "messages[3].role",
        "c1",
    ),
    "a result that is missing before the next answer": (
        [GOAL, called("c1"), ANSWER, user("go on")],
        "messages[2].role",
        "c1",
    ),
    "no result at all": ([GOAL, called("c1", "c2")], "messages[1]", "c1, c2"),
    "a result that nobody asked for": ([GOAL, result("c9")], "messages[1].tool_call_id", "'c9' is no call"),
    "a result of another turn's call": (
        [GOAL, called("c1"), result("c1"), called("c2"), result("c1"), result("c2")],
        "messages[4].tool_call_id",
        "has a result already",
    ),
    "a result that comes twice": (
        [GOAL, called("c1"), result("c1"), result("c1")],
        "messages[3].tool_call_id",
        "has a result already",
    ),
    "a result after a message of the user": (
        [GOAL, called("c1"), result("c1"), user("wait"), result("c2")],
        "messages[4].tool_call_id",
        "'c2' is no call",
    ),
    "a result without an id": (
        [GOAL, called("c1"), {"role": "tool", "content": "x"}],
        "messages[2].tool_call_id",
        "id",
    ),
    "a result without content": (
        [GOAL, called("c1"), {"role": "tool", "tool_call_id": "c1"}],
        "messages[2].content",
        "expected text",
    ),
    "two calls with one id": ([GOAL, called("c1", "c1")], "messages[1].tool_calls[1].id", "'c1'"),
    "an id of an earlier turn": (
        [GOAL, called("c1"), result("c1"), called("c1"), result("c1")],
        "messages[3].tool_calls[0].id",
        "an earlier call",
    ),
    "a call without an id": (
        [GOAL, {"role": "assistant", "tool_calls": [{"type": "function", "function": {}}]}],
        "messages[1].tool_calls[0].id",
        "id of the call",
    ),
    "arguments that are no text": (
        [
            GOAL,
            {
                "role": "assistant",
                "tool_calls": [{"id": "c1", "type": "function", "function": {"name": "a", "arguments": {}}}],
            },
        ],
        "messages[1].tool_calls[0].function.arguments",
        "JSON as text",
    ),
    "a list of no calls": (
        [GOAL, {"role": "assistant", "content": "x", "tool_calls": []}, user("x")],
        "messages[1].tool_calls",
        "at least one",
    ),
    "no user before the assistant": ([ANSWER, GOAL], "messages[0].role", "of the user"),
    "no user at all": ([system()], "messages", "no message of the user"),
    "the last word with the assistant": ([GOAL, ANSWER], "messages[1].role", "the last message"),
    "two answers in a row": ([GOAL, ANSWER, ANSWER, GOAL], "messages[2].role", "in a row"),
    "an empty answer": (
        [GOAL, {"role": "assistant", "content": ""}, GOAL],
        "messages[1].content",
        "must not be empty",
    ),
    "a system message in the middle": ([GOAL, system()], "messages[1].role", "at the beginning"),
    "an unknown role": ([GOAL, {"role": "critic", "content": "x"}], "messages[1].role", "system, user"),
    "a role that is no text": ([{"role": ["user"], "content": "x"}], "messages[0].role", "system, user"),
    "an empty message": ([user("")], "messages[0].content", "must not be empty"),
    "content that is no text": ([{"role": "user", "content": 7}], "messages[0].content", "expected text"),
    "a part that is no text": (
        [{"role": "user", "content": [{"type": "image_url"}]}],
        "messages[0].content[0]",
        "expected a part",
    ),
    "a key that messages do not have": ([{**GOAL, "id": 1}], "messages[0].id", "not supported"),
    "a message that is no object": (["a goal"], "messages[0]", "an object"),
    "no messages": ([], "messages", "at least one"),
}


@pytest.mark.parametrize(("history", "param", "words"), HISTORIES.values(), ids=HISTORIES.keys())
async def test_a_history_that_is_not_well_formed_is_refused_by_name_and_place(asker, history, param, words):
    answer = await asker.ask(history)
    assert answer.status == 400
    assert answer.error["param"] == param
    assert answer.error["message"].startswith(f"{param}: ")
    assert words in answer.error["message"]
    assert answer.error["type"] == "invalid_request_error"


@pytest.mark.parametrize(
    "history",
    [
        [GOAL],
        [system(), system("really"), GOAL],
        [GOAL, user("and more")],
        [{"role": "user", "content": [{"type": "text", "text": "a "}, {"type": "text", "text": "goal"}]}],
        [GOAL, called("c1", "c2"), result("c2"), result("c1", "")],
        [GOAL, called("c1"), result("c1"), user("and mind this")],
        [
            GOAL,
            {**called("c1"), "content": "text", "reasoning_content": "hm"},
            result("c1"),
            ANSWER,
            user("go on"),
        ],
    ],
)
async def test_a_history_that_is_well_formed_is_answered(asker, history):
    answer = await asker.ask(history)
    assert (answer.status, answer.done) == (200, True)


def tool(**schema: Any) -> dict[str, Any]:
    made = copy.deepcopy(TOOL)
    made["function"]["parameters"]["properties"]["path"] = schema
    return made


PLACE = "tools[0].function.parameters.properties.path"
SCHEMAS = {
    "anyOf": (tool(anyOf=[{"type": "string"}]), f"{PLACE}.anyOf"),
    "$ref": (tool(**{"$ref": "#/x"}), f"{PLACE}.$ref"),
    "default": (tool(type="string", default=""), f"{PLACE}.default"),
    "title": (tool(type="string", title="Path"), f"{PLACE}.title"),
    "minimum": (tool(type="integer", minimum=1), f"{PLACE}.minimum"),
    "additionalProperties": (tool(type="object", additionalProperties=False), f"{PLACE}.additionalProperties"),
    "several types": (tool(type=["string", "null"]), f"{PLACE}.type"),
    "no type": (tool(description="x"), f"{PLACE}.type"),
    "an unknown type": (tool(type="text"), f"{PLACE}.type"),
    "an empty enum": (tool(type="string", enum=[]), f"{PLACE}.enum"),
    "an array without items": (tool(type="array"), f"{PLACE}.items"),
    "items of what is no array": (tool(type="string", items={"type": "string"}), f"{PLACE}.items"),
    "a wrong keyword deep down": (
        tool(type="array", items={"type": "object", "properties": {"x": {"type": "string", "format": "date"}}}),
        f"{PLACE}.items.properties.x.format",
    ),
    "required that is no property": (tool(type="object", required=["x"]), f"{PLACE}.required[0]"),
    "properties of what is no object": (tool(type="string", properties={}), f"{PLACE}.properties"),
    "parameters that are no object": (
        {"type": "function", "function": {"name": "x", "parameters": {"type": "string"}}},
        "tools[0].function.parameters.type",
    ),
    "a name with a blank": ({"type": "function", "function": {"name": "read file"}}, "tools[0].function.name"),
    "a key of the function": (
        {"type": "function", "function": {"name": "x", "strict": True}},
        "tools[0].function.strict",
    ),
    "no function": ({"type": "function"}, "tools[0].function"),
    "another kind": ({"type": "retrieval"}, "tools[0].type"),
}


@pytest.mark.parametrize(("offered", "param"), SCHEMAS.values(), ids=SCHEMAS.keys())
async def test_a_tool_that_strict_providers_refuse_is_refused_by_its_path(asker, offered, param):
    answer = await asker.ask("a goal", tools=[offered])
    assert (answer.status, answer.error["param"]) == (400, param)
    assert param in answer.error["message"]


async def test_two_tools_of_one_name_are_refused(asker):
    answer = await asker.ask("a goal", tools=[TOOL, TOOL])
    assert answer.error["param"] == "tools[1].function.name"


async def test_all_the_keywords_that_are_allowed_are_taken(asker):
    schema = {
        "type": "array",
        "description": "tasks",
        "items": {
            "type": "object",
            "properties": {"goal": {"type": "string"}, "role": {"type": "string", "enum": ["leaf"]}},
            "required": ["goal"],
        },
    }
    assert (await asker.ask("a goal", tools=[tool(**schema)])).status == 200


@pytest.mark.parametrize(
    ("more", "param"),
    [
        ({"model": None}, "model"),
        ({"model": ""}, "model"),
        ({"stream": "yes"}, "stream"),
        ({"stream": False, "stream_options": {"include_usage": True}}, "stream_options"),
        ({"stream_options": {"usage": True}}, "stream_options.usage"),
        ({"tools": []}, "tools"),
        ({"n": 2}, "n"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_completion_tokens": True}, "max_completion_tokens"),
        ({"temprature": 0.5}, "temprature"),
    ],
)
async def test_parameters_that_are_wrong_are_refused_by_name(asker, more, param):
    answer = await asker.ask("a goal", **more)
    assert (answer.status, answer.error["param"]) == (400, param)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b'"text"',
        b"\xff\xfe",
        b'{"model": NaN}',
        b"[" * 200_000,
        b'{"n": ' + b"9" * 5000 + b"}",
    ],
    ids=["empty", "cut", "list", "text", "bytes", "NaN", "deep", "huge number"],
)
async def test_a_body_that_is_no_json_object_is_refused(asker, body):
    response = await asker.client.post(f"{asker.simulator.base_url}/chat/completions", content=body)
    assert response.status_code == 400
    assert response.json()["error"]["code"] == "invalid_json"


async def test_lone_surrogates_pass_through_unharmed(asker):
    goal = 'say it back\n[[sim]]\n[{"say": "\\ud800!"}]'
    answer = await asker.ask(json.loads(json.dumps([user(goal + "\ud800")])))
    assert answer.text == "\ud800!"


SCRIPTS = {
    "no JSON": ("[{say}]", "is no JSON"),
    "nothing": ("", "is no JSON"),
    "cut": ('[{"say": "x"}', "line 1, column"),
    "no list": ('{"say": "x"}', "a list of steps"),
    "no object": ('["x"]', "step 0: expected an object"),
    "an unknown key": ('[{"say": "x"}, {"sya": "x"}]', "step 1: 'sya' is no key of a step"),
    "text that is none": ('[{"say": 1}]', "step 0: say: expected text"),
    "args without call": ('[{"args": {}}]', "step 0: args belongs to call"),
    "args that are a list": ('[{"call": "x", "args": []}]', "step 0: args: expected an object"),
    "call without a name": ('[{"call": ""}]', "step 0: call: expected the name"),
    "calls that are no list": ('[{"calls": {}}]', "step 0: calls: expected a list"),
    "calls without call": ('[{"calls": [{"name": "x"}]}]', "step 0: calls[0]: expected"),
    "two faults": ('[{"hang": true, "cut": 3}]', "step 0: hang and cut are two faults"),
    "times without a fault": ('[{"say": "x", "times": 2}]', "step 0: times counts"),
    "times that are no number": ('[{"hang": true, "times": 1.5}]', "step 0: times: expected a whole number"),
    "a status of success": ('[{"status": 200}]', "step 0: status: expected a status of an error"),
    "a delay before now": ('[{"delay": -1}]', "step 0: delay: expected a number, 0 or more"),
    "a hang that is false": ('[{"hang": false}]', "step 0: hang: expected true"),
    "a message of nothing": ('[{"message": "x"}]', "step 0: message belongs to status"),
    "fail with times": ('[{"fail": "x", "times": 1}]', "step 0: fail holds from then on"),
    "too deep": ("[" * 100_000, "is no JSON"),
}


@pytest.mark.parametrize(("script", "words"), SCRIPTS.values(), ids=SCRIPTS.keys())
async def test_a_script_that_cannot_be_played_says_where_it_is_wrong(asker, script, words):
    answer = await asker.ask(f"a goal\n[[sim]]\n{script}")
    assert (answer.status, answer.error["code"]) == (400, "bad_script")
    assert words in answer.error["message"]


async def test_what_follows_a_script_is_no_part_of_it(asker):
    answer = await asker.ask('a goal\n  [[sim]]  \n\n[{"say": "x"}]\n\nContext: whatever')
    assert answer.text == "x"
