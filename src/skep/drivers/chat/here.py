"""What the tools of a chat agent may use of it: its workspace, its place in the swarm, programs, children."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path

from skep.clock import Clock
from skep.drivers.chat.seat import Seat
from skep.drivers.ending import ended
from skep.drivers.program import Program, Programs
from skep.model.approvals import Answer, Question
from skep.model.children import ChildReport, Task
from skep.model.permits import Permits
from skep.model.states import StopStep, WaitReason
from skep.tools.base import CommandEnd
from skep.tools.delegate import result_text
from skep.tools.workspace import folder_path
from skep.warden.client import Exit

OUTPUT_HEAD = 24 * 1024
"""Bytes of a program's output that are kept from its beginning for the model …"""
OUTPUT_TAIL = 40 * 1024
"""… and from its end."""
TERM_AFTER = 5.0
"""Seconds between TERM and KILL for a program whose time is up."""


class Background:
    """Children that nobody waits for, in batches; each batch is told once, when it has ended."""

    def __init__(self) -> None:
        self._batches: list[asyncio.Task[list[ChildReport]]] = []

    def __bool__(self) -> bool:
        return bool(self._batches)

    def add(self, batch: asyncio.Task[list[ChildReport]]) -> None:
        """Watch one more batch."""
        self._batches.append(batch)

    def ended(self) -> list[list[ChildReport]]:
        """The reports of batches that have ended since the last call."""
        done = [batch for batch in self._batches if batch.done()]
        self._batches = [batch for batch in self._batches if not batch.done()]
        return [batch.result() for batch in done]

    async def wait(self) -> None:
        """Until one more has ended."""
        await asyncio.wait(self._batches, return_when=asyncio.FIRST_COMPLETED)

    async def cancel(self) -> None:
        """Stop watching; the children are not touched by that."""
        for batch in self._batches:
            batch.cancel()
        for batch in self._batches:
            await ended(batch)
        self._batches.clear()


class ChatHere:
    """Implements :class:`skep.tools.base.Here` for one call of one agent."""

    def __init__(
        self,
        agent: str,
        workspace: Path,
        seat: Seat,
        permits: Permits,
        clock: Clock,
        makes: Programs,
        background: Background,
        wrote: Callable[[bytes], None],
        programs: set[Program],
        environment: Mapping[str, str],
    ) -> None:
        self._agent = agent
        self._workspace = workspace
        self._seat = seat
        self._permits = permits
        self._clock = clock
        self._makes = makes
        self._background = background
        self._wrote = wrote
        self._programs = programs
        self._environment = environment

    @property
    def agent(self) -> str:
        """The agent's id."""
        return self._agent

    @property
    def workspace(self) -> Path:
        """The folder that its files are below."""
        return self._workspace

    def waiting(self, reason: WaitReason, detail: str) -> AbstractAsyncContextManager[None]:
        """Wait without a slot."""
        return self._seat.waiting(reason, detail)

    async def approve(self, question: Question) -> Answer:
        """Ask the operator."""
        return await self._permits.approve(self._agent, self._seat.generation, question)

    async def command(
        self, argv: Sequence[str], *, cwd: str, env: Mapping[str, str], timeout: float
    ) -> CommandEnd:
        """Run a program under the agent's guard; it is gone when this returns or raises."""
        await self._seat.go()  # an answer may be late
        kept = _HeadAndTail()

        def read(data: bytes) -> None:
            kept.feed(data)
            self._wrote(data)

        program = self._makes.of(self._agent, read)
        self._programs.add(program)
        started = self._clock.monotonic()
        running = asyncio.ensure_future(
            program.run(argv, cwd=cwd, env={**self._environment, **env}, begun=lambda pid: None, bare=True)
        )
        try:
            timed_out = await self._until(running, program, timeout)
            exited = running.result()
        except asyncio.CancelledError:
            # The agent is being stopped: its ladder ends the program, and this waits until it is gone.
            program.stop(StopStep.SOFT)
            await ended(running)
            raise
        finally:
            self._programs.discard(program)
        seconds = self._clock.monotonic() - started
        return CommandEnd(exited.code, exited.signal, kept.text(), timed_out, seconds, kept.dropped)

    async def delegate(self, tasks: Sequence[Task], *, background: bool) -> str:
        """Ask for children; their results, or with ``background`` what they are called."""
        placed = [await self._placed(task) for task in tasks]
        generation = self._seat.generation
        with self._seat.asking():
            ids = await self._permits.spawn(self._agent, generation, placed)
        if background:
            batch = asyncio.ensure_future(self._permits.children(self._agent, generation, ids))
            self._background.add(batch)
            names = ", ".join(ids)
            return f"started in the background: {names}. Their results come as a message when all have ended."
        count = f"{len(ids)} agent{'s' if len(ids) != 1 else ''}"
        async with self._seat.waiting(WaitReason.CHILD, count):
            reports = await self._permits.children(self._agent, generation, ids)
        return result_text(reports)

    async def _placed(self, task: Task) -> Task:
        """The task with the absolute path of its workspace, which is the parent's or below it."""
        if not task.cwd:
            return task
        return dataclasses.replace(task, cwd=await folder_path(self._workspace, task.cwd))

    async def _until(self, running: asyncio.Future[Exit], program: Program, timeout: float) -> bool:
        """Wait for the program, and end it when its time is up; True then."""
        if await self._done_within(running, timeout):
            return False
        program.stop(StopStep.CANCEL)
        if not await self._done_within(running, TERM_AFTER):
            program.stop(StopStep.KILL)
            await asyncio.wait({running})
        return True

    async def _done_within(self, running: asyncio.Future[Exit], seconds: float) -> bool:
        timer = asyncio.ensure_future(self._clock.sleep(seconds))
        try:
            both: set[asyncio.Future[Exit] | asyncio.Future[None]] = {running, timer}
            await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        finally:
            timer.cancel()
        return running.done()


class _HeadAndTail:
    """The beginning and the end of what a program wrote; what lies between them is counted."""

    def __init__(self) -> None:
        self._head = bytearray()
        self._tail = bytearray()
        self.dropped = 0
        """Bytes between the two."""

    def feed(self, data: bytes) -> None:
        room = OUTPUT_HEAD - len(self._head)
        if room > 0:
            self._head += data[:room]
            data = data[room:]
        self._tail += data
        over = len(self._tail) - OUTPUT_TAIL
        if over > 0:
            del self._tail[:over]
            self.dropped += over

    def text(self) -> str:
        if not self.dropped:
            return (self._head + self._tail).decode(errors="replace")
        gap = f"\n[… {self.dropped:,} bytes are left out here …]\n"
        return self._head.decode(errors="replace") + gap + self._tail.decode(errors="replace")
