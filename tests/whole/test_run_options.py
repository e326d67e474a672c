"""What the options of ``skep run`` promise, and what ``skep clean`` never takes."""

from __future__ import annotations

import json
import os
from pathlib import Path

from tests.whole.fifos import Bell, Gate
from tests.whole.places import Place, is_over
from tests.whole.processes import lives

STANDS = """#!/bin/sh
echo $1 > bell
dd if=gate bs=1 count=1 2> /dev/null
"""
THIRD_TIME = """#!/bin/sh
echo $1 >> tries
echo "$1 says this"
test $(grep -c "^$1$" tries) -ge $2
"""


async def test_a_failed_agent_is_tried_again_and_its_one_log_has_all_tries(place: Place) -> None:
    worker = place.script("worker", THIRD_TIME)
    commands = ("-c", f"{worker} third 3", "-c", f"{worker} never 9", "-c", f"{worker} first 1")
    words = ("run", *commands, "--retries", "2")
    done = await place.skep(*words, "--log-dir", "logs", "--json", code=1)
    agents = json.loads(done.out)["agents"]
    assert [(agent["state"], agent["exit_code"]) for agent in agents] == [("done", 0), ("failed", 1), ("done", 0)]
    assert sorted(place.read("tries").split()) == ["first", *["never"] * 3, *["third"] * 3]
    logs = [Path(agent["log"]) for agent in agents]
    assert {log.parent for log in logs} == {place.project / "logs"}
    assert logs[0].read_text().splitlines() == [
        "third says this",
        "── try 2 of 3 ──",
        "third says this",
        "── try 3 of 3 ──",
        "third says this",
    ]
    assert logs[2].read_text() == "first says this\n"


async def test_an_agent_that_takes_too_long_is_ended_and_the_others_are_not(place: Place) -> None:
    slow = place.script("slow", "#!/bin/sh\ntrap '' INT TERM\nsleep 600 &\necho $! > below\nwait\nsleep 600\n")
    words = ("run", "-c", slow, "-c", "true", "--timeout", "0.5", "--json")
    done = await place.skep(*words, code=1, SKEP_GRACE="0.1", SKEP_TERM_GRACE="0.1")
    document = json.loads(done.out)
    assert [agent["state"] for agent in document["agents"]] == ["timed_out", "done"]
    assert document["status"] == "failed"
    assert not lives(int(place.read("below")))


async def test_after_a_failure_nothing_new_starts_and_what_runs_ends_by_itself(place: Place) -> None:
    worker = place.script("worker", f"#!/bin/sh\ntest $1 != bad || exit 1\n{STANDS}")
    with Gate(place.project / "gate") as gate, Bell(place.project / "bell") as bell:
        words = ("-c", f"{worker} {{item}}", "-j", "2", "--fail-fast", "--retries", "0")
        swarm = await place.launch(*words, items=["good", "bad", "late", "later"])
        assert await bell.rings() == "good"
        async with place.link(swarm) as link:
            await place.until(link, "the failure", lambda state: state.agents["a2"].ended)
            gate.let_through(1)
            await place.until(link, "the end of the swarm", is_over)
        await place.engine_left(swarm)
    agents = await place.agents(swarm)
    assert agents["bad"]["state"] == "failed"
    assert [agents[name]["state"] for name in ("late", "later")] == ["interrupted"] * 2
    assert {agents[name]["seconds"] for name in ("late", "later")} == {None}
    assert "bad failed" in agents["later"]["error"]
    assert agents["good"]["state"] == "done"


async def test_results_are_printed_in_the_order_asked_though_they_end_the_other_way_round(place: Place) -> None:
    count = 6
    for number in range(1, count + 1):
        os.mkfifo(place.project / f"fifo-{number}")
    # The last one writes and ends first; each of the others waits for the one after it.
    script = f"""#!/bin/sh
test $1 = {count} || cat fifo-$1
echo "$1: first line"
echo "$1: second line"
test $1 = 1 || echo "" > fifo-$(($1 - 1))
"""
    worker = place.script("worker", script)
    words = (
        "run",
        "--each-line",
        "-",
        "-c",
        f"{worker} {{item}}",
        "-j",
        str(count),
        "--print",
        "--log-dir",
        "logs",
    )
    done = await place.skep(*words, stdin="\n".join(str(number) for number in range(1, count + 1)))
    said = [line for line in done.out.splitlines() if line]
    assert said == [f"{n}: {which} line" for n in range(1, count + 1) for which in ("first", "second")]
    logs = {log.name: log.read_text().split("\n", 1)[0] for log in (place.project / "logs").iterdir()}
    assert sorted(logs) == [f"{n}.log" for n in range(1, count + 1)]
    assert logs[f"{count}.log"] == f"{count}: first line"


async def test_only_swarms_that_have_ended_are_cleaned_away(place: Place) -> None:
    worker = place.script("worker", STANDS)
    with Gate(place.project / "gate"), Bell(place.project / "bell") as bell:
        live, dead = [await place.launch("-c", f"{worker} {name}") for name in ("live", "dead")]
        assert {await bell.rings(), await bell.rings()} == {"live", "dead"}
        await place.kill_engine(dead)
        done = await place.skep("run", "-c", "echo kept", "--log-dir", "logs", "--foreground", "--json")
        ended = json.loads(done.out)

        assert "its engine lives" in (await place.skep("clean", live, "--yes", code=2)).err
        assert "skep recover" in (await place.skep("clean", dead, "--yes", code=2)).err
        assert ended["swarm"] in (await place.skep("clean", "--yes")).out
        states = {swarm["id"]: swarm["state"] for swarm in (await place.json("ls"))["swarms"]}
        assert states == {live: "running", dead: "dead"}
        assert not place.folder(ended["swarm"]).exists()
        assert place.read(ended["agents"][0]["log"]) == "kept\n"
        assert place.engine(live)
