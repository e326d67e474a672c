"""A signal hits whom it is meant for or nobody, with process descriptors and without."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest

from skep.warden import procfs, signalling
from skep.warden.procfs import Process
from tests.warden.support import Watch

_STAT = b"%d (%s) S %d %d 13 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 %d 0 0"


@pytest.fixture
def sleeper(watch: Watch) -> Iterator[subprocess.Popen[bytes]]:
    """A process in a group of its own."""
    with subprocess.Popen(["sleep", "600"], start_new_session=True) as process:
        watch.add(process.pid)
        yield process
        process.kill()


def _read(pid: int) -> Process:
    process = procfs.read(pid)
    assert process is not None
    return process


def _like(process: Process, *, start: int | None = None, group: int | None = None) -> Process:
    """The process as it would have been recorded if it were another one that had its pid."""
    start = process.start if start is None else start
    group = process.group if group is None else group
    return Process(process.pid, _STAT % (process.pid, process.name, process.parent, group, start))


def test_a_pid_that_has_a_new_owner_is_not_signalled(sleeper: subprocess.Popen[bytes], watch: Watch) -> None:
    process = _read(sleeper.pid)
    before = _like(process, start=process.start - 1)
    assert not signalling.send(before, signal.SIGKILL)
    signalling.send_groups([before], signal.SIGKILL)
    assert watch.living() == {sleeper.pid}
    assert signalling.send(process, signal.SIGKILL)
    assert sleeper.wait() == -signal.SIGKILL
    assert not signalling.send(process, signal.SIGKILL)


def test_a_group_is_signalled_only_while_somebody_is_known_to_be_in_it(
    sleeper: subprocess.Popen[bytes], watch: Watch
) -> None:
    process, gone = _read(sleeper.pid), subprocess.Popen(["true"])
    was_there = _like(_read(gone.pid), group=process.group)
    gone.wait()
    moved = _like(_read(os.getpid()), group=process.group)  # lives, and is in another group now
    signalling.send_groups([was_there, moved], signal.SIGKILL)
    assert watch.living() == {sleeper.pid}
    signalling.send_groups([was_there, moved, process], signal.SIGKILL)
    assert sleeper.wait() == -signal.SIGKILL


def test_the_own_group_is_never_a_target() -> None:
    me = _read(os.getpid())
    signalling.send_groups([me], signal.SIGKILL)
    signalling.send_group(os.getpgrp(), signal.SIGKILL)
    signalling.send_group(0, signal.SIGKILL)
    signalling.send_group(1, signal.SIGKILL)


WITHOUT_PIDFD = """
import ctypes, struct

def refuse_pidfds():
    '''As an old kernel does, or a sandbox: the call does not exist.'''
    pidfd_open, allow, enosys = 434, 0x7FFF0000, 0x00050000 | 38
    steps = (0x20, 0, 0, 0), (0x15, 0, 1, pidfd_open), (6, 0, 0, enosys), (6, 0, 0, allow)
    code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *step) for step in steps))
    class Filter(ctypes.Structure):
        _fields_ = [("length", ctypes.c_ushort), ("code", ctypes.c_void_p)]
    libc = ctypes.CDLL(None, use_errno=True)
    assert libc.prctl(38, 1, 0, 0, 0) == 0
    return libc.prctl(22, 2, ctypes.byref(Filter(4, ctypes.addressof(code))), 0, 0) == 0

if not refuse_pidfds():
    print("no filter")
    raise SystemExit

import asyncio, os, sys
from skep.warden import signalling
from skep.warden.client import Warden
from tests.warden import zoo
from tests.warden.support import Output, python

async def main():
    assert not signalling.HAS_PIDFD
    warden = await Warden.start("without-pidfd-" + str(os.getpid()), dict(os.environ))
    commands = []
    for script in (zoo.IGNORES_TERM, zoo.DAEMON, zoo.STOPPED, zoo.SCRUBBED_DAEMON, zoo.FORK_STORM):
        output = Output()
        commands.append(await warden.run("bee", python(script), cwd="/", env={}, output=output.writing))
        print(*await output.lines_until("ready"), flush=True)
        output.close()
    for command in commands:
        command.kill()
        await command.gone()
    await warden.close(grace=0)
    print("ended")

asyncio.run(main())
"""


def test_without_process_descriptors_everything_is_ended_all_the_same() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", WITHOUT_PIDFD],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        stdout=subprocess.PIPE,
        text=True,
    ) as engine:
        assert engine.stdout is not None
        lines = engine.stdout.read().split("\n")
    if lines[0] == "no filter":
        pytest.skip("system calls cannot be refused here")
    assert lines[-2:] == ["ended", ""]
    for pid in (int(pid) for line in lines[:-2] for pid in line.split()):
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)
