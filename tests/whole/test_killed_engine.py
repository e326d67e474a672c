"""kill -9 of an engine: all that it started is gone in time, whoever started it and whatever it is made of."""

from __future__ import annotations

import asyncio
import os
import re
import shlex
import signal
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from skep.warden.ladder import ATTEMPT, GRACE
from tests.chat.asking import call, delegate, task
from tests.engine.hive import Pipe
from tests.whole.models import goal, serving
from tests.whole.places import Place
from tests.whole.processes import Held, lives, nothing_left
from tests.whole.waiting import deadline, readable
from tests.zoo.keeping import Zoo
from tests.zoo.trees import KINDS, Node, Tree

UNFINDABLE = "scrubbed daemon"
"""With all who stood over it gone, nothing leads to it: no marker, and no parent."""


class Keeper:
    """Zoos for the swarms of a place; none is left at the end."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self._stack = ExitStack()
        self._zoos: list[Zoo] = []

    def zoo(self, trees: list[Tree]) -> Zoo:
        pipe = Pipe(self._place.project / f"said-{len(self._zoos)}")
        self._stack.callback(pipe.close)
        self._zoos.append(Zoo(trees, pipe))
        return self._zoos[-1]

    async def commands(self, kept: Zoo) -> str:
        """A swarm of commands that are these trees, all up."""
        lines = [shlex.join(kept.argv(name)).replace("{", "{{").replace("}", "}}") for name in kept.trees]
        words = [word for line in lines for word in ("-c", line)]
        swarm = await self._place.launch(*words, "-j", str(len(kept.trees)))
        await kept.complete()
        return swarm

    async def tools(self, kept: Zoo) -> str:
        """A swarm of chat agents, each with a tree in its terminal, all up."""
        tasks = [task(name, call("terminal", command=kept.line(name), timeout=600)) for name in kept.trees]
        swarm = await self._place.launch(
            goal("many", delegate(*tasks)), "--allow-commands", "-j", str(len(tasks) + 1)
        )
        await kept.complete()
        return swarm

    def close(self) -> None:
        for kept in self._zoos:
            kept.release()
        self._stack.close()


@pytest.fixture
def keeper(place: Place) -> Iterator[Keeper]:
    made = Keeper(place)
    yield made
    made.close()


def _kinds(*left_out: str) -> list[Tree]:
    return [Tree(name.replace(" ", "-"), root) for name, root in KINDS.items() if name not in left_out]


class House:
    """An engine, its warden, its guards and all below them, found by /proc alone."""

    def __init__(self, engine: int) -> None:
        self.engine = engine
        parents = dict(_parents())
        (self.warden,) = _children(parents, engine)
        self.guards = _children(parents, self.warden)
        self.all = {engine}
        while more := {pid for pid, parent in parents.items() if parent in self.all} - self.all:
            self.all |= more

    def signal(self, number: int, *pids: int) -> None:
        for pid in pids:
            os.kill(pid, number)

    def kill_all_who_watch(self) -> None:
        """Engine, warden and guards, so that none of them sees another one's end."""
        self.signal(signal.SIGSTOP, self.engine, self.warden, *self.guards)
        self.signal(signal.SIGKILL, *self.guards, self.warden, self.engine)


def _parents() -> Iterable[tuple[int, int]]:
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            yield int(stat.parent.name), int(stat.read_text().rpartition(") ")[2].split()[1])


def _children(parents: dict[int, int], parent: int) -> list[int]:
    return [pid for pid, its_parent in parents.items() if its_parent == parent]


async def _gone(kept: Zoo, limit: float, others: Iterable[int] = ()) -> None:
    """Wait until nothing of a zoo lives, and none of some others, and fail if that takes longer."""
    async with deadline(f"the end of {kept.survivors(kept.trees)}", limit):
        while True:
            left = [pid for pids in kept.survivors(kept.trees).values() for pid in pids]
            living = [pid for pid in {*left, *others} if lives(pid)]
            if not living:
                return
            for pid in living:
                with suppress(ProcessLookupError), Held(pid) as held:
                    await readable(held.descriptor)


@pytest.mark.parametrize(
    "stopped",
    [
        pytest.param((True, False), id="the warden of the commands stopped before"),
        pytest.param((False, True), id="the warden of the tools stopped before", marks=pytest.mark.full),
        pytest.param((True, True), id="both wardens stopped before", marks=pytest.mark.full),
        pytest.param((False, False), id="no warden stopped before", marks=pytest.mark.full),
    ],
)
async def test_commands_and_tools_are_gone_within_their_graces(
    place: Place, keeper: Keeper, stopped: tuple[bool, bool]
) -> None:
    commands, tools = keeper.zoo(_kinds()), keeper.zoo(_kinds("flood"))
    async with serving(place):
        swarms = [await keeper.commands(commands), await keeper.tools(tools)]
        houses = [House(place.engine(swarm)) for swarm in swarms]
        for house, is_stopped in zip(houses, stopped, strict=True):
            if is_stopped:
                house.signal(signal.SIGSTOP, house.warden, *house.guards[::2])
            house.signal(signal.SIGKILL, house.engine)
        limit = GRACE + 2.0
        everyone = [pid for house in houses for pid in house.all]
        await asyncio.gather(_gone(commands, limit, everyone), _gone(tools, limit, everyone))
        for swarm in swarms:
            await nothing_left(f"SKEP_AGENT={swarm}/", limit=0.5)


async def test_what_nobody_was_left_to_end_is_ended_when_another_engine_starts(
    place: Place, keeper: Keeper
) -> None:
    dead, alive = keeper.zoo(_kinds(UNFINDABLE, "storm", "flood")), keeper.zoo(_kinds("storm", "flood", "phoenix"))
    living = await keeper.commands(alive)
    swarm = await keeper.commands(dead)
    House(place.engine(swarm)).kill_all_who_watch()
    standing = alive.survivors(alive.trees)
    left = dead.survivors(dead.trees)
    assert set(left) == set(dead.trees)

    third = await place.launch("-c", "sleep 600")
    await _gone(dead, GRACE + ATTEMPT + 2.0)
    assert alive.survivors(alive.trees) == standing
    log = (place.folder(third) / "engine.log").read_text()
    said = re.search(rf"dead engines left processes behind.*of swarm {swarm}: ([\d, ]+)", log)
    assert said is not None
    assert {int(pid) for pid in said[1].split(",")} == {pid for pids in left.values() for pid in pids}
    assert living not in log
    assert set((await place.states(living)).values()) == {"running"}


async def test_a_recovery_ends_what_is_left_of_its_own_swarm_first_and_then_of_others(
    place: Place, keeper: Keeper
) -> None:
    own, other = (keeper.zoo(_kinds(UNFINDABLE, "storm", "flood")) for _ in range(2))
    swarms = [await keeper.commands(own), await keeper.commands(other)]
    for swarm in swarms:
        House(place.engine(swarm)).kill_all_who_watch()
    await place.skep("recover", swarms[0])
    assert own.survivors(own.trees) == {}
    await _gone(other, GRACE + ATTEMPT + 2.0)
    assert set((await place.states(swarms[0])).values()) == {"lost"}


async def test_who_removes_a_swarm_removes_its_processes(place: Place, keeper: Keeper) -> None:
    kept = keeper.zoo([Tree("deaf-daemon", KINDS["deaf daemon"]), Tree("plain", Node())])
    swarm = await keeper.commands(kept)
    House(place.engine(swarm)).kill_all_who_watch()
    await place.skep("clean", "--force", swarm, "--yes")
    assert kept.survivors(kept.trees) == {}
    assert not place.folder(swarm).exists()
