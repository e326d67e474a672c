"""Which tools an agent has, what providers are told of them, and how a call comes out."""

from __future__ import annotations

from itertools import product

import pytest

from skep.model.approvals import Commands
from skep.model.children import DelegateLimits, Role
from skep.model.events import Json
from skep.tools.base import Tool, ToolResult
from skep.tools.capping import RESULT_LIMIT, capped
from skep.tools.toolbox import ALL, Call, Toolbox, granted
from tests.tools.seat import Seat

LIMITS = [
    DelegateLimits(0, 2),
    DelegateLimits(0, 2, tools=ALL, slots=8, agents_left=3, children_left=2),
    DelegateLimits(2, 2, may_orchestrate=False),
]
TOOLS = [
    tool
    for limits, policy in product(LIMITS, Commands)
    for tool in Toolbox(ALL, commands=policy, limits=lambda limits=limits: limits)
]


def check(schema: Json) -> None:
    assert isinstance(schema, dict)
    assert set(schema) <= {"type", "properties", "required", "enum", "items", "description"}
    assert schema["type"] in ("object", "array", "string", "integer", "number", "boolean")
    assert ("properties" in schema) == (schema["type"] == "object")
    assert ("items" in schema) == (schema["type"] == "array")
    assert schema.get("enum", [0])
    assert schema.get("required", [0])
    assert schema.get("description", "x")
    properties = schema.get("properties", {})
    assert isinstance(properties, dict)
    required = schema.get("required", [])
    assert isinstance(required, list)
    assert set(map(str, required)) <= set(properties)
    for inner in (*properties.values(), *([schema["items"]] if "items" in schema else [])):
        check(inner)


@pytest.mark.parametrize("tool", TOOLS, ids=lambda tool: tool.name)
def test_a_schema_holds_nothing_that_a_strict_provider_refuses(tool: Tool):
    schema = tool.parameters()
    assert schema["type"] == "object"
    check(schema)
    assert tool.description
    assert tool.description.isprintable()


def test_only_what_changes_nothing_is_called_read_only():
    assert {tool.name for tool in TOOLS if tool.read_only} == {"read_file", "list_files", "search_files"}


def test_a_child_gets_what_it_asks_for_of_what_its_parent_has():
    assert granted(ALL, None, Role.ORCHESTRATOR) == ALL
    assert granted(ALL, None, Role.LEAF) == ALL[1:]
    assert granted(ALL, ["read_file"], Role.LEAF) == ("read_file",)
    assert granted(ALL, ["read_file"], Role.ORCHESTRATOR) == ("delegate", "read_file")
    assert granted(ALL, [], Role.LEAF) == ()


def test_a_child_never_gets_more_than_its_parent_and_a_leaf_never_delegates():
    for asked, role in product((None, ALL, ("terminal", "delegate"), ("unheard_of",)), Role):
        for parent in (ALL, ("read_file",), ("delegate", "terminal"), ()):
            got = granted(parent, asked, role)
            assert set(got) <= set(parent)
            assert role is Role.ORCHESTRATOR or "delegate" not in got
            assert asked is None or set(got) <= {*asked, "delegate"}


def test_a_toolbox_holds_exactly_what_it_is_given(seat: Seat):
    box = Toolbox(("terminal", "read_file"), commands=Commands.DENY, limits=seat.caller_limits)
    assert box.names == ("terminal", "read_file")
    refused = box.prepare("write_file", '{"path": "a", "content": ""}')
    assert isinstance(refused, ToolResult)
    assert refused.content == "error: there is no tool 'write_file'; there are terminal, read_file"
    with pytest.raises(ValueError, match="no tool rm"):
        Toolbox(("rm",), commands=Commands.DENY, limits=seat.caller_limits)


@pytest.mark.parametrize(
    ("name", "raw", "headline"),
    [
        ("read_file", '{"path": "a.py"}', "read a.py"),
        ("write_file", '{"path": "a\\u001b]0;x\\u0007b", "content": ""}', "write a\ufffdb"),
        ("list_files", "", "list ."),
        ("list_files", '{"path": "src", "pattern": "*.py"}', "list *.py in src"),
        ("search_files", '{"pattern": "foo", "path": "src"}', "search foo in src"),
        ("terminal", '{"command": "pytest -q\\n"}', "$ pytest -q"),
        ("delegate", '{"name": "lexer", "goal": "read it"}', "delegate lexer"),
    ],
)
def test_a_call_has_a_headline_for_people_before_it_runs(seat: Seat, name: str, raw: str, headline: str):
    call = seat.toolbox().prepare(name, raw)
    assert isinstance(call, Call)
    assert call.headline == headline


async def test_a_bad_call_is_a_result_that_says_why(seat: Seat):
    result = await seat.call("read_file", '{"path": 1}')
    assert result == ToolResult(False, "error: path: must be a string, not a number")


def test_long_text_is_cut_in_its_middle_and_says_how_long_it_was():
    assert capped("x" * RESULT_LIMIT) == "x" * RESULT_LIMIT
    text = capped("head" + "ü" * RESULT_LIMIT + "tail")
    assert len(text.encode()) <= RESULT_LIMIT
    assert text.startswith("headü")
    assert text.endswith("ütail")
    assert "131,080 bytes are cut to their head and tail here" in text
    assert "; all of it is in a.log …]" in capped("x" * 500, 200, "; all of it is in a.log")
