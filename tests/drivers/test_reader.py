"""A pipe is read whole, and a program that floods it waits for the loop and not the loop for it."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator

import pytest

from skep.drivers.floodgate import Floodgate
from skep.drivers.reader import FLOOD_BYTES, FLOOD_SPAN, READ_BYTES, Reader

LIMIT = 10.0


class Taken:
    """What was read, and a way to wait for it."""

    def __init__(self) -> None:
        self.data = bytearray()
        self._grew = asyncio.Event()

    def __call__(self, data: bytes) -> None:
        self.data += data
        self._grew.set()

    async def until(self, size: int) -> None:
        async with asyncio.timeout(LIMIT):
            while len(self.data) < size:
                self._grew.clear()
                await self._grew.wait()


@pytest.fixture
def ends() -> Iterator[tuple[int, int]]:
    reading, writing = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
    yield reading, writing
    os.close(writing)


async def _write_all(end: int, data: bytes) -> None:
    """Write as a blocking program would: as fast as the pipe takes it."""
    os.set_blocking(end, True)
    await asyncio.to_thread(_blocking_write, end, data)


def _blocking_write(end: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(end, view) :]


async def test_everything_is_read_in_order_also_from_a_flood(ends: tuple[int, int]):
    taken = Taken()
    reader = Reader(ends[0], taken, Floodgate())
    data = os.urandom(1_000) * 2_000
    writing = asyncio.create_task(_write_all(ends[1], data))
    await taken.until(len(data))
    await writing
    reader.close()
    assert bytes(taken.data) == data


async def test_a_flood_is_slowed_down_to_its_rate(ends: tuple[int, int]):
    """However fast a program writes, in a span of time only so much of it reaches the engine."""
    taken = Taken()
    reader = Reader(ends[0], taken, Floodgate())
    loop = asyncio.get_running_loop()
    began = loop.time()
    size = 6 * FLOOD_BYTES
    writing = asyncio.create_task(_write_all(ends[1], bytes(size)))
    await taken.until(size)
    took = loop.time() - began
    await writing
    reader.close()
    # One read may go over the bytes of its span, and the last span need not end.
    spans = size // (FLOOD_BYTES + READ_BYTES)
    assert took >= (spans - 1) * FLOOD_SPAN


async def test_draining_takes_what_is_there_and_waits_for_nobody(ends: tuple[int, int]):
    taken = Taken()
    reader = Reader(ends[0], taken, Floodgate())
    os.write(ends[1], b"last words")
    await reader.drain()
    assert bytes(taken.data) == b"last words"
    await reader.drain()
    reader.close()
    reader.close()
    await reader.drain()
    assert bytes(taken.data) == b"last words"


async def test_draining_reads_on_where_a_pause_has_stopped_the_reading(ends: tuple[int, int]):
    taken = Taken()
    reader = Reader(ends[0], taken, Floodgate())
    writing = asyncio.create_task(_write_all(ends[1], bytes(FLOOD_BYTES + READ_BYTES // 2)))
    await taken.until(FLOOD_BYTES)
    await writing
    await reader.drain()
    reader.close()
    assert len(taken.data) == FLOOD_BYTES + READ_BYTES // 2


async def test_the_end_of_the_stream_closes_the_reader():
    reading, writing = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
    taken = Taken()
    reader = Reader(reading, taken, Floodgate())
    os.write(writing, b"bye")
    os.close(writing)
    await taken.until(3)
    await reader.drain()
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(reading)
    reader.close()
