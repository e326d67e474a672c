"""Signals that cannot hit a stranger: a pid is checked against its start time, the own group is never a target."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterable

from skep.warden import procfs
from skep.warden.procfs import Process


def _has_pidfd() -> bool:
    """Whether processes can be signalled through a descriptor: an old kernel, or a sandbox, may refuse it."""
    if not (hasattr(os, "pidfd_open") and hasattr(signal, "pidfd_send_signal")):
        return False
    try:
        descriptor = os.pidfd_open(os.getpid())
    except OSError:
        return False
    try:
        signal.pidfd_send_signal(descriptor, 0)
    except OSError:
        return False
    finally:
        os.close(descriptor)
    return True


HAS_PIDFD = _has_pidfd()


def send(process: Process, number: int) -> bool:
    """Signal this very process; False if it is gone, its pid has a new owner, or it may not be signalled."""
    descriptor = -1
    try:
        if HAS_PIDFD:
            # The descriptor is bound to whoever has the pid now. If that is still the process that was recorded,
            # it stays so, whatever happens to the pid afterwards.
            descriptor = os.pidfd_open(process.pid)
        if not _is_same(process):
            return False
        if HAS_PIDFD:
            signal.pidfd_send_signal(descriptor, number)
        else:
            os.kill(process.pid, number)
        return True
    except OSError:
        return False
    finally:
        if descriptor >= 0:
            os.close(descriptor)


def send_groups(processes: Iterable[Process], *numbers: int) -> None:
    """Send these signals to every process group that one of the processes is in.

    There is no descriptor for a group. Its number belongs to it as long as it has a member, so one that is there
    right before the signal vouches for it.
    """
    for group, members in _groups(processes).items():
        if any(_is_same(member, group) for member in members):
            send_group(group, *numbers)


def send_group(group: int, *numbers: int) -> None:
    """Send these signals to a process group, unless it is the own one or has just vanished."""
    if group <= 1 or group == os.getpgrp():
        return
    for number in numbers:
        try:
            os.killpg(group, number)
        except (ProcessLookupError, PermissionError):  # vanished, or all of its members belong to somebody else
            return


def has_members(group: int) -> bool:
    """Whether a process group exists and may be signalled."""
    if group <= 1:
        return False
    try:
        os.killpg(group, 0)
    except OSError:
        return False
    return True


def wakeup_pipe() -> int:
    """A descriptor that becomes readable whenever a signal that has a handler arrives in this process."""
    reading, writing = os.pipe()
    os.set_blocking(reading, False)
    os.set_blocking(writing, False)
    signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    return reading


def _groups(processes: Iterable[Process]) -> dict[int, list[Process]]:
    groups: dict[int, list[Process]] = {}
    for process in processes:
        groups.setdefault(process.group, []).append(process)
    return groups


def _is_same(process: Process, group: int | None = None) -> bool:
    now = procfs.read(process.pid)
    return now is not None and now.start == process.start and group in (None, now.group)
