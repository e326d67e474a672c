"""``skep resume`` from the shell: in a swarm that is dead, in one that has ended, from two shells at once."""

from __future__ import annotations

import asyncio

from skep.control.swarms import engine_pid
from tests.chat.asking import call
from tests.whole.fifos import Bell
from tests.whole.models import goal, serving
from tests.whole.places import Place, finished

STAYS = call("terminal", command="echo up > bell; sleep 600")


async def killed(place: Place, bell: Bell, *goals: str) -> str:
    """A swarm whose engine died while each of its agents was in a tool."""
    swarm = await place.launch(*goals, "--allow-commands", "--role", "leaf")
    for _ in goals:
        assert await bell.rings() == "up"
    await place.kill_engine(swarm)
    return swarm


async def test_in_a_dead_swarm_it_starts_an_engine_and_waits_for_a_person(place: Place) -> None:
    with Bell(place.project / "bell") as bell:
        async with serving(place):
            swarm = await killed(place, bell, goal("one", STAYS, {"say": "whole again"}))
            done = await place.skep("resume", f"{swarm}/root", "be quick")
            assert "an engine was started" in done.err
            assert "goes on with the conversation of" in done.out
            assert f"skep unpause {swarm}" in done.out
            await place.skep("unpause", swarm)
            await place.until_over(swarm)
            document = await place.json("tree", swarm)
    first, second = document["agents"]
    assert (first["state"], first["resumed_by"], len(first["unknown"])) == ("lost", second["id"], 1)
    assert (second["state"], second["resumes"], second["result"]) == ("done", "root", "whole again")
    assert document["status"] == "done"


async def test_with_go_it_goes_on_at_once(place: Place) -> None:
    with Bell(place.project / "bell") as bell:
        async with serving(place):
            swarm = await killed(place, bell, goal("one", STAYS, {"say": "whole again"}))
            document = await place.json("resume", f"{swarm}/root", "--go")
            [new] = document["agents"]
            await place.engine_left(swarm)
            agents = {agent["id"]: agent for agent in (await place.json("tree", swarm))["agents"]}
    assert agents[new]["result"] == "whole again"


async def test_a_swarm_that_has_ended_goes_on_and_ends_again(place: Place) -> None:
    async with serving(place):
        done = await place.skep("run", goal("one", {"say": "half"}, {"say": "whole"}), "--json")
        swarm = (await place.json("ls"))["swarms"][0]["id"]
        assert '"half"' in done.out
        await place.engine_left(swarm)
        await place.json("resume", f"{swarm}/root", "and the rest?")
        await place.engine_left(swarm)
        document = await place.json("tree", swarm)
    assert [agent["result"] for agent in document["agents"]] == ["half", "whole"]
    assert document["status"] == "done"


async def test_from_two_shells_at_once_one_engine_serves_both(place: Place) -> None:
    with Bell(place.project / "bell") as bell:
        async with serving(place):
            goals = (goal(name, STAYS, {"say": f"{name} is whole"}) for name in ("one", "two"))
            swarm = await killed(place, bell, *goals)
            shells = [await place.start("resume", f"{swarm}/a{n}", "--json") for n in (1, 2)]
            both = await asyncio.gather(*map(finished, shells))
            assert [done.code for done in both] == [0, 0], [done.err for done in both]
            assert engine_pid(place.folder(swarm)) is not None
            refused = await place.skep("resume", f"{swarm}/a1", code=2)
            assert "was resumed already" in refused.err
            await place.skep("unpause", swarm)
            await place.until_over(swarm)
            results = {agent["result"] for agent in (await place.json("tree", swarm))["agents"]}
    assert results == {None, "one is whole", "two is whole"}
