"""Commands that a person has to allow: asked, answered once, denied by the clock, forgotten with the agent."""

from __future__ import annotations

from pathlib import Path

import pytest

from skep.errors import NotFound, Refused
from skep.model.agent import Face, face_of
from skep.model.approvals import Commands
from skep.model.events import ROOT, AgentEnded, ApprovalAnswered, ApprovalAsked, ToolEnded
from skep.model.states import State, WaitReason
from tests.chat.asking import call, chat, delegate, task
from tests.chat.conftest import ChatHive, MakeChatHive
from tests.chat.holding import check, check_left, replay
from tests.engine.hive import turns

TOUCH = call("terminal", command="touch made")


def asker(id: str, *steps: dict, cwd: Path, **fields: object):
    return chat(id, *steps, cwd=cwd, commands=Commands.ASK, **fields)


async def question(hive: ChatHive, agent: str = ROOT, *, but: str = "") -> str:
    """Wait until the agent asks (something else than ``but``); the hash of its question."""

    def asks(state) -> bool:
        asked = state.agents[agent].question
        return asked is not None and asked["hash"] != but

    await hive.until(asks)
    return str(hive.agent(agent).question["hash"])


async def rests(hive: ChatHive, agent: str = ROOT) -> None:
    await hive.until(lambda state: state.agents[agent].reason is WaitReason.APPROVAL)


def told(hive: ChatHive, agent: str = ROOT) -> list[str]:
    return [event.content for event in hive.events(ToolEnded, agent=agent)]


async def test_what_is_allowed_runs_and_the_slot_is_free_meanwhile(chat_hive: ChatHive):
    first = asker("a", TOUCH, {"say": "made it"}, cwd=chat_hive.workspace)
    await chat_hive.launch(first, chat("b", {"say": "hi"}, cwd=chat_hive.workspace), slots=1)
    hash = await question(chat_hive, "a")
    await rests(chat_hive, "a")
    one = chat_hive.agent("a")
    assert (face_of(one), one.slot, one.detail) == (Face.ASKS, False, "$ touch made")
    assert one.question["command"] == "touch made"
    await chat_hive.are(State.DONE, "b")
    assert not (chat_hive.workspace / "made").exists()
    await chat_hive.engine.answer("a", hash, allow=True, who="you")
    await chat_hive.over()
    assert (chat_hive.workspace / "made").exists()
    assert chat_hive.agent("a").state is State.DONE
    [answered] = chat_hive.events(ApprovalAnswered)
    assert (answered.allow, answered.who, answered.hash) == (True, "you", hash)
    check(chat_hive)


async def test_what_is_denied_does_not_run_and_the_model_is_told_by_whom(chat_hive: ChatHive):
    await chat_hive.launch(root=asker(ROOT, TOUCH, {"say": "{last}"}, cwd=chat_hive.workspace))
    await chat_hive.engine.answer(ROOT, await question(chat_hive), allow=False, who="you")
    await chat_hive.over()
    assert not (chat_hive.workspace / "made").exists()
    assert chat_hive.agent(ROOT).result == "not allowed by you"
    check(chat_hive)


async def test_what_nobody_answers_is_denied_by_the_clock(make_chat_hive: MakeChatHive):
    hive = await make_chat_hive(approval_timeout=90)
    await hive.launch(root=asker(ROOT, TOUCH, {"say": "{last}"}, cwd=hive.workspace))
    hash = await question(hive)
    assert hive.agent(ROOT).question["until"] == hive.clock.time() + 90
    await hive.pass_time(89)
    assert hive.agent(ROOT).question is not None
    await hive.pass_time(1.5)
    await hive.over()
    [answered] = hive.events(ApprovalAnswered)
    assert (answered.allow, answered.who, answered.hash) == (False, "its time limit", hash)
    assert "its time limit" in hive.agent(ROOT).result
    assert not (hive.workspace / "made").exists()
    check(hive)


async def test_waiting_for_a_person_does_not_count_against_its_own_time(make_chat_hive: MakeChatHive):
    hive = await make_chat_hive(approval_timeout=1_000)
    await hive.launch(root=asker(ROOT, TOUCH, {"say": "ok"}, cwd=hive.workspace, timeout=60))
    hash = await question(hive)
    await rests(hive)
    await hive.pass_time(500, step=50)
    await hive.engine.answer(ROOT, hash, allow=True, who="you")
    await hive.over()
    assert hive.agent(ROOT).state is State.DONE


@pytest.mark.parametrize("verb", ["interrupt", "kill"])
async def test_an_agent_that_is_stopped_while_it_asks_just_ends(chat_hive: ChatHive, verb: str):
    calls = {"calls": [{"call": "terminal", "args": {"command": f"touch made{n}"}} for n in range(3)]}
    await chat_hive.launch(root=asker(ROOT, calls, {"say": "x"}, cwd=chat_hive.workspace))
    hash = await question(chat_hive)
    await getattr(chat_hive, verb)(ROOT, branch=True)
    with pytest.raises(Refused):
        await chat_hive.engine.answer(ROOT, hash, allow=True, who="you")
    await chat_hive.over()
    assert chat_hive.agent(ROOT).state in (State.INTERRUPTED, State.KILLED)
    assert chat_hive.agent(ROOT).question is None
    assert len(chat_hive.events(ApprovalAsked)) == 1
    assert not list(chat_hive.workspace.iterdir())
    await chat_hive.pass_time(1_000)
    check(chat_hive)


async def test_an_answer_counts_for_what_was_read_and_for_nothing_else(chat_hive: ChatHive):
    await chat_hive.launch(root=asker(ROOT, TOUCH, {"say": "{last}"}, cwd=chat_hive.workspace))
    hash = await question(chat_hive)
    with pytest.raises(Refused, match="something else"):
        await chat_hive.engine.answer(ROOT, "0" * 64, allow=True, who="you")
    with pytest.raises(NotFound):
        await chat_hive.engine.answer("nobody", hash, allow=True, who="you")
    assert chat_hive.agent(ROOT).question is not None
    await chat_hive.engine.answer(ROOT, hash, allow=False, who="you")
    with pytest.raises(Refused, match="asks nothing"):
        await chat_hive.engine.answer(ROOT, hash, allow=True, who="you")
    await chat_hive.over()
    assert not (chat_hive.workspace / "made").exists()


async def test_several_calls_of_one_turn_ask_one_after_the_other(chat_hive: ChatHive):
    commands = [f"echo {n}; touch made{n}" for n in range(3)]
    calls = {"calls": [{"call": "terminal", "args": {"command": command}} for command in commands]}
    await chat_hive.launch(root=asker(ROOT, calls, {"say": "ok"}, cwd=chat_hive.workspace))
    hash = ""
    for _ in range(3):
        hash = await question(chat_hive, but=hash)
        allow = chat_hive.agent(ROOT).question["command"] != commands[1]
        await chat_hive.engine.answer(ROOT, hash, allow=allow, who="you")
    await chat_hive.over()
    assert sorted(path.name for path in chat_hive.workspace.iterdir()) == ["made0", "made2"]
    asked = chat_hive.events(ApprovalAsked, ApprovalAnswered)
    assert [type(event) for event in asked] == [ApprovalAsked, ApprovalAnswered] * 3
    assert sorted(event.question["command"] for event in asked[::2]) == commands
    check(chat_hive)


async def test_a_call_that_works_keeps_the_slot_while_another_one_asks(chat_hive: ChatHive, pipe):
    gate, marks = pipe("gate"), pipe("marks")
    works = f"echo up > {marks.path}; read x < {gate.path}"
    (chat_hive.workspace / "a.txt").write_text("a\n")
    root = chat(
        ROOT,
        {
            "calls": [
                {"call": "delegate", "args": {"tasks": [task("asks", TOUCH, {"say": "c"})]}},
                {"call": "terminal", "args": {"command": works}},
            ]
        },
        {"say": "ok"},
        cwd=chat_hive.workspace,
    )
    await chat_hive.launch(root=root, slots=1)
    await marks.line()
    await chat_hive.until(lambda state: len(state.agents) == 2)
    await turns()
    assert chat_hive.agent(ROOT).state is State.RUNNING
    assert chat_hive.agent(ROOT).slot
    gate.let_go()
    await chat_hive.over()
    assert chat_hive.agent(ROOT).state is State.DONE
    check(chat_hive)


async def test_a_child_asks_while_its_parent_waits_for_it(chat_hive: ChatHive):
    root = asker(
        ROOT, delegate(task("child", TOUCH, {"say": "c: {last}"})), {"say": "ok"}, cwd=chat_hive.workspace
    )
    await chat_hive.launch(root=root, slots=1)
    child = await chat_hive.named("child")
    hash = await question(chat_hive, child)
    await rests(chat_hive, child)
    with chat_hive.registry.read() as state:
        assert state.slots_used == 0
        assert state.composition(ROOT) == {Face.ASKS: 1}
    await chat_hive.engine.answer(child, hash, allow=True, who="you")
    await chat_hive.over()
    assert (chat_hive.workspace / "made").exists()
    check(chat_hive)


async def test_what_was_allowed_in_the_window_of_a_stop_does_not_run_before_that_is_taken_back(
    chat_hive: ChatHive, pipe
):
    gate, marks = pipe("gate"), pipe("marks")
    # Which of the two asks first is nobody's promise.
    works = [f"echo up > {marks.path}; read x < {gate.path}; touch made-{n}" for n in range(2)]
    calls = {"calls": [{"call": "terminal", "args": {"command": command}} for command in works]}
    await chat_hive.launch(root=asker(ROOT, calls, {"say": "ok"}, cwd=chat_hive.workspace))
    first = await question(chat_hive)
    await chat_hive.engine.answer(ROOT, first, allow=True, who="you")
    await marks.line()
    second = await question(chat_hive, but=first)
    await chat_hive.interrupt(ROOT, branch=True, window=60)
    await chat_hive.engine.answer(ROOT, second, allow=True, who="you")
    await turns(200)
    assert marks.nothing(), "a tool started in a branch that is shut"
    await chat_hive.engine.take_back(ROOT, "you")
    await marks.line()
    gate.let_go(2)
    await chat_hive.over()
    assert all((chat_hive.workspace / f"made-{n}").exists() for n in range(2))
    assert chat_hive.agent(ROOT).state is State.DONE
    check(chat_hive)


async def test_after_a_recovery_nobody_asks(make_chat_hive: MakeChatHive, make_hive, tmp_path: Path):
    hive = await make_chat_hive()
    await hive.launch(asker("a", TOUCH, cwd=hive.workspace), asker("b", TOUCH, cwd=hive.workspace), slots=1)
    hash = await question(hive, "a")
    await question(hive, "b")
    await rests(hive, "b")
    again = make_hive(await hive.die(tmp_path / "left"))
    await again.recover()
    await again.unpause()
    await again.over()
    assert {event.state for event in again.events(AgentEnded) if event.agent != ROOT} == {State.LOST}
    assert all(again.agent(agent).question is None for agent in "ab")
    with pytest.raises(Refused):
        await again.engine.answer("a", hash, allow=True, who="you")
    replay(again.records())
    check_left(hive)
