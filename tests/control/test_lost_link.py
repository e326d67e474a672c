"""A link that is lost comes back without a gap, without a double, and says what happened meanwhile."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from skep.clock import VirtualClock
from skep.control.client import SocketLink
from skep.control.server import ControlServer
from skep.errors import Unreachable
from skep.journal import FolderLock
from skep.model.events import ROOT, AgentQueued, Record, SwarmCreated
from skep.model.states import DriverKind
from skep.paths import socket_path
from tests.control.conftest import Connect
from tests.control.listed import ListService, advance_until, born, ends, holds, rounds, runs


class Engine:
    """A service whose server can be taken away and put back."""

    def __init__(self, service: ListService, clock: VirtualClock) -> None:
        self.service = service
        self._clock = clock
        self._server: ControlServer | None = None

    @property
    def clients(self) -> int:
        return self._server.clients if self._server is not None else 0

    async def up(self, service: ListService | None = None) -> None:
        self.service = service or self.service
        self._server = await ControlServer.start(self.service, socket_path(self.service.folder), clock=self._clock)

    async def down(self) -> None:
        if self._server is not None:
            await self._server.close()
            await rounds()


@pytest.fixture
async def engine(service: ListService, clock: VirtualClock) -> AsyncIterator[Engine]:
    engine = Engine(service, clock)
    await engine.up()
    yield engine
    await engine.down()


@pytest.fixture
def owner(folder: Path) -> Iterator[FolderLock]:
    """The lock that says that the engine's process lives."""
    with FolderLock(folder) as lock:
        yield lock


def _caught_up(link: SocketLink, service: ListService) -> bool:
    return link.state.connected and link.registry.seq == service.durable


async def test_what_happened_meanwhile_is_made_up_for_without_gap_or_double(
    engine: Engine, owner: FolderLock, connect: Connect, clock: VirtualClock
):
    service = engine.service
    service.happens(*born(), *runs("a1"))
    link = await connect()
    told: list[Record] = []

    async def read() -> None:
        async for record in link.events():
            told.append(record)

    reading = asyncio.create_task(read())
    for number in range(3):
        await rounds()
        await engine.down()
        assert not link.state.connected
        assert link.state.trouble
        service.happens(*holds(700 + number))
        await engine.up()
        await advance_until(clock, lambda: _caught_up(link, service))
        service.happens(*holds(10))
        await link.until(lambda state: state.seq == service.durable)
        assert link.registry.pages() == service.registry.pages()
    await advance_until(clock, lambda: len(told) == service.durable)
    assert told == service.all_records()
    reading.cancel()
    await asyncio.gather(reading, return_exceptions=True)


async def test_only_what_is_missing_is_sent_again(
    engine: Engine, owner: FolderLock, connect: Connect, clock: VirtualClock
):
    engine.service.happens(*born())
    link = await connect()
    with link.registry.read() as state:
        before = state
    await engine.down()
    engine.service.happens(*runs("a1"))
    await engine.up()
    await advance_until(clock, lambda: _caught_up(link, engine.service))
    with link.registry.read() as state:
        assert state is before


async def test_after_a_long_absence_the_state_comes_instead_of_the_events(
    engine: Engine, owner: FolderLock, connect: Connect, clock: VirtualClock
):
    engine.service.happens(*born())
    link = await connect()
    with link.registry.read() as state:
        before = state
    await engine.down()
    engine.service.happens(*holds(20_001))
    await engine.up()
    await advance_until(clock, lambda: _caught_up(link, engine.service))
    with link.registry.read() as state:
        assert state is not before
    assert link.registry.pages() == engine.service.registry.pages()


async def test_a_state_that_breaks_off_in_the_middle_leaves_nothing_behind(
    engine: Engine, owner: FolderLock, connect: Connect, clock: VirtualClock, caplog: pytest.LogCaptureFixture
):
    engine.service.happens(*born(1))
    link = await connect()
    before = link.registry.pages()
    await engine.down()
    engine.service.happens(*holds(20_001))
    for number in range(2, 42):
        asked = AgentQueued(f"a{number}", ROOT, "big", DriverKind.COMMAND, "", {"argv": ["x" * 100_000]})
        engine.service.happens(asked)
    await engine.up()
    await advance_until(clock, lambda: engine.clients == 1)
    clock.advance(0.001)
    while link.state.behind:  # until the first piece is there
        await rounds(1)
    await engine.down()
    assert link.registry.pages() == before
    await engine.up()
    with caplog.at_level(logging.INFO):
        await advance_until(clock, lambda: _caught_up(link, engine.service))
    assert caplog.messages == []
    assert link.registry.pages() == engine.service.registry.pages()


async def test_an_engine_that_lost_its_last_events_is_believed(
    engine: Engine, owner: FolderLock, connect: Connect, clock: VirtualClock, folder: Path
):
    engine.service.happens(*born(), *runs("a1"), *ends("a1"))
    link = await connect()
    await engine.down()
    restored = ListService(folder)
    restored.happens(*born(), *runs("a2"))
    await engine.up(restored)
    await advance_until(clock, lambda: _caught_up(link, restored))
    assert link.registry.pages() == restored.registry.pages()


async def test_two_histories_that_have_parted_are_noticed_and_the_engines_is_taken(
    engine: Engine, owner: FolderLock, connect: Connect, clock: VirtualClock, folder: Path
):
    engine.service.happens(*born(), *runs("a1"))
    link = await connect()
    await engine.down()
    other = ListService(folder)
    other.happens(*born(), *runs("a2"), *ends("a2"), *runs("a1"))
    await engine.up(other)
    await advance_until(clock, lambda: _caught_up(link, other))
    assert link.registry.pages() == other.registry.pages()


async def test_output_goes_on_where_it_was_cut_off(
    engine: Engine, owner: FolderLock, connect: Connect, clock: VirtualClock
):
    service = engine.service
    service.happens(*born(), *runs("a1"))
    service.output["a1"] = ["before"]
    link = await connect()
    link.follow("a1")
    await rounds()
    service.output["a1"] += ["1"]
    lines: list[str] = []

    def heard() -> list[str]:
        lines.extend(line for _, chunk in link.take_output() for line in chunk.lines)
        return lines

    await advance_until(clock, lambda: heard() == ["1"])
    await engine.down()
    service.output["a1"] += ["2", "3"]
    await engine.up()
    await advance_until(clock, lambda: heard() == ["1", "2", "3"])


async def test_while_the_link_is_down_a_verb_fails_at_once_and_a_waiting_caller_waits(
    engine: Engine, owner: FolderLock, connect: Connect, clock: VirtualClock
):
    engine.service.happens(*born())
    link = await connect()
    waiting = asyncio.create_task(link.until(lambda state: state.seq == 7))
    await engine.down()
    with pytest.raises(Unreachable):
        await link.tail("a1")
    await rounds()
    assert not waiting.done()
    engine.service.happens(*runs("a1"))
    await engine.up()
    await advance_until(clock, waiting.done)
    await waiting


async def test_when_no_process_owns_the_swarm_any_more_nobody_waits_for_ever(
    engine: Engine, owner: FolderLock, connect: Connect, clock: VirtualClock
):
    engine.service.happens(*born())
    link = await connect()
    waiting = asyncio.create_task(link.until(lambda state: False))
    await engine.down()
    await advance_until(clock, lambda: clock.monotonic() > 5.0)
    assert not waiting.done()
    owner.release()
    await advance_until(clock, waiting.done)
    with pytest.raises(Unreachable, match="no engine runs this swarm"):
        await waiting
    with pytest.raises(Unreachable):
        await anext(link.events())


async def test_another_swarm_at_the_same_place_is_not_mixed_in(
    engine: Engine, owner: FolderLock, connect: Connect, clock: VirtualClock, folder: Path
):
    engine.service.happens(*born())
    link = await connect()
    pages = link.registry.pages()
    await engine.down()
    stranger = ListService(folder)
    stranger.happens(SwarmCreated("s-2", "other", "/", 1), *born()[1:], *runs("a1"))
    await engine.up(stranger)
    await advance_until(clock, lambda: "another swarm" in str(link.state.trouble))
    assert link.registry.pages() == pages


async def test_an_engine_that_is_reached_before_its_swarm_is_begun_is_the_same_one_later(
    engine: Engine, owner: FolderLock, connect: Connect, clock: VirtualClock
):
    link = await connect()
    assert link.info.swarm == ""
    await engine.down()
    engine.service.happens(*born())
    await engine.up()
    await advance_until(clock, lambda: _caught_up(link, engine.service))
    assert link.info.swarm == "s-1"
    assert link.registry.pages() == engine.service.registry.pages()


async def test_a_swarm_without_an_engine_is_said_to_have_none(folder: Path, clock: VirtualClock):
    with pytest.raises(Unreachable, match="no engine runs this swarm") as caught:
        await SocketLink.connect(folder, client="you", clock=clock)
    assert "skep attach" in str(caught.value.mend)


async def test_an_engine_that_stands_still_is_named_after_five_seconds(
    folder: Path, owner: FolderLock, clock: VirtualClock
):
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as stuck:
        stuck.bind(str(socket_path(folder)))
        stuck.listen()
        connecting = asyncio.create_task(SocketLink.connect(folder, client="you", clock=clock))
        assert await advance_until(clock, connecting.done) == pytest.approx(5.0, abs=0.2)
        with pytest.raises(Unreachable, match=r"process \d+\) does not answer"):
            await connecting
