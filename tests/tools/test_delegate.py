"""What a model asks for in children becomes tasks, in the shapes that models write; the rest is refused."""

from __future__ import annotations

import json

import pytest

from skep.errors import Refused
from skep.model.children import DelegateLimits, Role, Task
from skep.tools.delegate import Delegate
from tests.tools.conftest import Use
from tests.tools.seat import Seat


async def test_one_goal_is_one_task(use: Use, seat: Seat):
    assert (await use("delegate", goal="read the parser")).ok
    assert seat.tasks == (Task("read the parser"),)
    assert seat.background is False


async def test_every_field_arrives(use: Use, seat: Seat):
    task = {
        "goal": "g",
        "name": " n ",
        "context": "c",
        "role": "orchestrator",
        "model": "sim/m",
        "tools": ["read_file", "terminal"],
        "system_prompt": "s",
        "timeout": 0,
        "cwd": "sub",
        "max_turns": 7,
    }
    expected = Task("g", "n", "c", Role.ORCHESTRATOR, "sim/m", ("read_file", "terminal"), "s", 0.0, "sub", 7)
    await use("delegate", **task, background=True)
    assert seat.tasks == (expected,)
    assert seat.background is True
    await use("delegate", tasks=[task, {"goal": "h"}])
    assert seat.tasks == (expected, Task("h"))


async def test_no_tools_is_not_all_tools(use: Use, seat: Seat):
    await use("delegate", tasks=[{"goal": "a", "tools": []}, {"goal": "b"}])
    assert [task.tools for task in seat.tasks] == [(), None]


async def test_tasks_may_come_as_json_text_as_a_whole_or_one_by_one(use: Use, seat: Seat):
    await use("delegate", tasks=json.dumps([{"goal": "a"}, {"goal": "b"}]))
    assert [task.goal for task in seat.tasks] == ["a", "b"]
    await use("delegate", tasks=[json.dumps({"goal": "c"})])
    assert [task.goal for task in seat.tasks] == ["c"]


async def test_a_null_field_is_one_that_was_not_given(use: Use, seat: Seat):
    await use("delegate", goal=None, name=None, tasks=[{"goal": "a", "model": None}])
    assert seat.tasks == (Task("a"),)


@pytest.mark.parametrize(
    ("args", "why"),
    [
        ({}, "goal: is missing (give a goal, or tasks"),
        ({"goal": " "}, "goal: is missing or empty"),
        ({"tasks": []}, "tasks: is empty"),
        ({"tasks": "[]"}, "tasks: is empty"),
        ({"goal": "a", "tasks": [{"goal": "b"}]}, "goal: cannot stand beside tasks"),
        ({"model": "a/b", "tasks": [{"goal": "b"}]}, "model: cannot stand beside tasks (put it into each task)"),
        ({"tasks": [{"goal": "a"}] * 3 + [{"goal": ""}]}, "tasks[3].goal: is missing or empty"),
        ({"tasks": [{"goal": "a", "background": True}]}, "tasks[0].background: is unknown"),
        ({"tasks": [{"goal": "a", "timeout": -1}]}, "tasks[0].timeout: must be a number from 0"),
        ({"tasks": [{"goal": "a", "max_turns": 0}]}, "tasks[0].max_turns: must be a whole number from 1"),
        ({"tasks": [{"goal": "a", "name": "x" * 201}]}, "tasks[0].name: must have at most 200 characters"),
        (
            {"tasks": [{"goal": "a", "tools": ["format_disk"]}]},
            "tasks[0].tools[0]: must be one of delegate, terminal",
        ),
    ],
)
async def test_a_wrong_shape_is_refused_and_nothing_is_spawned(
    use: Use, seat: Seat, args: dict[str, object], why: str
):
    result = await use("delegate", **args)
    assert not result.ok
    assert result.content.startswith(f"error: {why}")
    assert seat.background is None


async def test_limits_are_the_business_of_the_engine(use: Use, seat: Seat):
    seat.limits = DelegateLimits(depth=2, max_depth=2, agents_left=0, children_left=0)
    assert (await use("delegate", tasks=[{"goal": "a"}, {"goal": "b"}])).ok
    assert [task.goal for task in seat.tasks] == ["a", "b"]


def test_a_system_prompt_is_said_to_be_added_not_to_replace():
    fields = Delegate(lambda: DelegateLimits(0, 2)).parameters()["properties"]
    assert isinstance(fields, dict)
    assert fields["system_prompt"] == {"type": "string", "description": "added to its usual system prompt"}


async def test_a_refusal_of_the_engine_is_a_result(seat: Seat):
    class Full(Seat):
        async def delegate(self, tasks, *, background):
            raise Refused("3 agents are 1 too many", why="the limit is max_agents 2", mend="ask for fewer")

    result = await Full(seat.workspace).call("delegate", '{"goal": "a"}')
    assert not result.ok
    assert result.content == "error: 3 agents are 1 too many: the limit is max_agents 2 (ask for fewer)"


def test_the_description_tells_the_limits_of_this_moment():
    limits = DelegateLimits(depth=0, max_depth=2, slots=8, agents_left=1_000)
    tool = Delegate(lambda: limits)
    assert "depth 0 of 2 (max_depth)" in tool.description
    assert "8 agents run at once" in tool.description
    assert "1,000 more children (max_agents)" in tool.description
    assert "may delegate in turn" in tool.description
    limits = DelegateLimits(depth=1, max_depth=2)
    assert "depth 1 of 2" in tool.description
    assert "Every child is a leaf" in tool.description
    limits = DelegateLimits(depth=0, max_depth=9, may_orchestrate=False)
    assert "Every child is a leaf" in tool.description


def test_a_headline_tells_how_many():
    tool = Delegate(lambda: DelegateLimits(0, 2))
    assert tool.headline({"tasks": [{}, {}, {}]}) == "delegate 3 tasks"
    assert tool.headline({"tasks": [{}]}) == "delegate 1 task"
    assert tool.headline({"goal": "read\x1b[2J it\n all"}).isprintable()
