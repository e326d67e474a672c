"""Messages go into the journal and to the provider, and turns have a price."""

from __future__ import annotations

import json

import pytest

from skep.errors import Damaged
from skep.llm.messages import Message, ToolCall, ToolSpec, Usage
from skep.llm.openai import request_body
from skep.llm.prices import cost
from skep.providers import Prices

CONVERSATION = (
    Message("system", "You help."),
    Message("user", "Read a.py"),
    Message("assistant", "", (ToolCall("c1", "read_file", '{"path": "a.py"}'),)),
    Message("tool", "print(1)", call_id="c1"),
    Message("assistant", "It prints 1."),
)


@pytest.mark.parametrize("message", CONVERSATION)
def test_a_message_comes_back_from_the_journal_as_it_was(message):
    assert Message.from_json(json.loads(json.dumps(message.to_json()))) == message


@pytest.mark.parametrize(
    "document",
    [
        {},
        {"role": "nobody", "content": ""},
        {"role": "user", "content": None},
        {"role": "tool", "content": "", "call_id": 3},
        {"role": "assistant", "content": "", "tool_calls": {}},
        {"role": "assistant", "content": "", "tool_calls": [{"id": "c", "name": "ls"}]},
    ],
)
def test_what_is_no_message_is_damage(document):
    with pytest.raises(Damaged):
        Message.from_json(document)


def test_a_request_says_what_the_dialect_asks_for():
    tool = ToolSpec("read_file", "Read a file", {"type": "object", "properties": {}})
    body = json.loads(request_body("small", CONVERSATION, [tool]))
    assert body["stream"] is True
    assert body["stream_options"] == {"include_usage": True}
    assert body["tools"] == [
        {
            "type": "function",
            "function": {"name": "read_file", "description": "Read a file", "parameters": tool.parameters},
        }
    ]
    assert body["messages"][2:4] == [
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [
                {
                    "id": "c1",
                    "type": "function",
                    "function": {"name": "read_file", "arguments": '{"path": "a.py"}'},
                }
            ],
        },
        {"role": "tool", "tool_call_id": "c1", "content": "print(1)"},
    ]


def test_a_request_without_tools_does_not_speak_of_them():
    assert "tools" not in json.loads(request_body("small", CONVERSATION, []))


def test_a_lone_surrogate_does_not_stop_a_request():
    assert json.loads(request_body("small", [Message("user", "a\ud800b")], []))["messages"][0]["content"] == "a?b"


@pytest.mark.parametrize(
    ("prices", "usage", "expected"),
    [
        (None, Usage(1000, 1000), None),
        (Prices(input=0, output=0), Usage(1000, 1000), 0),
        (Prices(input=0.4, output=1.6), Usage(1000, 100), 560),
        (Prices(input=0.4, output=1.6, cached_input=0.1), Usage(1000, 100, 800), 320),
        (Prices(input=0.4, output=1.6), Usage(1000, 100, 800), 560),
        (Prices(input=2.675, output=0), Usage(100, 0), 268),
        (Prices(input=1, output=0, cached_input=0), Usage(10, 0, 99), 0),
    ],
)
def test_the_price_of_a_turn_is_in_whole_micro_dollars(prices, usage, expected):
    assert cost(prices, usage) == expected
