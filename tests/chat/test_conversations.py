"""Chat agents that work: turns, tools, children, results."""

from __future__ import annotations

import json

from skep.model.children import Role
from skep.model.events import ROOT, AgentEnded, AgentQueued, ToolEnded, TurnCompleted
from skep.model.states import State
from tests.chat.asking import call, chat, delegate, task
from tests.chat.conftest import ChatHive, MakeChatHive


def results_of(hive: ChatHive, agent: str, tool: str = "delegate") -> list[str]:
    return [e.content for e in hive.events(ToolEnded) if e.agent == agent and e.tool == tool]


async def test_an_agent_reads_writes_and_answers(chat_hive: ChatHive):
    (chat_hive.workspace / "a.txt").write_text("the sea is blue\n")
    root = chat(
        ROOT,
        call("read_file", path="a.txt"),
        call("write_file", path="b.txt", content="seen"),
        call("terminal", command="echo $((6 * 7)); pwd"),
        {"say": "it said: {last}"},
        cwd=chat_hive.workspace,
    )
    await chat_hive.launch(root=root)
    await chat_hive.over()
    one = chat_hive.agent(ROOT)
    assert one.state is State.DONE
    assert one.turns == 4
    assert (chat_hive.workspace / "b.txt").read_text() == "seen"
    assert "42" in one.result
    assert [event.turn for event in chat_hive.events(TurnCompleted)] == [1, 2, 3, 4]
    ledger = chat_hive.simulator.ledger
    assert (one.tokens_in, one.tokens_out) == (ledger.tokens_in, ledger.tokens_out)
    assert one.cost > 0
    assert one.key == "sim-1"


async def test_a_batch_of_41_over_4_slots_gives_41_results_in_order(make_chat_hive: MakeChatHive):
    hive = await make_chat_hive(max_depth=1)
    tasks = [task(f"child {n}", {"say": f"answer {n}"}) for n in range(41)]
    await hive.launch(root=chat(ROOT, delegate(*tasks), {"say": "{last}"}, cwd=hive.workspace), slots=4)
    await hive.over()
    [text] = results_of(hive, ROOT)
    document = json.loads(text)
    assert document["status"] == "done"
    assert [entry["summary"] for entry in document["results"]] == [f"answer {n}" for n in range(41)]
    assert hive.agent(ROOT).state is State.DONE


async def test_nested_delegation_of_depth_4_on_2_slots_ends(make_chat_hive: MakeChatHive):
    hive = await make_chat_hive(max_depth=4)

    def nest(depth: int) -> dict[str, object]:
        if depth == 4:
            return task(f"d{depth}", {"say": "deep"})
        below = [nest(depth + 1), nest(depth + 1)]
        return task(f"d{depth}", delegate(*below), {"say": f"d{depth} {{last}}"}, role="orchestrator")

    await hive.launch(root=chat(ROOT, delegate(nest(1), nest(1)), {"say": "{last}"}, cwd=hive.workspace), slots=2)
    await hive.over()
    ends = hive.events(AgentEnded)
    assert len(ends) == 1 + 2 + 4 + 8 + 16
    assert {event.state for event in ends} == {State.DONE}


async def test_a_failing_child_reports_its_partial_output_and_its_sibling_goes_on(chat_hive: ChatHive):
    tasks = [
        task("bad", {"say": "so far so good", "call": "list_files", "args": {}}, {"fail": "content policy"}),
        task("good", {"say": "fine"}),
    ]
    await chat_hive.launch(root=chat(ROOT, delegate(*tasks), {"say": "ok"}, cwd=chat_hive.workspace))
    await chat_hive.over()
    bad, good = json.loads(results_of(chat_hive, ROOT)[0])["results"]
    assert bad["status"] == "failed"
    assert bad["summary"] == "so far so good"
    assert "content policy" in bad["error"]
    assert bad["tools"] == [{"name": "list_files", "ok": True, "chars": bad["tools"][0]["chars"]}]
    assert good["status"] == "done"
    assert chat_hive.agent(ROOT).state is State.DONE


async def test_children_in_the_background_give_their_parent_one_more_turn(chat_hive: ChatHive):
    tasks = [task("one", {"say": "first"}), task("two", {"say": "second"})]
    root = chat(
        ROOT, delegate(*tasks, background=True), {"say": "meanwhile"}, {"say": "now"}, cwd=chat_hive.workspace
    )
    await chat_hive.launch(root=root)
    await chat_hive.over()
    assert chat_hive.agent(ROOT).result == "now"
    assert chat_hive.agent(ROOT).turns == 3


async def test_the_turn_limit_ends_an_agent_over_limit(chat_hive: ChatHive):
    steps = [call("list_files") for _ in range(5)]
    await chat_hive.launch(root=chat(ROOT, *steps, cwd=chat_hive.workspace, max_turns=3))
    await chat_hive.over()
    one = chat_hive.agent(ROOT)
    assert one.state is State.OVER_LIMIT
    assert one.turns == 3
    assert "max_turns 3" in one.error


async def test_an_orchestrator_at_the_depth_floor_becomes_a_leaf_and_the_record_says_so(
    make_chat_hive: MakeChatHive,
):
    hive = await make_chat_hive(max_depth=1)
    asked = task("wants more", delegate(task("never")), {"say": "{last}"}, role="orchestrator")
    await hive.launch(root=chat(ROOT, delegate(asked), {"say": "ok"}, cwd=hive.workspace))
    await hive.over()
    child = next(event for event in hive.events(AgentQueued) if event.agent != ROOT)
    assert "role" not in child.spec or child.spec["role"] == Role.LEAF
    assert child.spec["asked_role"] == Role.ORCHESTRATOR
    [entry] = json.loads(results_of(hive, ROOT)[0])["results"]
    assert "there is no tool" in entry["summary"]


async def test_several_calls_of_one_turn_run_at_once_and_answer_in_order(chat_hive: ChatHive):
    calls = {
        "calls": [
            {"call": "terminal", "args": {"command": "while [ ! -e go ]; do sleep 0.01; done; echo first"}},
            {"call": "terminal", "args": {"command": "touch go; echo second"}},
            {"call": "list_files", "args": {}},
        ]
    }
    await chat_hive.launch(root=chat(ROOT, calls, {"say": "ok"}, cwd=chat_hive.workspace))
    await chat_hive.over()
    assert chat_hive.agent(ROOT).state is State.DONE
    assert {"first" in text for text in results_of(chat_hive, ROOT, "terminal")} == {True, False}
