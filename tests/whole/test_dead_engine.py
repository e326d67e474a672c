"""An engine that is killed takes its processes along and loses nothing that it acknowledged, again and again."""

from __future__ import annotations

from collections.abc import Iterable

from skep.control.verbs import Done, Pause, Unpause
from skep.journal.verify import verify
from skep.model.codec import public
from tests.whole.collecting import Collected
from tests.whole.places import Place, running
from tests.whole.processes import marked, nothing_left

ROUNDS = 3
AT_LEAST = 20
WORKER = """#!/bin/sh
case $1 in
    pass/*) exit 0 ;;
    stay/*5) trap '' INT TERM ;;
esac
exec sleep 600
"""
ITEMS = [*(f"stay/{number}" for number in range(100)), *(f"pass/{number}" for number in range(300))]


async def test_each_time_its_processes_are_gone_and_all_acknowledged_events_are_there(place: Place) -> None:
    worker = place.script("worker", WORKER)
    words = ("-c", f"{worker} {{item}}", "--group", "{dir}", "-j", "28")
    swarm = await place.launch(*words, items=ITEMS)
    folder = place.folder(swarm)
    told = Collected()
    for round_ in range(ROUNDS):
        async with place.link(swarm) as link, told.listening(link):
            # Short ones come and go all the time: the engine dies with its hands full.
            await place.until(link, "enough that stay", lambda state: _staying(running(state)) >= AT_LEAST)
            last = f"a{len(ITEMS)}"  # far from its turn: holding it changes nothing else
            hold = await link.call(Unpause(scope=last) if round_ % 2 else Pause(scope=last))
            assert isinstance(hold, Done)
            assert hold.seq, "the hold of the round before is not there any more"
            await told.reaches(hold.seq)
            assert len(marked(swarm)) >= AT_LEAST
            await place.kill_engine(swarm)
        await nothing_left(f"SKEP_AGENT={swarm}/")

        assert verify(folder).rows >= told.last
        kept = await place.events(swarm)
        assert kept[: told.last] == [public(record) for record in told.records]
        await place.skep("recover", swarm, "--go")

    await place.skep("kill", swarm, "--wait")
    await place.engine_left(swarm)
    assert marked(swarm) == {}
    verify(folder)
    states = await place.states(swarm)
    ends = {states[name] for name in states if name.startswith("stay/")}
    assert ends == {"lost", "killed"}
    assert _staying(name for name, state in states.items() if state == "lost") >= ROUNDS * AT_LEAST


def _staying(names: Iterable[str]) -> int:
    return sum(name.startswith("stay/") for name in names)
