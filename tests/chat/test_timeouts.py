"""Time limits: who sets them, when their clock runs, and what is left of an agent whose time is up."""

from __future__ import annotations

import asyncio
import json

import pytest

from skep.engine.deadlines import Deadlines
from skep.engine.engine import Engine
from skep.hosts.local import LocalHost
from skep.model.approvals import Commands
from skep.model.events import ROOT, AgentStopping, ToolEnded
from skep.model.states import State, StopStep, StopVerb, WaitReason
from tests.chat.asking import call, chat, delegate, task
from tests.chat.conftest import ChatHive, MakeChatHive
from tests.chat.holding import check
from tests.chat.test_approvals import question
from tests.chat.test_heartbeat import at_work
from tests.engine.hive import Pipe, turns

HANGS = {"hang": True}


@pytest.mark.parametrize(
    ("call_says", "definition_says", "settings_say", "holds"),
    [
        (None, None, 0, 0),
        (None, None, 300, 300),
        (None, 200, 300, 200),
        (100, 200, 300, 100),
        (100, None, 300, 100),
        (400, 200, 300, 400),
        (0, 200, 300, 0),
        (None, 0, 300, 0),
    ],
)
async def test_the_call_goes_before_the_definition_and_that_before_the_settings(
    make_chat_hive: MakeChatHive,
    call_says: float | None,
    definition_says: float | None,
    settings_say: float,
    holds: float,
):
    hive = await make_chat_hive(delegate_timeout=settings_say)
    fields = {"timeout": call_says} if call_says is not None else {}
    leaf = delegate(task("leaf", HANGS, **fields))
    lead = delegate(task("lead", leaf, {"say": "x"}, role="orchestrator", timeout=0))
    root = chat(ROOT, lead, {"say": "x"}, cwd=hive.workspace, delegate_timeout=definition_says)
    await hive.launch(root=root)
    leaf = await hive.named("leaf")
    await at_work(hive, leaf, lambda driver: driver.live().activity == "asks the model")
    assert hive.agent(leaf).spec.get("timeout", 0) == holds, "the lead hands on what it was told itself"
    if holds:
        await hive.pass_time(holds - 1)
        assert hive.agent(leaf).state is State.RUNNING
        await hive.pass_time(1.5)
        await hive.are(State.TIMED_OUT, leaf)
    else:
        await hive.pass_time(10_000)
        assert not [event for event in hive.events(AgentStopping) if event.verb is StopVerb.TIMEOUT]
    await hive.kill(ROOT, branch=True)
    await hive.over()


class NeverStands(Deadlines):
    """The clock runs whatever an agent waits for."""

    def hold(self, agent: str) -> None:
        pass


class Hasty(Engine):
    def __init__(self, *args: object, **options: object) -> None:
        super().__init__(*args, **options)  # type: ignore[arg-type]
        self._deadlines.__class__ = NeverStands


async def _uses_thirty_seconds(hive: ChatHive, up: Pipe, gate: Pipe) -> None:
    """It is held and queued, waits for an approval, a key and a slot, and works in between."""
    ask = call("terminal", command=f"echo > {up.path}; read x < {gate.path}")
    limited = {"status": 429, "retry_after": 500, "times": 1}
    steps = (ask, limited, ask, HANGS)
    a = chat("a", *steps, cwd=hive.workspace, commands=Commands.ASK, timeout=30)
    first = chat("first", ask, {"say": "x"}, cwd=hive.workspace)
    await hive.launch(first, a, slots=1)
    await up.line()
    await hive.pass_time(500)
    assert hive.agent("a").state is State.QUEUED
    await hive.pause("a")
    gate.let_go()
    await hive.are(State.DONE, "first")
    await hive.pass_time(500)
    await hive.unpause("a")
    await allowed_late(hive)
    await up.line()
    await hive.pass_time(10)
    gate.let_go()
    await hive.until(lambda state: state.agents["a"].reason is WaitReason.KEY)
    await hive.pass_time(501)
    await allowed_late(hive)
    await up.line()
    await hive.pass_time(10)
    assert hive.agent("a").state is State.RUNNING, f"{hive.agent('a').error}"
    gate.let_go()
    await at_work(hive, "a", lambda driver: driver.live().turn == 3 and not driver.live().activity.startswith("$"))
    await hive.pass_time(8)
    assert hive.agent("a").state is State.RUNNING
    await hive.pass_time(3)
    await hive.over()
    assert (hive.agent("a").state, hive.agent("a").error) == (State.TIMED_OUT, "timed out after 30s")
    check(hive)


async def test_the_clock_stands_while_an_agent_is_held_or_waits_for_anybody_but_its_children(
    make_chat_hive: MakeChatHive, pipe
):
    hive = await make_chat_hive(approval_timeout=10_000)
    await _uses_thirty_seconds(hive, pipe("up"), pipe("gate"))


async def test_a_clock_that_runs_on_while_an_agent_waits_is_found_out(make_chat_hive: MakeChatHive, pipe):
    hive = await make_chat_hive(approval_timeout=10_000, engine=Hasty)
    with pytest.raises(AssertionError, match="its time ran out while it waited"):
        await _uses_thirty_seconds(hive, pipe("up"), pipe("gate"))


async def allowed_late(hive: ChatHive) -> None:
    """It asks, and has its answer a long time afterwards."""
    hash = await question(hive, "a")
    await hive.until(lambda state: state.agents["a"].reason is WaitReason.APPROVAL)
    await hive.pass_time(500)
    assert hive.agent("a").reason is WaitReason.APPROVAL, "its time ran out while it waited"
    await hive.engine.answer("a", hash, allow=True, who="you")


class Slow(LocalHost):
    """Agents that it was given stand in its line until it may begin."""

    may: asyncio.Event

    async def _start_all(self) -> None:
        await self.may.wait()
        await super()._start_all()


async def test_an_agent_times_out_before_it_has_begun_and_its_slot_is_free(make_chat_hive: MakeChatHive):
    Slow.may = asyncio.Event()
    hive = await make_chat_hive(host=Slow)
    await hive.launch(
        chat("a", {"say": "x"}, cwd=hive.workspace, timeout=30),
        chat("b", {"say": "b"}, cwd=hive.workspace, timeout=30),
        slots=1,
    )
    await hive.until(lambda state: state.agents["a"].state is State.STARTING)
    await turns(100)
    while hive.agent("a").state is State.STARTING:
        await hive.pass_time(1)
        await asyncio.to_thread(lambda: None)
    await hive.are(State.TIMED_OUT, "a")
    Slow.may.set()
    await hive.over()
    assert hive.agent("a").error == "timed out after 30s"
    assert hive.agent("b").state is State.DONE
    assert hive.steps("a") == [StopStep.CANCEL]
    check(hive)


async def test_a_child_whose_time_is_up_frees_slot_and_key_and_its_parent_reads_how_far_it_came(
    make_chat_hive: MakeChatHive,
):
    hive = await make_chat_hive(cap=1)
    tasks = [
        task("quick", {"say": "quick is done"}),
        task("slow", {"say": "the first words of many", "silent": 15}, timeout=40),
        task("later", {"say": "later is done"}),
    ]
    await hive.launch(root=chat(ROOT, delegate(*tasks), {"say": "{last}"}, cwd=hive.workspace), slots=1)
    slow = await hive.named("slow")
    await hive.are(State.RUNNING, slow)
    await at_work(hive, slow, lambda driver: "first" in driver.tail(0, 9).rest)
    await hive.pass_time(41)
    await hive.over()
    [text] = [event.content for event in hive.events(ToolEnded, agent=ROOT)]
    document = json.loads(text)
    assert document["status"] == "timed_out"
    quick, timed, later = document["results"]
    assert (quick["status"], quick["summary"]) == ("done", "quick is done")
    assert (later["status"], later["summary"]) == ("done", "later is done")
    assert (timed["status"], timed["exit_reason"]) == ("timed_out", "timed out after 40s")
    assert timed["error"] == "timed out after 40s"
    assert timed["summary"].startswith("the first")
    assert timed["seconds"] >= 40
    assert hive.agent(ROOT).state is State.DONE
    check(hive)


async def test_a_parent_whose_time_is_up_leaves_what_its_children_had_finished(make_chat_hive: MakeChatHive):
    hive = await make_chat_hive()
    tasks = [task("quick", {"say": "quick is done"}), task("slow", HANGS)]
    root = chat(ROOT, {"say": "so far"} | delegate(*tasks), cwd=hive.workspace, timeout=60)
    await hive.launch(root=root)
    quick, slow = await hive.named("quick"), await hive.named("slow")
    await hive.are(State.DONE, quick)
    await at_work(hive, slow, lambda driver: driver.live().activity == "asks the model")
    await hive.pass_time(61)
    await hive.over()
    assert (hive.agent(ROOT).state, hive.agent(ROOT).result) == (State.TIMED_OUT, "so far")
    assert (hive.agent(quick).state, hive.agent(quick).result) == (State.DONE, "quick is done")
    assert (hive.agent(slow).state, hive.agent(slow).error) == (
        State.INTERRUPTED,
        "interrupted by the end of root",
    )
    check(hive)
