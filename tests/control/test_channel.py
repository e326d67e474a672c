"""A channel carries whole frames, whatever the socket does with the bytes."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator

import pytest

from skep.clock import VirtualClock
from skep.control.channel import Channel
from skep.control.wire import MAX_FRAME
from skep.errors import BadInput, Unreachable
from tests.control.listed import advance_until, rounds

Pair = tuple[Channel, Channel]


@pytest.fixture
def pair(clock: VirtualClock) -> Iterator[Pair]:
    left, right = (Channel(end, clock, 10.0) for end in socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM))
    yield left, right
    left.close()
    right.close()


def _line(text: str, size: int = 1) -> bytes:
    return text.encode() * size + b"\n"


async def test_frames_arrive_one_by_one_and_in_order(pair: Pair):
    left, right = pair
    await left.write(_line("one") + _line("two") + b"thr")
    await left.write(b"ee\n")
    assert [await right.read() for _ in range(3)] == [b"one\n", b"two\n", b"three\n"]


async def test_large_frames_of_several_writers_do_not_mix(pair: Pair):
    left, right = pair
    frames = [_line(letter, MAX_FRAME - 1) for letter in "abcd"]
    writing = asyncio.gather(*(left.write(frame) for frame in frames))
    assert [await right.read() for _ in frames] == frames
    await writing


async def test_a_frame_without_an_end_is_refused_before_it_fills_the_memory(pair: Pair):
    left, right = pair
    writing = asyncio.create_task(left.write(b"x" * 3 * MAX_FRAME))
    with pytest.raises(BadInput, match="too large"):
        await right.read()
    right.close()
    with pytest.raises(Unreachable):
        await writing


async def test_a_peer_that_takes_nothing_is_given_up(pair: Pair, clock: VirtualClock):
    left, _ = pair
    writing = asyncio.create_task(left.write(_line("x", MAX_FRAME - 1)))
    assert await advance_until(clock, writing.done) == pytest.approx(10.0, abs=0.1)
    with pytest.raises(Unreachable, match="takes nothing"):
        await writing


async def test_after_half_a_frame_nothing_more_is_taken_for_its_rest(pair: Pair):
    left, right = pair
    writing = asyncio.create_task(left.write(_line("x", MAX_FRAME - 1)))
    await rounds()
    writing.cancel()
    await asyncio.gather(writing, return_exceptions=True)
    with pytest.raises(Unreachable):
        await left.write(_line("next"))
    with pytest.raises(Unreachable):
        await right.read()


async def test_the_end_of_the_other_side_is_noticed_by_reader_and_writer(pair: Pair):
    left, right = pair
    await right.write(_line("last words"))
    right.close()
    assert await left.read() == b"last words\n"
    with pytest.raises(Unreachable, match="has left"):
        await left.read()
    with pytest.raises(Unreachable, match="has left"):
        await left.write(_line("anybody?"))
