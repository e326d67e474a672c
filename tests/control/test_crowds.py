"""Many clients without manners: the engine does a little for each of them at a time, and keeps nothing of them."""

from __future__ import annotations

import asyncio
import gc
import json
import logging
import socket
import tracemalloc
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Self

import pytest

from skep.clock import VirtualClock
from skep.control.connection import Connection
from skep.control.picture import FAR_BEHIND, STATE_SECONDS
from skep.control.server import LOG_SECONDS, MAX_CONNECTIONS, PATIENCE_SECONDS, ControlServer
from skep.control.service import TailChunk, Who
from skep.control.verbs import Pause, Reply, Request
from skep.control.wire import BATCH_BYTES, MAX_FRAME, MAX_PARTS, PROTOCOL
from skep.model.events import Json
from skep.paths import socket_path
from tests.control.conftest import Connect, ConnectRaw
from tests.control.listed import Deaf, ListService, Raw, advance_until, born, holds, pass_time, rounds, runs
from tests.control.test_turns import Rounds


class CountingService(ListService):
    """Knows what was done for clients in each round of the event loop."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.rounds = Rounds()
        self.called: Counter[int] = Counter()
        """Verbs that were taken up."""
        self.worded: Counter[int] = Counter()
        """Outputs that were put into words."""

    async def call(self, request: Request, who: Who) -> Reply:
        self.called[self.rounds.count] += 1
        return await super().call(request, who)

    async def tail(self, agent: str, first: int, limit: int) -> TailChunk:
        chunk = await super().tail(agent, first, limit)
        return replace(chunk, lines=_Counted(chunk.lines, self))


class _Counted(tuple[str, ...]):
    def __new__(cls, lines: Iterable[str], service: CountingService) -> Self:
        made = super().__new__(cls, lines)
        made.service = service
        return made

    service: CountingService

    def __iter__(self) -> Iterator[str]:
        self.service.worded[self.service.rounds.count] += 1
        return super().__iter__()


@pytest.fixture
async def service(folder: Path) -> AsyncIterator[CountingService]:
    service = CountingService(folder)
    yield service
    service.rounds.close()


async def _crowd(folder: Path, count: int) -> list[Raw]:
    clients = [await Raw.connect(socket_path(folder)) for _ in range(count)]
    for client in clients:
        await client.hello()
    return clients


async def test_however_many_ask_at_once_the_engine_does_a_little_for_them_between_two_rounds_of_its_own(
    service: CountingService, server: ControlServer, connect: Connect, folder: Path
):
    service.happens(*born(), *runs("a1"))
    service.output["a1"] = ["x" * 50] * 500
    good = await connect()
    clients = await _crowd(folder, 60)
    for client in clients:
        for number in range(1, 21):
            if number % 2:
                client.ask("call", {"request": {"verb": "pause"}}, number)
            else:
                client.ask("tail", {"agent": "a1"}, number)
    before = len(service.asked)
    await good.call(Pause(scope="a1"))
    assert len(service.asked) - before <= 60 * 4  # all of theirs are not taken up first
    for client in clients:
        for _ in range(20):
            await client.answer()
    assert sum(service.called.values()) == 60 * 10 + 1
    assert max(service.called.values()) <= 61  # one of each client
    assert sum(service.worded.values()) == 60 * 10
    assert max(service.worded.values()) == 1  # one of all of them
    for client in clients:
        await client.close()


async def test_clients_that_read_nothing_cost_the_memory_of_one_picture_and_not_of_many(
    service: CountingService, server: ControlServer, folder: Path, clock: VirtualClock
):
    service.happens(*born(2_000, spec={"argv": ["convert", "x" * 1_000]}))
    size = sum(map(len, service.registry.pages()))
    assert size > 10 * BATCH_BYTES
    await rounds()
    gc.collect()
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        deaf = [Deaf(socket_path(folder)) for _ in range(40)]
        await rounds(3_000)
        assert server.clients == 40
        now, _ = tracemalloc.get_traced_memory()
        grown = now - before
        await pass_time(clock, PATIENCE_SECONDS + 1.0)
        assert server.clients == 0
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    for one in deaf:
        with one:
            pass
    # One copy of the state in objects and in text, and for each client the frame that it does not take.
    assert grown < 6 * size + 40 * 3 * BATCH_BYTES
    assert grown < 40 * size / 2  # what it would be with a copy for each
    assert after - before < size


@pytest.mark.parametrize("kind", ["silent", "greeted", "attached", "garbage", "torn", "refused", "cut"])
async def test_of_clients_that_come_and_go_nothing_is_left_for_the_garbage_collector(
    service: CountingService, server: ControlServer, folder: Path, clock: VirtualClock, kind: str
):
    """What only a collection takes away piles up between two of them, and each of them stops the engine."""
    service.happens(*born(), *runs("a1"))

    async def come_and_go() -> None:
        client = await Raw.connect(socket_path(folder))
        if kind not in ("silent", "garbage", "cut"):
            await client.hello()
        if kind == "attached":
            client.ask("attach", {"after_seq": 0})
            await client.answer()
        elif kind == "garbage":
            client.send(b"GET / HTTP/1.1\n")
            await client.is_cut()
        elif kind == "torn":
            client.send(b'{"jsonrpc":"2.0","id":1,"method":"ta')
        elif kind == "refused":
            client.ask("tail", {"agent": "nobody"})
            await client.answer()
            client.send(b"\n")
            await client.is_cut()
        elif kind == "cut":
            await rounds()
            await pass_time(clock, 6.0)
            await client.is_cut()
        await client.close()
        await rounds(60)

    await come_and_go()
    gc.collect()
    gc.disable()
    try:
        for _ in range(5):
            await come_and_go()
        left = [thing for thing in gc.get_objects() if isinstance(thing, Connection)]
        assert server.clients == 0
        assert left == []
    finally:
        gc.enable()


async def test_whoever_says_nothing_gives_way_to_somebody_who_does(
    service: CountingService, server: ControlServer, connect: Connect, raw: ConnectRaw, folder: Path
):
    service.happens(*born())
    silent = [await Raw.connect(socket_path(folder)) for _ in range(MAX_CONNECTIONS)]
    await rounds(200)
    links = [await connect() for _ in range(3)]
    assert all(link.registry.seq == service.durable for link in links)
    for client in silent[:3]:
        assert "no room for one more client" in (await client.answer())["error"]["message"]
        assert await client.is_cut()
    # Those who came last are still waited for.
    assert (await silent[-1].hello())["swarm"] == "s-1"
    for client in silent:
        await client.close()


async def test_knocking_a_thousand_times_fills_no_log(
    service: CountingService,
    server: ControlServer,
    folder: Path,
    clock: VirtualClock,
    caplog: pytest.LogCaptureFixture,
):
    inside = await _crowd(folder, MAX_CONNECTIONS)
    with caplog.at_level(logging.INFO):
        for minute in range(1, 3):
            for _ in range(100):
                refused = await Raw.connect(socket_path(folder))
                await refused.is_cut()
                await refused.close()
            assert len(caplog.records) == minute
            clock.advance(LOG_SECONDS)
    assert "100 clients were refused" in caplog.text
    for client in inside:
        await client.close()


async def test_a_frame_that_is_begun_has_to_be_ended_within_ten_seconds(
    service: CountingService, server: ControlServer, raw: ConnectRaw, clock: VirtualClock
):
    client = await raw()
    await client.hello()
    await pass_time(clock, 30.0)  # silence is no fault
    client.send(b'{"jsonrpc":"2.0","id":1,')
    assert await advance_until(clock, lambda: server.clients == 0) == pytest.approx(PATIENCE_SECONDS, abs=0.5)


@pytest.mark.parametrize("parts", ["[],", '"",', "0,", "{},"])
async def test_what_would_cost_much_to_read_is_refused_before_it_is_read(
    service: CountingService, server: ControlServer, raw: ConnectRaw, parts: str
):
    client = await raw()
    await client.hello()
    many = (parts * (MAX_FRAME // len(parts)))[: MAX_FRAME - 200].rpartition(",")[0]
    client.send(b'{"jsonrpc":"2.0","id":1,"method":"tail","params":{"agent":[%b]}}\n' % many.encode())
    assert f"more than {MAX_PARTS:,} parts" in str(await client.answer())
    assert await client.is_cut()


async def test_a_text_may_be_long_and_full_of_brackets(service: CountingService, raw: ConnectRaw):
    service.happens(*born())
    client = await raw()
    await client.hello()
    client.ask("call", {"request": {"verb": "pause", "reason": '[{"\\' * 125}}, 1)
    assert (await client.answer())["id"] == 1
    client.ask("tail", {"agent": '[{,"' * 100_000}, 2)
    assert "64 characters" in str(await client.answer())


class Slow:
    """A client of which nothing takes in more than it says: not even its end of the socket."""

    def __init__(self, folder: Path) -> None:
        self._end = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._end.connect(str(socket_path(folder)))
        self._end.setblocking(False)
        self._held = b""
        for number, method, params in (
            (1, "hello", {"protocol": PROTOCOL, "client": "slow"}),
            (2, "attach", {"after_seq": 0}),
        ):
            call = {"jsonrpc": "2.0", "id": number, "method": method, "params": params}
            self._end.sendall(json.dumps(call).encode() + b"\n")

    async def frame(self) -> dict[str, Json]:
        """Take one frame, and hardly more."""
        while b"\n" not in self._held:
            data = await asyncio.wait_for(asyncio.get_running_loop().sock_recv(self._end, 16 * 1024), 10)
            assert data, "the server hung up"
            self._held += data
        line, _, self._held = self._held.partition(b"\n")
        return json.loads(line)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._end.close()


async def test_who_takes_the_state_too_slowly_is_cut(
    service: CountingService, server: ControlServer, folder: Path, clock: VirtualClock
):
    service.happens(*born(2_000, spec={"argv": ["convert", "x" * 1_500]}))
    with Slow(folder) as slow:
        await rounds(100)
        assert server.clients == 1
        passed = 0.0
        while server.clients and passed < 3 * STATE_SECONDS:
            for _ in range(4):  # in four seconds: never ten without any
                await slow.frame()
            await pass_time(clock, 4.0)
            passed += 4.0
    assert passed == pytest.approx(STATE_SECONDS, abs=4.5)


async def test_who_falls_far_behind_gets_the_state_instead_of_all_that_it_missed(
    service: CountingService, server: ControlServer, folder: Path
):
    service.happens(*born())
    with Slow(folder) as slow:
        while (await slow.frame()).get("id") != 2:
            pass
        for _ in range(10):  # it reads nothing meanwhile
            service.happens(*holds(FAR_BEHIND // 5, "x" * 100))
            await rounds(100)
        told, pages, seq = 0, 0, 0
        while seq < service.durable:
            frame = await slow.frame()
            if frame.get("method") == "events":
                told += len(frame["params"]["records"])
                seq = frame["params"]["records"][-1][0]
            elif frame.get("method") == "snapshot" and frame["params"]["page"] == 0:
                pages += 1
                seq = json.loads(frame["params"]["text"])["seq"]
    assert pages
    assert told < FAR_BEHIND
