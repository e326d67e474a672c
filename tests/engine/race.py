"""Sixty-four threads that ask everything of one engine at once, and what has to hold whatever they ask."""

from __future__ import annotations

import asyncio
import random
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import partial

from skep.errors import NotFound, Refused
from skep.model.approvals import Question
from skep.model.children import Role, Task
from skep.model.events import ROOT
from skep.model.permits import Assignment, Ended, Permits, Started
from skep.model.registry import from_pages, to_pages
from skep.model.states import State, StopStep, StopVerb, Strength, WaitReason
from tests.engine.hive import LIMIT, group
from tests.engine.played import PlayedHive, PlayedHost, settings, talks
from tests.engine.story import check_state, check_story

THREADS = 64
SLOTS = 8
CAPS = {"p": 4, "q": 5}
ACCOUNTS = {"p": ("p/main",), "q": ("q/one", "q/two")}
SETTINGS = settings(max_depth=3, max_agents=160, max_children=8)
MODELS = ("p/big", "q/small", "q/large")
SCOPES = ("", "g0", "g1", "model:p/big", "model:q/small", "account:p/main", "account:q/one", "account:q/two")
ANCHOR = "anchor"
"""Runs from the first moment to the last, so that the swarm does not end before the race does."""
REFUSALS = {"it is being stopped", "nothing new starts any more", "it is a leaf"}
LIMITS = ("the limit is max_agents", "the limit is max_children", "it stands at depth")

Act = Callable[[], int]
"""Asks for something; returns the number of the event that came of it."""


class Lives(PlayedHost):
    """Half of its agents live in the engine's loop, as drivers do; of the others threads say what they do."""

    def __init__(self, tasks: asyncio.TaskGroup, permits: Permits, seed: int) -> None:
        super().__init__(permits)
        self._tasks = tasks
        self._seed = seed
        self._lives: dict[str, asyncio.Task[State]] = {}
        self.played: dict[str, int] = {}
        """Those of whom threads say what they do → their generation."""
        self.is_over = False
        """True once the race is over: who is told to stop has stopped then."""

    async def submit(self, assignment: Assignment) -> None:
        agent = assignment.agent
        await super().submit(assignment)
        if agent.startswith("a") and agent != ANCHOR and int(agent[1:]) % 2:
            life = self._tasks.create_task(self._live(agent), name=f"life of {agent}")
            life.add_done_callback(partial(self._is_over, agent))  # one that is cancelled at once never begins
            self._lives[agent] = life
        else:
            self.played[agent] = assignment.generation

    async def control(self, agent: str, generation: int, step: StopStep) -> None:
        await super().control(agent, generation, step)
        if agent in self._lives:
            self._lives[agent].cancel()
        elif self.is_over and agent in self.running:
            self.ends(agent)

    async def _live(self, agent: str) -> State:
        choice = random.Random(f"{self._seed} {agent}")
        self.starts(agent)
        try:
            for _ in range(choice.randrange(1, 4)):
                await self._do_something(agent, choice)
        except Refused:
            return State.FAILED
        return State.DONE

    def _is_over(self, agent: str, life: asyncio.Task[State]) -> None:
        del self._lives[agent]
        self.ends(agent, state=State.FAILED if life.cancelled() else life.result())

    async def _do_something(self, agent: str, choice: random.Random) -> None:
        permits, generation = self.permits, self.running[agent]
        await permits.go(agent, generation)
        kind = choice.randrange(4)
        if held := await permits.held(agent, generation):
            await self._wait(agent, WaitReason.GATE, held, permits.released(agent, generation))
        elif kind == 0:
            with suppress(Refused):
                ids = await permits.spawn(agent, generation, tasks(choice))
                await self._wait(agent, WaitReason.CHILD, f"{len(ids)}", permits.children(agent, generation, ids))
        elif kind == 1:
            question = Question.about("terminal", f"$ {agent}", {"n": choice.random()})
            await self._wait(agent, WaitReason.APPROVAL, "", permits.approve(agent, generation, question))
        elif kind == 2:
            await self._wait(agent, WaitReason.KEY, "key", asyncio.sleep(0), keeps_slot=True)
        else:
            await asyncio.sleep(0)

    async def _wait(
        self, agent: str, reason: WaitReason, detail: str, what: object, *, keeps_slot: bool = False
    ) -> None:
        waiting = asyncio.ensure_future(what)
        try:
            await self.permits.rest(agent, self.running[agent], reason, detail, keeps_slot=keeps_slot)
            await waiting
        finally:
            waiting.cancel()
        self.running[agent] = await self.permits.resume(agent, self.running[agent])


class RaceHive(PlayedHive):
    """An engine in the middle of it."""

    host: Lives
    seed = 0

    def a_host(self, tasks: asyncio.TaskGroup, permits: Permits) -> Lives:
        return Lives(tasks, permits, self.seed)


def tasks(choice: random.Random) -> list[Task]:
    return [
        Task(
            "a part of it",
            model=choice.choice(MODELS),
            role=choice.choice(list(Role)),
            timeout=choice.choice([0, 9]),
        )
        for _ in range(choice.randrange(1, 4))
    ]


class Racer:
    """One thread: asks for one thing after the other, as its dice say."""

    def __init__(self, hive: RaceHive, seed: int, number: int) -> None:
        self.hive = hive
        self.verbs = hive.engine.verbs
        self.permits = hive.engine.permits
        self.who = f"thread {number}"
        self.choice = random.Random(f"{seed} {number}")
        self.spawned: list[str] = []
        self.refused: list[Refused] = []
        """What was said to those who asked for agents and got none."""
        self.last: str | None = None
        self.acts: list[Act] = [
            *[self.spawn] * 8, *[self.speak] * 10, self.stop, self.hurry, *[self.take_back] * 3, self.pause,
            *[self.unpause] * 3, *[self.answer] * 2, self.resume, self.pass_time, self.look,
        ]  # fmt: skip

    def run(self, begin: threading.Barrier, operations: int) -> None:
        begin.wait(LIMIT)
        for _ in range(operations):
            with suppress(Refused, NotFound):
                seq = self.choice.choice(self.acts)()
                if self.choice.random() < 0.5:
                    assert self.hive.ledger.wait(seq, LIMIT), f"event {seq} is not durable"

    def spawn(self) -> int:
        """More agents below one that works, as a tool call of it would ask for them."""
        agent, generation = self._somebody(self.hive.host.running)
        try:
            asked = self.permits.ask_for(agent, generation, tasks(self.choice))
        except Refused as refused:
            self.refused.append(refused)
            return 0
        if asked is None:
            return 0
        self.spawned.extend(asked[1])
        return asked[0]

    def speak(self) -> int:
        """A host says that somebody has started, or has ended, now and then of a run that is over."""
        agent, generation = self._somebody(self.hive.host.played)
        if agent == ANCHOR:
            return self.look()
        if self.choice.random() < 0.3:
            return self.hive.engine.take([Started(agent, generation)])
        if self.hive.host.played.pop(agent, None) is None:
            return 0
        self.hive.host.running.pop(agent, None)
        end = Ended(agent, generation, self.choice.choice([State.DONE, State.FAILED]))
        seq = self.hive.engine.take([Started(agent, generation), end])
        self.hive.engine.take([end, Started(agent, generation)])  # late, both of them
        return seq

    def stop(self) -> int:
        verb = self.choice.choice([StopVerb.INTERRUPT, StopVerb.INTERRUPT, StopVerb.KILL])
        window = self.choice.choice([0.0, 5.0, 5.0])
        agent = self.last = self._somebody(self.hive.host.running)[0]
        if agent == ANCHOR:
            return 0
        branch = self.choice.random() < 0.8
        return self.verbs.stop(agent, branch=branch, verb=verb, who=self.who, window=window)[0]

    def hurry(self) -> int:
        agent = self._somebody(self.hive.host.running)[0]
        if agent == ANCHOR:
            return 0
        return self.verbs.hurry(agent, branch=True, kill=self.choice.random() < 0.3, who=self.who)[0]

    def take_back(self) -> int:
        return self.verbs.take_back(self.last, self.who) if self.last is not None else 0

    def pause(self) -> int:
        scope, seconds = self._scope(), self.choice.choice([None, 4.0])
        return self.verbs.pause(scope, self.choice.choice(list(Strength)), "why not", self.who, seconds)

    def unpause(self) -> int:
        with self.hive.registry.read() as state:
            latches = list(state.latches)
        return self.verbs.unpause(*self.choice.choice(latches), self.who) if latches else 0

    def answer(self) -> int:
        with self.hive.registry.read() as state:
            asking = [(one.id, str(one.question["hash"])) for one in state.agents.values() if one.question]
        if not asking:
            return 0
        return self.verbs.answer(*self.choice.choice(asking), allow=self.choice.random() < 0.5, who=self.who)

    def resume(self) -> int:
        agent = self.choice.choice(self.spawned or [ANCHOR])
        return self.verbs.resume(agent, "go on", self.who)[0]

    def pass_time(self) -> int:
        self.hive.clock.advance(self.choice.choice([0.1, 0.5, 2.0]))
        return 0

    def look(self) -> int:
        with self.hive.registry.read() as state:
            check_state(state)
            return state.seq

    def _scope(self) -> str:
        return self.choice.choice([*SCOPES, self._somebody(self.hive.host.running)[0]])

    def _somebody(self, known: dict[str, int]) -> tuple[str, int]:
        return self.choice.choice(list(known.items()) or [(ANCHOR, 1)])


async def race(hive: RaceHive, *, seed: int, operations: int) -> Counter[str]:
    """Run the race, check what came of it, and end the swarm; returns how often each kind of event happened."""
    hive.seed = seed
    asks = [talks(ANCHOR), group("g0"), group("g1"), group("g2", "g0")]
    await hive.launch(*asks, *(talks(f"a{n}", f"g{n % 3}", MODELS[n % 3]) for n in range(60)), slots=SLOTS)
    await hive.until(lambda state: state.slots_used == SLOTS)
    racers = [Racer(hive, seed, number) for number in range(THREADS)]
    begin = threading.Barrier(THREADS)
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(THREADS))
    with _hasty():
        done = await asyncio.gather(
            *(asyncio.to_thread(racer.run, begin, operations) for racer in racers), return_exceptions=True
        )
    for fault in filter(None, [*done, hive.fault()]):
        raise fault
    await _check(hive, racers)
    await _end(hive)
    counts = await _check(hive, racers)
    with hive.registry.read() as state:
        assert all(one.ended for one in state.agents.values())
        assert state.slots_used == len(state.line) == 0
    assert sorted(hive.host.submitted) == sorted(set(hive.host.submitted)), "somebody was started twice"
    return counts


async def _end(hive: RaceHive) -> None:
    """Let go of everything, and stop whoever is left."""
    hive.host.is_over = True
    with hive.registry.read() as state:
        latches = list(state.latches)
    for latch in latches:
        hive.engine.verbs.unpause(*latch, "you")
    await hive.kill(ROOT, branch=True)
    hive.engine.take([Ended(agent, n, State.DONE) for agent, n in list(hive.host.played.items())])
    await hive.over()


async def _check(hive: RaceHive, racers: list[Racer]) -> Counter[str]:
    """What holds at any moment when nobody decides anything."""
    with hive.registry.read() as state:
        check_state(state)
        seq, pages = state.seq, to_pages(state)
        known = set(state.agents)
    await hive.ledger.settle(seq)
    records = hive.records()
    assert [record.seq for record in records] == list(range(1, len(records) + 1))
    replayed = check_story(records[:seq], SETTINGS)
    assert to_pages(replayed) == pages, "the journal tells another story than the registry"
    assert to_pages(from_pages(pages)) == pages
    assert known >= {agent for racer in racers for agent in racer.spawned}, "somebody was lost"
    for refused in (refused for racer in racers for refused in racer.refused):
        assert str(refused.why) in REFUSALS or str(refused.why).startswith(LIMITS), f"refused: {refused}"
    return Counter(record.event.kind for record in records)


def leaves(fault: BaseException) -> Iterator[BaseException]:
    """The faults in a group of groups."""
    if isinstance(fault, BaseExceptionGroup):
        for one in fault.exceptions:
            yield from leaves(one)
    else:
        yield fault


@contextmanager
def _hasty() -> Iterator[None]:
    """Threads take turns as often as they can."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        yield
    finally:
        sys.setswitchinterval(before)
