"""A served list of events, and links to it that are let go at the end."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from skep.clock import VirtualClock
from skep.control.client import SocketLink
from skep.control.server import ControlServer
from skep.paths import socket_path
from tests.control.listed import ListService, Raw

Connect = Callable[..., Awaitable[SocketLink]]
ConnectRaw = Callable[[], Awaitable[Raw]]


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock()


@pytest.fixture
def folder() -> Iterator[Path]:
    # Not tmp_path: the path of a socket must be short.
    with tempfile.TemporaryDirectory(prefix="skep-") as name:
        yield Path(name) / "swarm"


@pytest.fixture
async def service(folder: Path) -> ListService:
    return ListService(folder)


@pytest.fixture
async def server(service: ListService, folder: Path, clock: VirtualClock) -> AsyncIterator[ControlServer]:
    server = await ControlServer.start(service, socket_path(folder), clock=clock)
    yield server
    await server.close()


@pytest.fixture
async def connect(folder: Path, clock: VirtualClock) -> AsyncIterator[Connect]:
    async with AsyncExitStack() as links:

        async def connect(*, read_only: bool = False, once: bool = False) -> SocketLink:
            link = await SocketLink.connect(folder, client="you", read_only=read_only, once=once, clock=clock)
            links.push_async_callback(link.close)
            return link

        yield connect


@pytest.fixture
async def raw(server: ControlServer, folder: Path) -> AsyncIterator[ConnectRaw]:
    async with AsyncExitStack() as clients:

        async def connect() -> Raw:
            client = await Raw.connect(socket_path(folder))
            clients.push_async_callback(client.close)
            return client

        yield connect
