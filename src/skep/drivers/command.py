"""The command driver: any program, its output as progress, its whole process tree as its life."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from skep.clock import Clock
from skep.drivers.base import Running
from skep.drivers.output import Output
from skep.errors import Refused, SkepError
from skep.model.agent import Live
from skep.model.launch import CommandSpec
from skep.model.logs import TailChunk
from skep.model.permits import Assignment, Ended, Permits
from skep.model.states import State, StopStep
from skep.text import clean_line
from skep.warden.client import Command, Exit, Warden

READ_BYTES = 64 * 1024
FLOOD_READS = 4
"""Reads in a row before a program that floods has to wait (it blocks on its full pipe: nothing is lost)."""
FLOOD_PAUSE = 0.05
"""Seconds that it then waits; with the two above, at most 5 MiB/s of output per agent reach the engine."""


class CommandDriver:
    """Runs one program, again if it fails and retries are left."""

    def __init__(
        self,
        assignment: Assignment,
        output: Output,
        warden: Warden,
        clock: Clock,
        progressed: Callable[[str], None],
    ) -> None:
        self.agent = assignment.agent
        self.generation = assignment.generation
        self._spec = CommandSpec.model_validate(
            {name: value for name, value in assignment.spec.items() if name != "log"}
        )
        self._output = output
        self._warden = warden
        self._clock = clock
        self._progressed = progressed
        self._progress_at = clock.time()
        self._progress = clock.monotonic()
        self._command: Command | None = None
        self._step: StopStep | None = None

    async def run(self, permits: Permits, running: Running) -> Ended:
        """Run to the end, over all tries; the process tree is gone when this returns."""
        try:
            while True:
                end = await self._try(running)
                tries = self._spec.retries + 1
                if end.state is State.DONE or self._step is not None or self.generation >= tries:
                    return end
                why = f"try {self.generation + 1} of {tries}"
                try:
                    self.generation = await permits.slot(self.agent, self.generation, f"{why} after {end.error}")
                except Refused:
                    return end
                self._output.mark(f"── {why} ──")
        finally:
            self._output.close()

    async def _try(self, running: Running) -> Ended:
        argv = ("/bin/sh", "-c", *self._spec.argv) if self._spec.shell else self._spec.argv
        reading, writing = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        os.set_blocking(writing, True)
        reader = _Reader(reading, self._read)
        try:
            try:
                command = await self._warden.run(self.agent, argv, cwd=self._spec.cwd, env={}, output=writing)
            except SkepError as error:
                return self._end(State.FAILED, error=str(error))
            finally:
                os.close(writing)
            self._command = command
            self._moved()
            running(self.generation, (command.pid,))
            if self._step is not None:
                self._signal(self._step)
            exited = await command.exited()
            await command.gone()
            # Nobody is left who could write, so the pipe ends by itself.
            await reader.finished()
        finally:
            reader.close()
            self._command = None
        return self._outcome(exited)

    def stop(self, step: StopStep) -> None:
        """INT at the soft rung (what a program knows as 'please stop'), then TERM, then KILL and sweep."""
        self._step = step
        self._signal(step)

    def _signal(self, step: StopStep) -> None:
        if self._command is None:
            return
        if step is StopStep.SOFT:
            self._command.interrupt()
        elif step is StopStep.CANCEL:
            self._command.terminate()
        elif step is StopStep.KILL:
            self._command.kill()

    async def alive(self) -> bool:
        """The main process exists and is no zombie; between two tries there is nothing to ask."""
        return self._command is None or await self._command.alive()

    @property
    def idle(self) -> float:
        """Seconds since the last output, or since the start."""
        return self._clock.monotonic() - self._progress

    def live(self) -> Live:
        """Newest line, lines and bytes so far."""
        return self._output.live(self._progress_at)

    def tail(self, first: int, limit: int) -> TailChunk:
        """Output from line ``first`` on."""
        return self._output.tail(first, limit)

    def left(self) -> str:
        """The processes that are still there: ``pid 4121 (npm) in D state``."""
        if self._command is None:
            return ""
        return ", ".join(f"pid {one.pid} ({one.name}) in {one.state} state" for one in self._command.left)

    def _read(self, data: bytes) -> None:
        self._output.feed(data)
        self._moved()

    def _moved(self) -> None:
        self._progress_at = self._clock.time()
        self._progress = self._clock.monotonic()
        self._progressed(self.agent)

    def _outcome(self, exited: Exit) -> Ended:
        if exited.code == 0:
            return self._end(State.DONE, code=0)
        if exited.signal is not None:
            return self._end(State.FAILED, number=exited.signal, error=f"ended by {_signal_name(exited.signal)}")
        if exited.code is None:
            return self._end(State.FAILED, error="its guard was lost, how it ended is unknown")
        return self._end(State.FAILED, code=exited.code, error=f"exit {exited.code}")

    def _end(
        self, state: State, *, code: int | None = None, number: int | None = None, error: str | None = None
    ) -> Ended:
        line = clean_line(self._output.last_line())[:200]
        return Ended(self.agent, self.generation, state, code, number, error, line or None, self.live())


class _Reader:
    """Reads a pipe in the event loop, with pauses for a program that floods."""

    def __init__(self, fd: int, take: Callable[[bytes], None]) -> None:
        self._fd = fd
        self._take = take
        self._loop = asyncio.get_running_loop()
        self._end = self._loop.create_future()
        self._pause: asyncio.TimerHandle | None = None
        self._loop.add_reader(fd, self._ready)

    async def finished(self) -> None:
        """Wait until everything that was written has been read."""
        await self._end

    def close(self) -> None:
        """Stop reading and let go of the pipe."""
        if self._fd < 0:
            return
        if self._pause is not None:
            self._pause.cancel()
        self._loop.remove_reader(self._fd)
        os.close(self._fd)
        self._fd = -1
        if not self._end.done():
            self._end.set_result(None)

    def _ready(self) -> None:
        self._pause = None
        data = b""
        with suppress(BlockingIOError):
            for _ in range(FLOOD_READS):
                data = os.read(self._fd, READ_BYTES)
                if not data:
                    self.close()
                    return
                self._take(data)
                if len(data) < READ_BYTES:
                    return
            # A full run of full reads: the real clock counts here, the pause keeps the loop free.
            self._loop.remove_reader(self._fd)
            self._pause = self._loop.call_later(FLOOD_PAUSE, self._again)

    def _again(self) -> None:
        self._loop.add_reader(self._fd, self._ready)
        self._ready()


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name.removeprefix("SIG")
    except ValueError:
        return f"signal {number}"


def output_for(assignment: Assignment, *, ring_lines: int, cap_bytes: int) -> Output:
    """The output store of an assignment. Raises OSError when its file cannot be made."""
    return Output(Path(assignment.output), ring_lines=ring_lines, cap_bytes=cap_bytes)
