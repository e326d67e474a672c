"""A guard: stands over one command at a time and knows, from the kernel, when its whole tree is gone."""

from __future__ import annotations

import errno
import math
import os
import select
import signal
import time
from collections.abc import Iterator

from skep.warden import procfs, signalling, wire
from skep.warden.ladder import GRACE, PATIENCE, Ladder
from skep.warden.order import Order
from skep.warden.procfs import Process
from skep.warden.spawn import Fault, SpawnFault, spawn
from skep.warden.wire import Kind, Link

REAPED_AT_ONCE = 256
"""Processes that are reaped before a look at what else there is: a fork storm may end them as fast as that."""


class Guard:
    """Runs commands, one after the other, in the process that it is made in.

    That process is a child subreaper: every orphan below it becomes its own child. So "no child is left" is the
    proof that the tree of the command is gone, daemons and sessions of their own included; and a guard that has
    seen it is as good as new for the next command.
    """

    ladder: type[Ladder] = Ladder
    """How it takes its trees down; a test may put a fault there."""

    __slots__ = (
        "_base",
        "_behind",
        "_channel",
        "_group",
        "_ladder",
        "_last",
        "_link",
        "_main",
        "_number",
        "_poller",
        "_start",
        "_wakeup",
    )

    def __init__(self, link: Link, wakeup: int, base: dict[bytes, bytes]) -> None:
        self._link = link
        self._channel = link.fileno()
        self._wakeup = wakeup
        self._base = base
        self._number = 0  # of the run that is guarded; 0: none
        self._main = 0  # pid of its main process, until that is reaped
        self._group = 0  # of its main process, until everything is gone
        self._behind = False  # with reaping
        self._last = False  # no further command after this one
        self._ladder = self.ladder(self._tree, self._main_group)
        self._start = _start_of(os.getpid())
        self._poller = select.poll()
        self._poller.register(wakeup, select.POLLIN)
        self._poller.register(self._channel, select.POLLIN)

    def serve(self) -> None:
        """Work until the warden lets this guard go or is gone; returns only when nothing is left to guard."""
        while self._number or not self._last:
            self._wait()
            self._reap()
            if self._ladder.climb(time.monotonic()):
                self._report_left()
            self._flush()

    def _wait(self) -> None:
        pause = 0.0 if self._behind else self._ladder.due - time.monotonic()
        for descriptor, _ in self._poller.poll(None if pause == math.inf else max(0, math.ceil(pause * 1000))):
            if descriptor == self._wakeup:
                os.read(self._wakeup, 4096)
                continue
            for kind, number, payload in self._link.receive():
                self._obey(kind, number, payload)
            self._flush()

    def _flush(self) -> None:
        if self._channel < 0:
            return
        emptied = self._link.flush()
        if self._link.closed:
            self._poller.unregister(self._channel)
            self._channel = -1
            self._close(GRACE)
        else:
            self._poller.modify(self._channel, select.POLLIN if emptied else select.POLLIN | select.POLLOUT)

    def _obey(self, kind: int, number: int, payload: bytes) -> None:
        now = time.monotonic()
        if kind == Kind.RUN:
            self._run(number, payload)
        elif kind == Kind.CLOSE:
            self._close(*wire.GRACE.unpack(payload))
        elif number != self._number:
            pass  # about a run that ended before its sender could know
        elif kind == Kind.KILL:
            self._ladder.kill(now)
        elif kind == Kind.TERMINATE:
            self._ladder.terminate(now, math.inf if self._main else PATIENCE)
        elif kind == Kind.INTERRUPT and self._main:  # unreaped, it holds on to its pid and thereby to its group
            signalling.send_group(self._main, signal.SIGINT)

    def _close(self, grace: float) -> None:
        self._last = True
        if self._number:
            self._ladder.terminate(time.monotonic(), grace)

    def _run(self, number: int, payload: bytes) -> None:
        output = self._link.take_descriptor()
        try:
            if output < 0:
                raise Fault(SpawnFault.OTHER, errno.EMFILE)
            self._main = self._group = spawn(Order.unpack(payload), self._base, output)
        except Fault as fault:
            self._link.send(Kind.REFUSED, number, wire.FAULT.pack(fault.reason, fault.number))
        else:
            self._number = number
            pids = (self._main, _start_of(self._main), os.getpid(), self._start)
            self._link.send(Kind.BEGUN, number, wire.STARTED.pack(*pids))
        finally:
            os.chdir("/")  # keep no folder of a command in use
            if output >= 0:
                os.close(output)

    def _reap(self) -> None:
        self._behind = False
        if not self._number:
            return
        main = self._main
        try:
            for _ in range(REAPED_AT_ONCE):
                pid, status = os.waitpid(-1, os.WNOHANG)
                if pid == 0:
                    break
                if pid == self._main:
                    self._main = 0
                    self._link.send(Kind.EXITED, self._number, wire.ENDED.pack(status))
            else:
                self._behind = True
        except ChildProcessError:
            if not self._lingers():
                self._link.send(Kind.GONE, self._number)
                self._ladder.reset()
                self._number = self._group = 0
                return
        if main and not self._main:
            self._end_leftovers()

    def _main_group(self) -> int:
        """The group of the main process, as long as its number cannot have passed to another one; else 0."""
        return self._main or (self._group if self._lingers() else 0)

    def _lingers(self) -> bool:
        """Where orphans do not come to their guard and cannot be seen: whether the main group has members yet."""
        return not procfs.is_there() and signalling.has_members(self._group)

    def _end_leftovers(self) -> None:
        """The main process ended, others did not: what nobody is ending already is ended now."""
        self._report_left()
        now = time.monotonic()
        if not self._ladder.climbing:
            self._ladder.terminate(now, GRACE)
        else:
            self._ladder.hasten(now, PATIENCE)

    def _report_left(self) -> None:
        self._link.send(Kind.LEFT, self._number, procfs.report(self._tree()))

    @staticmethod
    def _tree() -> Iterator[Process]:
        return procfs.descendants(os.getpid())


def _start_of(pid: int) -> int:
    process = procfs.read(pid)
    return process.start if process else 0
