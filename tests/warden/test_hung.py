"""A warden or guard that does not go on by itself: one that was stopped is woken, one that hangs is replaced."""

from __future__ import annotations

import asyncio
import ctypes
import os
import signal
from collections.abc import Iterator

import pytest

from skep.drivers.program import Programs
from skep.errors import Refused
from skep.model.states import StopStep
from skep.warden.client import Command, Exit, Warden
from tests.warden import zoo
from tests.warden.support import LIMIT, Start, Watch, gone, python

_PTRACE_SEIZE, _PTRACE_INTERRUPT, _WALL = 0x4206, 0x4207, 0x40000000

GOES_ON_INTERRUPT = """
signal.signal(signal.SIGINT, lambda *_: os._exit(3))
signal.signal(signal.SIGTERM, lambda *_: os._exit(4))
ready(os.getpid())
while True: time.sleep(600)
"""

STOPS_ITS_GUARD = """
guard = os.getppid()
def work():
    os.setsid()
    ready(os.getpid())
    while True: os.kill(guard, signal.SIGSTOP)
child(work)
time.sleep(600)
"""


@pytest.mark.parametrize("who", ["warden", "guard"])
@pytest.mark.parametrize(
    ("how", "end"),
    [
        (Command.interrupt, Exit(3, None)),
        (Command.terminate, Exit(4, None)),
        (Command.kill, Exit(None, signal.SIGKILL)),
    ],
)
async def test_every_signal_gets_through_where_somebody_has_stopped_who_carries_it(
    start: Start, warden: Warden, who: str, how, end: Exit
) -> None:
    command, output = await start(python(GOES_ON_INTERRUPT))
    await output.lines_until("ready")
    os.kill({"warden": warden.pid, "guard": command.guard}[who], signal.SIGSTOP)
    how(command)
    await gone(command)
    assert await command.exited() == end


async def test_a_stopped_warden_and_a_stopped_idle_guard_still_start_what_they_are_told_to(
    start: Start, warden: Warden
) -> None:
    first, _ = await start(["true"])
    await gone(first)
    for pid in (warden.pid, first.guard):
        os.kill(pid, signal.SIGSTOP)
    second, _ = await start(["sh", "-c", "exit 5"])
    await gone(second)
    assert await second.exited() == Exit(5, None)
    assert second.guard == first.guard


async def test_a_guard_that_is_stopped_as_often_as_it_is_woken_is_killed_and_its_work_done(
    start: Start, watch: Watch
) -> None:
    command, output = await start(python(STOPS_ITS_GUARD))
    watch.add(command.pid, *map(int, await output.lines_until("ready")))
    other, other_output = await start(python(zoo.IGNORES_TERM))
    await other_output.lines_until("ready")
    command.kill()
    await gone(command)
    assert watch.living() == set()
    assert await other.alive()


class Hung:
    """Processes that this one traces and holds: no signal but KILL gets them to go on."""

    def __init__(self) -> None:
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._held: list[int] = []

    def hold(self, pid: int) -> None:
        if self._libc.ptrace(_PTRACE_SEIZE, pid, 0, 0):
            pytest.skip(f"tracing is not allowed here: {os.strerror(ctypes.get_errno())}")
        self._held.append(pid)
        assert self._libc.ptrace(_PTRACE_INTERRUPT, pid, 0, 0) == 0
        assert os.WIFSTOPPED(os.waitpid(pid, _WALL)[1])

    async def killed(self) -> None:
        """Wait until they have been; their parents hear of it only then."""
        async with asyncio.timeout(LIMIT):
            for pid in self._held:
                _, status = await asyncio.to_thread(os.waitpid, pid, _WALL)
                assert os.WTERMSIG(status) == signal.SIGKILL
        self._held.clear()

    def close(self) -> None:
        for pid in self._held:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, _WALL)


@pytest.fixture
def hung() -> Iterator[Hung]:
    made = Hung()
    yield made
    made.close()


async def test_a_guard_that_hangs_is_killed_and_the_warden_ends_its_tree(
    start: Start, watch: Watch, hung: Hung
) -> None:
    command, output = await start(python(zoo.SCRUBBED_DAEMON))
    watch.add(command.pid, *map(int, await output.lines_until("ready")))
    hung.hold(command.guard)
    command.kill()
    await hung.killed()
    await gone(command)
    assert watch.living() == set()
    assert await command.exited() == Exit(None, None)


async def test_a_start_that_hangs_ends_with_its_agent(start: Start, warden: Warden, hung: Hung) -> None:
    """The guard waits for the kernel, as it does for a program on a file system that does not answer."""
    first, _ = await start(["true"])
    await gone(first)
    hung.hold(first.guard)

    async def a_warden() -> Warden:
        return warden

    program = Programs(a_warden).of("bee", lambda data: None)
    running = asyncio.create_task(
        program.run(["true"], cwd="/", env={}, begun=lambda pid: pytest.fail("it has begun"))
    )
    await asyncio.sleep(0)
    for step in StopStep:
        program.stop(step)
        await asyncio.sleep(0)
    assert not running.done()
    await hung.killed()
    with pytest.raises(Refused, match="stopped while it started"):
        await running
