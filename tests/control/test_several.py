"""Several clients act on the same agent at the same moment: each hears the truth, and all see the same."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from itertools import permutations
from pathlib import Path

import pytest

from skep.cli.service import EngineService
from skep.control.client import SocketLink
from skep.control.server import ControlServer
from skep.control.verbs import Answer, Done, Hurry, Pause, Reply, Request, Stop, TakeBack, Unpause
from skep.errors import Refused, SkepError
from skep.model.events import ApprovalAnswered, BranchReopened, BranchShut, Event, LatchClosed, LatchOpened
from skep.model.states import State, Strength
from skep.paths import socket_path
from tests.chat.asking import call
from tests.chat.conftest import MakeChatHive, chat_stack, make_chat_hive  # noqa: F401
from tests.chat.test_approvals import asker, question
from tests.engine.conftest import MakeHive, make_hive  # noqa: F401
from tests.engine.hive import Hive, command, group, patient

NAMES = ("room 1", "room 2", "cli 1", "cli 2", "cli 3")

Crowd = dict[str, SocketLink]
MakeCrowd = Callable[[Hive], Awaitable[Crowd]]


@pytest.fixture
async def make_crowd() -> AsyncIterator[MakeCrowd]:
    """Two rooms, which follow, and three commands, which look once, on the real socket of a real engine."""
    async with AsyncExitStack() as stack:

        async def make(hive: Hive) -> Crowd:
            service = EngineService(hive.engine, hive.clock)
            stack.callback(service.close)
            server = await ControlServer.start(service, socket_path(hive.folder), clock=hive.clock)
            stack.push_async_callback(server.close)
            crowd = {}
            for name in NAMES:
                once = name.startswith("cli")
                crowd[name] = await SocketLink.connect(hive.folder, client=name, once=once, clock=hive.clock)
                stack.push_async_callback(crowd[name].close)
            return crowd

        yield make


async def all_at_once(crowd: Crowd, asked: dict[str, Request]) -> dict[str, Reply | SkepError]:
    """What each of them is answered."""

    async def ask(name: str, request: Request) -> Reply | SkepError:
        try:
            return await crowd[name].call(request)
        except SkepError as error:
            return error

    async with asyncio.timeout(20):
        answers = await asyncio.gather(*(ask(name, request) for name, request in asked.items()))
    return dict(zip(asked, answers, strict=True))


async def all_see_the_same(hive: Hive, crowd: Crowd) -> None:
    """Byte for byte, at the same event: the rooms, a command that looks now, and the engine."""
    async with asyncio.timeout(20):
        while True:
            seq = hive.registry.seq
            await hive.ledger.settle(seq)
            rooms = [link for name, link in crowd.items() if name.startswith("room")]
            for room in rooms:
                await room.until(lambda state: state.seq >= seq)  # noqa: B023
            again = await SocketLink.connect(hive.folder, client="cli 4", once=True, clock=hive.clock)
            pictures = [(link.registry.seq, link.registry.pages()) for link in (*rooms, again)]
            pictures.append((hive.registry.seq, hive.registry.pages()))
            await again.close()
            if all(at == seq for at, _ in pictures):  # else something has happened meanwhile
                assert all(pages == pictures[0][1] for _, pages in pictures)
                return


def told(hive: Hive, seq: int) -> Event:
    """The event of that number, as the journal has it."""
    return hive.records()[seq - 1].event


async def test_pause_and_unpause_at_once_are_each_told_what_they_did(
    folder: Path,
    make_hive: MakeHive,  # noqa: F811
    make_crowd: MakeCrowd,
):
    hive = make_hive(folder)
    waiting = [command(f"b{number}", "true", parent="g") for number in range(9)]
    await hive.launch(group("g"), patient("a", "g"), *waiting, slots=1)
    await hive.are(State.RUNNING, "a")
    crowd = await make_crowd(hive)
    orders = random.Random(3)
    for _ in range(12):
        holds: list[Request] = [Pause(scope="g"), Pause(scope="g", reason="lunch")]
        verbs = [*holds, Unpause(scope="g"), Unpause(scope="g")]
        asked = dict(zip(orders.sample(NAMES, len(verbs)), verbs, strict=True))
        answers = await all_at_once(crowd, asked)
        closed = opened = 0
        for name, answer in answers.items():
            assert isinstance(answer, Done)
            if answer.seq:
                event = told(hive, answer.seq)
                assert isinstance(event, LatchClosed if isinstance(asked[name], Pause) else LatchOpened)
                assert event.who == name
                closed, opened = closed + isinstance(event, LatchClosed), opened + isinstance(event, LatchOpened)
        assert closed == 2  # a pause always says why and who: the second one is an event as well
        last = max(answer.seq for answer in answers.values() if isinstance(answer, Done))
        with hive.registry.read() as state:
            assert (("g", Strength.SPAWNS) in state.latches) is isinstance(told(hive, last), LatchClosed)
        await all_see_the_same(hive, crowd)
    made = len(hive.events(LatchOpened, LatchClosed))
    answered = await all_at_once(crowd, {name: Unpause(scope="g") for name in NAMES})
    numbers = sorted(done.seq for done in answered.values() if isinstance(done, Done))
    assert numbers[:4] == [
        0,
        0,
        0,
        0,
    ]  # at most one of five can release a hold; the others hear that there was none
    assert len(hive.events(LatchOpened, LatchClosed)) == made + bool(numbers[4])
    await all_see_the_same(hive, crowd)


ORDERS = list(permutations(("stop", "take back", "hurry")))


async def test_interrupt_take_back_and_hurry_at_once_leave_nobody_with_a_wrong_answer(
    folder: Path,
    make_hive: MakeHive,  # noqa: F811
    make_crowd: MakeCrowd,
):
    hive = make_hive(folder)
    agents = [f"a{number}" for number in range(len(ORDERS))]
    await hive.launch(*map(patient, agents), slots=len(ORDERS))
    await hive.are(State.RUNNING, *agents)
    crowd = await make_crowd(hive)
    for agent, order in zip(agents, ORDERS, strict=True):
        verbs: dict[str, Request] = {
            "stop": Stop(agent=agent, window=5.0),
            "take back": TakeBack(agent=agent),
            "hurry": Hurry(agent=agent),
        }
        before = len(hive.records())
        names = dict(zip(order, NAMES, strict=False))
        answers = await all_at_once(crowd, {names[verb]: verbs[verb] for verb in order})
        shut, back, hurried = (answers[names[verb]] for verb in ("stop", "take back", "hurry"))
        events = [record.event for record in hive.records()[before:]]
        assert isinstance(shut, Done)
        assert shut.agents == [agent]
        assert any(isinstance(event, BranchShut) and event.who == names["stop"] for event in events)
        reopened = [event for event in events if isinstance(event, BranchReopened)]
        if isinstance(back, Done):
            assert [event.who for event in reopened] == [names["take back"]]
            assert told(hive, back.seq) == reopened[0]
        else:
            assert isinstance(back, Refused)
            assert "nothing to take back" in back.what
            assert reopened == []
        assert isinstance(hurried, Done)
        moved = any(getattr(event, "who", None) == names["hurry"] for event in events)
        assert bool(hurried.agents) is bool(hurried.seq) is moved
        await all_see_the_same(hive, crowd)
        await hive.pass_time(6.0)
        if not isinstance(back, Done) or moved:
            await hive.are(State.INTERRUPTED, agent)
    going = {agent for agent in agents if not hive.agent(agent).ended}
    taken_back = {event.agent for event in hive.events(BranchReopened)}
    assert going == taken_back
    await all_see_the_same(hive, crowd)


async def test_a_question_that_five_answer_at_once_is_answered_once(
    folder: Path,
    make_chat_hive: MakeChatHive,  # noqa: F811
    make_crowd: MakeCrowd,
):
    hive = await make_chat_hive(folder=folder)
    echo = call("terminal", command="echo 4$((1 + 1))")
    await hive.launch(asker("a", echo, {"say": "it said {last}"}, cwd=hive.workspace))
    crowd = await make_crowd(hive)
    hash = await question(hive, "a")
    answers = await all_at_once(
        crowd, {name: Answer(agent="a", hash=hash, allow=number % 2 == 0) for number, name in enumerate(NAMES)}
    )
    done = [name for name, answer in answers.items() if isinstance(answer, Done)]
    assert len(done) == 1
    [event] = hive.events(ApprovalAnswered)
    assert event.who == done[0]
    for name, answer in answers.items():
        if name not in done:
            assert isinstance(answer, Refused)
            assert "asks nothing" in answer.what
            assert "may have been answered already" in str(answer.mend)
    await all_see_the_same(hive, crowd)
    await hive.over()
    assert ("42" in str(hive.agent("a").result)) is event.allow
