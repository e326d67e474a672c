"""What a model writes as the arguments of a call is checked before anything is done with it."""

from __future__ import annotations

import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from skep.model.children import DelegateLimits
from skep.tools.arguments import DEPTH_LIMIT, RAW_LIMIT, parse_arguments
from skep.tools.base import Tool, ToolFault
from skep.tools.delegate import Delegate, tasks_of
from skep.tools.listing import ListFiles
from skep.tools.reading import ReadFile
from skep.tools.terminal import Terminal

DELEGATE = Delegate(lambda: DelegateLimits(0, 2, tools=("read_file", "terminal")))

REFUSED = [
    (ReadFile(), "[1]", "must be an object, not a list"),
    (ReadFile(), "null", "must be an object, not null"),
    (ReadFile(), "{", "no valid JSON"),
    (ReadFile(), '{"path": "a"} x', "no valid JSON"),
    (ReadFile(), "{}", "path: is missing"),
    (ReadFile(), '{"path": null}', "path: is missing"),
    (ReadFile(), '{"path": 3}', "path: must be a string, not a number"),
    (ReadFile(), '{"path": "a", "path": "b"}', "path: is given twice"),
    (ReadFile(), '{"path": "a", "colour": 1}', "colour: is unknown .*known are path, offset, limit"),
    (ReadFile(), '{"path": "a", "limit": true}', "limit: must be a whole number, not true or false"),
    (ReadFile(), '{"path": "a", "limit": 1.5}', "limit: must be a whole number"),
    (ReadFile(), '{"path": "a", "limit": "9"}', "limit: must be a whole number, not a string"),
    (Terminal(), '{"command": "a", "timeout": NaN}', "NaN is no number"),
    (Terminal(), '{"command": "a", "timeout": -Infinity}', "-Infinity is no number"),
    (Terminal(), '{"command": "a", "timeout": 1e999}', "number that is too large"),
    (ReadFile(), '{"path": "a", "limit": ' + "9" * 5000 + "}", "no valid JSON"),
    (ReadFile(), '{"path": "' + "a" * RAW_LIMIT + '"}', "too long"),
    (ReadFile(), '{"path": ' + "[" * 100_000, "nested too deep"),
    (ReadFile(), '{"a":' * (DEPTH_LIMIT + 1), "nested too deep"),
    (DELEGATE, '{"tasks": {"goal": "a"}}', "tasks: must be a list, not an object"),
    (DELEGATE, '{"tasks": "do it"}', "tasks: the arguments are no valid JSON"),
    (DELEGATE, '{"tasks": ["a"]}', r"tasks\[0\]: the arguments are no valid JSON"),
    (DELEGATE, '{"tasks": [{"goal": "a"}, 7]}', r"tasks\[1\]: must be an object, not a number"),
    (DELEGATE, '{"tasks": [{"goal": "a"}, {"name": "b"}]}', r"tasks\[1\]\.goal: is missing"),
    (DELEGATE, '{"tasks": [{"goal": ["a"]}]}', r"tasks\[0\]\.goal: must be a string, not a list"),
    (DELEGATE, '{"tasks": [{"goal": "a", "prio": 1}]}', r"tasks\[0\]\.prio: is unknown"),
    (DELEGATE, '{"goal": "a", "role": "boss"}', "role: must be one of leaf, orchestrator"),
    (DELEGATE, '{"goal": "a", "tools": ["rm"]}', r"tools\[0\]: must be one of read_file, terminal"),
    (DELEGATE, '{"goal": "a", "background": "yes"}', "background: must be true or false, not a string"),
]


@pytest.mark.parametrize(("tool", "raw", "why"), REFUSED, ids=[case[2][:40] for case in REFUSED])
def test_a_wrong_shape_is_refused_by_the_name_of_the_field(tool: Tool, raw: str, why: str):
    with pytest.raises(ToolFault, match=why):
        parse_arguments(tool, raw)


def test_nothing_and_null_are_arguments_that_were_not_given():
    assert parse_arguments(ListFiles(), "") == {}
    assert parse_arguments(ListFiles(), " \n") == {}
    assert parse_arguments(ListFiles(), '{"path": null}') == {}


def test_a_list_that_comes_as_json_text_is_read():
    given = {"tasks": json.dumps([{"goal": "a", "tools": '["terminal"]'}])}
    assert parse_arguments(DELEGATE, json.dumps(given)) == {"tasks": [{"goal": "a", "tools": ["terminal"]}]}


def test_a_whole_number_may_be_written_with_a_point():
    assert parse_arguments(ReadFile(), '{"path": "a", "limit": 3.0}') == {"path": "a", "limit": 3}


def test_brackets_within_a_text_are_no_nesting():
    deep = "[" * 500 + '\\"' + "{" * 500
    assert parse_arguments(ReadFile(), f'{{"path": "{deep}"}}')["path"] == deep.replace("\\", "")


def test_half_a_surrogate_pair_becomes_a_mark_and_a_whole_one_its_character():
    assert parse_arguments(ReadFile(), '{"path": "a\\ud800b"}') == {"path": "a\ufffdb"}
    assert parse_arguments(ReadFile(), '{"path": "\\ud83d\\ude00"}') == {"path": "😀"}


names = st.sampled_from(["goal", "tasks", "tools", "timeout", "max_turns", "role", "path", "command"]) | st.text(
    max_size=8
)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(exclude_categories=())),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(names, inner, max_size=5),
    max_leaves=12,
)


@settings(max_examples=50, deadline=None, database=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.one_of(values.map(json.dumps), st.text(st.characters(exclude_categories=()), max_size=200)))
def test_whatever_is_written_either_is_refused_in_words_or_can_be_written_again(raw: str):
    for tool in (DELEGATE, ReadFile(), Terminal()):
        try:
            args = parse_arguments(tool, raw)
        except ToolFault:
            continue
        written = json.dumps(args, allow_nan=False, ensure_ascii=False).encode()
        assert json.loads(written) == args


@settings(max_examples=50, deadline=None, database=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.dictionaries(names, values, max_size=6).map(json.dumps))
def test_of_any_call_to_delegate_come_tasks_or_a_refusal(raw: str):
    try:
        tasks = tasks_of(parse_arguments(DELEGATE, raw))
    except ToolFault:
        return
    assert tasks
    assert all(task.goal.strip() for task in tasks)
