"""A verb is carried out soon or not at all, and whoever asked for it knows which."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from skep.clock import VirtualClock
from skep.control.client import VERB_SECONDS
from skep.control.conversation import Unanswered
from skep.control.link import SILENT_SECONDS
from skep.control.server import ControlServer
from skep.control.verbs import Done, Keys, Pause, Preview, Request, Stop, Unpause
from skep.control.wire import result_frame
from skep.errors import Refused, Unreachable
from skep.journal import FolderLock
from skep.model.events import Json
from skep.paths import private_dir, socket_path
from tests.control.conftest import Connect, ConnectRaw
from tests.control.listed import ListService, advance_until, born, pass_time, rounds
from tests.control.test_versions import greeting


class Stopped:
    """An engine that takes a client in and then stands still, as one that was stopped by a signal."""

    def __init__(self) -> None:
        self.calls: list[dict[str, Json]] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await reader.readline()
            writer.write(greeting())
            attach = json.loads(await reader.readline())
            writer.write(result_frame(attach["id"], {"seq": 0}))
            while frame := await reader.readline():
                self.calls.append(json.loads(frame))
        finally:
            writer.close()


@pytest.fixture
async def stopped(folder: Path) -> AsyncIterator[Stopped]:
    private_dir(folder)
    engine = Stopped()
    server = await asyncio.start_unix_server(engine.serve, socket_path(folder))
    with FolderLock(folder):
        yield engine
        server.close()
        await rounds()


@pytest.mark.parametrize("request_", [Pause(), Stop(agent="a1"), Preview(agent="a1"), Keys()])
async def test_nothing_is_sent_to_an_engine_that_has_not_said_a_word_for_three_seconds(
    stopped: Stopped, connect: Connect, clock: VirtualClock, request_: Request
):
    link = await connect()
    await pass_time(clock, SILENT_SECONDS + 0.5)
    assert link.state.connected
    assert link.state.silent
    with pytest.raises(Unreachable, match=r"has not said a word for 3s: nothing was sent"):
        await link.call(request_)
    await pass_time(clock, 10.0)
    assert stopped.calls == []


async def test_a_client_that_stood_still_itself_does_not_blame_the_engine(
    service: ListService, server: ControlServer, connect: Connect, clock: VirtualClock
):
    service.happens(*born())
    link = await connect(once=True)
    clock.advance(600.0)  # as while somebody reads a question, and this process waits for the answer
    assert link.state.silent
    assert isinstance(await link.call(Pause()), Done)
    assert not link.state.silent


async def test_what_was_sent_before_the_silence_was_noticed_says_how_long_it_holds(
    stopped: Stopped, connect: Connect, clock: VirtualClock
):
    link = await connect()
    await pass_time(clock, 1.0)
    asking = asyncio.create_task(link.call(Pause()))
    await rounds()
    (call,) = stopped.calls
    assert call["params"]["until"] == pytest.approx(clock.monotonic() + VERB_SECONDS)
    await link.close()
    with pytest.raises(Unanswered, match="before its answer came"):
        await asking


async def test_an_engine_does_not_begin_with_a_verb_whose_time_is_over(
    service: ListService, server: ControlServer, raw: ConnectRaw, clock: VirtualClock
):
    service.happens(*born())
    clock.advance(100.0)
    client = await raw()
    await client.hello()
    client.ask("call", {"request": {"verb": "pause"}, "until": 88.0}, 1)
    data = (await client.answer())["error"]["data"]
    assert data["class"] == "Refused"
    assert data["what"] == "pause came too late: nothing was done"
    assert "12s too late" in data["why"]
    client.ask("call", {"request": {"verb": "pause"}, "until": 100.5}, 2)
    assert (await client.answer())["id"] == 2
    assert [request for request, _ in service.asked] == [Pause()]


async def test_a_verb_behind_others_that_wait_for_the_disk_is_refused_when_its_time_is_over(
    service: ListService, server: ControlServer, connect: Connect, clock: VirtualClock
):
    service.happens(*born())
    link = await connect()
    service.gate.clear()
    held = [asyncio.create_task(link.call(Pause())) for _ in range(8)]
    await rounds()
    behind = asyncio.create_task(link.call(Unpause()))
    await pass_time(clock, VERB_SECONDS + 1.0)
    service.gate.set()
    with pytest.raises(Refused, match="unpause came too late"):
        await behind
    assert all(isinstance(done, Done) for done in await asyncio.gather(*held))
    assert [request.verb for request, _ in service.asked] == ["pause"] * 8


async def test_a_link_that_breaks_before_the_answer_does_not_say_that_nothing_was_done(
    service: ListService, folder: Path, connect: Connect, clock: VirtualClock
):
    service.happens(*born())
    server = await ControlServer.start(service, socket_path(folder), clock=clock)
    with FolderLock(folder):
        link = await connect()
        service.gate.clear()
        asking = asyncio.create_task(link.call(Pause()))
        await rounds()
        await server.close()
        with pytest.raises(Unanswered) as caught:
            await asking
        assert "not known" in str(caught.value.why)
        assert [request for request, _ in service.asked] == [Pause()]
        # Once the link is back it is not asked again by itself.
        service.gate.set()
        server = await ControlServer.start(service, socket_path(folder), clock=clock)
        await advance_until(clock, lambda: link.state.connected)
        await pass_time(clock, 2.0)
        assert [request for request, _ in service.asked] == [Pause()]
        with pytest.raises(Refused):  # the link itself works
            await link.call(Unpause())
    await server.close()
