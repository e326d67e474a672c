"""Notes to a model that does not get on: put before it at its next turn, with a receipt that is true."""

from __future__ import annotations

import asyncio

import pytest

from skep.engine.heartbeat import TICK
from skep.errors import NotFound
from skep.model.events import ROOT, AgentMarked, AgentStopping, MessageAdded, TurnCompleted
from skep.model.launch import EngineSettings
from skep.model.states import Mark, OnStale, State, WaitReason
from tests.chat.asking import call, chat, delegate, task
from tests.chat.conftest import ChatHive, MakeChatHive, MakePlayedHive
from tests.chat.holding import check
from tests.chat.test_heartbeat import SOON, at_work, marks, silent
from tests.engine.hive import LIMIT, Pipe
from tests.llm.provider import Exchange, hangs

HEARTBEAT = "Note from the operator's side (heartbeat): no progress is seen here: "


def notes(hive: ChatHive, agent: str = ROOT) -> list[MessageAdded]:
    return hive.events(MessageAdded, agent=agent)


def tail(hive: ChatHive, agent: str = ROOT) -> str:
    return "\n".join(hive.engine.tail(agent, 0, 1_000).lines)


async def circles(hive: ChatHive, up: Pipe, gate: Pipe, count: int) -> None:
    """So many times it makes the same call, and waits in it until it is let go."""
    for _ in range(count):
        await up.line()
        await silent(hive, TICK)
        gate.let_go()


def waits_at(up: Pipe, gate: Pipe) -> dict:
    return call("terminal", command=f"echo > {up.path}; read x < {gate.path}")


async def test_an_agent_that_goes_in_circles_is_told_so_once_and_the_receipt_says_when(
    make_chat_hive: MakeChatHive, pipe
):
    hive, gate, up = await make_chat_hive(on_stale="steer"), pipe("gate"), pipe("up")
    same = waits_at(up, gate)
    await hive.launch(root=chat(ROOT, *[same] * 8, {"say": "x"}, cwd=hive.workspace))
    await circles(hive, up, gate, 4)
    await up.line()
    await silent(hive, TICK)
    assert hive.agent(ROOT).evidence == "same terminal call 5 times; steered, not delivered yet"
    assert not notes(hive)
    gate.let_go()
    await up.line()
    await silent(hive, TICK)
    assert hive.agent(ROOT).evidence == "same terminal call 6 times; steered, delivered at turn 6"
    gate.let_go()
    await circles(hive, up, gate, 2)
    await hive.over()
    [note] = notes(hive)
    text = "same terminal call 5 times. If something keeps you, say what, or go another way."
    assert (note.turn, note.who, note.content) == (6, "heartbeat", HEARTBEAT + text)
    assert f"> heartbeat: no progress is seen here: {text} (delivered at turn 6)" in tail(hive)
    assert marks(hive) == [Mark.SPINNING, Mark.SPINNING], (
        "it was said again when the note was delivered, and then no more"
    )
    assert hive.agent(ROOT).state is State.DONE
    check(hive)


async def test_the_model_reads_the_note_after_the_results_of_its_tools(make_played_hive: MakePlayedHive, pipe):
    gate, up = pipe("gate"), pipe("up")

    async def asks(exchange: Exchange) -> None:
        await exchange.head()
        function = {"name": "terminal", "arguments": f'{{"command": "echo > {up.path}; read x < {gate.path}"}}'}
        await exchange.event(
            choices=[{"index": 0, "delta": {"tool_calls": [{"index": 0, "id": "c", "function": function}]}}]
        )
        await exchange.event(choices=[{"index": 0, "delta": {}, "finish_reason": "tool_calls"}])
        await exchange.send(b"data: [DONE]\n\n")
        await exchange.end()

    hive, provider = await make_played_hive(asks, hangs, **SOON, on_stale="steer")
    await hive.launch(root=chat(ROOT, {}, cwd=hive.workspace))
    await up.line()
    await silent(hive, 32)
    assert hive.agent(ROOT).mark is Mark.STALE
    assert hive.agent(ROOT).evidence.endswith("; steered, not delivered yet")
    gate.let_go()
    async with asyncio.timeout(LIMIT):
        await provider.arrival()
        second = await provider.arrival()
    *_, result, note = second.document["messages"]
    assert result["role"] == "tool"
    assert note["role"] == "user"
    assert note["content"].startswith(f"{HEARTBEAT}no output for 30s in $ echo > ")
    await hive.kill(ROOT)
    await hive.over()
    assert [(event.turn, event.content) for event in notes(hive)] == [(2, note["content"])]


async def test_an_agent_that_hangs_in_a_request_is_not_said_to_have_read_anything(make_chat_hive: MakeChatHive):
    hive = await make_chat_hive(**SOON, on_stale="steer")
    await hive.launch(root=chat(ROOT, {"hang": True}, cwd=hive.workspace))
    await at_work(hive, ROOT, lambda driver: driver.live().activity == "asks the model")
    await silent(hive, 60)
    assert marks(hive) == [Mark.QUIET, Mark.STALE], "it is steered once, however long it stays stale"
    assert hive.agent(ROOT).evidence == "no token for 20s, key sim-1; steered, not delivered yet"
    await hive.interrupt(ROOT)
    await hive.over()
    assert not notes(hive)
    assert "(missed: there was no further turn)" in tail(hive)
    assert {event.who for event in hive.events(AgentStopping)} == {"you"}
    check(hive)


async def test_each_time_that_it_is_stale_anew_it_is_told_anew(make_chat_hive: MakeChatHive, pipe):
    hive, gate, up = await make_chat_hive(**SOON, on_stale="steer"), pipe("gate"), pipe("up")
    first, second = waits_at(up, gate), call("terminal", command=f"echo > {up.path}; read y < {gate.path}")
    await hive.launch(root=chat(ROOT, first, second, {"say": "x"}, cwd=hive.workspace))
    for _ in range(2):
        await up.line()
        await silent(hive, 40)
        assert hive.agent(ROOT).evidence.endswith("; steered, not delivered yet")
        gate.let_go()
    await hive.over()
    assert [note.turn for note in notes(hive)] == [2, 3]
    assert marks(hive) == [Mark.STALE, None, Mark.STALE]


async def test_a_note_comes_before_the_turn_that_carries_it_in_the_journal(make_chat_hive: MakeChatHive, pipe):
    """Whoever takes the conversation up again from the journal tells the model the same in the same order."""
    hive, gate, up = await make_chat_hive(), pipe("gate"), pipe("up")
    await hive.launch(root=chat(ROOT, waits_at(up, gate), {"say": "x"}, cwd=hive.workspace))
    await up.line()
    await hive.engine._host.steer(ROOT, 1, "look at b.py too", "you")
    await hive.engine._host.steer(ROOT, 1, "and at c.py", "you")
    gate.let_go()
    await hive.over()
    story = hive.events(TurnCompleted, MessageAdded)
    assert [event.turn for event in story] == [1, 2, 2, 2]
    assert [event.content for event in story if isinstance(event, MessageAdded)] == [
        "Note from the operator's side (you): look at b.py too",
        "Note from the operator's side (you): and at c.py",
    ]
    assert isinstance(story[-1], TurnCompleted)
    with pytest.raises(NotFound):
        await hive.engine._host.steer(ROOT, 1, "too late", "you")


async def test_a_note_is_only_delivered_with_a_request(make_chat_hive: MakeChatHive, pipe):
    """While its turn waits for a key, nobody has read it."""
    hive, up, first, second = await make_chat_hive(), pipe("up"), pipe("first"), pipe("second")
    limited = {"status": 429, "retry_after": 30, "times": 1, "say": "x"}
    storm = chat("storm", waits_at(up, first), limited, cwd=hive.workspace)
    await hive.launch(storm, chat("a", waits_at(up, second), {"hang": True}, cwd=hive.workspace))
    await up.lines(2)
    await hive.engine._host.steer("a", 1, "a note", "you")
    first.let_go()
    await hive.until(lambda state: state.agents["storm"].reason is WaitReason.KEY)
    second.let_go()
    await hive.until(lambda state: state.agents["a"].reason is WaitReason.KEY)
    driver = await at_work(hive, "a")
    assert (driver.live().turn, driver._notes.receipt) == (2, "steered, not delivered yet")
    assert "a note" not in tail(hive, "a")
    await hive.pass_time(31)
    await at_work(hive, "a", lambda driver: driver._hearing.attempts == 1)
    assert driver._notes.receipt == "steered, delivered at turn 2"
    assert "> you: a note (delivered at turn 2)" in tail(hive, "a")
    await hive.kill("a")
    await hive.over()
    assert [note.turn for note in notes(hive, "a")] == [2]
    check(hive)


async def test_children_inherit_what_is_to_be_done_when_they_are_stale(make_chat_hive: MakeChatHive):
    hive = await make_chat_hive(**SOON, on_stale="kill")
    lead = chat(
        "lead", delegate(task("stuck", {"hang": True})), {"say": "x"}, cwd=hive.workspace, on_stale="interrupt"
    )
    other = chat("other", {"hang": True}, cwd=hive.workspace)
    await hive.launch(lead, other)
    stuck = await hive.named("stuck")
    for agent in (stuck, "other"):
        await at_work(hive, agent, lambda driver: driver.live().activity == "asks the model")
    await silent(hive, 22)
    await hive.over()
    assert hive.agent(stuck).state is State.INTERRUPTED
    assert hive.agent("other").state is State.KILLED
    assert hive.agent("lead").state is State.DONE


def test_what_is_to_be_done_is_one_of_four_also_in_settings_that_were_kept():
    assert EngineSettings.model_validate_json('{"on_stale": "steer"}').on_stale is OnStale.STEER
    assert EngineSettings().on_stale is OnStale.MARK
    with pytest.raises(ValueError, match="on_stale"):
        EngineSettings.model_validate({"on_stale": "panic"})


async def test_who_recovers_is_no_longer_marked_and_its_receipt_is_not_told_of_the_next_time(
    make_chat_hive: MakeChatHive, pipe
):
    """A receipt of an earlier note must not stand for one that was only just sent."""
    hive, gate, up = await make_chat_hive(**SOON, on_stale="steer"), pipe("gate"), pipe("up")
    first, second = waits_at(up, gate), call("terminal", command=f"echo > {up.path}; read y < {gate.path}")
    await hive.launch(root=chat(ROOT, first, second, {"hang": True}, cwd=hive.workspace))
    await up.line()
    await silent(hive, 32)
    gate.let_go()
    await up.line()
    await silent(hive, TICK)
    assert hive.agent(ROOT).mark is None
    await silent(hive, 32)
    [*_, last] = hive.events(AgentMarked)
    assert last.evidence.endswith("; steered, not delivered yet")
    gate.let_go()
    await at_work(hive, ROOT, lambda driver: driver.live().turn == 3)
    await hive.kill(ROOT)
    await hive.over()
