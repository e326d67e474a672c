"""One program under the warden: its output read as it comes, its whole process tree gone at the end."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence

from skep.drivers.ending import ended
from skep.drivers.floodgate import Floodgate
from skep.drivers.reader import Reader
from skep.errors import Refused
from skep.model.states import StopStep
from skep.warden.client import Command, Exit, Warden


class Programs:
    """Makes the programs of one engine: they run under the warden that there is now, and share one floodgate."""

    def __init__(self, warden: Callable[[], Awaitable[Warden]]) -> None:
        self._warden = warden
        self._gate = Floodgate()

    def of(self, agent: str, read: Callable[[bytes], None]) -> Program:
        """Programs for one agent, one after another; ``read`` is given what they write."""
        return Program(agent, self._warden, read, self._gate)


class Program:
    """Runs programs for one agent, one after another; ``read`` is given what they write."""

    def __init__(
        self,
        agent: str,
        warden: Callable[[], Awaitable[Warden]],
        read: Callable[[bytes], None],
        gate: Floodgate,
    ) -> None:
        self._agent = agent
        self._warden = warden
        self._read = read
        self._gate = gate
        self._starting: asyncio.Future[Command] | None = None
        self._command: Command | None = None
        self._step: StopStep | None = None

    async def run(
        self,
        argv: Sequence[str],
        *,
        cwd: str,
        env: Mapping[str, str],
        begun: Callable[[int], None],
        bare: bool = False,
    ) -> Exit:
        """Run a program to its end; ``begun`` is told its pid. ``env`` and ``bare`` as for the warden.

        When this returns or raises, nothing of its process tree is left.

        Raises:
            Refused: it was stopped before it ran.
            SpawnFailed, WardenLost: it could not be started.
        """
        warden = await self._warden()
        if self.is_stopped():
            raise Refused("stopped before it started")
        reading, writing = os.pipe()
        os.set_blocking(reading, False)
        reader = Reader(reading, self._read, self._gate)
        try:
            starting = warden.run(self._agent, argv, cwd=cwd, env=env, output=writing, bare=bare)
            try:
                self._command = command = await self._started(starting)
            finally:
                os.close(writing)
            try:
                begun(command.pid)
                if self._step is not None:
                    self._signal(self._step)
                exited = await command.exited()
                await command.gone()
            finally:
                if not command.is_gone:
                    command.kill()  # whatever cut this short, nothing of it may stay
            # Nobody of its tree is left to write. Somebody else who was handed the pipe is not waited for.
            await reader.drain()
        finally:
            reader.close()
            self._command = None
        return exited

    async def _started(self, starting: Coroutine[None, None, Command]) -> Command:
        self._starting = task = asyncio.ensure_future(starting)
        try:
            await asyncio.wait({task})
        except asyncio.CancelledError:
            task.cancel()
            await ended(task)
            if not task.cancelled() and task.exception() is None:
                task.result().kill()
            raise
        finally:
            self._starting = None
        if task.cancelled():
            raise Refused("stopped while it started")
        return task.result()

    def stop(self, step: StopStep) -> None:
        """INT at the soft rung (what a program knows as 'please stop'), then TERM, then KILL and sweep.

        Only ever further down: a rung that was reached before is not carried out again.
        """
        if self._step is None or step > self._step:
            self._step = step
            self._signal(step)

    def is_stopped(self) -> bool:
        """True once it was told to stop: nothing more is started."""
        return self._step is not None

    @property
    def runs(self) -> bool:
        """True from the start of a program to its verified end."""
        return self._command is not None

    async def alive(self) -> bool:
        """The main process exists and is no zombie; between two programs there is nothing to ask."""
        return self._command is None or await self._command.alive()

    def left(self) -> str:
        """The processes that are still there: ``pid 4121 (npm) in D state``."""
        if self._command is None:
            return ""
        return ", ".join(f"pid {one.pid} ({one.name}) in {one.state} state" for one in self._command.left)

    def _signal(self, step: StopStep) -> None:
        if self._command is None:
            if self._starting is not None and step is StopStep.KILL:
                self._starting.cancel()  # its start may hang, and nothing else would end that
            return
        if step is StopStep.SOFT:
            self._command.interrupt()
        elif step is StopStep.CANCEL:
            self._command.terminate()
        elif step is StopStep.KILL:
            self._command.kill()
