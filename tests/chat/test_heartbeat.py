"""Slow, stuck and spinning models: tokens are progress, comments are not, and nobody is marked for waiting."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable

import pytest

from skep.drivers.chat import ChatDriver
from skep.engine.heartbeat import DEAD_AFTER, LATE_AFTER, TICK
from skep.hosts.local import LocalHost
from skep.model.approvals import Commands
from skep.model.events import ROOT, AgentMarked, AgentStopping, AttemptStruck, Json
from skep.model.permits import Ended
from skep.model.states import Mark, State, StopVerb, WaitReason
from skep.tools.base import Here, ToolResult
from skep.tools.blocking import Halt, in_thread
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
    """So many seconds pass, heartbeat by heartbeat; what they brought is in the journal then."""
    await hive.pass_time(seconds, step=TICK)
    with hive.registry.read() as state:
        seq = state.seq
    await hive.ledger.settle(seq)


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


class Arguments(Played):
    """A tool call whose arguments come in, piece by piece."""

    async def script(self, exchange: Exchange) -> None:
        await exchange.head()
        await self.piece(exchange, id="c", function={"name": "write_file", "arguments": ""})
        self.exchange = exchange
        await self.over.wait()

    async def piece(self, exchange: Exchange, **call: object) -> None:
        await exchange.event(choices=[{"index": 0, "delta": {"tool_calls": [{"index": 0, **call}]}}])


async def test_a_long_argument_that_comes_in_is_progress(make_played_hive: MakePlayedHive):
    """A model that writes a whole file into one call says nothing else for minutes."""
    played = Arguments()
    hive, _ = await make_played_hive(played.script, **SOON)
    await hive.launch(root=chat(ROOT, {}, cwd=hive.workspace))
    driver = await at_work(hive, ROOT, lambda driver: driver.live().activity == "calls write_file")
    for number in range(6):
        before = driver._progress.moves
        await played.piece(played.exchange, function={"arguments": f"{number} "})
        await at_work(hive, ROOT, lambda driver, before=before: driver._progress.moves > before)
        await silent(hive, 8)
    assert not hive.events(AgentMarked)
    await silent(hive, 4)
    await hive.until(lambda state: state.agents[ROOT].mark is Mark.QUIET)
    await hive.kill(ROOT)
    await hive.over()


async def at_work(
    hive: ChatHive, agent: str, so: Callable[[ChatDriver], bool] = lambda driver: True
) -> ChatDriver:
    """Wait until its host runs this agent, and it is so."""
    async with asyncio.timeout(LIMIT):
        while True:
            host = hive.engine._host
            driver = host._drivers.get(agent) if host is not None else None
            if driver is not None and so(driver):
                return driver
            await asyncio.to_thread(lambda: None)


async def test_a_wait_for_a_key_takes_no_silence_back(make_chat_hive: MakeChatHive):
    """Otherwise an agent that is turned away again and again would be fresh for ever."""
    hive = await make_chat_hive(quiet_after=0, idle_after=150.0)
    steps = ({"hang": True, "times": 1}, {"status": 429, "retry_after": 40, "times": 1}, {"hang": True})
    await hive.launch(root=chat(ROOT, *steps, cwd=hive.workspace))
    await at_work(hive, ROOT, lambda driver: driver.live().activity == "asks the model")
    begun = hive.clock.monotonic()
    while hive.agent(ROOT).mark is None:
        await silent(hive, TICK)
        await asyncio.to_thread(lambda: None)
    took = hive.clock.monotonic() - begun
    assert 186 <= took <= 200, "120 s in one request, 40 s without a key, and the rest of 150 s in the next one"
    assert hive.agent(ROOT).evidence.startswith("no token for 2m30s over 3 attempts, key sim-1")
    await hive.kill(ROOT)
    await hive.over()
    check(hive)


async def test_a_stop_that_can_still_be_taken_back_is_no_silence(make_chat_hive: MakeChatHive, pipe):
    hive, gate, up = await make_chat_hive(**SOON), pipe("gate"), pipe("up")
    step = call("terminal", command=f"echo > {up.path}; read x < {gate.path}")
    await hive.launch(root=chat(ROOT, step, {"hang": True}, cwd=hive.workspace))
    await up.line()
    await hive.interrupt(ROOT, window=1_000)
    gate.let_go()
    await hive.until(lambda state: state.seq > 0 and bool(state.shuts))
    driver = await at_work(hive, ROOT, lambda driver: not driver.live().activity)
    await silent(hive, 60)
    assert not hive.events(AgentMarked)
    assert driver._progress.idle < 1.0
    await hive.engine.take_back(ROOT, "you")
    await at_work(hive, ROOT, lambda driver: driver.live().activity == "asks the model")
    await silent(hive, 12)
    await hive.until(lambda state: state.agents[ROOT].mark is Mark.QUIET)
    await hive.kill(ROOT)
    await hive.over()
    check(hive)


class Stuck:
    """A tool whose thread hangs until the test lets it go; it makes a step now and then if it is told to."""

    name, description, read_only = "read_file", "Hangs.", True

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.halt: Halt | None = None

    def parameters(self) -> dict[str, Json]:
        return {"type": "object", "properties": {"path": {"type": "string"}}}

    def headline(self, args: dict[str, Json]) -> str:
        return "read a.py"

    async def run(self, args: dict[str, Json], here: Here) -> ToolResult:
        def work(halt: Halt) -> ToolResult:
            self.halt = halt
            self.gate.wait()
            return ToolResult(True, "read")

        return await in_thread(work)


class WithStuckTool(LocalHost):
    """Its agents have a file tool on a disk that does not answer."""

    tool: Stuck

    def _driver_for(self, assignment):
        driver, output = super()._driver_for(assignment)
        driver._toolbox._tools["read_file"] = type(self).tool
        return driver, output


async def test_a_thread_that_hangs_is_no_life_though_the_loop_runs(make_chat_hive: MakeChatHive):
    WithStuckTool.tool = tool = Stuck()
    hive = await make_chat_hive(host=WithStuckTool, **SOON)
    try:
        await hive.launch(root=chat(ROOT, call("read_file", path="a.py"), {"say": "x"}, cwd=hive.workspace))
        await at_work(hive, ROOT, lambda driver: tool.halt is not None)
        for _ in range(5):  # as long as its thread makes steps, it lives
            tool.halt.step()
            await silent(hive, TICK)
        assert not hive.events(AgentMarked)
        await silent(hive, LATE_AFTER + TICK)
        assert hive.agent(ROOT).mark is Mark.LATE
        assert hive.agent(ROOT).evidence == "no heartbeat for 6s: no answer from the thread of read a.py"
        await silent(hive, DEAD_AFTER - LATE_AFTER)
        assert hive.agent(ROOT).mark is Mark.DEAD
        await hive.kill(ROOT)
        for _ in range(10):
            await silent(hive, TICK)
        await hive.until(lambda state: state.agents[ROOT].mark is Mark.UNSTOPPED)
        assert hive.agent(ROOT).evidence == "not stopped: 1 thread of read a.py"
    finally:
        tool.gate.set()
    await hive.over()
    assert hive.agent(ROOT).state is State.KILLED


class NeverDone(ChatDriver):
    """Its conversation comes to an end, and it does not: it hangs over what is to be done afterwards."""

    may: asyncio.Event

    async def _with_its_whole_answer(self, end: Ended) -> Ended:
        await self.may.wait()
        return end


class WithNeverDone(LocalHost):
    def _driver_for(self, assignment):
        driver, output = super()._driver_for(assignment)
        driver.__class__ = NeverDone
        return driver, output


async def test_a_conversation_that_is_over_is_no_life_though_its_agent_is_still_there(
    make_chat_hive: MakeChatHive,
):
    NeverDone.may = asyncio.Event()
    hive = await make_chat_hive(host=WithNeverDone, **SOON)
    try:
        await hive.launch(root=chat(ROOT, {"say": "done"}, cwd=hive.workspace))
        await at_work(hive, ROOT, lambda driver: driver._work is not None and driver._work.done())
        await silent(hive, LATE_AFTER + TICK)
        assert hive.agent(ROOT).mark is Mark.LATE
        assert hive.agent(ROOT).evidence == "no heartbeat for 6s: its conversation is over, and it has not ended"
    finally:
        NeverDone.may.set()
    await hive.over()
    assert hive.agent(ROOT).state is State.DONE
