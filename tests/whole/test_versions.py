"""A command that meets an engine of another version says which skep it takes, and asks nothing of it."""

from __future__ import annotations

import json
import time

import pytest

from skep.control.swarms import describe
from skep.control.wire import PROTOCOL
from skep.paths import private_dir
from tests.control.test_versions import NEWER, answering, greeting
from tests.whole.places import Place

WHY = f"the engine speaks protocol {NEWER} (skep 0.9.0), the client protocol {PROTOCOL}"


@pytest.fixture
def swarm(place: Place) -> str:
    private_dir(place.state / "swarms")
    describe(private_dir(place.folder("s-1")), "s-1", "migrate", time.time(), str(place.project))
    return "s-1"


@pytest.mark.parametrize(
    "words",
    [("pause",), ("interrupt", "--branch"), ("tree",), ("tail",), ("events", "--json"), ("approve", "--yes")],
    ids=lambda words: words[0],
)
async def test_every_verb_says_which_version_the_swarm_takes(
    place: Place, swarm: str, words: tuple[str, ...]
) -> None:
    async with answering(place.folder(swarm), greeting(protocol=NEWER)) as told:
        done = await place.skep(*words, swarm, code=2)
        assert {json.loads(frame)["method"] for frame in told} == {"hello"}
    assert done.out == ""
    assert "versions of skep that do not understand each other" in done.err
    assert WHY in done.err
    assert "mend: use skep 0.9.0 for this swarm" in done.err
    assert "Traceback" not in done.err


async def test_a_list_says_of_one_such_swarm_that_it_cannot_be_reached(place: Place, swarm: str) -> None:
    async with answering(place.folder(swarm), greeting(protocol=NEWER)):
        done = await place.skep("ls", "--json")
    [line] = json.loads(done.out)["swarms"]
    assert line["state"] == "unreachable"
    assert WHY in done.err
