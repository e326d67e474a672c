"""``--dry-run`` says what a stop would take with it, in words and as a document, and stops nothing."""

from __future__ import annotations

import os
import re

from skep.control.verbs import Flight, Preview, Previewed, Standing
from tests.chat.asking import call, delegate, task
from tests.hosts.repositories import GIT, Repository, program
from tests.whole.fifos import Bell, Gate
from tests.whole.models import goal, serving
from tests.whole.places import Place, running
from tests.whole.waiting import deadline

WORKER = """#!/bin/sh
echo $1 > bell
dd if=gate bs=1 count=1 2> /dev/null
"""
CANARY = "sk-canary-5f1e"


def repository(place: Place) -> Repository:
    """The project under git, with one commit and its settings where nobody's home has a part in."""
    made = Repository(place.project, place.home)
    made.git("init", "-q", "-b", "main")
    made.write(".gitignore", "bell\ngate\n")
    made.commit()
    return made


async def test_it_says_what_would_go_and_nothing_goes(place: Place) -> None:
    worker = place.script("worker", WORKER)
    made = repository(place)
    made.write("two\nlines \x1b]0;title\x07.py")
    made.write(".gitignore", "bell\ngate\nmore\n")
    with Gate(place.project / "gate") as gate, Bell(place.project / "bell") as bell:
        swarm = await place.launch(
            "-c", f"{worker} {{item}}", "--group", "{dir}", "-j", "2", items=["x/1", "x/2", "x/3"]
        )
        assert {await bell.rings(), await bell.rings()} == {"x/1", "x/2"}
        async with place.link(swarm) as link:
            await place.until(link, "both to run", lambda state: len(running(state)) == 2)
        agents = await place.agents(swarm)
        before = len(await place.events(swarm))

        said = (await place.skep("interrupt", f"{swarm}/x", "--branch", "--dry-run")).out
        lines = re.sub(r"  [\dms]+s  ", "  0s  ", said).splitlines()
        lines[2:4] = sorted(lines[2:4])  # who of both has run longer is nobody's business
        assert lines == [
            f"would interrupt 3 agents in x of swarm {swarm}: 2 running, 1 queued",
            "  in flight: 2 programs",
            "    x/1  0s  $ ./worker x/1",
            "    x/2  0s  $ ./worker x/2",
            "  uncommitted: 2 files in 1 worktree; a stop keeps them",
            f"    {place.project}  2: .gitignore, two lines \N{REPLACEMENT CHARACTER}.py",
        ]
        document = await place.json("kill", f"{swarm}/x", "--branch", "--dry-run")
        document["in_flight"].sort(key=lambda flight: flight["name"])
        for flight in document["in_flight"]:
            assert flight.pop("seconds") >= 0
        assert document == {
            "swarm": swarm,
            "verb": "kill",
            "dry_run": True,
            "agent": agents["x"]["id"],
            "name": "x",
            "count": 3,
            "agents": [agents[name]["id"] for name in ("x/1", "x/2", "x/3")],
            "states": {"running": 2, "queued": 1},
            "standing": {"running": 2, "queued": 1},
            "flights": {"program": 2},
            "in_flight": [
                {"agent": agents[name]["id"], "name": name, "kind": "program", "doing": f"$ ./worker {name}"}
                for name in ("x/1", "x/2")
            ],
            "cost_usd": None,
            "cost_is_lower_bound": False,
            "turns": 0,
            "tokens": 0,
            "uncommitted": {
                "worktrees": [
                    {
                        "path": str(place.project),
                        "agents": 3,
                        "agent": "x/1",
                        "files": 2,
                        "names": [".gitignore", "two lines \N{REPLACEMENT CHARACTER}.py"],
                        "at_least": False,
                        "unknown": None,
                    }
                ],
                "files": 2,
                "at_least": False,
                "left_out": 0,
            },
        }
        leaf = await place.json("kill", f"{swarm}/x/2", "--dry-run")
        assert (leaf["count"], leaf["uncommitted"]["worktrees"][0]["agents"]) == (1, 1)

        assert len(await place.events(swarm)) == before
        assert (await place.states(swarm))["x/1"] == "running"
        gate.let_through(3)
        await bell.rings()
        await place.until_over(swarm)


async def test_its_exit_codes_are_those_of_the_verb(place: Place) -> None:
    worker = place.script("worker", WORKER)
    with Gate(place.project / "gate") as gate, Bell(place.project / "bell") as bell:
        swarm = await place.launch("-c", f"{worker} {{item}}", "--group", "{dir}", items=["x/1", "x/2"])
        await bell.rings()
        await bell.rings()
        half = await place.skep("interrupt", f"{swarm}/x", "--dry-run", code=2)
        assert "has 2 live agents below it" in half.err
        assert "nobody" in (await place.skep("kill", f"{swarm}/nobody", "--dry-run", code=2)).err
        assert "uncommitted" not in (await place.skep("kill", swarm, "--dry-run")).out  # under no git
        await place.skep("kill", f"{swarm}/x/1", "--wait")
        ended = await place.skep("interrupt", f"{swarm}/x/1", "--dry-run")
        assert ended.out == f"x/1 of swarm {swarm} has ended already\n"
        gate.let_through(1)
        await place.until_over(swarm)
    assert "has ended already" in (await place.skep("kill", swarm, "--dry-run")).out


async def test_git_gets_nothing_of_the_operators_secrets_and_runs_nothing_of_the_repository(place: Place) -> None:
    worker = place.script("worker", WORKER)
    made = repository(place)
    trap = program(place.home / "trap", f"echo tripped > {place.home}/tripped")
    made.set("core.fsmonitor", str(trap))
    program(place.home / "bin" / "git", f'env >> {place.home}/env\nexec {GIT} "$@"')
    env = {"PATH": f"{place.home}/bin:{os.environ['PATH']}", "KIMI_API_KEY": CANARY, "GIT_DIR": "/nowhere"}
    with Gate(place.project / "gate") as gate, Bell(place.project / "bell") as bell:
        swarm = await place.launch("-c", f"{worker} one", **env)
        await bell.rings()
        found = (await place.json("interrupt", swarm, "--dry-run"))["uncommitted"]
        assert [tree["unknown"] for tree in found["worktrees"]] == [None]
        seen = (place.home / "env").read_text()
        assert CANARY not in seen
        assert "GIT_DIR=" not in seen
        assert not (place.home / "tripped").exists()
        gate.let_through(1)
        await place.until_over(swarm)


async def test_of_conversations_it_tells_tools_from_calls_of_the_model_and_what_they_have_cost(
    place: Place,
) -> None:
    work = call("terminal", command="echo up > bell; exec sleep 600")
    tasks = [task("talks", {"say": "words", "silent": 3}), task("works", work)]
    with Bell(place.project / "bell") as bell:
        async with serving(place) as models:
            swarm = await place.launch(goal("two", delegate(*tasks)), "--allow-commands")
            await models.answering(1)
            assert await bell.rings() == "up"
            async with place.link(swarm) as link, deadline("what they do to be told"):
                found = Previewed.model_construct(flights={})
                while found.flights != {Flight.TOOL: 1, Flight.REQUEST: 1}:
                    reply = await link.call(Preview(agent="root", branch=True))
                    assert isinstance(reply, Previewed)
                    found = reply
            said = (await place.skep("interrupt", swarm, "--dry-run")).out
            await place.skep("kill", swarm, "--wait")
    assert [(one.name, one.kind) for one in found.in_flight] == [("works", Flight.TOOL), ("talks", Flight.REQUEST)]
    assert found.standing == {Standing.RUNNING: 2, Standing.WAIT: 1}
    assert "in flight: 1 tool, 1 model request" in said
    assert re.search(r"works  \d+s  \$ echo up > bell; exec sleep 600", said)
    assert re.search(r"spent so far: \S+ in 2 turns, \S+ tokens", said)
