"""A conversation that ended goes on as a new agent: complete, nothing run twice, told what it cannot know."""

from __future__ import annotations

import asyncio
import sqlite3
from pathlib import Path

import pytest

from skep.errors import Damaged, NotFound, Refused, SkepError
from skep.model.agent import Agent
from skep.model.events import (
    ROOT,
    AgentEnded,
    AgentQueued,
    EngineStarted,
    MessageAdded,
    Reopened,
    SwarmEnded,
    ToolEnded,
)
from skep.model.report import agent_document
from skep.model.states import State
from skep.simulator.behaviour import Conversation, Fault, FaultKind, Reply
from skep.simulator.scenario import Scenario
from tests.chat.asking import call, chat, delegate, task
from tests.chat.conftest import ChatHive, MakeChatHive
from tests.chat.holding import check
from tests.engine.hive import command, group, shell, turns
from tests.kills.mutants import RunsUnknownCallsAgain
from tests.simulator.logged import Asked

HANGS = {"hang": True}
LOOKS = call("list_files")


def mark(file: str) -> dict[str, object]:
    """A step that leaves a line in a file each time it is carried out."""
    return call("terminal", command=f"echo made >> {file}")


def stays(up: Path, file: str = "stayed") -> str:
    """A command that says that it runs, and goes on doing so."""
    return f"echo made >> {file}; echo > {up}; sleep 600"


def lines(hive: ChatHive, file: str) -> int:
    path = hive.workspace / file
    return len(path.read_text().splitlines()) if path.exists() else 0


async def after_a_crash(make: MakeChatHive, hive: ChatHive, to: Path, *, go: bool = False, **options) -> ChatHive:
    """The next engine over what this one leaves, at work."""
    again = await make(folder=await hive.die(to), **options)
    await again.recover(go=go)
    return again


def last_of(hive: ChatHive, agent: str) -> Asked:
    """The newest request of a conversation, by an agent of it."""
    return hive.simulator.of(f"goal of {agent}")[-1]


async def ended(hive: ChatHive, agent: str) -> Agent:
    await hive.until(lambda state: state.agents[agent].ended)
    return hive.agent(agent)


# -- what the model is told --------------------------------------------------------------------------------------


async def test_a_lost_conversation_goes_on_from_its_last_complete_turn(
    make_chat_hive: MakeChatHive, pipe, tmp_path
):
    up = pipe("up")
    hive = await make_chat_hive()
    first = {
        "say": "I look.",
        "calls": [{"call": "list_files"}, {"call": "write_file", "args": {"path": "a", "content": "x"}}],
    }
    second = call("terminal", command=stays(up.path))
    await hive.launch(chat("t", first, second, {"say": "all is well"}, cwd=hive.workspace))
    await up.line()
    again = await after_a_crash(make_chat_hive, hive, tmp_path / "left")
    assert again.agent("t").state is State.LOST
    assert list(again.agent("t").calls.values()) == [f"$ {stays(up.path)}"]
    before = last_of(hive, "t").said()

    new = await again.resume("t")
    await again.unpause()
    await again.over()

    one = again.agent(new)
    assert (one.state, one.result, one.resumes) == (State.DONE, "all is well", "t")
    assert again.agent("t").resumed_by == new
    asked = last_of(again, "t").said()
    assert asked[: len(before)] == before, "its past is not what it was"
    told = asked[len(before) :]
    assert [role for role, _ in told] == ["assistant", "tool", "user"]
    assert told[1][1].startswith("error: unknown")
    assert "the process that ran you died" in told[2][1]
    assert lines(again, "stayed") == 1
    assert again.simulator.ledger.keys["key-1"].refused == 0
    assert again.status() == "done", "who goes on with a conversation decides how it ended"
    check(again)


async def test_calls_that_only_read_are_made_again_and_the_others_are_not(
    make_chat_hive: MakeChatHive, pipe, tmp_path
):
    up = pipe("up")
    hive = await make_chat_hive(max_depth=2)
    (hive.workspace / "seen").write_text("what it says")
    calls = [
        {"call": "read_file", "args": {"path": "seen"}},
        {"call": "terminal", "args": {"command": stays(up.path)}},
        delegate(task("c", HANGS)),
        {"call": "list_files"},
    ]
    await hive.launch(chat("t", {"calls": calls}, {"say": "ok"}, cwd=hive.workspace))
    await up.line()
    await hive.until(lambda state: len(state.agents["t"].calls) == 2 and len(state.agents) == 3)
    folder = await hive.die(tmp_path / "left")
    for_good = forget_results(folder, "t")
    again = await make_chat_hive(folder=folder)
    await again.recover()
    assert len(again.agent("t").calls) == 4
    assert for_good == 2

    new = await again.resume("t")
    await again.unpause()
    await again.over()

    ends = {end.call: end for end in again.events(ToolEnded, agent=new)}
    assert [ends[f"call_1_{n}"].ok for n in (1, 2, 3, 4)] == [True, False, False, True]
    told = [text for role, text in last_of(again, "t").said() if role == "tool"]
    assert "what it says" in told[0]
    assert "unknown" in told[1]
    assert "unknown" in told[2]
    assert "seen" in told[3]
    assert lines(again, "stayed") == 1
    assert sum(event.name == "c" for event in again.events(AgentQueued)) == 1
    assert "- c (a2): lost" in last_of(again, "t").messages[-1]["content"]
    check(again)


def forget_results(folder: Path, agent: str) -> int:
    """Rewrite a dead engine's journal as if it had died before any tool of this agent had ended."""
    from skep.journal import Journal, JournalReader, Row
    from skep.model.codec import decode

    with JournalReader(folder) as reader:
        rows = reader.read(0, 10_000)
    kept = [row for row in rows if not _is_result(decode(row.body), agent)]
    for path in folder.glob("journal.db*"):
        path.unlink()
    (folder / "head").unlink()
    with Journal(folder, on_durable=lambda seq: None, on_trouble=print) as journal:
        journal.append([Row(n, row.time, row.body) for n, row in enumerate(kept, 1)])
    return len(rows) - len(kept)


def _is_result(event: object, agent: str) -> bool:
    return isinstance(event, ToolEnded) and event.agent == agent


async def test_the_check_catches_a_resume_that_makes_unknown_calls_again(
    make_chat_hive: MakeChatHive, pipe, tmp_path
):
    up = pipe("up")
    hive = await make_chat_hive()
    await hive.launch(chat("t", call("terminal", command=stays(up.path)), {"say": "ok"}, cwd=hive.workspace))
    await up.line()
    again = await after_a_crash(make_chat_hive, hive, tmp_path / "left", host=RunsUnknownCallsAgain)
    await again.resume("t")
    await again.unpause()
    await up.line()
    assert lines(again, "stayed") == 2
    await again.interrupt(ROOT, branch=True)
    await again.over()


async def test_the_operators_message_comes_last(make_chat_hive: MakeChatHive):
    hive = await make_chat_hive()
    await hive.launch(
        chat("t", {"say": "first"}, {"say": "second"}, cwd=hive.workspace), chat("u", HANGS, cwd=hive.workspace)
    )
    await ended(hive, "t")
    new = await hive.resume("t", "  and now the other half ")
    assert (await ended(hive, new)).result == "second"
    assert last_of(hive, "t").said()[1:] == [("assistant", "first"), ("user", "and now the other half")]
    await hive.interrupt("u")
    await hive.over()
    check(hive)


@pytest.mark.parametrize("message", ["", "try harder"])
async def test_a_failed_one_is_told_that_it_failed(make_chat_hive: MakeChatHive, message: str):
    asked = 0

    def behaviour(conversation: Conversation) -> Reply:
        nonlocal asked
        asked += 1
        refuses = Reply(fault=Fault(FaultKind.STATUS, status=400, message="no"))
        return Reply("made it") if asked > 1 else refuses

    hive = await make_chat_hive(scenario=Scenario(behaviour=behaviour), secrets=["any"])
    one = chat("t", cwd=hive.workspace)
    await hive.launch(one.model_copy(update={"goal": "no script"}), chat("u", HANGS, cwd=hive.workspace))
    assert (await ended(hive, "t")).state is State.FAILED
    new = await hive.resume("t", message)
    assert (await ended(hive, new)).result == "made it"
    told = hive.simulator.of("no script")[-1].messages[-1]["content"]
    assert told.startswith("You had ended: ")
    assert told.endswith(message or "Go on from here.")
    await hive.interrupt("u")
    await hive.over()
    assert hive.status() == "interrupted"
    check(hive)


async def test_an_interrupted_one_is_told_of_what_was_cut(make_chat_hive: MakeChatHive, pipe):
    up = pipe("up")
    hive = await make_chat_hive()
    held = call("terminal", command=stays(up.path))
    await hive.launch(chat("t", held, {"say": "ok"}, cwd=hive.workspace), chat("u", HANGS, cwd=hive.workspace))
    await up.line()
    await hive.interrupt("t")
    assert (await ended(hive, "t")).state is State.INTERRUPTED
    new = await hive.resume("t")
    assert (await ended(hive, new)).state is State.DONE
    result, news = last_of(hive, "t").said()[-2:]
    assert result[1].startswith("error: unknown")
    assert "died" not in result[1] + news[1], "nothing of it died, it was stopped"
    assert "interrupted by you" in news[1]
    assert lines(hive, "stayed") == 1
    await hive.interrupt("u")
    await hive.over()
    check(hive)


async def test_calls_that_its_limit_cut_off_are_known_not_to_have_run(make_chat_hive: MakeChatHive):
    hive = await make_chat_hive()
    await hive.launch(chat("t", mark("one"), mark("two"), {"say": "ok"}, cwd=hive.workspace, max_turns=2))
    await hive.over()
    assert hive.agent("t").state is State.OVER_LIMIT
    new = await hive.resume("t")
    hive.run()
    await hive.over()
    assert hive.agent(new).state is State.DONE
    [_, (_, result), _] = last_of(hive, "t").said()[-3:]
    assert result == "error: not carried out: max_turns 2 reached"
    assert (lines(hive, "one"), lines(hive, "two")) == (1, 0)
    check(hive)


async def test_results_of_children_in_the_background_are_told_to_who_goes_on(
    make_chat_hive: MakeChatHive, pipe, tmp_path
):
    """Also of those whose call had its result: what they were to bring would never come."""
    up = pipe("up")
    hive = await make_chat_hive(max_depth=2)
    children = delegate(task("good", {"say": "the answer is 42"}), task("bad", HANGS), background=True)
    held = call("terminal", command=stays(up.path))
    await hive.launch(chat("t", children, held, {"say": "ok"}, cwd=hive.workspace))
    await up.line()
    await hive.until(lambda state: any(one.name == "good" and one.ended for one in state.agents.values()))
    again = await after_a_crash(make_chat_hive, hive, tmp_path / "left")
    await again.resume("t")
    await again.unpause()
    await again.over()
    told = last_of(again, "t").messages[-1]["content"]
    assert "good (a2): done" in told
    assert "the answer is 42" in told
    assert "bad (a3): lost" in told
    check(again)


async def test_of_an_interrupted_one_the_children_are_told_too(make_chat_hive: MakeChatHive, pipe):
    up = pipe("up")
    hive = await make_chat_hive(max_depth=2)
    held = call("terminal", command=stays(up.path))
    lead = chat("t", delegate(task("c", HANGS), background=True), held, {"say": "ok"}, cwd=hive.workspace)
    await hive.launch(lead, chat("u", HANGS, cwd=hive.workspace))
    await up.line()
    await hive.interrupt("t", branch=True)
    await hive.pass_time(hive.settings.grace + 1)  # a program may take its time over the first rung
    await ended(hive, "t")
    await ended(hive, await hive.resume("t"))
    assert "c (a3): interrupted" in last_of(hive, "t").messages[-1]["content"]
    await hive.interrupt("u")
    await hive.over()
    check(hive)


# -- where it stands ---------------------------------------------------------------------------------------------


async def test_a_lost_root_goes_on_below_itself(make_chat_hive: MakeChatHive, pipe, tmp_path):
    up = pipe("up")
    hive = await make_chat_hive()
    held = call("terminal", command=stays(up.path))
    await hive.launch(root=chat(ROOT, held, {"say": "whole"}, cwd=hive.workspace))
    await up.line()
    again = await after_a_crash(make_chat_hive, hive, tmp_path / "left")
    assert again.agent(ROOT).state is State.LOST
    assert again.status() is None, "it waits for a person"
    new = await again.resume(ROOT)
    assert again.agent(new).parent == ROOT
    await again.unpause()
    await again.over()
    assert again.agent(new).result == "whole"
    assert again.status() == "done"
    check(again)


async def test_a_delegated_child_goes_on_without_its_parent(make_chat_hive: MakeChatHive, pipe, tmp_path):
    up = pipe("up")
    hive = await make_chat_hive(max_depth=2)
    child = task("c", call("terminal", command=stays(up.path)), {"say": "child is done"})
    await hive.launch(group("g"), chat("lead", delegate(child), {"say": "ok"}, cwd=hive.workspace, parent="g"))
    await up.line()
    again = await after_a_crash(make_chat_hive, hive, tmp_path / "left")
    old = await again.named("c")
    new = await again.resume(old)
    one = again.agent(new)
    assert (one.parent, one.branch, one.name) == ("g", "g", "c 2")
    assert one.spec == again.agent(old).spec, "its own limits hold"
    lead = await again.resume("lead")
    await again.unpause()
    await again.over()
    assert again.agent(new).result == "child is done"
    assert again.agent(lead).state is State.DONE
    assert again.agent("g").state is State.DONE
    assert again.status() == "done"
    check(again)


async def test_a_child_resumed_while_its_parent_works_is_waited_for_and_not_stopped(
    make_chat_hive: MakeChatHive, pipe
):
    up, gate = pipe("up"), pipe("gate")
    hive = await make_chat_hive(max_depth=2)
    child = task("c", mark("one"), mark("two"), {"say": "late"}, max_turns=1)
    wait = call("terminal", command=f"echo > {up.path}; read x < {gate.path}")
    await hive.launch(root=chat(ROOT, delegate(child), wait, {"say": "ok"}, cwd=hive.workspace), slots=1)
    await up.line()
    old = await hive.named("c")
    assert hive.agent(old).state is State.OVER_LIMIT
    new = await hive.resume(old)
    assert hive.agent(new).parent == ROOT
    assert hive.agent(new).state is State.QUEUED, "its parent has the only slot"
    gate.let_go()
    await hive.over()
    assert hive.agent(new).state is State.OVER_LIMIT, "one turn was its limit, and is"
    assert hive.agent(ROOT).state is State.DONE
    ends = [event.agent for event in hive.events(*_ENDS)]
    assert ends == [old, new, ROOT]
    check(hive)


async def test_a_resumed_one_in_line_outlives_the_loss_of_the_parent_under_which_it_stands(
    make_chat_hive: MakeChatHive, pipe, tmp_path
):
    up = pipe("up")
    hive = await make_chat_hive(max_depth=2)
    child = task("c", mark("one"), {"say": "late"}, max_turns=1)
    held = call("terminal", command=stays(up.path))
    await hive.launch(chat("t", delegate(child), held, {"say": "ok"}, cwd=hive.workspace), slots=1)
    await up.line()
    old = await hive.named("c")
    new = await hive.resume(old)
    again = await after_a_crash(make_chat_hive, hive, tmp_path / "left")
    assert again.held() == [new]
    lead = await again.resume("t")
    await again.unpause()
    await again.over()
    assert again.agent(new).state is State.DONE
    assert again.agent(lead).state is State.DONE
    check(again)


async def test_nobody_is_resumed_below_what_is_being_stopped(make_chat_hive: MakeChatHive, pipe):
    """Neither below an agent, nor below a group that has ended in a branch that is being stopped."""
    up = pipe("up")
    hive = await make_chat_hive()
    stubborn = shell("s", f"trap '' INT TERM; echo > {up.path}; while :; do sleep 600; done", parent="a")
    lost = chat("t", {"say": "t"}, cwd=hive.workspace, parent="b")
    await hive.launch(group("a"), group("b", "a"), stubborn, lost)
    await up.line()
    await ended(hive, "b")
    await hive.interrupt("a", branch=True)
    with pytest.raises(Refused, match="a is being stopped"):
        await hive.resume("t")
    assert hive.agent("b").ended
    assert not hive.agent("t").resumed_by
    await hive.kill("a", branch=True)
    await hive.hurry("a", branch=True, kill=True)
    await hive.over()
    check(hive)


# -- what cannot be ----------------------------------------------------------------------------------------------


async def test_a_conversation_goes_on_once_and_the_refusal_names_the_newest(make_chat_hive: MakeChatHive):
    hive = await make_chat_hive()
    await hive.launch(
        chat("t", {"say": "1"}, {"say": "2"}, {"say": "3"}, cwd=hive.workspace),
        chat("u", HANGS, cwd=hive.workspace),
    )
    await ended(hive, "t")
    second = await hive.resume("t")
    await ended(hive, second)
    third = await hive.resume(second)
    for one in ("t", second):
        before = hive.records()
        with pytest.raises(Refused) as refused:
            await hive.resume(one)
        assert refused.value.what == f"{hive.agent(one).name} was resumed already"
        assert third in str(refused.value.why)
        assert third in str(refused.value.mend)
        assert len(hive.records()) - len(before) <= 3, "only what the third one does itself"
    assert (await ended(hive, third)).result == "3"
    await hive.interrupt("u")
    await hive.over()
    check(hive)


async def test_what_is_no_ended_conversation_is_refused_and_leaves_nothing(make_chat_hive: MakeChatHive):
    hive = await make_chat_hive()
    await hive.launch(
        chat("u", HANGS, cwd=hive.workspace),
        command("c", "true"),
        group("g"),
        command("d", "sleep", "600", parent="g"),
    )
    await ended(hive, "c")
    await hive.until(lambda state: state.agents["u"].state is State.RUNNING)
    for agent, error, said in (
        ("u", Refused, "it has not ended"),
        ("nobody", NotFound, "there is no agent nobody"),
        ("c", Refused, "c is no chat agent"),
        ("g", Refused, "g is no chat agent"),
    ):
        before = len(hive.events(AgentQueued, MessageAdded))
        with pytest.raises(error, match=said):
            await hive.resume(agent)
        assert len(hive.events(AgentQueued, MessageAdded)) == before
    await hive.interrupt(ROOT, branch=True)
    await hive.over()
    check(hive)


async def test_of_two_who_resume_at_once_one_wins(make_chat_hive: MakeChatHive):
    hive = await make_chat_hive()
    await hive.launch(
        chat("t", {"say": "1"}, {"say": "2"}, cwd=hive.workspace), chat("u", HANGS, cwd=hive.workspace)
    )
    await ended(hive, "t")
    told = await asyncio.gather(hive.resume("t", who="you"), hive.resume("t", who="they"), return_exceptions=True)
    [refused] = [one for one in told if isinstance(one, SkepError)]
    [new] = [one for one in told if isinstance(one, str)]
    assert isinstance(refused, Refused)
    assert new in str(refused.why)
    assert (await ended(hive, new)).result == "2"
    assert len(hive.events(MessageAdded)) == 1
    await hive.interrupt("u")
    await hive.over()
    check(hive)


@pytest.mark.parametrize("gone", ["provider", "keys"])
async def test_without_its_provider_or_its_keys_nothing_is_made(make_chat_hive: MakeChatHive, tmp_path, gone: str):
    hive = await make_chat_hive(others=["other"])
    kept = chat("u", HANGS, cwd=hive.workspace, model="other/any")
    await hive.launch(chat("t", HANGS, cwd=hive.workspace), kept)
    await hive.are(State.RUNNING, "t", "u")
    folder = await hive.die(tmp_path / "left")
    again = await make_chat_hive(folder=folder, others=["other"])
    if gone == "provider":
        del again.settings.providers["simulator"]
    else:
        again.engine._accounts.pop("simulator")
    await again.recover()
    before = again.records()
    with pytest.raises(Refused, match=r"t cannot be resumed.*simulator"):
        await again.resume("t")
    assert again.records() == before
    await again.resume("u")
    await again.unpause()
    await again.until(lambda state: state.slots_used == 1)
    await again.interrupt(ROOT, branch=True)
    await again.over()
    check(again)


async def test_a_row_that_was_changed_on_the_disk_is_said_and_nothing_is_made(make_chat_hive: MakeChatHive):
    hive = await make_chat_hive()
    await hive.launch(
        chat("t", {"say": "1"}, {"say": "2"}, cwd=hive.workspace), chat("u", HANGS, cwd=hive.workspace)
    )
    await ended(hive, "t")
    await hive.pause()
    before = hive.agent("t")
    with sqlite3.connect(hive.folder / "journal.db") as database:
        database.execute(
            "UPDATE row SET body = replace(body, 'turn_completed', 'turn_competed') WHERE seq >= ?",
            (before.order,),
        )
    database.close()
    with pytest.raises(Damaged):
        await hive.resume("t")
    assert hive.agent("t") == before
    assert len(hive.states()) == 3
    await hive.interrupt("u")
    await hive.unpause()
    await hive.over()


async def test_a_message_that_is_not_as_it_was_written_is_said_and_nothing_is_made(
    make_chat_hive: MakeChatHive, tmp_path
):
    from skep.model.events import TurnCompleted

    hive = await make_chat_hive()
    await hive.launch(chat("t", HANGS, cwd=hive.workspace))
    await hive.are(State.RUNNING, "t")
    with hive.ledger.decide() as decision:
        decision.emit(TurnCompleted("t", 1, {"role": "nobody"}, "stop", "sim-1", 1, 1))
    again = await after_a_crash(make_chat_hive, hive, tmp_path / "left")
    before = again.records()
    with pytest.raises(Damaged, match="not as it was written"):
        await again.resume("t")
    assert again.records() == before
    await again.unpause()
    await again.over()


# -- again and again ---------------------------------------------------------------------------------------------


async def test_a_chain_of_three_keeps_the_whole_conversation(make_chat_hive: MakeChatHive, pipe, tmp_path):
    up = pipe("up")
    hive = await make_chat_hive()
    steps = [call("terminal", command=stays(up.path, f"stayed{n}")) for n in range(3)]
    await hive.launch(chat("t", LOOKS, *steps, {"say": "the end"}, cwd=hive.workspace))
    agent = "t"
    for round_ in range(3):
        await up.line()
        hive = await after_a_crash(make_chat_hive, hive, tmp_path / f"left{round_}")
        agent = await hive.resume(agent, f"word {round_}")
        await hive.unpause()
    await hive.over()
    one = hive.agent(agent)
    assert (one.state, one.result) == (State.DONE, "the end")
    said = last_of(hive, "t").said()
    assert [role for role, _ in said] == ["user", *("assistant", "tool"), *("assistant", "tool", "user") * 3]
    assert [text[-6:] for role, text in said[1:] if role == "user"] == ["word 0", "word 1", "word 2"]
    assert [lines(hive, f"stayed{n}") for n in range(3)] == [1, 1, 1]
    assert hive.status() == "done"
    assert hive.agent("t").resumed_by
    check(hive)


@pytest.mark.parametrize("moment", range(0, 56, 4))
async def test_whenever_an_engine_dies_all_that_was_lost_goes_on_to_its_end(
    make_chat_hive: MakeChatHive, tmp_path: Path, moment: int
):
    """It dies twice, after so many events each; no command is carried out twice, no conversation has a gap."""
    hive = await make_chat_hive(max_depth=2)
    leaf = task("leaf", LOOKS, mark("leaf"), {"say": "x"})
    both = {"calls": [mark("both"), LOOKS, mark("both")]}
    lead = task(
        "lead", delegate(leaf, leaf, background=True), both, delegate(leaf), {"say": "l"}, role="orchestrator"
    )
    top = [
        chat(f"t{n}", mark(f"t{n}"), delegate(lead), mark(f"t{n}"), {"say": f"t{n} is done"}, cwd=hive.workspace)
        for n in range(2)
    ]
    await hive.launch(*top, slots=3)
    seq = 4
    for life in range(2):
        seq += 3 + moment
        await hive.until(lambda state, seq=seq: state.seq >= seq or state.status is not None)
        hive = await after_a_crash(make_chat_hive, hive, tmp_path / f"left{life}", max_depth=2)
        with hive.registry.read() as state:
            seq = state.seq
            lost = [one.id for one in state.agents.values() if one.state is State.LOST and not one.resumed_by]
        for agent in lost:
            await hive.resume(agent)
        await hive.unpause()
    await hive.over()
    assert hive.status() == "done"
    for top_one in top:
        newest = hive.agent(top_one.id)
        while newest.resumed_by:
            newest = hive.agent(newest.resumed_by)
        assert newest.result in (f"{top_one.id} is done", "done"), "the latter if only its end was lost"
        assert lines(hive, top_one.id) <= 2
    leaves = sum(event.name.startswith("leaf") and not event.resumes for event in hive.events(AgentQueued))
    assert lines(hive, "leaf") <= leaves <= 6
    assert lines(hive, "both") <= 4
    assert sum(key.refused for key in hive.simulator.ledger.keys.values()) == 0
    check(hive)


async def test_one_that_was_lost_before_it_began_is_resumed_all_the_same(
    make_chat_hive: MakeChatHive, pipe, tmp_path
):
    up = pipe("up")
    hive = await make_chat_hive()
    held = call("terminal", command=stays(up.path))
    await hive.launch(chat("t", held, {"say": "ok"}, cwd=hive.workspace))
    await up.line()
    again = await after_a_crash(make_chat_hive, hive, tmp_path / "left")
    second = await again.resume("t", "one")
    held_still = await after_a_crash(make_chat_hive, again, tmp_path / "again")
    assert held_still.held() == [second], "who asked for it is a person: it waits on"
    await held_still.unpause()
    await held_still.over()
    assert held_still.agent(second).state is State.DONE
    assert last_of(held_still, "t").messages[-1]["content"].endswith("one")
    check(held_still)


async def test_a_swarm_that_had_ended_goes_on_and_ends_again(make_chat_hive: MakeChatHive):
    hive = await make_chat_hive()
    steps = [mark("one"), {"say": "half"}, {"say": "whole"}]
    one = chat("t", *steps, cwd=hive.workspace, parent="g", max_turns=1)
    await hive.launch(group("g"), one, command("c", "true"))
    await hive.over()
    assert hive.status() == "failed"
    assert hive.agent("g").state is State.FAILED
    new = await hive.resume("t")
    assert hive.status() is None
    assert not hive.agent("g").ended
    hive.run()
    await hive.over()
    assert hive.agent(new).state is State.DONE
    assert hive.agent("g").state is State.DONE
    assert hive.status() == "done"
    assert len(hive.events(SwarmEnded)) == 2
    assert [event.agent for event in hive.events(Reopened)] == [ROOT, "g"]
    check(hive)


async def test_a_swarm_that_had_ended_under_another_engine_goes_on_too(make_chat_hive: MakeChatHive, tmp_path):
    hive = await make_chat_hive()
    await hive.launch(chat("t", {"say": "half"}, {"say": "whole"}, cwd=hive.workspace))
    await hive.over()
    again = await after_a_crash(make_chat_hive, hive, tmp_path / "left")
    assert again.engine.has_ended()
    assert len(again.events(EngineStarted)) == 1, "a swarm that has ended is taken over by nobody"
    waiting = asyncio.ensure_future(again.engine.reopened())
    with pytest.raises(NotFound):
        await again.resume("nobody")
    await turns()
    assert not waiting.done()
    new = await again.resume("t")
    await turns()
    assert waiting.done()
    again.run()
    await again.over()
    assert again.agent(new).result == "whole"
    assert again.status() == "done"
    check(again)


async def test_it_waits_while_its_swarm_is_held(make_chat_hive: MakeChatHive):
    hive = await make_chat_hive()
    await hive.launch(
        chat("t", {"say": "1"}, {"say": "2"}, cwd=hive.workspace), chat("u", HANGS, cwd=hive.workspace)
    )
    await ended(hive, "t")
    await hive.pause()
    new = await hive.resume("t")
    assert hive.held() == [new]
    await hive.unpause()
    assert (await ended(hive, new)).state is State.DONE
    await hive.interrupt("u")
    await hive.over()
    check(hive)


@pytest.mark.parametrize("pause", ["recovery", "operator"])
async def test_a_held_swarm_with_lost_conversations_waits_for_a_person(
    make_chat_hive: MakeChatHive, tmp_path, pause: str
):
    """Whoever holds it: a hold that ends with its swarm at once would be none."""
    hive = await make_chat_hive()
    await hive.launch(chat("t", HANGS, cwd=hive.workspace))
    await hive.are(State.RUNNING, "t")
    if pause == "operator":
        await hive.pause()
    again = await after_a_crash(make_chat_hive, hive, tmp_path / "left")
    assert again.status() is None
    await again.unpause()
    await again.over()
    assert again.status() == "failed"
    check(again)


async def test_a_held_branch_stays_held_while_all_of_it_is_lost(make_chat_hive: MakeChatHive, tmp_path):
    """Else its hold would be gone with its group, and whoever is resumed there would not be held."""
    hive = await make_chat_hive()
    one = chat("t", LOOKS, HANGS, {"say": "ok"}, cwd=hive.workspace, parent="g")
    await hive.launch(group("g"), one, group("h"), command("c", "sleep", "600", parent="h"))
    await hive.until(lambda state: state.agents["t"].turns == 1 and state.agents["c"].state is State.RUNNING)
    await hive.pause("g")
    again = await after_a_crash(make_chat_hive, hive, tmp_path / "left")
    assert not again.agent("g").ended
    assert again.agent("h").state is State.FAILED, "there is nothing to resume in it"
    new = await again.resume("t")
    await again.unpause()
    assert again.held() == [new]
    await again.interrupt(new)
    await again.over()
    assert again.agent("g").state is State.INTERRUPTED
    check(again)


@pytest.mark.parametrize("root", ["group", "chat"])
@pytest.mark.parametrize("holds", ["recovery", "operator"])
async def test_a_stop_of_the_whole_ends_a_swarm_that_waits_for_a_person(
    make_chat_hive: MakeChatHive, pipe, tmp_path, root: str, holds: str
):
    up = pipe("up")
    hive = await make_chat_hive()
    talks, other = chat("t", HANGS, cwd=hive.workspace), chat("u", HANGS, {"say": "u"}, cwd=hive.workspace)
    if root == "chat":
        held = call("terminal", command=stays(up.path))
        await hive.launch(root=chat(ROOT, held, held, cwd=hive.workspace))
        await up.line()
    else:
        await hive.launch(group("g"), talks, other)
        await hive.are(State.RUNNING, "t", "u")
    again = await after_a_crash(make_chat_hive, hive, tmp_path / "left")
    if holds == "operator":  # somebody runs who takes his time to end
        new = await again.resume("u" if root == "group" else ROOT)
        await again.unpause(ROOT if root == "chat" else "")
        await again.unpause()
        await again.are(State.RUNNING, new)
        await again.pause()
    assert again.status() is None
    await again.kill(ROOT, branch=True)
    await again.over()
    assert again.status() == ("failed" if holds == "recovery" or root == "group" else "interrupted")
    check(again)

    last = await again.resume(new if holds == "operator" else "t" if root == "group" else ROOT)
    assert again.status() is None, "what was stopped for good can be resumed one by one"
    again.run()
    await again.are(State.RUNNING, last)
    await again.interrupt(ROOT, branch=True)
    await again.over()
    check(again)


async def test_what_is_unknown_stands_in_the_tree_until_somebody_goes_on(
    make_chat_hive: MakeChatHive, pipe, tmp_path
):
    up = pipe("up")
    hive = await make_chat_hive()
    await hive.launch(chat("t", call("terminal", command=stays(up.path)), {"say": "ok"}, cwd=hive.workspace))
    await up.line()
    again = await after_a_crash(make_chat_hive, hive, tmp_path / "left")
    assert agent_document(again.agent("t"), 0.0, None)["unknown"] == [f"$ {stays(up.path)}"]
    await again.unpause()
    await again.over()


_ENDS = (AgentEnded,)
