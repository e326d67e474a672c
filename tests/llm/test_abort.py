"""A request ends at any moment: the other side sees its connection closed before ``abort`` returns."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Iterator

import pytest

from skep.llm.failure import Aborted, AttemptFailed
from skep.llm.messages import Delta, DeltaKind
from tests.llm.desk import Desk, desk, key
from tests.llm.provider import answers, hangs, provider, refuses, stalls


def attempt(at: Desk, hear=lambda delta: None):
    return at.client.attempt(at.provider, key(), b"{}", agent="a1", where="sim", hear=hear)


async def headers_only(exchange) -> None:
    await exchange.head()
    await exchange.closed()


async def half_an_error(exchange) -> None:
    await exchange.head(503, content_type="application/json")
    await exchange.send(b'{"error"')
    await exchange.closed()


@contextlib.contextmanager
def nobody_accepts() -> Iterator[str]:
    """An address whose connections never come about: its backlog is full."""
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(socket.socket())
        server.bind(("127.0.0.1", 0))
        server.listen(0)
        for _ in range(3):
            filler = stack.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(server.getsockname())
        yield f"http://127.0.0.1:{server.getsockname()[1]}/v1"


@pytest.mark.parametrize("script", [hangs, headers_only, stalls, half_an_error])
async def test_an_attempt_that_is_aborted_is_closed_there_and_then(script):
    async with provider(script) as sim, desk(sim.url) as at:
        heard = asyncio.Event()
        tried = attempt(at, lambda delta: heard.set())
        running = asyncio.create_task(tried.run())
        request = await sim.arrival()
        if script is stalls:
            await heard.wait()
        tried.abort()
        assert request.is_closed
        with pytest.raises(Aborted):
            await running


async def test_an_attempt_that_is_aborted_before_it_began_opens_nothing():
    async with provider(answers) as sim, desk(sim.url) as at:
        tried = attempt(at)
        tried.abort()
        with pytest.raises(Aborted):
            await tried.run()
        assert sim.connections == 0


async def test_an_attempt_can_be_aborted_while_it_connects():
    with nobody_accepts() as url:
        async with desk(url) as at:
            tried = attempt(at)
            running = asyncio.create_task(tried.run())
            for _ in range(5):
                await asyncio.sleep(0)
            tried.abort()
            with pytest.raises(Aborted):
                await running


async def test_an_attempt_can_be_aborted_while_it_shakes_hands():
    greeted, gone = asyncio.Event(), asyncio.Event()

    async def deaf(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        greeted.set()
        with contextlib.suppress(ConnectionError):
            while await reader.read(4096):
                pass
        writer.close()
        gone.set()

    server = await asyncio.start_server(deaf, "127.0.0.1", 0)
    async with desk(f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1") as at:
        tried = attempt(at)
        running = asyncio.create_task(tried.run())
        await greeted.wait()
        tried.abort()
        with pytest.raises(Aborted):
            await running
        await gone.wait()
    server.close()


@pytest.mark.parametrize("moment", [1, 2])
async def test_an_attempt_can_be_aborted_by_whoever_hears_it(moment):
    """From within: the cancellation must hit the request, and not what its task does next."""
    async with provider(answers) as sim, desk(sim.url) as at:
        heard = []

        def hear(delta: Delta) -> None:
            heard.append(delta)
            if len(heard) == moment:
                tried.abort()

        tried = attempt(at, hear)
        with pytest.raises(Aborted):
            await tried.run()
        await asyncio.sleep(0)  # a stray cancellation would arrive here
        assert asyncio.current_task().cancelling() == 0


async def test_an_abort_after_the_end_changes_nothing():
    async with provider(answers) as sim, desk(sim.url) as at:
        tried = attempt(at)
        answer = await tried.run()
        tried.abort()
        await asyncio.sleep(0)
        assert answer.message.content == "Hello"
        assert (await attempt(at).run()).message.content == "Hello"


async def test_an_error_of_whoever_hears_closes_the_connection_and_comes_out():
    async with provider(stalls) as sim, desk(sim.url) as at:

        def hear(delta: Delta) -> None:
            raise KeyError(delta.text)

        running = asyncio.create_task(attempt(at, hear).run())
        request = await sim.arrival()
        with pytest.raises(KeyError, match="Hel"):
            await running
        assert request.is_closed


@pytest.mark.parametrize("script", [hangs, stalls])
async def test_a_turn_is_cut_off_wherever_its_request_is(script):
    async with provider(script) as sim, desk(sim.url) as at:
        turn = asyncio.create_task(at.complete())
        request = await sim.arrival()
        if script is stalls:
            await at.ear.some.wait()
            assert at.ear.deltas == [Delta(DeltaKind.TEXT, "Hel")]
        at.cutoff.abort()
        assert request.is_closed
        with pytest.raises(Aborted):
            await turn
        assert len(at.ear.keys) == 1
        assert not at.ear.failures
        view = at.pool.snapshot().keys
        assert sum(seen.failures for seen in view) == 0


async def test_a_turn_is_cut_off_while_it_waits_between_requests():
    async with provider(refuses(503)) as sim, desk(sim.url, keys=1) as at:
        turn = asyncio.create_task(at.complete())
        await at.ear.failed.wait()
        await at.sleeps()
        at.cutoff.abort()
        with pytest.raises(Aborted):
            await turn


async def test_a_turn_is_cut_off_while_it_waits_for_a_key():
    async with provider(refuses(429)) as sim, desk(sim.url, keys=1) as at:
        turn = asyncio.create_task(at.complete())
        await at.stool.waits_now.wait()
        at.cutoff.abort()
        with pytest.raises(Aborted):
            await turn
        assert at.pool.snapshot().waiters == 0


async def test_a_turn_that_was_cut_off_before_it_began_asks_for_nothing():
    async with provider(answers) as sim, desk(sim.url) as at:
        at.cutoff.abort()
        with pytest.raises(Aborted):
            await at.complete()
        assert sim.connections == 0


async def test_a_turn_that_is_cancelled_closes_its_connection_and_stays_cancelled():
    async with provider(stalls) as sim, desk(sim.url) as at:
        turn = asyncio.create_task(at.complete())
        request = await sim.arrival()
        await at.ear.some.wait()
        turn.cancel()
        await asyncio.wait({turn})
        assert turn.cancelled()
        assert request.is_closed


async def test_a_turn_that_is_cancelled_and_cut_off_at_once_stays_cancelled():
    async with provider(stalls) as sim, desk(sim.url) as at:
        turn = asyncio.create_task(at.complete())
        await sim.arrival()
        await at.ear.some.wait()
        at.cutoff.abort()
        turn.cancel()
        await asyncio.wait({turn})
        assert turn.cancelled()


async def test_two_hundred_turns_are_cut_off_in_one_go():
    async with provider(stalls) as sim, desk(sim.url) as at:
        turns = []
        for _ in range(200):
            other = Desk(sim.url)
            other.client, other.pool, other.clock = at.client, at.pool, at.clock
            turns.append((other, asyncio.create_task(other.complete())))
        for other, _ in turns:
            await other.ear.some.wait()
        for other, _ in turns:
            other.cutoff.abort()
        assert all(request.is_closed for request in sim.exchanges)
        ends = await asyncio.gather(*(turn for _, turn in turns), return_exceptions=True)
        assert all(isinstance(end, Aborted) for end in ends)
        assert not any(isinstance(end, AttemptFailed) for end in ends)
