"""Signals that cannot hit a stranger: a pid is checked against its start time, the own group is never a target."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterable

from skep.warden import procfs
from skep.warden.procfs import Process

_HAS_PIDFD = hasattr(os, "pidfd_open") and hasattr(signal, "pidfd_send_signal")


def send(process: Process, number: int) -> bool:
    """Signal this very process; False if it is gone, its pid has a new owner, or it may not be signalled."""
    try:
        if not _HAS_PIDFD:
            return _is_same(process) and _kill(process.pid, number)
        descriptor = os.pidfd_open(process.pid)
    except OSError:
        return False
    try:
        # The descriptor is bound to whoever has the pid now. If that is still the process that was recorded, it
        # stays so, whatever happens to the pid afterwards.
        if not _is_same(process):
            return False
        signal.pidfd_send_signal(descriptor, number)
        return True
    except OSError:
        return False
    finally:
        os.close(descriptor)


def send_group(group: int, *numbers: int) -> None:
    """Send these signals to a process group, unless it is the own one or has just vanished."""
    if group <= 1 or group == os.getpgrp():
        return
    for number in numbers:
        try:
            os.killpg(group, number)
        except (ProcessLookupError, PermissionError):  # vanished, or all of its members belong to somebody else
            return


def groups(processes: Iterable[Process]) -> set[int]:
    """The process groups that these processes are in."""
    return {process.group for process in processes}


def wakeup_pipe() -> int:
    """A descriptor that becomes readable whenever a signal that has a handler arrives in this process."""
    reading, writing = os.pipe()
    os.set_blocking(reading, False)
    os.set_blocking(writing, False)
    signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    return reading


def _is_same(process: Process) -> bool:
    now = procfs.read(process.pid)
    return now is not None and now.start == process.start


def _kill(pid: int, number: int) -> bool:
    os.kill(pid, number)
    return True
