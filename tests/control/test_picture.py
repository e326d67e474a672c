"""What a client sees is what the engine has: state, events, live figures, output, and how old they are."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from skep.clock import VirtualClock
from skep.control.client import SocketLink
from skep.control.server import PATIENCE_SECONDS, ControlServer
from skep.control.wire import MAX_FRAME
from skep.control.words import KEPT_SECONDS
from skep.errors import Unreachable
from skep.model.agent import Live
from skep.model.events import ROOT, AgentQueued, LatchClosed
from skep.model.states import DriverKind, State, Strength
from skep.paths import socket_path
from tests.control.conftest import Connect, ConnectRaw
from tests.control.listed import (
    Deaf,
    ListService,
    advance_until,
    born,
    ends,
    holds,
    pass_time,
    rounds,
    runs,
)

pytestmark = pytest.mark.usefixtures("server")


async def _same(service: ListService, *links: SocketLink) -> None:
    for link in links:
        await link.until(lambda state: state.seq >= service.durable)
        assert link.registry.pages() == service.registry.pages()


async def test_two_clients_see_what_the_engine_has(service: ListService, connect: Connect):
    service.happens(*born(20))
    early = await connect()
    await _same(service, early)
    for number in range(1, 6):
        service.happens(*runs(f"a{number}"))
    late = await connect()
    await _same(service, early, late)
    service.happens(*ends("a1"), *holds(3), *ends("a2", State.FAILED))
    await _same(service, early, late)


async def test_a_state_far_larger_than_a_frame_arrives_whole(service: ListService, connect: Connect):
    service.happens(*born(600, spec={"argv": ["printf", 'a "quoted" \\ line\n' * 300]}))
    assert max(map(len, service.registry.pages())) > 2 * MAX_FRAME
    await _same(service, await connect())


async def test_an_event_larger_than_a_frame_arrives_as_a_new_state(service: ListService, connect: Connect):
    service.happens(*born(1))
    link = await connect()
    service.happens(LatchClosed("", Strength.SPAWNS, "x" * MAX_FRAME, "you"))
    service.happens(*holds(2))
    await _same(service, link)


async def test_what_is_not_durable_is_not_seen(service: ListService, connect: Connect, clock: VirtualClock):
    service.happens(*born())
    link = await connect()
    service.happens(*runs("a1"), durable=False)
    soon = await connect()  # the copy of the state that was made for the first one is good enough for it
    await pass_time(clock, KEPT_SECONDS + 1.0)
    late = asyncio.create_task(connect())
    await pass_time(clock, 3.0)
    assert [one.registry.agent("a1").state for one in (link, soon)] == [State.QUEUED, State.QUEUED]
    assert not late.done()
    service.becomes_durable()
    await advance_until(clock, late.done)
    await _same(service, link, soon, late.result())


async def test_with_a_full_disk_a_client_gets_what_is_durable_and_hears_of_the_trouble(
    service: ListService, connect: Connect, clock: VirtualClock
):
    service.happens(*born())
    kept = service.registry.pages()
    service.happens(*runs("a1"), durable=False)
    service.trouble = "the disk is full"
    link = await connect()
    assert link.registry.pages() == kept
    await advance_until(clock, lambda: link.state.trouble == "the disk is full")
    service.trouble = None
    service.becomes_durable()
    await advance_until(clock, lambda: link.state.trouble is None)
    await _same(service, link)


@pytest.mark.parametrize(
    ("argument", "reason"),
    [("x" * 100_000, "short"), ("short", "x" * 400)],
    ids=["the state", "the events"],
)
async def test_a_client_that_does_not_take_its_data_is_cut_and_another_one_goes_on(
    service: ListService,
    server: ControlServer,
    connect: Connect,
    clock: VirtualClock,
    folder: Path,
    argument: str,
    reason: str,
):
    service.happens(*born(20, spec={"argv": [argument]}))
    quick = await connect()
    with Deaf(socket_path(folder)):
        await rounds()
        assert server.clients == 2
        for _ in range(4):
            service.happens(*holds(500, reason))
            await _same(service, quick)
        passed = await advance_until(clock, lambda: server.clients == 1)
        assert passed == pytest.approx(PATIENCE_SECONDS, abs=0.5)
        service.happens(*holds(1))
        await _same(service, quick)


async def test_live_figures_come_coalesced_four_times_a_second(
    service: ListService, connect: Connect, clock: VirtualClock
):
    service.happens(*born(), *runs("a1"), *runs("a2"))
    service.registry.tell_live([("a1", Live("before", 1.0, 1, 10))])
    link = await connect()
    assert link.registry.live("a1") == Live("before", 1.0, 1, 10)
    watch = link.registry.watch()
    watch.take()
    for number in range(1, 101):
        service.registry.tell_live([("a2", Live(f"line {number}", 2.0, number, number * 10))])
    passed = await advance_until(clock, lambda: link.registry.live("a2").lines > 0)
    assert passed <= 0.3
    assert link.registry.live("a2") == Live("line 100", 2.0, 100, 1_000)
    assert watch.take().live == {"a2"}


async def test_live_figures_of_the_ended_are_gone_and_never_come_late(
    service: ListService, connect: Connect, clock: VirtualClock
):
    service.happens(*born(), *runs("a1"))
    service.registry.tell_live([("a1", Live("working", 1.0, 1, 10))])
    link = await connect()
    service.registry.tell_live([("a1", Live("last words", 1.0, 2, 20))])
    service.happens(*ends("a1"))
    await _same(service, link)
    await pass_time(clock, 1.0)
    assert link.registry.live("a1") == Live()


async def test_live_figures_of_an_agent_that_may_not_be_seen_yet_come_once_it_may(
    service: ListService, connect: Connect, clock: VirtualClock
):
    service.happens(*born())
    link = await connect()
    service.happens(AgentQueued("a4", ROOT, "late", DriverKind.COMMAND, "", {}), *runs("a4"), durable=False)
    service.registry.tell_live([("a4", Live("early", 1.0, 1, 1))])
    await pass_time(clock, 1.0)
    assert link.registry.live("a4") == Live()
    service.becomes_durable()
    await advance_until(clock, lambda: link.registry.live("a4").activity == "early")


async def test_output_of_the_followed_agent_comes_and_only_that(
    service: ListService, connect: Connect, clock: VirtualClock
):
    service.happens(*born(), *runs("a1"), *runs("a2"))
    service.output = {"a1": ["old"], "a2": ["other"]}
    link = await connect()
    link.follow("a1")
    await rounds()
    service.output["a1"] += ["new 1", "new 2"]
    service.output["a2"] += ["not asked for"]
    await pass_time(clock, 0.2)
    service.output["a1"] += ["new 3"]
    await pass_time(clock, 0.2)
    ((agent, chunk),) = link.take_output()
    assert (agent, chunk.first, chunk.lines) == ("a1", 1, ("new 1", "new 2", "new 3"))
    assert link.take_output() == []
    link.follow(None)
    await rounds()
    service.output["a1"] += ["nobody looks"]
    await pass_time(clock, 0.5)
    assert link.take_output() == []


async def test_nobody_looks_for_output_of_an_agent_that_has_ended_and_said_all(
    service: ListService, connect: Connect, clock: VirtualClock
):
    service.happens(*born(), *runs("a1"))
    service.output["a1"] = []
    link = await connect()
    link.follow("a1")
    await rounds()
    service.output["a1"] += ["last words"]
    service.happens(*ends("a1"))
    await pass_time(clock, 1.0)
    looks = service.looks
    await pass_time(clock, 2.0)
    assert service.looks == looks
    assert [chunk.lines for _, chunk in link.take_output()] == [("last words",)]


async def test_an_output_flood_is_bounded_and_what_was_skipped_shows(
    service: ListService, connect: Connect, clock: VirtualClock
):
    service.happens(*born(), *runs("a1"))
    service.output["a1"] = []
    link = await connect()
    link.follow("a1")
    await rounds()
    for start in range(0, 50_000, 5_000):
        service.output["a1"] += [f"line {number}" for number in range(start, start + 5_000)]
        await pass_time(clock, 0.1)
    await pass_time(clock, 0.5)
    chunks = [chunk for _, chunk in link.take_output()]
    assert sum(len(chunk.lines) for chunk in chunks) == 2_000
    for chunk in chunks:
        assert chunk.lines == tuple(f"line {chunk.first + i}" for i in range(len(chunk.lines)))
    assert chunks[-1].lines[-1] == "line 49999"


async def test_a_tail_larger_than_a_frame_comes_whole(service: ListService, connect: Connect):
    service.happens(*born(), *runs("a1"))
    service.output["a1"] = [f"{number} " + "é" * 4_000 for number in range(1_000)]
    chunk = await (await connect()).tail("a1", -900, 900)
    assert (chunk.first, chunk.total) == (100, 1_000)
    assert list(chunk.lines) == service.output["a1"][100:]


async def test_the_age_of_the_picture_is_known(
    service: ListService, connect: Connect, clock: VirtualClock, server: ControlServer
):
    service.happens(*born())
    link = await connect()
    for _ in range(10):
        await pass_time(clock, 0.5)
        assert link.state.behind <= 1.0
    await server.close()
    await rounds()
    clock.advance(7.0)
    assert link.state.behind >= 7.0
    assert not link.state.connected


async def test_silence_is_broken_about_once_a_second_and_only_silence(
    service: ListService, raw: ConnectRaw, clock: VirtualClock
):
    service.happens(*born())
    client = await raw()
    await client.hello()
    client.ask("attach", {"after_seq": 0})
    await client.answer()
    for _ in range(20):
        service.happens(*holds(1))
        await pass_time(clock, 0.5)
    await pass_time(clock, 10.0)
    client.ask("shutdown", {}, 9)
    told: list[str] = []
    while "method" in (frame := await client.read()):
        told.append(str(frame["method"]))
    assert told[:20] == ["events"] * 20
    assert set(told[20:]) == {"ping"}
    assert 9 <= len(told[20:]) <= 14


async def test_until_waits_for_what_the_engine_tells(service: ListService, connect: Connect, clock: VirtualClock):
    service.happens(*born())
    link = await connect()
    waiting = asyncio.create_task(link.until(lambda state: state.agents["a1"].state is State.RUNNING))
    too_short = asyncio.create_task(link.until(lambda state: False, timeout=2.0))
    await rounds()
    assert not waiting.done()
    service.happens(*runs("a1"))
    await waiting
    assert await advance_until(clock, too_short.done) == pytest.approx(2.0, abs=0.1)
    with pytest.raises(TimeoutError):
        await too_short


async def test_whoever_waits_on_a_link_that_is_closed_is_told(service: ListService, connect: Connect):
    service.happens(*born())
    link = await connect()
    waiting = asyncio.create_task(link.until(lambda state: False))
    await rounds()
    await link.close()
    with pytest.raises(Unreachable):
        await waiting
    with pytest.raises(Unreachable):
        await link.tail("a1")


async def test_events_are_told_from_the_first_and_go_on(service: ListService, connect: Connect):
    service.happens(*born())
    link = await connect()
    told = []

    async def read() -> None:
        async for record in link.events():
            told.append(record)

    reading = asyncio.create_task(read())
    await rounds(200)
    assert told == service.all_records()
    service.happens(*runs("a1"), *ends("a1"))
    await rounds(200)
    assert told == service.all_records()
    reading.cancel()
    await asyncio.gather(reading, return_exceptions=True)


async def test_a_fast_stream_of_questions_does_not_hold_up_the_others(
    service: ListService, connect: Connect, raw: ConnectRaw
):
    service.happens(*born())
    service.output["a1"] = ["x" * 5_000] * 500
    greedy = await raw()
    await greedy.hello()
    for number in range(200):
        greedy.ask("tail", {"agent": "a1", "first": -500, "limit": 500}, number)
    link = await connect()
    service.happens(*runs("a1"))
    await _same(service, link)
