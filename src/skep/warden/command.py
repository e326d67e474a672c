"""One command as the engine sees it: how its main process ended, and when its whole tree was gone."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass

from skep.warden import procfs, wire
from skep.warden.wire import Kind


@dataclass(frozen=True, slots=True)
class Exit:
    """How the main process ended: an exit code, or a signal, or neither if its guard or its warden was lost."""

    code: int | None
    signal: int | None


@dataclass(frozen=True, slots=True)
class Leftover:
    """A process that still lives; `state` is the kernel's letter (``D``: uninterruptible)."""

    pid: int
    state: str
    name: str


LOST = Exit(None, None)


class Command:
    """A command that was started. `started` are the clock ticks between boot and its start; 0 where unknown.

    `left` is the last report of what was still alive after the main process ended or a sweep failed; it is empty
    again once everything is gone. The three signals return at once, and do nothing to what is gone.
    """

    def __init__(self, agent: str, started: bytes, tell: Callable[[Kind], None]) -> None:
        self.agent = agent
        self.pid, self.started, self.guard, self.guard_started = wire.STARTED.unpack(started)
        self.left: tuple[Leftover, ...] = ()
        self._tell = tell
        self._exit: Exit | None = None
        self._has_exited = asyncio.Event()
        self._is_gone = asyncio.Event()

    async def exited(self) -> Exit:
        """Wait until the main process has ended; others of its tree may still live."""
        await self._has_exited.wait()
        return self._exit or LOST

    async def gone(self) -> None:
        """Wait until it is verified that no process of the tree lives.

        The proof is the guard's, or the warden's if the guard was killed. If the warden was lost, it is that the
        guard has ended, which it does only with that proof, and that nobody carries the agent's marker.
        """
        await self._is_gone.wait()

    @property
    def is_gone(self) -> bool:
        """Whether `gone` would return at once."""
        return self._is_gone.is_set()

    async def alive(self) -> bool:
        """Whether the main process exists and is no zombie. Costs one small read."""
        return not self._has_exited.is_set() and living(self.pid, self.started)

    def interrupt(self) -> None:
        """INT to the group of the main process."""
        self._tell(Kind.INTERRUPT)

    def terminate(self) -> None:
        """TERM, and CONT for those that are stopped, to every process group of the tree.

        KILL is left to the caller as long as the main process lives; after that, the rest has ten seconds.
        """
        self._tell(Kind.TERMINATE)

    def kill(self) -> None:
        """KILL to every process group of the tree, then to all descendants, again and again until none is left."""
        self._tell(Kind.KILL)

    def note(self, kind: int, payload: bytes) -> None:
        """Take in what the guard reports; for the warden's client only."""
        if kind == Kind.EXITED:
            (status,) = wire.ENDED.unpack(payload)
            self.note_exit(LOST if status == wire.LOST else _exit_of(status))
        elif kind == Kind.LEFT:
            self.left = tuple(_leftover(line) for line in payload.split(b"\0") if line)
        elif kind == Kind.GONE:
            self.left = ()
            self.note_exit(LOST)
            self._is_gone.set()

    def note_exit(self, how: Exit) -> None:
        """Record the end of the main process, unless one is recorded; for the warden's client only."""
        if self._exit is None:
            self._exit = how
            self._has_exited.set()


def living(pid: int, started: int) -> bool:
    """Whether the process that was started then exists and is no zombie; without /proc, whether the pid exists."""
    if sys.platform == "linux":
        process = procfs.read(pid)
        return process is not None and process.living and process.start == started
    else:  # noqa: RET505 - the type checker reads one platform's branch
        try:
            os.kill(pid, 0)
        except OSError:
            return False
        return True


def _exit_of(status: int) -> Exit:
    code = os.waitstatus_to_exitcode(status)
    return Exit(code, None) if code >= 0 else Exit(None, -code)


def _leftover(line: bytes) -> Leftover:
    pid, state, name = line.split(b" ", 2)
    return Leftover(int(pid), state.decode(), os.fsdecode(name))
