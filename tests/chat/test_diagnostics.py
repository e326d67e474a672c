"""An agent whose model never answered leaves a file that says what it was doing, and nothing of a key."""

from __future__ import annotations

import asyncio
import stat

import pytest

from skep.drivers.chat import ChatDriver
from skep.drivers.chat.diagnosis import LIMIT
from skep.hosts.local import LocalHost
from skep.model.agent import Live
from skep.model.events import ROOT, AgentEnded
from skep.model.logs import diagnostic_path
from skep.model.report import run_document, tree_document
from skep.model.states import State
from skep.text import clean
from tests.chat.asking import call, chat, delegate, task
from tests.chat.conftest import KEYS, ChatHive, MakeChatHive
from tests.chat.holding import check
from tests.chat.test_heartbeat import at_work
from tests.chat.test_timeouts import Slow
from tests.engine.hive import turns

HANGS = {"hang": True}


def told(hive: ChatHive, agent: str = ROOT) -> str:
    """The diagnostic of an agent, which is there, is private, and is whole text for people."""
    path = diagnostic_path(hive.folder, hive.agent(agent))
    assert path is not None, "there is none"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    text = path.read_text()
    assert len(text) <= LIMIT + 4_096
    assert all(char.isprintable() or char == "\n" for char in text)
    assert not any(key in text for key in KEYS)
    return text


def none_left(hive: ChatHive, *agents: str) -> None:
    folder = hive.folder / "diagnostics"
    left = {path.stem for path in folder.iterdir()} if folder.exists() else set()
    assert not left & set(agents)
    assert all(hive.agent(agent).diagnostic is None for agent in agents)


async def test_of_a_request_that_hung_it_tells_the_setup_the_sizes_and_where_the_task_stood(
    make_chat_hive: MakeChatHive,
):
    hive = await make_chat_hive()
    root = chat(ROOT, HANGS, cwd=hive.workspace, timeout=90, system_prompt="secret words", max_turns=7)
    await hive.launch(root=root)
    await at_work(hive, ROOT, lambda driver: driver.live().activity == "asks the model")
    await hive.pass_time(91)
    await hive.over()
    assert hive.agent(ROOT).state is State.TIMED_OUT
    text = told(hive)
    assert "root (root): timed out, without one complete call of its model" in text
    assert "error: timed out after 1m30s" in text
    assert f"provider: {hive.models.providers['simulator'].base_url} (openai)" in text
    assert "timeout: 90s; max_turns: 7" in text
    assert "messages: 2 (1 system, 1 user)" in text
    assert "tools: 6, " in text
    assert "turn 1: asks the model, for 1m31s" in text
    assert "requests: 1\n  at 0s: key sim-1, open for 1m31s" in text
    assert "sim-1: ok, " in text
    assert "stack of its task when it was stopped" in text
    assert "in _converse" in text
    assert "in _request" in text, "the frames below are lost"
    assert "line.py" in text or "wire.py" in text, "the innermost frames are lost"
    assert "secret words" not in text
    assert "goal of root" not in text, "what it was to do may be private"
    check(hive)


async def test_of_failures_it_tells_every_request_and_the_traceback(make_chat_hive: MakeChatHive):
    hive = await make_chat_hive(keys=2)
    await hive.launch(root=chat(ROOT, {"status": 503, "message": "over\x1b[31mloaded"}, cwd=hive.workspace))
    while not hive.agent(ROOT).ended:
        await hive.pass_time(21)
        await turns()
    await hive.over()
    text = told(hive)
    assert "failed, without one complete call" in text
    assert "requests: 4" in text
    assert text.count("for 0s: server: simulator/any (sim-") == 4
    assert "traceback" in text
    assert "in _answer" in text
    assert "model calls that failed: 4" in text
    assert "waits: 0\n  none" in text


async def test_of_waits_for_a_key_it_tells_how_long_they_were(make_chat_hive: MakeChatHive):
    hive = await make_chat_hive()
    steps = ({"status": 429, "retry_after": 300, "times": 1}, HANGS)
    await hive.launch(chat("a", *steps, cwd=hive.workspace, timeout=50), slots=1)
    await hive.until(lambda state: state.agents["a"].reason is not None)
    await hive.pass_time(61)
    await hive.until(lambda state: not state.agents["a"].slot)
    await hive.pass_time(240)
    await at_work(hive, "a", lambda driver: driver._hearing.attempts == 2)
    await hive.pass_time(51)
    await hive.over()
    text = told(hive, "a")
    assert "waits: 1\n  at 0s: key: sim-1 cools" in text
    assert ", for 5m01s" in text
    assert "requests: 2" in text
    assert "admissions: 2; holds a slot" in text


async def test_of_an_agent_that_never_began_the_record_is_told(make_chat_hive: MakeChatHive):
    Slow.may = asyncio.Event()
    hive = await make_chat_hive(host=Slow)
    await hive.launch(chat("a", {"say": "x"}, cwd=hive.workspace, timeout=30))
    await hive.until(lambda state: state.agents["a"].state is State.STARTING)
    while hive.agent("a").state is State.STARTING:
        await hive.pass_time(1)
        await asyncio.to_thread(lambda: None)
    await hive.are(State.TIMED_OUT, "a")
    Slow.may.set()
    await hive.over()
    assert "Its host tells nothing of it: it had not begun." in told(hive, "a")


async def test_who_has_had_an_answer_who_was_stopped_and_who_is_no_chat_agent_leaves_none(
    make_chat_hive: MakeChatHive,
):
    hive = await make_chat_hive()
    children = [
        task("answered", call("list_files"), HANGS, timeout=30),
        task("stopped", HANGS),
        task("killed", HANGS),
        task("fails", {"fail": "no"}),
        task("done", {"say": "x"}),
    ]
    await hive.launch(root=chat(ROOT, delegate(*children), {"say": "x"}, cwd=hive.workspace), slots=9)
    ids = {name: await hive.named(name) for name in ("answered", "stopped", "killed", "fails", "done")}
    await at_work(hive, ids["answered"], lambda driver: driver.live().turn == 2 and not driver._calls)
    for name in ("stopped", "killed"):
        await at_work(hive, ids[name], lambda driver: driver.live().activity == "asks the model")
    await hive.interrupt(ids["stopped"])
    await hive.kill(ids["killed"])
    await hive.pass_time(31)
    await hive.over()
    assert hive.agent(ids["answered"]).state is State.TIMED_OUT
    assert "the provider answered 400" in told(hive, ids["fails"])
    none_left(hive, ROOT, *(ids[name] for name in ("answered", "stopped", "killed", "done")))


async def test_a_file_that_cannot_be_written_harms_nobody(make_chat_hive: MakeChatHive):
    hive = await make_chat_hive()
    (hive.folder / "diagnostics").write_text("in the way")
    await hive.launch(root=chat(ROOT, {"fail": "no"}, cwd=hive.workspace))
    await hive.over()
    assert hive.agent(ROOT).state is State.FAILED
    assert hive.agent(ROOT).diagnostic is None
    assert (hive.folder / "diagnostics").read_text() == "in the way"
    check(hive)


class Faulty(LocalHost):
    """Its drivers cannot explain themselves."""

    def _driver_for(self, assignment):
        driver, output = super()._driver_for(assignment)
        driver.__class__ = Unexplained
        return driver, output


class Unexplained(ChatDriver):
    def diagnosis(self) -> str | None:
        raise RuntimeError("no words")


async def test_a_driver_that_fails_to_explain_itself_ends_all_the_same(make_chat_hive: MakeChatHive):
    hive = await make_chat_hive(host=Faulty)
    await hive.launch(root=chat(ROOT, {"fail": "no"}, cwd=hive.workspace))
    await hive.over()
    assert hive.agent(ROOT).state is State.FAILED
    assert "the provider answered 400" in told(hive)


class Broken(ChatDriver):
    """A fault of our own, whose words hold a key."""

    async def _ask(self):
        raise RuntimeError(f"header 'Bearer {KEYS[0]}' and {KEYS[0][:9]}\x00{KEYS[0][9:]}")


class WithBroken(LocalHost):
    def _driver_for(self, assignment):
        driver, output = super()._driver_for(assignment)
        driver.__class__ = Broken
        return driver, output


async def test_a_key_in_the_words_of_an_error_is_not_written_down(
    make_chat_hive: MakeChatHive, caplog: pytest.LogCaptureFixture
):
    hive = await make_chat_hive(host=WithBroken)
    await hive.launch(root=chat(ROOT, {"say": "x"}, cwd=hive.workspace))
    await hive.over()
    text = told(hive)
    assert "RuntimeError: header 'Bearer [key]' and [key]" in text
    assert "Bearer [key]" in hive.agent(ROOT).error
    assert "Bearer [key]" in caplog.text
    assert KEYS[0] not in caplog.text + hive.agent(ROOT).error


def test_a_key_is_found_although_something_was_cleaned_out_of_it(hive_models):
    key = KEYS[0]
    torn = f"{key[:5]}\x1b[0m{key[5:]}"
    assert hive_models.hide(clean(f"a {key} b {torn} c")) == "a [key] b [key] c"


@pytest.fixture
async def hive_models(make_chat_hive: MakeChatHive):
    return (await make_chat_hive()).models


async def test_its_place_is_in_the_record_in_the_journal_and_in_every_document(make_chat_hive: MakeChatHive):
    hive = await make_chat_hive()
    await hive.launch(chat("a", {"fail": "no"}, cwd=hive.workspace), chat("b", {"say": "x"}, cwd=hive.workspace))
    await hive.over()
    [end] = hive.events(AgentEnded, agent="a")
    assert end.diagnostic == hive.agent("a").diagnostic == "diagnostics/a.txt"

    def place(agent) -> str | None:
        path = diagnostic_path(hive.folder, agent)
        return str(path) if path is not None else None

    with hive.registry.read() as state:
        rows = tree_document(state, 0.0, lambda agent: Live(), lambda agent: None, place)
        body = run_document(state, 0.0, lambda agent: None, place)
    for agents in (rows, body["agents"]):
        found = {row["id"]: row["diagnostic"] for row in agents if row["id"] != ROOT}
        assert found == {"a": str(hive.folder / "diagnostics" / "a.txt"), "b": None}
