"""A parent's model is told of all its children, in order, honestly shortened where there is too much to tell."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from skep.model.children import ChildReport, ToolTrace
from skep.model.states import State
from skep.tools.capping import RESULT_LIMIT
from skep.tools.delegate import result_text
from skep.tools.reports import children_in_lines

WHOLE = ChildReport(
    status=State.DONE,
    summary="found it",
    turns=3,
    tokens_in=1_200,
    tokens_out=80,
    cost=1_234,
    seconds=2.345,
    model="sim/small",
    key="sim-1",
    trace=(ToolTrace("read_file", True, 120), ToolTrace("terminal", False, 9)),
    files_read=("a.py",),
    files_written=("b.py",),
    exit_reason="final answer",
    session="a7",
)


def test_a_report_carries_all_there_is():
    assert json.loads(result_text([WHOLE])) == {
        "status": "done",
        "results": [
            {
                "name": None,
                "status": "done",
                "summary": "found it",
                "error": None,
                "turns": 3,
                "tokens_in": 1200,
                "tokens_out": 80,
                "cost_usd": 0.001234,
                "seconds": 2.3,
                "model": "sim/small",
                "key": "sim-1",
                "tools": [
                    {"name": "read_file", "ok": True, "chars": 120},
                    {"name": "terminal", "ok": False, "chars": 9},
                ],
                "files_read": ["a.py"],
                "files_written": ["b.py"],
                "exit_reason": "final answer",
                "session": "a7",
            }
        ],
    }


def test_an_unknown_price_is_null_and_no_cost_is_nothing():
    costs = [json.loads(result_text([replace(WHOLE, cost=cost)]))["results"][0]["cost_usd"] for cost in (None, 0)]
    assert costs == [None, 0]


@pytest.mark.parametrize(
    ("states", "status"),
    [
        ([State.DONE, State.DONE], "done"),
        ([State.DONE, State.INTERRUPTED], "interrupted"),
        ([State.KILLED, State.DONE], "interrupted"),
        ([State.INTERRUPTED, State.TIMED_OUT, State.DONE], "timed_out"),
        ([State.TIMED_OUT, State.FAILED, State.KILLED], "failed"),
        ([State.OVER_LIMIT, State.TIMED_OUT], "failed"),
        ([State.LOST], "failed"),
        ([State.QUEUED, State.DONE], "failed"),
    ],
)
def test_the_status_of_the_group_is_its_worst_and_each_keeps_its_own(states: list[State], status: str):
    told = json.loads(result_text([replace(WHOLE, status=state) for state in states]))
    assert told["status"] == status
    assert [result["status"] for result in told["results"]] == [str(state) for state in states]


def test_a_long_summary_keeps_head_and_tail_and_points_to_the_whole():
    long = replace(WHOLE, summary="begin " + "x" * 50_000 + " end", full="output/a7.md")
    [result] = json.loads(result_text([long]))["results"]
    assert result["summary"].startswith("begin ")
    assert result["summary"].endswith(" end")
    assert "42,010 characters are cut here; the whole is in output/a7.md" in result["summary"]
    assert len(result["summary"]) < 8_200


def test_forty_one_long_reports_all_arrive_in_order():
    reports = [replace(WHOLE, session=f"a{number}", summary="x" * 20_000) for number in range(41)]
    text = result_text(reports)
    assert len(text.encode()) <= RESULT_LIMIT
    assert [result["session"] for result in json.loads(text)["results"]] == [f"a{number}" for number in range(41)]


def test_what_is_left_out_of_a_long_trace_is_counted():
    busy = replace(WHOLE, trace=tuple(ToolTrace(f"t{number}", True, 1) for number in range(500)))
    [result] = json.loads(result_text([busy]))["results"]
    assert [call["name"] for call in result["tools"]][-1] == "t499"
    assert result["left_out"] == {"tools": 400}


def test_of_too_many_children_the_first_and_the_last_are_told_and_the_rest_counted():
    reports = [replace(WHOLE, session=f"a{number}", error="é" * 300) for number in range(1_000)]
    text = result_text(reports)
    assert len(text.encode()) <= RESULT_LIMIT
    results = json.loads(text)["results"]
    [omitted] = [result["omitted"] for result in results if "omitted" in result]
    assert omitted + len(results) - 1 == 1_000
    assert results[0]["session"] == "a0"
    assert results[-1]["session"] == "a999"


def test_any_text_can_be_told():
    told = json.loads(result_text([replace(WHOLE, summary='\x1b[2J"\ud800\0', name="ünï")]))
    assert told["results"][0]["summary"] == '\x1b[2J"?\0'
    assert told["results"][0]["name"] == "ünï"


def test_for_people_each_child_is_a_line():
    failed = replace(WHOLE, name="two", status=State.FAILED, summary="", error="no more\nof it")
    text = result_text([replace(WHOLE, name="one", summary="found it\nand more"), failed])
    assert children_in_lines(text).splitlines() == ["done  one: found it", "failed  two: no more"]


@pytest.mark.parametrize("text", ["started in the background: a1", "[]", "{}", '{"results": 7}', ""])
def test_what_is_no_report_is_shown_as_it_is(text: str):
    assert children_in_lines(text) == text
