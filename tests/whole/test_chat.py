"""Chat agents from the shell: goals in, results, money and keys out; nothing of a key anywhere."""

from __future__ import annotations

import json
import re

import pytest

from tests.chat.asking import call, delegate, task
from tests.whole.fifos import Bell
from tests.whole.models import KEYS, goal, serving
from tests.whole.places import Place
from tests.whole.processes import nothing_left

ASKS = ({"think": "let me look", **call("terminal", command="echo 4$((1 + 1)); env")}, {"say": "it said {last}"})


async def test_a_goal_gives_one_document_whose_totals_are_those_of_the_server(place: Place) -> None:
    (place.project / "notes.txt").write_text("the sea is blue\n")
    child = task("reads", call("read_file", path="notes.txt"), {"say": "{last}"})
    async with serving(place) as models:
        done = await place.skep("run", goal("look", delegate(child, child), {"say": "{last}"}), "--json")
        ledger = await models.ledger()
    document = json.loads(done.out)
    assert document["status"] == "done"
    agents = document["agents"]
    assert [(agent["name"], agent["parent"], agent["turns"]) for agent in agents[1:]] == [
        ("reads", "root", 2),
        ("reads 2", "root", 2),
    ]
    assert agents[0]["turns"] == 2
    assert "the sea is blue" in agents[0]["result"]
    totals = document["totals"]
    assert (totals["tokens_in"], totals["tokens_out"]) == (ledger["tokens_in"], ledger["tokens_out"])
    assert totals["tokens_in"] == sum(agent["tokens_in"] for agent in agents)
    price = 2.0 * ledger["tokens_in"] + 8.0 * ledger["tokens_out"]
    assert totals["cost_usd"] == pytest.approx(price / 1e6, abs=1e-5)
    assert ledger["open"] == 0


async def test_nothing_of_a_key_is_written_shown_or_handed_on(place: Place) -> None:
    """A tool prints its whole environment, a key is refused, another storms, and every file is looked through."""
    place.env["LOCAL_KEY_4"] = f"{KEYS[0]}-unknown"
    many = [task(f"c{n}", {"status": 503, "times": 1}, {"say": "ok"}) for n in range(8)]
    async with serving(place, "--storm", "1:1:1", cap=1) as models:
        steps = (*ASKS[:1], delegate(*many), {"say": "done"})
        done = await place.skep("run", goal("look", *steps), "--allow-commands", "--json")
        swarm = json.loads(done.out)["swarm"]
        assert (await models.ledger())["completed"] == 11
    shown = [done]
    for verb in (
        ("keys",),
        ("tree", swarm, "--json"),
        ("events", swarm, "--json"),
        ("tail", f"{swarm}/root", "--lines", "1000"),
        ("config",),
    ):
        shown.append(await place.skep(*verb))
    assert all("canary" not in text for one in shown for text in (one.out, one.err))
    assert "42" in shown[4].out
    assert "PATH=" in shown[4].out
    assert "LOCAL_KEY" not in shown[4].out
    files = [path for path in place.home.rglob("*") if path.is_file()]
    assert any(path.name == "engine.log" for path in files)
    assert [path for path in files if b"canary" in path.read_bytes()] == []


async def test_after_an_interrupt_of_many_silent_agents_no_connection_is_open(place: Place) -> None:
    count = 200
    hung = [
        task(f"hung {n}", {"say": "some words", "silent": 4} if n % 2 else {"hang": True}) for n in range(count)
    ]
    async with serving(place) as models:
        swarm = await place.launch(goal("hang", delegate(*hung)), "-j", str(count + 1))
        await models.answering(count)
        await place.skep("interrupt", swarm, "--branch", "--wait")
        ledger = await models.ledger()
    assert ledger["open"] == 0
    assert ledger["connections"] <= 1  # this test's own
    await place.engine_left(swarm)
    states = await place.states(swarm)
    assert set(states.values()) == {"interrupted"}
    assert len(states) == count + 1


async def test_a_storm_of_429_benches_its_key_and_no_other(place: Place) -> None:
    children = [task(f"c{n}", {"say": "one"}) for n in range(30)]
    async with serving(place, "--storm", "2:3:1", cap=4) as models:
        done = await place.skep("run", goal("many", delegate(*children), {"say": "ok"}), "--json", "-j", "12")
        ledger = await models.ledger()
    assert {agent["state"] for agent in json.loads(done.out)["agents"]} == {"done"}
    assert {label for label, key in ledger["keys"].items() if key["rate_limited"]} == {"key-2"}
    assert ledger["completed"] == 32


async def test_a_command_is_asked_for_and_answered_from_the_shell(place: Place) -> None:
    async with serving(place):
        swarm = await place.launch(goal("ask", *ASKS), SKEP_COMMANDS="ask")
        async with place.link(swarm) as link:
            await place.until(link, "a question", lambda state: state.agents["root"].question is not None)
        [agent] = (await place.json("tree", swarm))["agents"]
        assert agent["waiting"]["reason"] == "approval"
        await place.skep("approve", f"{swarm}/root", "--yes")
        await place.until_over(swarm)
        [agent] = (await place.json("tree", swarm))["agents"]
        assert "42" in agent["result"]

        swarm = await place.launch(goal("ask", *ASKS), SKEP_COMMANDS="ask")
        async with place.link(swarm) as link:
            await place.until(link, "a question", lambda state: state.agents["root"].question is not None)
        await place.skep("deny", f"{swarm}/root", "--yes")
        await place.until_over(swarm)
        [agent] = (await place.json("tree", swarm))["agents"]
        assert "not allowed" in agent["result"]


async def test_without_a_room_commands_are_denied(place: Place) -> None:
    async with serving(place):
        done = await place.skep("run", goal("ask", *ASKS), "--print")
    assert "not allowed" in done.out


async def test_a_killed_engine_takes_its_requests_and_programs_along(place: Place) -> None:
    work = call("terminal", command="echo up > bell; while :; do sleep 600; done")
    tasks = [task("talks", {"say": "words", "silent": 3}), task("works", work)]
    with Bell(place.project / "bell") as bell:
        async with serving(place) as models:
            swarm = await place.launch(goal("two", delegate(*tasks)), "--allow-commands")
            await models.answering(1)
            assert await bell.rings() == "up"
            await place.kill_engine(swarm)
            await nothing_left(f"SKEP_AGENT={swarm}/")
            await place.skep("recover", swarm)
            states = await place.states(swarm)
            assert (await models.ledger())["open"] == 0
    assert set(states.values()) == {"lost"}


async def test_the_demo_reaches_its_end_by_itself(place: Place) -> None:
    done = await place.skep("demo", "--headless", "--seed", "5", "--speed", "30", "--json", limit=120)
    document = json.loads(done.out)
    agents = document["agents"]
    assert len(agents) >= 60
    assert {agent["depth"] for agent in agents} == {0, 1, 2}
    assert document["status"] == "done"
    assert document["totals"]["cost_usd"] > 0
    workspace = place.folder(document["swarm"]) / "workspace"
    assert re.search("release", (workspace / "RELEASE.md").read_text(), re.IGNORECASE)


async def test_an_agent_without_one_answer_is_explained_in_a_file_that_every_verb_names(place: Place) -> None:
    async with serving(place) as models:
        hangs, says = goal("hang", {"hang": True}), goal("say", {"say": "x"})
        done = await place.skep("run", hangs, says, "--json", "--timeout", "3s", code=1)
        assert (await models.ledger())["open"] == 0
    document = json.loads(done.out)
    found = {agent["name"]: agent for agent in document["agents"]}
    assert found["hang"]["state"] == "timed_out"
    assert found["say"]["diagnostic"] is None
    path = found["hang"]["diagnostic"]
    assert "hang: timed out after 3s" in done.err
    assert f", log: {found['hang']['log']}, diagnostic: {path}" in done.err
    assert (await place.agents(document["swarm"]))["hang"]["diagnostic"] == path
    text = place.read(path)
    assert "turn 1: asks the model, for " in text
    assert "in _converse" in text
    assert not any(key in text for key in KEYS)


async def test_a_stale_agent_is_ended_by_itself_if_that_is_asked_for_on_the_command_line(place: Place) -> None:
    async with serving(place):
        hangs, says = goal("hang", {"hang": True}), goal("say", {"say": "x"})
        words = ("run", hangs, says, "--json", "--on-stale", "interrupt")
        done = await place.skep(*words, code=130, SKEP_IDLE_AFTER="3", SKEP_QUIET_AFTER="0")
    document = json.loads(done.out)
    found = {agent["name"]: agent for agent in document["agents"]}
    assert (found["hang"]["state"], found["say"]["state"]) == ("interrupted", "done")
    assert found["hang"]["error"].startswith("interrupted by heartbeat: no token for ")
    assert found["hang"]["diagnostic"] is None
