"""The seat of an agent: with a slot whenever something of it works, without one when everything waits."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skep.clock import VirtualClock
from skep.drivers.chat.seat import Seat
from skep.drivers.chat.trail import Trail
from skep.drivers.progress import Progress
from skep.errors import Refused
from skep.model.states import WaitReason
from tests.engine.hive import turns

KINDS = [WaitReason.CHILD, WaitReason.APPROVAL]


class Engine:
    """Gives and takes the slot of one agent; answers in an order of its own."""

    def __init__(self, choice: random.Random) -> None:
        self.choice = choice
        self.slot = True
        self.resting = False
        self.stopping = False
        self.generation = 1
        self.rests: list[tuple[WaitReason, bool]] = []
        self.resumes = 0

    async def rest(
        self, agent: str, generation: int, reason: WaitReason, detail: str, *, keeps_slot: bool
    ) -> None:
        self._check(generation)
        assert not self.resting, "it rests already"
        self.rests.append((reason, keeps_slot))
        self.slot, self.resting = keeps_slot, True

    async def resume(self, agent: str, generation: int) -> int:
        self._check(generation)
        assert self.resting, "it goes on without having rested"
        if not self.slot:
            for _ in range(self.choice.randrange(4)):
                await asyncio.sleep(0)
            self.generation += 1
        self.slot, self.resting = True, False
        self.resumes += 1
        return self.generation

    def _check(self, generation: int) -> None:
        assert generation == self.generation, "a word of an earlier run"
        if self.stopping:
            raise Refused("it is being stopped")


class Agent:
    """One turn after the other, each of calls that work and wait in turns; watched at every step."""

    def __init__(self, choice: random.Random) -> None:
        self.choice = choice
        self.engine = Engine(choice)
        self.clock = VirtualClock()
        self.progress = Progress(self.clock, lambda: None)
        self.seat = Seat(self.engine, "a", 1, self.progress, Trail(self.clock))  # type: ignore[arg-type]
        self.working = 0
        self.waiting = 0

    def silence(self) -> float:
        """How much of the next second counts as silence of the agent's."""
        before = self.progress.idle
        self.clock.advance(1.0)
        return self.progress.idle - before

    async def run(self, turns: list[list[list[WaitReason | None]]]) -> None:
        for calls in turns:
            await self.seat.back()
            assert self.engine.slot, "the conversation goes on without a slot"
            assert not self.engine.resting
            if len(calls) == 1:
                await self.call(calls[0])
                continue
            with self.seat.branched(len(calls)):
                async with asyncio.TaskGroup() as tasks:
                    for call in calls:
                        tasks.create_task(self.one(call))
        await self.seat.back()
        assert self.engine.slot

    async def one(self, steps: list[WaitReason | None]) -> None:
        async with self.seat.one():
            await self.call(steps)

    async def call(self, steps: list[WaitReason | None]) -> None:
        for step in steps:
            async with self.kind(step):
                for _ in range(self.choice.randrange(5)):
                    await asyncio.sleep(0)
                    self.look(step)

    @asynccontextmanager
    async def kind(self, step: WaitReason | None) -> AsyncIterator[None]:
        if step is None:
            self.working += 1
            try:
                yield
            finally:
                self.working -= 1
            return
        async with self.seat.waiting(step, str(step)):
            self.waiting += 1
            try:
                yield
            finally:
                self.waiting -= 1

    def look(self, step: WaitReason | None) -> None:
        if step is None:
            assert self.engine.slot, "it works without a slot"
            assert self.silence() == 1.0, "its clock stands although it works"
        elif self.engine.resting:
            assert self.silence() == 0.0, "what it waits counts as silence"
        elif not self.working and not self.engine.resting:
            # Another call may just be going on, or be about to say that it waits too.
            assert self.seat.generation <= self.engine.generation


CALL = st.lists(st.sampled_from([None, None, *KINDS]), min_size=1, max_size=5)
TURNS = st.lists(st.lists(CALL, min_size=1, max_size=4), min_size=1, max_size=4)


@settings(max_examples=150, deadline=None, database=None)
@given(turns=TURNS, seed=st.integers(0, 2**32))
def test_whatever_works_holds_the_slot_and_what_only_waits_gives_it_back(
    turns: list[list[list[WaitReason | None]]], seed: int
):
    agent = Agent(random.Random(seed))
    asyncio.run(asyncio.wait_for(agent.run(turns), 20))
    engine = agent.engine
    assert engine.resumes == len(engine.rests)
    if all(step is not None for calls in turns for call in calls for step in call):
        assert engine.rests, "everything waited and the slot was kept"
    assert not any(keeps for _, keeps in engine.rests)


async def test_the_slot_is_given_back_only_when_the_last_call_waits():
    agent = Agent(random.Random(1))
    seat, engine = agent.seat, agent.engine
    gates = [asyncio.Event() for _ in range(3)]
    reached = [asyncio.Event() for _ in range(3)]

    async def waits(number: int, reason: WaitReason) -> None:
        async with seat.one(), seat.waiting(reason, ""):
            reached[number].set()
            await gates[number].wait()

    async def works() -> None:
        async with seat.one():
            reached[2].set()
            await gates[2].wait()

    with seat.branched(3):
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(waits(0, WaitReason.CHILD))
            tasks.create_task(waits(1, WaitReason.APPROVAL))
            tasks.create_task(works())
            for event in reached:
                await event.wait()
            assert engine.slot
            gates[2].set()
            await _until(lambda: engine.resting)
            assert engine.rests == [(WaitReason.APPROVAL, False)]
            gates[1].set()
            # The call that was answered goes on and ends; the other one waits on: it rests again.
            await _until(lambda: len(engine.rests) == 2)
            assert engine.rests[1] == (WaitReason.CHILD, False)
            gates[0].set()
    await seat.back()
    assert engine.slot
    assert seat.generation == engine.generation == 3


async def test_a_wait_for_a_key_alone_keeps_the_slot():
    agent = Agent(random.Random(1))
    async with agent.seat.waiting(WaitReason.KEY, "all keys cool"):
        assert agent.engine.slot
        assert agent.engine.resting
    assert agent.engine.rests == [(WaitReason.KEY, True)]
    assert not agent.engine.resting
    assert agent.seat.generation == 1


async def test_what_it_asks_the_engine_is_no_silence_unless_something_else_of_it_works():
    agent = Agent(random.Random(1))
    assert agent.silence() == 1.0
    with agent.seat.asking():
        assert agent.silence() == 0.0
        with agent.seat.branched(2):
            assert agent.silence() == 1.0
            with agent.seat.asking():
                assert agent.silence() == 0.0
    assert agent.silence() == 1.0
    assert agent.progress.idle == 3.0, "a wait has taken back what was silent before it"


async def test_once_it_is_stopping_nobody_begins_to_wait_or_goes_on():
    agent = Agent(random.Random(1))
    with pytest.raises(Refused):
        async with agent.seat.waiting(WaitReason.CHILD, "one"):
            agent.engine.stopping = True
    with pytest.raises(Refused):
        await agent.seat.back()


async def _until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not condition():
            await turns(1)
