"""Who gets in at the control socket, and what happens to those who do not behave."""

from __future__ import annotations

import asyncio
import os
import socket
import stat
from pathlib import Path

import pytest

from skep.clock import VirtualClock
from skep.control.channel import peer_uid
from skep.control.server import MAX_CONNECTIONS, ControlServer
from skep.control.wire import MAX_FRAME
from skep.errors import BadInput, Refused
from skep.paths import SUN_PATH_LIMIT, socket_path
from tests.control.conftest import Connect, ConnectRaw
from tests.control.listed import ListService, Raw, advance_until, born, pass_time, rounds, runs


def _make(folder: Path, mode: int) -> None:
    folder.mkdir(mode=mode)
    folder.chmod(mode)


def _mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


async def test_socket_and_folder_are_for_their_user_alone(server: ControlServer, folder: Path):
    assert stat.S_ISSOCK(socket_path(folder).stat().st_mode)
    assert _mode(socket_path(folder)) == 0o600
    assert _mode(folder) == 0o700


async def test_a_folder_that_others_can_look_into_is_closed_to_them(service: ListService, folder: Path):
    _make(folder, 0o755)
    server = await ControlServer.start(service, socket_path(folder))
    assert _mode(folder) == 0o700
    await server.close()


async def test_the_socket_of_a_dead_engine_is_replaced(
    service: ListService, folder: Path, clock: VirtualClock, connect: Connect
):
    _make(folder, 0o700)
    dead = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    dead.bind(str(socket_path(folder)))
    dead.close()
    service.happens(*born())
    server = await ControlServer.start(service, socket_path(folder), clock=clock)
    link = await connect()
    assert link.registry.pages() == service.registry.pages()
    await link.close()
    await server.close()
    assert not socket_path(folder).exists()


async def test_a_file_in_the_place_of_the_socket_is_left_alone(service: ListService, folder: Path):
    _make(folder, 0o700)
    socket_path(folder).write_text("mine")
    with pytest.raises(BadInput, match="cannot open the control socket"):
        await ControlServer.start(service, socket_path(folder))
    assert socket_path(folder).read_text() == "mine"


async def test_closing_leaves_the_socket_of_the_next_engine_alone(
    service: ListService, folder: Path, clock: VirtualClock
):
    first = await ControlServer.start(service, socket_path(folder), clock=clock)
    second = await ControlServer.start(service, socket_path(folder), clock=clock)
    await first.close()
    assert socket_path(folder).exists()
    await second.close()
    assert not socket_path(folder).exists()


async def test_a_path_that_is_too_long_is_refused_with_the_mend(service: ListService, folder: Path):
    with pytest.raises(BadInput, match="SKEP_STATE_DIR"):
        await ControlServer.start(service, folder / ("x" * SUN_PATH_LIMIT) / "control.sock")


def test_the_kernel_tells_whose_process_is_at_the_other_end():
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    with ours, theirs:
        assert peer_uid(ours) == os.geteuid()


async def test_another_user_is_refused(service: ListService, folder: Path, connect: Connect):
    server = await ControlServer.start(service, socket_path(folder), uid=os.geteuid() + 1)
    with pytest.raises(Refused, match="belongs to another user"):
        await connect()
    assert server.clients == 0
    await server.close()


async def test_who_says_no_hello_within_five_seconds_is_cut(
    server: ControlServer, raw: ConnectRaw, clock: VirtualClock
):
    silent = await raw()
    reading = asyncio.create_task(silent.answer())
    passed = await advance_until(clock, reading.done)
    assert "no hello" in (await reading)["error"]["message"]
    assert passed == pytest.approx(5.0, abs=0.2)
    assert await silent.is_cut()


@pytest.mark.parametrize(
    ("said", "why"),
    [
        (b'{"jsonrpc":"2.0","id":1,"method":"attach","params":{}}\n', "before hello"),
        (b"GET / HTTP/1.1\n", "cannot be read"),
        (b"\xff\xfe\x00\n", "cannot be read"),
        (b"\n", "cannot be read"),
        (b"[]\n", "no JSON-RPC"),
        (b'{"jsonrpc":"2.0","id":1,"result":null}\n', "no call"),
        (b'{"jsonrpc":"2.0","id":1,"method":"hello","params":{"protocol":NaN}}\n', "NaN"),
        (b'{"jsonrpc":"2.0","id":1,"method":"hello","params":' + b"[" * 100 + b"]" * 100 + b"}\n", "nested"),
        (b'{"jsonrpc":"2.0","id":1,"method":"hello","params":{"protocol":99,"client":"x"}}\n', "protocol 3"),
        (b'{"jsonrpc":"2.0","id":1,"method":"hello","params":{"protocol":3,"client":""}}\n', "client"),
        (b'{"jsonrpc":"2.0","id":1,"method":"hello","params":{"protocol":3,"client":"x","a":1}}\n', "params: a"),
        (b"x" * (MAX_FRAME + 1), "too large"),
    ],
)
async def test_who_begins_with_anything_but_a_sound_hello_is_told_why_and_cut(
    raw: ConnectRaw, server: ControlServer, said: bytes, why: str
):
    client = await raw()
    client.send(said)
    error = (await client.answer())["error"]
    assert why in str(error)
    assert error["data"]["class"] in ("BadInput", "Refused")
    assert await client.is_cut()
    assert server.clients == 0


async def test_garbage_after_a_good_beginning_is_cut_too(raw: ConnectRaw, server: ControlServer):
    client = await raw()
    await client.hello()
    client.send(b'{"jsonrpc":"2.0","id":7,"method":"tail"')
    client.send(b"\n")
    assert "cannot be read" in str(await client.answer())
    assert await client.is_cut()
    await asyncio.wait_for(server.empty(), 5)


async def test_a_frame_over_the_limit_is_refused_before_it_is_complete(raw: ConnectRaw, server: ControlServer):
    client = await raw()
    await client.hello()
    client.send(b'{"jsonrpc":"2.0","id":1,"method":"call","params":{"reason":"' + b"x" * MAX_FRAME)
    assert "too large" in str(await client.answer())
    assert await client.is_cut()


async def test_the_client_over_the_limit_hears_why_and_a_place_that_is_given_up_is_free_again(
    service: ListService, server: ControlServer, raw: ConnectRaw, connect: Connect
):
    service.happens(*born())
    clients = [await raw() for _ in range(MAX_CONNECTIONS)]
    for client in clients:
        await client.hello()
    assert server.clients == MAX_CONNECTIONS
    with pytest.raises(Refused, match="no room"):
        await connect()
    await clients[0].close()
    await rounds()
    assert (await connect()).registry.seq == service.durable


async def test_a_flood_of_half_open_connections_keeps_nothing_from_a_client(
    service: ListService, server: ControlServer, connect: Connect, folder: Path, clock: VirtualClock
):
    service.happens(*born(100, slots=100))
    link = await connect()
    flood = [await Raw.connect(socket_path(folder)) for _ in range(100)]
    for client in flood[::2]:
        client.send(b'{"jsonrpc":')
    for number in range(1, 101):
        service.happens(*runs(f"a{number}"))
    await link.until(lambda state: state.seq == service.durable)
    assert link.registry.pages() == service.registry.pages()
    assert server.clients == 1
    await pass_time(clock, 6.0)
    assert all([await client.is_cut() for client in flood])
    assert (await connect()).registry.pages() == service.registry.pages()
    for client in flood:
        await client.close()


async def test_the_engine_learns_when_the_last_client_has_left(
    service: ListService, server: ControlServer, connect: Connect, clock: VirtualClock
):
    await server.empty()
    assert server.idle_since == 0.0
    first, second = await connect(), await connect()
    assert (server.clients, server.idle_since) == (2, None)
    alone = asyncio.create_task(server.empty())
    await first.close()
    await rounds()
    assert server.clients == 1
    assert not alone.done()
    clock.advance(0.01)
    await second.close()
    await alone
    assert (server.clients, server.idle_since) == (0, 0.01)


async def test_an_engine_that_closes_lets_go_of_its_clients(
    service: ListService, server: ControlServer, raw: ConnectRaw
):
    clients = [await raw() for _ in range(3)]
    await clients[0].hello()
    await server.close()
    assert all([await client.is_cut() for client in clients])
    assert server.clients == 0
    await server.close()
