"""A turn is on the disk before its tools run, children before they are named, answers before they count."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

import pytest

from skep.engine.permits import AgentPermits
from skep.errors import SkepError
from skep.model.approvals import Commands, Question
from skep.model.children import Task
from skep.model.events import ROOT, AgentQueued, ApprovalAnswered, TurnCompleted
from skep.model.permits import Note
from skep.model.states import State
from tests.chat.asking import call, chat, delegate, task
from tests.chat.conftest import ChatHive, MakeChatHive
from tests.chat.holding import check
from tests.engine.hive import LIMIT, turns
from tests.engine.played import engine_with

TOUCH = call("terminal", command="touch made")


class NotesInPassing(AgentPermits):
    """Takes a turn in and does not wait until it is durable."""

    async def note(self, agent: str, generation: int, note: Note) -> None:
        with self._ledger.decide() as decision:
            decision.emit(note)


class SpawnsInPassing(AgentPermits):
    """Names children that nobody may know of yet."""

    async def spawn(self, agent: str, generation: int, tasks: Sequence[Task]) -> list[str]:
        with self._ledger.decide() as decision:
            return self._delegation.spawn(decision, agent, tasks)


async def fill(hive: ChatHive) -> None:
    """From here on nothing more gets to the disk."""
    hive.ledger.allow(1)
    pausing = asyncio.ensure_future(hive.pause(reason="no room for this " * 4_000))
    try:
        await reached(lambda: hive.ledger.trouble is not None)
    finally:
        pausing.cancel()


async def reached(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(LIMIT):
        while not condition():
            await turns(1)


async def everything_runs() -> None:
    """Whatever does not wait for the disk has had its turn, in the loop and in threads."""
    for _ in range(20):
        await asyncio.to_thread(lambda: None)
        await turns(50)


async def a_turn_on_a_full_disk(make_chat_hive: MakeChatHive, pipe, permits: type[AgentPermits]) -> None:
    hive, gate, up = await make_chat_hive(engine=engine_with(permits)), pipe("gate"), pipe("up")
    held = call("terminal", command=f"echo > {up.path}; read x < {gate.path}")
    steps = [held, call("write_file", path="made", content="x"), {"say": "done it"}]
    await hive.launch(root=chat(ROOT, *steps, cwd=hive.workspace))
    await up.line()
    await fill(hive)
    gate.let_go()
    await reached(lambda: hive.agent(ROOT).turns == 2)
    await everything_runs()
    assert len(hive.events(TurnCompleted)) == 1, "the second one cannot be on the disk"
    assert not (hive.workspace / "made").exists(), "a tool ran before its turn was durable"
    hive.ledger.allow(None)
    await hive.unpause()
    await hive.over()
    assert (hive.workspace / "made").exists()
    assert hive.agent(ROOT).state is State.DONE
    check(hive)


async def test_a_tool_runs_after_its_turn_is_durable(make_chat_hive: MakeChatHive, pipe):
    await a_turn_on_a_full_disk(make_chat_hive, pipe, AgentPermits)


async def test_permits_that_do_not_wait_for_a_turn_are_caught(make_chat_hive: MakeChatHive, pipe):
    with pytest.raises(AssertionError, match="before its turn was durable"):
        await a_turn_on_a_full_disk(make_chat_hive, pipe, NotesInPassing)


async def children_on_a_full_disk(make_chat_hive: MakeChatHive, pipe, permits: type[AgentPermits]) -> None:
    """The names of background children get to the model: then they have to be true."""
    hive, gate, up = await make_chat_hive(engine=engine_with(permits)), pipe("gate"), pipe("up")
    held = call("terminal", command=f"echo > {up.path}; read x < {gate.path}")
    await hive.launch(root=chat(ROOT, held, {"say": "x"}, cwd=hive.workspace))
    await up.line()
    await fill(hive)
    asking = asyncio.ensure_future(hive.engine.permits.spawn(ROOT, 1, [Task("c")]))
    await reached(lambda: len(hive.states()) == 2)
    await everything_runs()
    told = asking.done()
    hive.ledger.allow(None)
    await asking
    await hive.interrupt(ROOT, branch=True)
    gate.let_go()
    await hive.over()
    assert not told, "a child was named that nobody could know of"


async def test_children_are_named_after_they_are_durable(make_chat_hive: MakeChatHive, pipe):
    await children_on_a_full_disk(make_chat_hive, pipe, AgentPermits)


async def test_permits_that_do_not_wait_for_children_are_caught(make_chat_hive: MakeChatHive, pipe):
    with pytest.raises(AssertionError, match="nobody could know of"):
        await children_on_a_full_disk(make_chat_hive, pipe, SpawnsInPassing)


async def test_what_was_allowed_runs_after_the_answer_is_durable(chat_hive: ChatHive):
    await chat_hive.launch(root=chat(ROOT, TOUCH, {"say": "x"}, cwd=chat_hive.workspace, commands=Commands.ASK))
    await chat_hive.until(lambda state: state.agents[ROOT].question is not None)
    await fill(chat_hive)
    hash = chat_hive.agent(ROOT).question["hash"]
    answering = asyncio.ensure_future(chat_hive.engine.answer(ROOT, hash, allow=True, who="you"))
    await reached(lambda: chat_hive.agent(ROOT).question is None)
    await everything_runs()
    assert not answering.done()
    assert chat_hive.events(ApprovalAnswered) == []
    assert not (chat_hive.workspace / "made").exists()
    chat_hive.ledger.allow(None)
    await answering
    await chat_hive.unpause()
    await chat_hive.over()
    assert (chat_hive.workspace / "made").exists()
    check(chat_hive)


async def test_who_is_being_stopped_gets_no_child_no_turn_and_no_question(chat_hive: ChatHive, pipe):
    gate, up = pipe("gate"), pipe("up")
    held = call("terminal", command=f"trap '' INT; echo > {up.path}; read x < {gate.path}")
    await chat_hive.launch(root=chat(ROOT, held, {"say": "x"}, cwd=chat_hive.workspace))
    await up.line()
    await chat_hive.interrupt(ROOT)
    permits = chat_hive.engine.permits
    for asking in (
        permits.go(ROOT, 1),
        permits.spawn(ROOT, 1, [Task("late")]),
        permits.approve(ROOT, 1, Question.about("terminal", "$ true", {"command": "true"})),
        permits.resume(ROOT, 1),
        permits.slot(ROOT, 1, "again"),
    ):
        with pytest.raises(SkepError, match="may not"):
            await asking
    gate.let_go()
    await chat_hive.over()
    assert len(chat_hive.events(AgentQueued)) == 1
    check(chat_hive)


async def test_an_earlier_run_of_an_agent_may_nothing_any_more(chat_hive: ChatHive):
    root = chat(ROOT, delegate(task("c", {"say": "x"})), {"hang": True}, cwd=chat_hive.workspace)
    await chat_hive.launch(root=root)
    await chat_hive.until(lambda state: state.agents[ROOT].attempt == 2)
    for asking in (
        chat_hive.engine.permits.go(ROOT, 1),
        chat_hive.engine.permits.spawn(ROOT, 1, [Task("late")]),
        chat_hive.engine.permits.note(ROOT, 1, TurnCompleted(ROOT, 2, {}, "stop", "sim-1", 1, 1)),
    ):
        with pytest.raises(SkepError):
            await asking
    await chat_hive.interrupt(ROOT)
    await chat_hive.over()
    check(chat_hive)
