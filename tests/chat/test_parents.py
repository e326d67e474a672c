"""What becomes of children when their parent fails, times out or is stopped, and of those it asks for too late."""

from __future__ import annotations

import asyncio
import json

import pytest

from skep.model.events import ROOT, AgentEnded, AgentQueued, AgentStopping, ToolEnded, TurnCompleted
from skep.model.states import State, StopVerb
from tests.chat.asking import call, chat, delegate, task
from tests.chat.conftest import ChatHive, MakeChatHive
from tests.chat.holding import check
from tests.engine.hive import turns

HANGS = {"hang": True}


async def asked(hive: ChatHive, count: int) -> None:
    """Wait until the simulator answers so many requests at the same time."""
    async with asyncio.timeout(20):
        await hive.simulator.ledger.until(lambda ledger: ledger.open >= count)


def results(hive: ChatHive, agent: str = ROOT) -> list[str]:
    return [event.content for event in hive.events(ToolEnded, agent=agent)]


async def test_a_parent_that_fails_ends_after_its_children_in_the_background(chat_hive: ChatHive):
    children = [task(f"c{n}", HANGS) for n in range(3)]
    steps = [delegate(*children, background=True), {"say": "so far"}, {"fail": "no more"}]
    steps[1] = {"say": "so far", **call("list_files")}
    root = chat(ROOT, *steps, cwd=chat_hive.workspace, timeout=1_000)
    await chat_hive.launch(root=root, slots=3)
    await chat_hive.over()
    *below, last = chat_hive.events(AgentEnded)
    assert {event.state for event in below} == {State.INTERRUPTED}
    assert len(below) == 3
    assert (last.agent, last.state) == (ROOT, State.FAILED)
    assert "no more" in last.error
    assert last.result == "so far"
    assert {event.who for event in chat_hive.events(AgentStopping)} == {"the end of root"}
    check(chat_hive)


async def test_a_parent_whose_end_waits_for_its_children_holds_no_slot_and_no_clock(chat_hive: ChatHive, pipe):
    gate, marks = pipe("gate"), pipe("marks")
    stays = call("terminal", command=f"trap '' INT TERM; echo up > {marks.path}; while :; do sleep 600; done")
    steps = [
        delegate(task("stays", stays, {"say": "x"}), background=True),
        call("terminal", command=f"read x < {gate.path}"),
        {"fail": "no more"},
    ]
    lead = chat("lead", *steps, cwd=chat_hive.workspace, timeout=30)
    await chat_hive.launch(lead, chat("next", {"say": "hi"}, cwd=chat_hive.workspace), slots=2)
    await marks.line()
    gate.let_go()
    await chat_hive.until(lambda state: state.agents["lead"].state is State.WAITING)
    await chat_hive.are(State.DONE, "next")
    await chat_hive.pass_time(40, step=5)
    await chat_hive.over()
    assert chat_hive.agent("lead").state is State.FAILED
    assert "no more" in chat_hive.agent("lead").error
    check(chat_hive)


async def test_a_stop_of_a_parent_whose_end_waits_for_its_children_decides_how_it_ends(chat_hive: ChatHive, pipe):
    marks = pipe("marks")
    stays = call("terminal", command=f"trap '' INT TERM; echo up > {marks.path}; while :; do sleep 600; done")
    steps = [
        delegate(task("stays", stays, {"say": "x"}), background=True),
        call("terminal", command="true"),
        {"fail": "no more"},
    ]
    await chat_hive.launch(root=chat(ROOT, *steps, cwd=chat_hive.workspace), slots=2)
    await marks.line()
    await chat_hive.until(lambda state: state.agents[ROOT].state is State.WAITING)
    await chat_hive.kill(ROOT, branch=True)
    await chat_hive.pass_time(20, step=5)
    await chat_hive.over()
    assert {event.state for event in chat_hive.events(AgentEnded)} == {State.KILLED}
    check(chat_hive)


async def test_a_parent_over_its_limit_takes_its_background_along(chat_hive: ChatHive):
    steps = [delegate(task("c", HANGS), background=True), call("list_files"), call("list_files")]
    await chat_hive.launch(root=chat(ROOT, *steps, cwd=chat_hive.workspace, max_turns=3))
    await chat_hive.over()
    assert [event.state for event in chat_hive.events(AgentEnded)] == [State.INTERRUPTED, State.OVER_LIMIT]
    check(chat_hive)


async def test_a_parent_whose_time_is_up_takes_its_background_along(chat_hive: ChatHive):
    steps = [delegate(task("c", HANGS), background=True), HANGS]
    await chat_hive.launch(root=chat(ROOT, *steps, cwd=chat_hive.workspace, timeout=60))
    await asked(chat_hive, 2)
    await chat_hive.pass_time(61)
    await chat_hive.over()
    assert [event.state for event in chat_hive.events(AgentEnded)] == [State.INTERRUPTED, State.TIMED_OUT]
    check(chat_hive)


async def test_the_clock_of_a_parent_runs_while_it_waits_for_children_and_stands_in_line(
    make_chat_hive: MakeChatHive,
):
    hive = await make_chat_hive()
    root = chat(
        ROOT, delegate(task("c", HANGS), background=True), {"say": "final"}, cwd=hive.workspace, timeout=100
    )
    await hive.launch(root=root)
    await hive.until(lambda state: state.agents[ROOT].detail.startswith("children"))
    await hive.pass_time(99)
    assert hive.agent(ROOT).state is State.WAITING
    await hive.pass_time(2)
    await hive.over()
    assert hive.agent(ROOT).state is State.TIMED_OUT
    assert hive.agent(ROOT).result == "final"
    check(hive)


async def test_a_child_that_is_asked_for_while_its_parent_is_stopped_is_refused(chat_hive: ChatHive, pipe):
    """One of two calls of a turn cannot be ended quickly; the other one would delegate afterwards."""
    gate, marks = pipe("gate"), pipe("marks")
    step = call("terminal", command=f"trap '' INT; echo up > {marks.path}; read x < {gate.path}; exit 0")
    await chat_hive.launch(root=chat(ROOT, step, delegate(task("late", {"say": "x"})), cwd=chat_hive.workspace))
    await marks.line()
    await chat_hive.interrupt(ROOT, branch=True)
    gate.let_go()
    await chat_hive.over()
    assert [event.agent for event in chat_hive.events(AgentQueued)] == [ROOT]
    assert chat_hive.agent(ROOT).state is State.INTERRUPTED
    check(chat_hive)


async def test_in_the_window_of_a_stop_no_child_is_asked_for_until_it_is_taken_back(chat_hive: ChatHive, pipe):
    gate, marks = pipe("gate"), pipe("marks")
    step = call("terminal", command=f"echo up > {marks.path}; read x < {gate.path}")
    steps = [step, delegate(task("later", {"say": "c"})), {"say": "{last}"}]
    await chat_hive.launch(root=chat(ROOT, *steps, cwd=chat_hive.workspace))
    await marks.line()
    await chat_hive.interrupt(ROOT, branch=True, window=60)
    gate.let_go()
    await chat_hive.until(lambda state: state.seq > 0 and bool(state.shuts))
    async with asyncio.timeout(20):
        while not chat_hive.events(ToolEnded):
            await turns(1)
    await turns(200)
    assert chat_hive.agent(ROOT).turns == 1, "a turn began in a branch that is shut"
    asking = asyncio.create_task(chat_hive.engine.take_back(ROOT, "you"))
    await turns(1)
    asking.cancel()  # who asked may be gone before the answer; what was asked for happens all the same
    await chat_hive.over()
    assert json.loads(chat_hive.agent(ROOT).result)["status"] == "done"
    check(chat_hive)


async def test_what_a_turn_used_is_counted_once_however_late_the_stop_comes(make_chat_hive: MakeChatHive):
    hive = await make_chat_hive()
    agents = [chat(f"a{n}", *[{"say": "x"} | call("list_files")] * 30, cwd=hive.workspace) for n in range(4)]
    await hive.launch(*agents)
    for number in range(4):
        await hive.until(lambda state, n=number: state.agents[f"a{n}"].turns >= 3 + 2 * n)
        await hive.interrupt(f"a{number}")
    await hive.over()
    for number in range(4):
        counted = [event for event in hive.events(TurnCompleted) if event.agent == f"a{number}"]
        one = hive.agent(f"a{number}")
        assert [event.turn for event in counted] == list(range(1, one.turns + 1))
        assert one.tokens_out == sum(event.tokens_out for event in counted)
    with hive.registry.read() as state:
        spend = state.spend(ROOT)
    ledger = hive.simulator.ledger
    assert spend.turns <= ledger.completed <= spend.turns + 4, "only the request that was cut may be missing"
    check(hive)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"max_depth": 0}, ["max_depth is 0", "--max-depth"]),
        ({"max_agents": 2}, ["max_agents 2", "1 too many", "configuration"]),
        ({"max_children": 2}, ["max_children 2", "1 too many", "configuration"]),
    ],
)
async def test_a_limit_is_a_result_that_names_it_and_its_mend(
    make_chat_hive: MakeChatHive, settings: dict, said: list[str]
):
    hive = await make_chat_hive(**settings)
    steps = [delegate(*(task(f"c{n}", {"say": "x"}) for n in range(3))), {"say": "alone then"}]
    await hive.launch(root=chat(ROOT, *steps, cwd=hive.workspace))
    await hive.over()
    [text] = results(hive)
    assert all(word in text for word in said), text
    assert hive.agent(ROOT).state is State.DONE
    assert len(hive.events(AgentQueued)) == 1
    check(hive)


@pytest.mark.parametrize("limit", ["max_agents", "max_children"])
async def test_two_batches_of_one_turn_do_not_slip_over_a_limit_together(make_chat_hive: MakeChatHive, limit: str):
    hive = await make_chat_hive(**{limit: 3})
    batch = {"call": "delegate", "args": {"tasks": [task(f"c{n}", {"say": "x"}) for n in range(2)]}}
    await hive.launch(root=chat(ROOT, {"calls": [batch, batch]}, {"say": "ok"}, cwd=hive.workspace))
    await hive.over()
    texts = results(hive)
    [refused] = [text for text in texts if not text.startswith("{")]
    assert limit in refused
    assert "the operator can raise" in refused
    assert len(hive.events(AgentQueued)) == 3
    check(hive)


async def test_what_a_child_asks_for_is_checked_and_named(chat_hive: ChatHive):
    wrong = task("c", {"say": "x"}, model="nobody/any")
    text = call("delegate", tasks=json.dumps([task("c", {"say": "as text"})]))
    root = chat(ROOT, delegate(wrong), text, {"say": "{last}"}, cwd=chat_hive.workspace)
    await chat_hive.launch(root=root)
    await chat_hive.over()
    assert "tasks[0].model" in results(chat_hive)[0]
    assert json.loads(results(chat_hive)[1])["results"][0]["summary"] == "as text"
    check(chat_hive)


@pytest.mark.parametrize("verb", list(StopVerb)[:2])
async def test_a_parent_is_told_of_children_that_somebody_stopped(chat_hive: ChatHive, verb: StopVerb):
    tasks = [task("runs", {"say": "the first words of many", "silent": 15}), task("waits", {"say": "x"})]
    await chat_hive.launch(root=chat(ROOT, delegate(*tasks), {"say": "{last}"}, cwd=chat_hive.workspace), slots=1)
    runs, waits = await chat_hive.named("runs"), await chat_hive.named("waits")
    await asked(chat_hive, 1)
    async with asyncio.timeout(20):
        while "first" not in chat_hive.engine.tail(runs, 0, 9).rest:
            await turns(1)
    for agent in (waits, runs):
        await chat_hive.engine.stop(agent, branch=False, verb=verb, who="you")
    await chat_hive.over()
    document = json.loads(results(chat_hive)[0])
    assert document["status"] == "interrupted"
    first, second = document["results"]
    assert (first["status"], second["status"]) == (verb.end, verb.end)
    assert first["summary"].startswith("the first")
    assert second["error"] == f"{verb.end} by you before it ran"
    assert first["seconds"] == second["seconds"] == 0.0
    assert chat_hive.agent(ROOT).state is State.DONE
    check(chat_hive)


async def test_a_child_that_never_comes_to_a_complete_answer_reports_what_it_had_said(chat_hive: ChatHive):
    child = task("c", {"say": "the first words of many", "in_band_error": "boom"})
    await chat_hive.launch(root=chat(ROOT, delegate(child), {"say": "ok"}, cwd=chat_hive.workspace))
    agent = await chat_hive.named("c")
    while not chat_hive.agent(agent).ended:
        await chat_hive.pass_time(21)
    await chat_hive.over()
    [entry] = json.loads(results(chat_hive)[0])["results"]
    assert (entry["status"], entry["summary"]) == ("failed", "the first words of many")
    assert "boom" in entry["error"]
    check(chat_hive)
