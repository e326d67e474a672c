"""The command driver: any program, its output as progress, its whole process tree as its life."""

from __future__ import annotations

import dataclasses
import shlex
import signal
from collections.abc import Callable
from pathlib import Path

from skep.clock import Clock
from skep.drivers.base import Running
from skep.drivers.output import Output
from skep.drivers.program import Programs
from skep.drivers.progress import Progress
from skep.errors import Refused, SkepError
from skep.model.agent import Live
from skep.model.launch import CommandSpec
from skep.model.logs import TailChunk
from skep.model.permits import Assignment, Ended, Permits, Pulse
from skep.model.states import State, StopStep
from skep.text import clean_line, cut_middle
from skep.warden.client import Exit, SpawnFailed

RESULT_CHARACTERS = 200
"""The result of a command is the newest line of its output, as far as this."""

LINE_CELLS = 60
"""Most terminal cells of a command in the evidence against it."""


class CommandDriver:
    """Runs one program, again if it fails and retries are left. Raises ValueError for a spec that is none."""

    def __init__(
        self,
        assignment: Assignment,
        output: Output,
        programs: Programs,
        clock: Clock,
        progressed: Callable[[str], None],
    ) -> None:
        self.agent = assignment.agent
        self.generation = assignment.generation
        self._spec = CommandSpec.of(assignment.spec)
        self._line = shown_line(self._spec)
        self._output = output
        self._program = programs.of(assignment.agent, self._read)
        self._progress = Progress(clock, lambda: progressed(self.agent))

    async def run(self, permits: Permits, running: Running) -> Ended:
        """Run to the end, over all tries; the process tree is gone when this returns."""
        try:
            end = await self._tries(permits, running)
        finally:
            self._output.close()
        line = clean_line(self._output.last_line())[:RESULT_CHARACTERS]
        return dataclasses.replace(end, generation=self.generation, result=line or None, live=self.live())

    async def _tries(self, permits: Permits, running: Running) -> Ended:
        tries = self._spec.retries + 1
        while True:
            try:
                end = await self._try(running)
            except SpawnFailed as error:
                return self._end(State.FAILED, error=str(error))  # another try would find the same
            except SkepError as error:
                end = self._end(State.FAILED, error=str(error))
            if end.state is State.DONE or self._program.is_stopped() or self.generation >= tries:
                return end
            why = f"try {self.generation + 1} of {tries}"
            try:
                self.generation = await permits.slot(self.agent, self.generation, f"{why} after {end.error}")
            except Refused:
                return end
            self._progress.moved()  # another try begins; what it waited in line is no silence of its own
            if self._program.is_stopped():
                return end
            self._output.mark(f"── {why} ──")

    async def _try(self, running: Running) -> Ended:
        argv = ("/bin/sh", "-c", *self._spec.argv) if self._spec.shell else self._spec.argv

        def begun(pid: int) -> None:
            self._progress.moved()
            running(self.generation, (pid,))

        return self._outcome(await self._program.run(argv, cwd=self._spec.cwd, env={}, begun=begun))

    def stop(self, step: StopStep) -> None:
        """INT at the soft rung (what a program knows as 'please stop'), then TERM, then KILL and sweep."""
        self._program.stop(step)

    async def pulse(self) -> Pulse:
        """A command is one open tool from its start to its end; it lives as long as its main process does."""
        alive = await self._program.alive()
        return Pulse(
            self.agent,
            self.generation,
            alive,
            self._progress.idle,
            self._progress.moves,
            in_tool=True,
            lacks="no output" if self._program.runs else "no process",
            where=f"{' in' if self._program.runs else ':'} $ {self._line}",
            mute="" if alive else "its main process is gone",
        )

    def steer(self, note: str, who: str) -> None:
        """A program reads no notes."""
        raise Refused("a command cannot be steered", why="there is no model that could read a note")

    def diagnosis(self) -> str | None:
        """Its log and its exit code say all there is."""
        return None

    def live(self) -> Live:
        """Newest line, lines and bytes so far."""
        return self._output.live(self._progress.at)

    def tail(self, first: int, limit: int) -> TailChunk:
        """Output from line ``first`` on."""
        return self._output.tail(first, limit)

    def left(self) -> str:
        """The processes that are still there."""
        return self._program.left()

    def _read(self, data: bytes) -> None:
        self._output.feed(data)
        self._progress.moved()

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
        return Ended(self.agent, self.generation, state, code, number, error)


def shown_line(spec: CommandSpec) -> str:
    """The command as evidence names it: cleaned, on one line, cut in the middle."""
    line = spec.argv[0] if spec.shell else shlex.join(spec.argv)
    return cut_middle(clean_line(line, limit=10 * LINE_CELLS), LINE_CELLS)


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name.removeprefix("SIG")
    except ValueError:
        return f"signal {number}"


def output_for(assignment: Assignment, *, ring_lines: int, cap_bytes: int) -> Output:
    """The output store of an assignment. Raises BadInput when its file cannot be made."""
    return Output(Path(assignment.output), ring_lines=ring_lines, cap_bytes=cap_bytes)
