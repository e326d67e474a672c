"""What the demo's agents say depends on what they were sent, and on nothing else."""

from __future__ import annotations

import json

import pytest

from skep.simulator.behaviour import Conversation, FaultKind, Json, Reply, ToolResultSeen
from skep.simulator.demo import CAPTAIN, GOAL, HANGING, behaviour, demo_scenario, expected
from skep.simulator.demo.engineers import LONG_LOAD
from skep.simulator.demo.plan import LONG
from skep.simulator.script import scripted

TOOLS = frozenset({"list_files", "read_file", "write_file", "search_files", "terminal", "delegate"})
GOALS = {name: outcome.goal for name, outcome in expected(7).items()}
OK = "----\nRan 11 tests in 0.001s\n\nOK\n[exit 0 after 0s]"
FAILED = "====\nFAIL: test_one (tests.X)\n----\nRan 11 tests in 0.001s\n\nFAILED (failures=1)\n[exit 1 after 0s]"


def ask(goal: str, *sent: tuple[str, str], tools: frozenset[str] = TOOLS, speed: float = 1.0) -> Reply:
    """What an agent with that goal says after these results, one in each turn; a user's word has no tool."""
    messages: list[dict[str, Json]] = [{"role": "user", "content": goal}]
    turn = 0
    for turn, (name, content) in enumerate(sent, 1):
        if not name:
            messages += [{"role": "assistant", "content": "…"}, {"role": "user", "content": content}]
            continue
        call: Json = {"id": f"c{turn}", "type": "function", "function": {"name": name, "arguments": "{}"}}
        messages += [
            {"role": "assistant", "content": "", "tool_calls": [call]},
            {"role": "tool", "tool_call_id": f"c{turn}", "content": content},
        ]
    results = [ToolResultSeen(f"c{turn}", *sent[-1])] if sent and sent[-1][0] else []
    return behaviour(7, speed)(Conversation(goal, messages, turn, results, tools=tools))


def _seen(status: str, name: str, summary: str, error: str = "") -> dict[str, str]:
    return {"name": name, "status": status, "summary": summary, "error": error}


def test_a_tester_believes_the_output_of_the_tests():
    look = ("list_files", "services/cart/tests/test_store.py")
    assert ask(GOALS["tests-cart"], look, ("terminal", OK)).text == "cart: 11 tests, all pass."
    seen = ask(GOALS["tests-cart"], look, ("terminal", FAILED))
    assert "test_one failed out of 11" in seen.text
    assert [call.name for call in seen.calls] == ["read_file"]


def test_who_counts_notes_counts_what_the_search_found():
    found = "a.py:3: # TODO(ada): one\nb.py:9: # TODO(bela): another one"
    assert ask(GOALS["debt-cart"], ("search_files", found)).text.startswith("2 notes.")
    assert ask(GOALS["debt-cart"], ("search_files", "[nothing found]")).text == "cart: 0 notes left."


def test_the_captain_reports_what_the_teams_came_to():
    results = [
        _seen("done", "tests", "10 services tested, 0 with failures."),
        _seen("failed", "docs", "", "no key"),
    ]
    before = [("list_files", ""), ("read_file", ""), ("delegate", json.dumps({"results": results}))]
    report = ask(GOAL, *before).calls[0].arguments
    assert isinstance(report, dict)
    assert "| tests | done | 10 services tested, 0 with failures. |" in str(report["content"])
    assert "- docs: failed, no key" in str(report["content"])


def test_the_captain_says_so_if_no_team_could_be_sent():
    before = [("list_files", ""), ("read_file", ""), ("delegate", "max_agents is reached"), ("write_file", "")]
    assert ask(GOAL, *before).text.startswith("No team could be sent.")


def test_a_lead_in_the_background_answers_before_its_agents_and_again_after_them():
    pages = json.dumps({"results": [_seen("done", "docs-cart", "cart: page written, 9 names explained.")]})
    work = [("list_files", ""), ("delegate", "2 run in the background"), ("write_file", "")]
    assert "on their way" in ask(GOALS["docs"], *work).text
    assert ask(GOALS["docs"], *work, ("", f"They have ended: {pages}")).text.startswith("1 page written.")


def test_the_lead_of_the_hanging_branch_does_not_come_back_even_if_its_leaves_do():
    failed = json.dumps({"results": [_seen("failed", "import-stock", "", "no token for 180 s")]})
    reply = ask(GOALS[HANGING], ("list_files", ""), ("delegate", failed))
    assert reply.fault is not None
    assert reply.fault.kind is FaultKind.KEEPALIVE


def test_nobody_calls_a_tool_that_is_not_offered():
    for name, goal in GOALS.items():
        reply = ask(goal, tools=frozenset())
        assert not reply.calls
        assert reply.fault is not None or "I was given no such tool" in reply.text, name


def test_a_goal_may_have_a_context_behind_it_and_a_strange_one_is_answered_too():
    assert ask(f"{GOAL}\n\nContext:\nbe quick").calls == ask(GOAL).calls
    strange = ask("make tea")
    assert strange.text
    assert not strange.calls


def test_the_first_call_of_the_captain_delegates_every_team_at_once():
    (call,) = ask(GOAL, ("list_files", ""), ("read_file", "1. one\n2. two")).calls
    assert isinstance(call.arguments, dict)
    tasks = call.arguments["tasks"]
    assert isinstance(tasks, list)
    teams = [name for name, outcome in expected(7).items() if outcome.parent == CAPTAIN]
    assert [task["name"] for task in tasks] == teams
    assert {task["role"] for task in tasks} == {"orchestrator"}


@pytest.mark.parametrize("speed", [1.0, 50.0])
def test_the_long_load_test_is_as_fast_as_the_rest(speed: float):
    (call,) = ask(GOALS[f"load-{LONG}"], ("read_file", ""), speed=speed).calls
    assert isinstance(call.arguments, dict)
    assert f"--seconds {LONG_LOAD / speed:.3g} " in str(call.arguments["command"])


def test_one_of_the_four_keys_is_in_a_storm():
    scenario = demo_scenario(7, speed=5)
    assert [len(key.limits.storms) for key in scenario.keys] == [0, 2, 0, 0]
    assert scenario.speed == 5
    played = scripted(scenario.behaviour)(Conversation(GOAL, [{"role": "user", "content": GOAL}], tools=TOOLS))
    assert played == ask(GOAL)
