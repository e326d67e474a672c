"""Slow, stuck and spinning models: tokens are progress, comments are not, and nobody is marked for waiting."""

from __future__ import annotations

import asyncio

import pytest

from skep.engine.heartbeat import TICK
from skep.model.approvals import Commands
from skep.model.events import ROOT, AgentMarked, AgentStopping, AttemptStruck
from skep.model.states import Mark, State, StopVerb, WaitReason
from tests.chat.asking import call, chat, delegate, task
from tests.chat.conftest import ChatHive, MakeChatHive, MakePlayedHive
from tests.chat.holding import check
from tests.engine.hive import LIMIT, turns
from tests.llm.provider import Exchange

SOON = {"quiet_after": 10.0, "idle_after": 20.0, "in_tool_after": 30.0}


class Played:
    """A stream whose every byte the test sends."""

    def __init__(self) -> None:
        self.exchange: Exchange | None = None
        self.over = asyncio.Event()

    async def script(self, exchange: Exchange) -> None:
        await exchange.head()
        await exchange.text("one")
        self.exchange = exchange
        await self.over.wait()
        await exchange.event(choices=[{"index": 0, "delta": {}, "finish_reason": "stop"}])
        await exchange.event(choices=[], usage={"prompt_tokens": 12, "completion_tokens": 3})
        await exchange.send(b"data: [DONE]\n\n")
        await exchange.end()


async def silent(hive: ChatHive, seconds: float) -> None:
    """So many seconds pass, heartbeat by heartbeat."""
    await hive.pass_time(seconds, step=TICK)


async def heard(hive: ChatHive, text: str, agent: str = ROOT) -> None:
    async with asyncio.timeout(LIMIT):
        while text not in hive.engine.tail(agent, 0, 100).rest:
            await turns(1)


def marks(hive: ChatHive, agent: str = ROOT) -> list[Mark | None]:
    return [event.mark for event in hive.events(AgentMarked, agent=agent)]


async def test_comments_do_not_keep_an_agent_fresh_and_tokens_do(make_played_hive: MakePlayedHive):
    played = Played()
    hive, _ = await make_played_hive(played.script, **SOON)
    await hive.launch(root=chat(ROOT, {}, cwd=hive.workspace))
    await heard(hive, "one")
    for _ in range(6):
        await played.exchange.send(b": keep-alive\n\n" * 5)
        await silent(hive, TICK)
    await hive.until(lambda state: state.agents[ROOT].mark is Mark.QUIET)
    assert hive.agent(ROOT).evidence == "no token for 10s, key sim-1"
    for _ in range(6):
        await played.exchange.send(b": keep-alive\n\n" * 5)
        await silent(hive, TICK)
    await hive.until(lambda state: state.agents[ROOT].mark is Mark.STALE)
    assert hive.agent(ROOT).evidence == "no token for 20s, key sim-1"
    await played.exchange.text(" two")
    await heard(hive, "two")
    await silent(hive, TICK)
    await hive.until(lambda state: state.agents[ROOT].mark is None)
    for word in ("three", "four", "five"):
        await played.exchange.text(word)
        await heard(hive, word)
        await silent(hive, 8)
    played.over.set()
    await hive.over()
    assert hive.agent(ROOT).state is State.DONE
    assert marks(hive) == [Mark.QUIET, Mark.STALE, None]
    check(hive)


async def test_a_request_that_is_made_again_is_no_progress(make_chat_hive: MakeChatHive):
    """The evidence counts the attempts."""
    hive = await make_chat_hive(keys=2, quiet_after=60.0, idle_after=200.0)
    await hive.launch(root=chat(ROOT, {"hang": True}, cwd=hive.workspace))
    while hive.agent(ROOT).mark is not Mark.STALE:
        await silent(hive, TICK)
    one = hive.agent(ROOT)
    assert len(hive.events(AttemptStruck)) == 0, "it is noted with its turn"
    assert one.evidence.startswith("no token for 3m20s over 2 attempts, key sim-"), one.evidence
    await hive.interrupt(ROOT)
    await hive.over()
    assert marks(hive) == [Mark.QUIET, Mark.STALE]
    assert next(event.outcome for event in hive.events(AttemptStruck)) == "connection"
    check(hive)


async def test_a_silent_tool_has_the_longer_limit_and_is_named(make_chat_hive: MakeChatHive, pipe):
    hive, gate, up = await make_chat_hive(**SOON), pipe("gate"), pipe("up")
    step = call("terminal", command=f"echo > {up.path}; read x < {gate.path}")
    await hive.launch(root=chat(ROOT, step, {"say": "x"}, cwd=hive.workspace))
    await up.line()
    await silent(hive, 28)
    assert hive.agent(ROOT).mark is None
    await silent(hive, 4)
    await hive.until(lambda state: state.agents[ROOT].mark is Mark.STALE)
    assert hive.agent(ROOT).evidence.startswith("no output for 30s in $ echo")
    gate.let_go()
    await hive.over()
    check(hive)


async def test_who_waits_is_not_marked_and_its_wait_is_no_silence(make_chat_hive: MakeChatHive, pipe):
    hive, gate = await make_chat_hive(**SOON, approval_timeout=10_000), pipe("gate")
    limited = {"status": 429, "retry_after": 300, "times": 1}
    ask = call("terminal", command="true")
    lead = chat(
        "lead",
        delegate(task("child", ask, {"say": "c"})),
        {"hang": True},
        cwd=hive.workspace,
        commands=Commands.ASK,
    )
    first = call("terminal", command=f"read x < {gate.path}")
    await hive.launch(lead, chat("key", first, limited, {"hang": True}, cwd=hive.workspace), slots=2)
    child = await hive.named("child")
    await hive.until(lambda state: state.agents[child].reason is WaitReason.APPROVAL)
    gate.let_go()
    await hive.until(lambda state: state.agents["key"].reason is WaitReason.KEY)
    await silent(hive, 200)
    assert not hive.events(AgentMarked)
    await hive.engine.answer(child, hive.agent(child).question["hash"], allow=True, who="you")
    await hive.until(lambda state: state.agents[child].reason is WaitReason.KEY)
    await silent(hive, 102)
    await hive.are(State.RUNNING, "lead", "key")
    assert not hive.events(AgentMarked), "what they waited counts as silence"
    while not all(hive.agent(agent).mark for agent in ("lead", "key")):
        await silent(hive, TICK)
    await hive.interrupt(ROOT, branch=True)
    await hive.over()
    check(hive)


async def test_a_command_that_was_allowed_late_is_not_stale_when_it_begins(make_chat_hive: MakeChatHive, pipe):
    hive, gate, up = await make_chat_hive(**SOON, approval_timeout=10_000), pipe("gate"), pipe("up")
    ask = call("terminal", command=f"echo > {up.path}; read x < {gate.path}")
    await hive.launch(root=chat(ROOT, ask, {"say": "x"}, cwd=hive.workspace, commands=Commands.ASK))
    await hive.until(lambda state: state.agents[ROOT].reason is WaitReason.APPROVAL)
    await silent(hive, 500)
    await hive.engine.answer(ROOT, hive.agent(ROOT).question["hash"], allow=True, who="you")
    await up.line()
    await silent(hive, 28)
    assert not hive.events(AgentMarked)
    gate.let_go()
    await hive.over()
    assert hive.agent(ROOT).state is State.DONE


async def test_the_same_call_five_times_is_spinning_until_it_does_something_else(
    make_chat_hive: MakeChatHive, pipe
):
    hive, gate, up = await make_chat_hive(), pipe("gate"), pipe("up")
    wait = call("terminal", command=f"echo > {up.path}; read x < {gate.path}")
    other = call("terminal", command=f"echo > {up.path}; read y < {gate.path}")
    await hive.launch(root=chat(ROOT, *[wait] * 5, other, {"say": "x"}, cwd=hive.workspace))
    for number in range(1, 6):
        await up.line()
        await silent(hive, TICK)
        assert (hive.agent(ROOT).mark is Mark.SPINNING) == (number == 5)
        gate.let_go() if number < 5 else None
    assert hive.agent(ROOT).evidence == "same terminal call 5 times"
    gate.let_go()
    await up.line()
    await silent(hive, TICK)
    await hive.until(lambda state: state.agents[ROOT].mark is None)
    gate.let_go()
    await hive.over()
    assert marks(hive) == [Mark.SPINNING, None]
    check(hive)


@pytest.mark.parametrize(("act", "end"), [("interrupt", State.INTERRUPTED), ("kill", State.KILLED)])
async def test_what_is_stale_is_ended_if_that_is_wanted_and_its_parent_is_told(
    make_chat_hive: MakeChatHive, act: str, end: State
):
    hive = await make_chat_hive(**SOON, on_stale=act)
    root = chat(ROOT, delegate(task("stuck", {"hang": True})), {"say": "{last}"}, cwd=hive.workspace)
    await hive.launch(root=root)
    async with asyncio.timeout(LIMIT):
        await hive.simulator.ledger.until(lambda ledger: ledger.open == 1 and ledger.completed == 1)
    stuck = await hive.named("stuck")
    await hive.are(State.RUNNING, stuck)
    while hive.agent(stuck).state is State.RUNNING:
        await silent(hive, TICK)
    await hive.over()
    assert hive.agent(stuck).state is end
    [stopping] = hive.events(AgentStopping)
    assert (stopping.verb, stopping.who) == (StopVerb(act), "heartbeat: no token for 20s, key sim-1")
    assert hive.agent(ROOT).state is State.DONE
    assert '"status": "interrupted"' in hive.agent(ROOT).result
    check(hive)
