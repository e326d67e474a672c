"""What processes cannot be made to show at will: the ladder's clock, the wire's edges, odd process names."""

from __future__ import annotations

import ctypes
import math
import os
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import skep
from skep.warden import wire
from skep.warden.guard import Guard
from skep.warden.ladder import ATTEMPT, Ladder
from skep.warden.order import Order
from skep.warden.procfs import Process
from skep.warden.signalling import wakeup_pipe
from skep.warden.wire import Frame, Kind, Link
from tests.warden.support import Watch


@pytest.fixture
def ladder() -> Ladder:
    return Ladder(list)  # of a tree without processes: only the clock is of interest


def test_terminate_is_followed_by_a_kill_after_the_grace(ladder: Ladder) -> None:
    ladder.terminate(100.0, grace=10.0)
    assert ladder.due == 110.0
    assert not ladder.climb(109.0)
    assert ladder.due == 110.0
    assert not ladder.climb(110.0)  # sweeps
    assert 110.0 < ladder.due < 111.0


def test_a_second_request_shortens_the_ladder_and_never_restarts_it(ladder: Ladder) -> None:
    ladder.terminate(100.0, grace=10.0)
    ladder.terminate(105.0, grace=10.0)
    assert ladder.due == 110.0
    ladder.terminate(106.0, grace=2.0)
    assert ladder.due == 108.0
    ladder.kill(107.0)
    assert ladder.due == 107.0
    ladder.terminate(107.0, grace=50.0)
    assert ladder.due == 107.0


def test_a_grace_without_end_leaves_the_kill_to_the_caller(ladder: Ladder) -> None:
    ladder.terminate(100.0, grace=math.inf)
    assert ladder.climbing
    assert not ladder.climb(1e9)
    ladder.hasten(200.0, 10.0)
    assert ladder.due == 210.0


def test_what_outlives_the_quick_sweeps_is_reported_and_swept_at_a_slow_pace(ladder: Ladder) -> None:
    ladder.kill(100.0)
    now, passes = 100.0, 0
    while not ladder.climb(now):
        passes += 1
        assert ladder.due > now
        now = ladder.due
    assert now == pytest.approx(100.0 + ATTEMPT, abs=0.1)
    assert 10 < passes < 30, "quick at first, and then no more than a machine with many such trees can bear"
    assert ladder.due >= now + 0.2
    assert ladder.climb(ladder.due)
    ladder.reset()
    assert ladder.due == math.inf
    assert not ladder.climbing


@pytest.fixture
def links() -> Iterator[tuple[Link, Link]]:
    ours, theirs = map(Link, socket.socketpair())
    yield ours, theirs
    ours.close()
    theirs.close()


def test_descriptors_arrive_with_the_frames_that_they_were_sent_with(links: tuple[Link, Link]) -> None:
    ours, theirs = links
    pipes = [os.pipe() for _ in range(3)]
    ours.send(Kind.KILL, 9)
    for number, (_, writing) in enumerate(pipes):
        ours.send(Kind.RUN, number, b"x" * 100_000 * number, writing)
        ours.send(Kind.INTERRUPT, number)
    frames = []
    while len(frames) < 7:
        ours.flush()
        frames += theirs.receive()
    assert [(kind, number) for kind, number, _ in frames] == [
        (Kind.KILL, 9),
        *((kind, number) for number in range(3) for kind in (Kind.RUN, Kind.INTERRUPT)),
    ]
    assert [len(payload) for kind, _, payload in frames if kind == Kind.RUN] == [0, 100_000, 200_000]
    for number, (reading, _) in enumerate(pipes):
        descriptor = theirs.take_descriptor()
        assert not os.get_inheritable(descriptor)
        os.write(descriptor, b"%d" % number)
        os.close(descriptor)
        assert os.read(reading, 10) == b"%d" % number
        assert os.read(reading, 10) == b""  # the sender's copy is closed
        os.close(reading)
    assert theirs.take_descriptor() == -1


def test_a_peer_that_does_not_read_blocks_nobody_and_loses_nothing(links: tuple[Link, Link]) -> None:
    ours, theirs = links
    ours.send(Kind.RUN, 1, bytes(5_000_000))
    ours.send(Kind.KILL, 1)
    assert not ours.flush()
    frames = []
    while len(frames) < 2:
        frames += theirs.receive()
        ours.flush()
    assert [(kind, len(payload)) for kind, _, payload in frames] == [(Kind.RUN, 5_000_000), (Kind.KILL, 0)]


def test_a_link_whose_peer_went_away_is_closed_and_swallows_what_it_is_given(links: tuple[Link, Link]) -> None:
    ours, theirs = links
    reading, writing = os.pipe()
    theirs.close()
    assert ours.receive() == []
    assert ours.closed
    ours.send(Kind.RUN, 1, b"", writing)
    assert ours.flush()
    assert os.read(reading, 1) == b""
    os.close(reading)


@pytest.fixture
def guarded(links: tuple[Link, Link]) -> Iterator[Link]:
    """The warden's end of the link to a guard, which is a child of the test."""
    ours, theirs = links
    pid = os.fork()
    if pid == 0:
        ours.close()
        signal.signal(signal.SIGCHLD, lambda *_: None)
        Guard(theirs, wakeup_pipe(), {b"PATH": os.fsencode(os.defpath)}).serve()
        os._exit(0)
    theirs.close()
    yield ours
    ours.close()
    assert os.waitpid(pid, 0) == (pid, 0)


def _converse(link: Link, last: Kind) -> list[Frame]:
    """What the guard says, up to the first frame of this kind."""
    frames: list[Frame] = []
    link.flush()
    while last not in [kind for kind, _, _ in frames]:
        assert select.select([link], [], [], 10)[0]
        frames += link.receive()
    return frames


def test_a_signal_that_was_meant_for_an_earlier_run_does_not_hit_the_present_one(guarded: Link) -> None:
    for number, program in ((1, b"true"), (2, b"sleep 600")):
        order = Order([b"sh", b"-c", program], b"/", {})
        guarded.send(Kind.RUN, number, order.pack(), os.open(os.devnull, os.O_WRONLY))
        _converse(guarded, Kind.GONE if number == 1 else Kind.BEGUN)
    guarded.send(Kind.KILL, 1)
    guarded.send(Kind.TERMINATE, 2)
    (status,) = [
        wire.ENDED.unpack(payload)[0] for kind, _, payload in _converse(guarded, Kind.GONE) if kind == Kind.EXITED
    ]
    assert os.waitstatus_to_exitcode(status) == -signal.SIGTERM


@pytest.fixture
def blind() -> Iterator[Link]:
    """The warden's end of the link to a guard on a system where /proc says nothing and orphans go elsewhere."""
    ours, theirs = map(Link, socket.socketpair())
    hidden, says_so = os.pipe()
    pid = os.fork()
    if pid == 0:
        ours.close()
        signal.signal(signal.SIGCHLD, lambda *_: None)
        if not _hide_proc():
            os._exit(2)
        os.write(says_so, b".")
        Guard(theirs, wakeup_pipe(), {b"PATH": os.fsencode(os.defpath)}).serve()
        os._exit(0)
    theirs.close()
    os.close(says_so)
    is_hidden = os.read(hidden, 1)
    os.close(hidden)
    if not is_hidden:
        ours.close()
        os.waitpid(pid, 0)
        pytest.skip("/proc cannot be hidden here")
    yield ours
    ours.close()
    assert os.waitpid(pid, 0) == (pid, 0)


def _hide_proc() -> bool:
    """In a mount namespace of its own, with an empty folder over it."""
    libc = ctypes.CDLL(None)
    new_namespace, private, recursive = 0x00020000, 1 << 18, 1 << 14
    return (
        libc.unshare(new_namespace) == 0
        and libc.mount(b"none", b"/", None, private | recursive, None) == 0
        and libc.mount(b"none", b"/proc", b"tmpfs", 0, None) == 0
    )


def test_where_processes_cannot_be_seen_the_main_group_is_ended(blind: Link, watch: Watch) -> None:
    """Also what of it outlives the main process."""
    script = b"trap '' TERM; sleep 600 & trap - TERM; echo $$ $! >&2; wait"
    reading, writing = os.pipe()
    blind.send(Kind.RUN, 1, Order([b"sh", b"-c", script], b"/", {}).pack(), writing)
    _converse(blind, Kind.BEGUN)
    watch.add(*map(int, os.read(reading, 100).split()))
    os.close(reading)
    blind.send(Kind.TERMINATE, 1)
    frames = _converse(blind, Kind.LEFT)
    assert [kind for kind, _, _ in frames] == [Kind.EXITED, Kind.LEFT]
    assert len(watch.living()) == 1
    blind.send(Kind.KILL, 1)
    frames = _converse(blind, Kind.GONE)  # when whoever adopted it has reaped it, which may take a while
    assert {kind for kind, _, _ in frames} <= {Kind.LEFT, Kind.GONE}
    assert watch.living() == set()


_STAT = b"%d (%s) %s 11 12 13 0 -1 0 0 0 0 0 0 0 0 0 20 0 %d 0 777 0 0"


def test_a_process_name_may_look_like_the_rest_of_the_line() -> None:
    process = Process(7, _STAT % (7, b"a) S 1 (b", b"D", 1))
    assert (process.name, process.state, process.parent, process.group) == (b"a) S 1 (b", b"D", 11, 12)
    assert (process.start, process.living) == (777, True)


@pytest.mark.parametrize(("threads", "living"), [(1, False), (2, True)])
def test_a_zombie_lives_as_long_as_one_of_its_threads(threads: int, living: bool) -> None:
    assert Process(7, _STAT % (7, b"x", b"Z", threads)).living is living


def test_the_wardens_own_process_stays_small() -> None:
    source = str(Path(skep.__file__).parents[1])
    script = f"import sys; sys.path.insert(0, {source!r}); import skep.warden.main; print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-I", "-S", "-c", script], stdout=subprocess.PIPE, check=True, timeout=10, text=True
    ).stdout.split()
    assert "skep.warden.keeper" in loaded
    assert set(loaded).isdisjoint({"asyncio", "subprocess", "typing", "dataclasses", "json", "skep.errors"})
