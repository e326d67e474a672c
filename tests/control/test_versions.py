"""Client and engine of different versions: each says what the other one is, and nothing half-works."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from skep import __version__
from skep.clock import VirtualClock
from skep.control.server import ControlServer
from skep.control.wire import PROTOCOL, error_frame, result_frame
from skep.errors import OtherProtocol, Refused, SkepError, Unreachable
from skep.journal import FolderLock
from skep.model.events import Json
from skep.paths import private_dir, socket_path
from tests.control.conftest import Connect, ConnectRaw
from tests.control.listed import ListService, advance_until, born, rounds, runs

OLDER, NEWER = PROTOCOL - 1, PROTOCOL + 1


@asynccontextmanager
async def answering(folder: Path, line: bytes) -> AsyncIterator[list[bytes]]:
    """An engine of which nothing is known but that it answers every frame so; what it is told is kept."""
    told: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while frame := await reader.readline():
                told.append(frame)
                writer.write(line)
        except ConnectionError:
            pass
        finally:
            writer.close()

    private_dir(folder)
    server = await asyncio.start_unix_server(serve, socket_path(folder))
    with FolderLock(folder):
        try:
            yield told
        finally:
            server.close()
            socket_path(folder).unlink()
            await rounds()


def greeting(**changed: Json) -> bytes:
    """What an engine answers to hello; a None leaves its entry out."""
    said: dict[str, Json] = {
        "protocol": PROTOCOL,
        "version": "0.9.0",
        "swarm": "s-1",
        "name": "migrate",
        "pid": 4711,
        "folder": "/x",
    }
    return result_frame(0, {name: value for name, value in (said | changed).items() if value is not None})


# -- a client that the engine does not understand ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("hello", "spoken"),
    [
        ({"protocol": OLDER, "client": "you"}, f"the client protocol {OLDER}"),
        ({"protocol": NEWER, "client": "you"}, f"the client protocol {NEWER}"),
        ({"protocol": NEWER, "client": "you", "dialect": {"new": [1]}}, f"the client protocol {NEWER}"),
        ({"protocol": NEWER}, f"the client protocol {NEWER}"),
        ({"client": "you"}, "the client none that it names"),
        ({"protocol": None, "client": "you"}, "the client none that it names"),
        ({"protocol": str(PROTOCOL), "client": "you"}, "the client none that it names"),
        ({"protocol": True, "client": "you"}, "the client none that it names"),
        ({"protocol": float(PROTOCOL), "client": "you"}, "the client none that it names"),
        ({}, "the client none that it names"),
    ],
)
async def test_a_client_of_another_protocol_hears_which_skep_it_takes_and_is_cut(
    service: ListService, server: ControlServer, raw: ConnectRaw, hello: dict[str, Json], spoken: str
):
    service.happens(*born())
    client = await raw()
    client.ask("hello", hello, 1)
    client.ask("attach", {"after_seq": 0}, 2)
    client.ask("call", {"request": {"verb": "pause"}}, 3)
    data = (await client.answer())["error"]["data"]
    assert data["class"] == "OtherProtocol"
    assert data["why"] == f"the engine speaks protocol {PROTOCOL} (skep {__version__}), {spoken}"
    assert data["mend"] == f"use skep {__version__} for this swarm"
    assert await client.is_cut()
    assert (server.clients, service.asked) == (0, [])


# -- an engine that the client does not understand ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "kind", "why"),
    [
        (greeting(protocol=OLDER), OtherProtocol, f"the engine speaks protocol {OLDER} (skep 0.9.0), the client"),
        (greeting(protocol=NEWER), OtherProtocol, f"the engine speaks protocol {NEWER} (skep 0.9.0), the client"),
        (greeting(protocol=NEWER, swarm=None, pid=None, more=[1]), OtherProtocol, f"protocol {NEWER}"),
        (greeting(protocol=None), OtherProtocol, "none that it names"),
        (greeting(protocol=None, version=None), OtherProtocol, "none that it names"),
        (greeting(protocol="3"), OtherProtocol, "none that it names"),
        (result_frame(0, None), OtherProtocol, "none that it names"),
        (result_frame(0, [1, 2]), OtherProtocol, "none that it names"),
        (greeting(pid=None), Unreachable, "pid"),
        (greeting(pid="\x1b[2J"), Unreachable, "pid"),
        (b"HTTP/1.1 400 Bad Request\n", Unreachable, "cannot be read"),
        (b"\xff\x00\n", Unreachable, "cannot be read"),
        (b"x" * (2 * 1024 * 1024), Unreachable, "too large"),
        (error_frame(None, Refused("this swarm belongs to another user")), Refused, "another user"),
        (b'{"jsonrpc":"2.0","id":0,"error":"no"}\n', SkepError, "answered with an error"),
        (b'{"jsonrpc":"2.0","id":0,"error":{"code":1,"data":{"class":"X","what":"later"}}}\n', SkepError, "later"),
    ],
)
async def test_a_client_says_of_another_engine_what_it_is_and_asks_nothing_of_it(
    folder: Path, connect: Connect, answer: bytes, kind: type[SkepError], why: str
):
    async with answering(folder, answer) as told:
        with pytest.raises(kind) as caught:
            await connect()
        assert why in str(caught.value)
        assert "\x1b" not in str(caught.value)
        if kind in (OtherProtocol, Unreachable):
            assert caught.value.mend
        assert [json.loads(frame)["method"] for frame in told] == ["hello"]


async def test_a_link_whose_swarm_goes_to_another_version_says_so_and_comes_back_with_its_own(
    service: ListService, folder: Path, connect: Connect, clock: VirtualClock
):
    service.happens(*born())
    server = await ControlServer.start(service, socket_path(folder), clock=clock)
    link = await connect()
    pages = link.registry.pages()
    await server.close()
    async with answering(folder, greeting(protocol=NEWER)) as told:
        await advance_until(clock, lambda: bool(link.state.foreign))
        assert link.state.foreign == "use skep 0.9.0 for this swarm"
        assert not link.state.connected
        before = len(told)
        await advance_until(clock, lambda: clock.monotonic() >= 30.0)
        assert len(told) - before <= 40  # it looks now and then, and does not hammer
        assert {json.loads(frame)["method"] for frame in told} == {"hello"}
    assert link.registry.pages() == pages
    service.happens(*runs("a1"))
    server = await ControlServer.start(service, socket_path(folder), clock=clock)
    await advance_until(clock, lambda: link.state.connected and link.registry.seq == service.durable)
    assert not link.state.foreign
    await link.close()
    await server.close()
