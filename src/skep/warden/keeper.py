"""The warden's work: a guard per command, kept warm between commands, and the orphans of killed guards."""

from __future__ import annotations

import errno
import math
import os
import selectors
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator

from skep.warden import order, procfs, signalling, wire
from skep.warden.guard import REAPED_AT_ONCE, Guard
from skep.warden.ladder import ATTEMPT, GRACE, Ladder
from skep.warden.procfs import Process
from skep.warden.spawn import SpawnFault
from skep.warden.wire import Kind, Link

TYPE_CHECKING = False  # typing is not imported here, see wire
if TYPE_CHECKING:
    from typing import NoReturn

_WARM = 16
"""Guards that are kept waiting for a next command; one costs about a megabyte."""

_PATIENCE = ATTEMPT + 1.0
"""Seconds in which a guard that has to kill says something; then it is killed, and its work is done for it …"""
_AT_WORK = 10.0
"""… but one that is seen at work has much to do, and gets so many more, once."""


class Ward:
    """A guard, as the warden sees it."""

    __slots__ = ("is_late", "link", "number", "pid")

    def __init__(self, pid: int, link: Link) -> None:
        self.pid = pid
        self.link = link
        self.number = 0  # of the run that it guards; 0: idle
        self.is_late = False  # has been given more time to kill


class Keeper:
    """The warden's loop. Returns from `serve` when the engine is done or gone and no process is left."""

    def __init__(
        self, engine: Link, engine_pid: int, enter_guard: Callable[[], None], guard: type[Guard] = Guard
    ) -> None:
        self._engine = engine
        self._enter_guard = enter_guard
        self._guard = guard
        self._base: dict[bytes, bytes] = {}
        self._wards: dict[int, Ward] = {}  # by pid
        self._runs: dict[int, Ward] = {}  # by number of the run
        self._idle: list[Ward] = []
        self._awaited: dict[int, float] = {}  # by pid of a guard that has to kill: when it should have answered
        self._lost: list[int] = []  # runs whose guard was killed and whose processes may still live
        self._orphans = Ladder(self._strays)
        self._closing = False
        self._behind = False  # with reaping
        self._wakeup = signalling.wakeup_pipe()
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._wakeup, selectors.EVENT_READ, self._wake)
        self._selector.register(engine, selectors.EVENT_READ, self._hear_engine)
        self._watch(engine_pid)

    def serve(self) -> None:
        """Serve until everything is over."""
        self._engine.send(Kind.READY, 0)
        self._flush(self._engine)
        while self._wards or self._lost or not self._closing:
            for key, _ in self._selector.select(self._pause()):
                if isinstance(key.data, Ward):
                    self._hear_guard(key.data)
                else:
                    key.data()
            if self._behind:
                self._reap()
            if self._lost:
                self._end_orphans()
            self._end_silent_guards()
            self._flush(self._engine)
        self._engine.flush()

    def _pause(self) -> float | None:
        if self._behind:
            return 0.0
        due = min([self._orphans.due, *self._awaited.values()])
        return None if due == math.inf else max(0.0, due - time.monotonic())

    def _wake(self) -> None:
        os.read(self._wakeup, 4096)
        self._reap()

    def _flush(self, link: Link) -> None:
        """Send what can be sent, and have the selector say when more can; forget a link that broke."""
        emptied = link.flush()
        key = self._selector.get_map().get(link.fileno())
        if key is None or key.fileobj is not link:
            return  # forgotten already; its number may have gone to another link since
        if link.closed:
            self._selector.unregister(link)
            if link is self._engine:
                self._close(GRACE)
            return
        events = selectors.EVENT_READ if emptied else selectors.EVENT_READ | selectors.EVENT_WRITE
        if key.events != events:
            self._selector.modify(link, events, key.data)

    # The engine: what it says, and its end

    def _hear_engine(self) -> None:
        for kind, number, payload in self._engine.receive():
            if kind == Kind.RUN:
                self._run(number, payload)
            elif kind == Kind.BASE:
                self._base = order.unpack_environment(payload)
            elif kind == Kind.CLOSE:
                self._close(*wire.GRACE.unpack(payload))
            elif number in self._runs:
                ward = self._runs[number]
                self._tell(ward, Kind(kind), number, payload)
                if kind == Kind.KILL:
                    self._expect(ward, _PATIENCE)

    def _run(self, number: int, payload: bytes) -> None:
        output = self._engine.take_descriptor()
        try:
            if self._closing:
                raise OSError(errno.ECANCELED, "closing")
            ward = self._idle.pop() if self._idle else self._fork()
        except OSError as error:
            if output >= 0:
                os.close(output)
            self._engine.send(Kind.REFUSED, number, wire.FAULT.pack(SpawnFault.OTHER, error.errno or 0))
            return
        ward.number = number
        self._runs[number] = ward
        self._tell(ward, Kind.RUN, number, payload, output)

    def _close(self, grace: float) -> None:
        self._closing = True
        for ward in self._wards.values():
            self._tell(ward, Kind.CLOSE, 0, wire.GRACE.pack(grace))
            self._expect(ward, grace + _PATIENCE)

    def _watch(self, engine_pid: int) -> None:
        """See the engine's end even if another process inherited its socket and keeps that open."""
        if sys.platform == "linux" and signalling.HAS_PIDFD and os.getppid() == engine_pid:
            ended = os.pidfd_open(engine_pid)

            def lose_engine() -> None:
                self._selector.unregister(ended)
                os.close(ended)
                self._engine.close()
                self._flush(self._engine)

            self._selector.register(ended, selectors.EVENT_READ, lose_engine)

    # The guards: what they say, how they come and go

    def _tell(self, ward: Ward, kind: Kind, number: int, payload: bytes, descriptor: int = -1) -> None:
        ward.link.send(kind, number, payload, descriptor)
        self._flush(ward.link)
        os.kill(ward.pid, signal.SIGCONT)  # in case somebody has stopped the guard

    def _expect(self, ward: Ward, within: float) -> None:
        due = time.monotonic() + within
        self._awaited[ward.pid] = min(due, self._awaited.get(ward.pid, due))

    def _end_silent_guards(self) -> None:
        """Kill guards that should have killed and say nothing: their trees come to the warden then."""
        now = time.monotonic()
        for pid in [pid for pid, due in self._awaited.items() if due <= now]:
            guard = procfs.read(pid)
            if guard is not None and guard.state == b"R" and not self._wards[pid].is_late:
                self._wards[pid].is_late = True
                self._awaited[pid] = now + _AT_WORK
            else:
                del self._awaited[pid]
                os.kill(pid, signal.SIGKILL)

    def _hear_guard(self, ward: Ward) -> bool:
        frames = ward.link.receive()
        if frames and ward.pid in self._awaited:
            self._awaited[ward.pid] = max(self._awaited[ward.pid], time.monotonic() + _PATIENCE)
        for kind, number, payload in frames:
            self._engine.send(Kind(kind), number, payload)
            if kind in (Kind.GONE, Kind.REFUSED):
                self._runs.pop(number, None)
                ward.number = 0
                ward.is_late = False
                if not self._closing:
                    self._awaited.pop(ward.pid, None)
                if len(self._idle) < _WARM:
                    self._idle.append(ward)
                else:
                    ward.link.send(Kind.CLOSE, 0, wire.GRACE.pack(0.0))
        self._flush(ward.link)
        return bool(frames)

    def _fork(self) -> Ward:
        ours, theirs = socket.socketpair()
        pid = os.fork()
        if pid == 0:
            self._become_guard(theirs)
        theirs.close()
        ward = Ward(pid, Link(ours))
        self._wards[pid] = ward
        self._selector.register(ward.link, selectors.EVENT_READ, ward)
        return ward

    def _become_guard(self, channel: socket.socket) -> NoReturn:
        """Leave everything of the warden behind; the stack above this call is never returned to."""
        status = 1
        try:
            # Above all the other guards' links: each must end with the warden, and with nobody else.
            for descriptor in [int(name) for name in os.listdir("/dev/fd")]:
                if descriptor > 2 and descriptor != channel.fileno():
                    _close_quietly(descriptor)
            # A session of its own: a signal to the group of one guard is for no other, and where the kernel shares
            # out its time by sessions, guards get theirs however busy the commands are.
            os.setsid()
            self._enter_guard()
            self._guard(Link(channel), signalling.wakeup_pipe(), self._base).serve()
            status = 0
        except BaseException:  # noqa: BLE001 - the process ends here; the engine reads this text if the warden fails
            sys.excepthook(*sys.exc_info())
            sys.stderr.flush()
        finally:
            os._exit(status)

    def _reap(self) -> None:
        self._behind = False
        try:
            for _ in range(REAPED_AT_ONCE):
                pid, _status = os.waitpid(-1, os.WNOHANG)
                if pid == 0:
                    return
                if pid in self._wards:
                    self._lose_guard(self._wards.pop(pid))
            self._behind = True
        except ChildProcessError:
            return

    def _lose_guard(self, ward: Ward) -> None:
        while self._hear_guard(ward):  # its last words
            pass
        ward.link.close()
        self._flush(ward.link)
        self._awaited.pop(ward.pid, None)
        if ward in self._idle:
            self._idle.remove(ward)
        if ward.number:
            del self._runs[ward.number]
            self._lost.append(ward.number)
            self._orphans.kill(time.monotonic())

    # Orphans of guards that were killed: the kernel has made them children of the warden

    def _strays(self) -> Iterator[Process]:
        return procfs.descendants(os.getpid(), besides=self._wards)

    def _end_orphans(self) -> None:
        overdue = self._orphans.climb(time.monotonic())
        self._reap()
        # Twice, for a list of processes is no snapshot: one may be born behind the place where it is read.
        if not any(self._strays()) and not any(self._strays()):
            for number in self._lost:
                self._engine.send(Kind.EXITED, number, wire.ENDED.pack(wire.LOST))
                self._engine.send(Kind.GONE, number)
            self._lost.clear()
            self._orphans.reset()
        elif overdue:
            for number in self._lost:
                self._engine.send(Kind.LEFT, number, procfs.report(self._strays()))


def _close_quietly(descriptor: int) -> None:
    try:
        os.close(descriptor)
    except OSError:  # the one that listed the folder is closed already
        return
