"""Each clock of a request ends it at its time and not before; the time is virtual."""

from __future__ import annotations

import asyncio

import pytest

from skep.keys import OutcomeKind
from skep.llm.clocks import Clocks
from tests.llm.desk import Desk, desk, until
from tests.llm.provider import Exchange, LoopbackProvider, hangs, provider, stalls


async def begins(at: Desk, sim: LoopbackProvider) -> tuple[asyncio.Task[None], Exchange]:
    turn = asyncio.create_task(at.complete())
    return turn, await sim.arrival()


async def settled() -> None:
    """Whatever was woken has run."""
    for _ in range(10):
        await asyncio.sleep(0)


async def struck_after(at: Desk, seconds: float, by: str) -> None:
    """The request in flight fails ``seconds`` from now, and not a second earlier."""
    at.clock.advance(seconds - 1)
    await settled()
    assert not at.ear.failures
    at.clock.advance(1)
    await at.ear.failed.wait()
    failure = at.ear.failures[0]
    assert (failure.what, failure.why) == ("the request timed out", by)
    assert (failure.outcome.kind, failure.retryable, failure.reached) == (OutcomeKind.CONNECTION, True, True)


async def stopped(turn: asyncio.Task[None]) -> None:
    turn.cancel()
    await asyncio.wait({turn})


async def test_a_provider_that_never_answers_is_given_up_after_two_minutes():
    async with provider(hangs) as sim, desk(sim.url) as at:
        turn, request = await begins(at, sim)
        await struck_after(at, 120, "no event for 120s")
        assert request.is_closed
        await stopped(turn)


async def test_comments_do_not_stand_in_for_the_first_event():
    async def comments(exchange: Exchange) -> None:
        await exchange.head()
        await exchange.send(b": still there\n\n" * 3)
        await exchange.closed()

    async with provider(comments) as sim, desk(sim.url) as at:
        turn, _ = await begins(at, sim)
        await struck_after(at, 120, "no event for 120s")
        await stopped(turn)


async def test_a_stream_without_a_byte_is_given_up_after_a_minute():
    async with provider(stalls) as sim, desk(sim.url) as at:
        turn, request = await begins(at, sim)
        await at.ear.some.wait()
        await struck_after(at, 60, "not a byte for 60s")
        assert request.is_closed
        assert at.ear.partials == ["Hel"]
        await stopped(turn)


async def test_comments_keep_the_line_alive_but_are_no_progress():
    tick = asyncio.Event()

    async def ticks(exchange: Exchange) -> None:
        await exchange.head()
        await exchange.text("Hel")
        while True:
            await tick.wait()
            tick.clear()
            await exchange.send(b": still there\n\n")
            await exchange.send(b'data: {"choices": []}\n\n')

    async with provider(ticks) as sim, desk(sim.url) as at:
        turn, _ = await begins(at, sim)
        await at.ear.some.wait()
        for _ in range(3):
            at.clock.advance(50)
            tick.set()
            await until(lambda: not tick.is_set())
            await sent()
        assert not at.ear.failures
        await struck_after(at, 30, "no progress for 180s")
        await stopped(turn)


async def sent() -> None:
    """What was sent over loopback has been read: nothing else goes on in this process."""
    for _ in range(50):
        await asyncio.sleep(0)


async def test_a_request_as_a_whole_has_ten_minutes_however_busy_it_is():
    tick = asyncio.Event()

    async def trickles(exchange: Exchange) -> None:
        await exchange.head()
        await exchange.text("Hel")
        while True:
            await tick.wait()
            tick.clear()
            await exchange.text("x")

    async with provider(trickles) as sim, desk(sim.url) as at:
        turn, _ = await begins(at, sim)
        await at.ear.some.wait()
        for _ in range(11):
            at.ear.some.clear()
            at.clock.advance(50)
            tick.set()
            await at.ear.some.wait()
        await struck_after(at, 50, "not complete after 600s")
        await stopped(turn)


async def test_a_stream_that_does_not_end_after_its_answer_is_left_without_harm():
    async def lingers(exchange: Exchange) -> None:
        await exchange.head()
        await exchange.event(choices=[{"delta": {"content": "Hello"}, "finish_reason": "stop"}])
        await exchange.send(b"data: [DONE]\n\n")
        await exchange.closed()

    async with provider(lingers) as sim, desk(sim.url) as at:
        turn, request = await begins(at, sim)
        await at.ear.some.wait()
        await sent()
        assert not turn.done()
        at.clock.advance(2)
        assert (await turn).attempts == 1
        assert request.is_closed


async def test_a_connection_that_does_not_come_about_has_ten_seconds():
    async with asyncio.TaskGroup() as group:
        greeted = asyncio.Event()
        gone = asyncio.Event()

        async def deaf(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.read(1)
            greeted.set()
            while await reader.read(4096):
                pass
            writer.close()
            gone.set()

        server = await asyncio.start_server(deaf, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        async with desk(f"https://127.0.0.1:{port}/v1", keys=1) as at:
            turn = group.create_task(at.complete())
            await greeted.wait()
            at.clock.advance(9)
            await settled()
            assert not at.ear.failures
            at.clock.advance(1)
            await at.ear.failed.wait()
            assert at.ear.failures[0].why == "no connection after 10s"
            assert at.ear.failures[0].reached is False
            await gone.wait()
            turn.cancel()
        server.close()


def test_a_clock_without_time_is_refused():
    with pytest.raises(ValueError, match="above zero"):
        Clocks(byte=0)
