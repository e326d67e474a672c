"""The agent that tools are used by in these tests: it notes what it is asked and answers as it was told to."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from skep.model.approvals import Answer, Commands, Question
from skep.model.children import DelegateLimits, Task
from skep.model.states import WaitReason
from skep.tools.base import CommandEnd, ToolResult
from skep.tools.toolbox import ALL, Call, Toolbox


class Seat:
    """An agent in a workspace of its own."""

    def __init__(self, workspace: Path) -> None:
        self.agent = "a1"
        self.workspace = workspace
        self.limits = DelegateLimits(depth=0, max_depth=2, tools=ALL)
        self.answer = Answer(False, "operator", "not on my machine")
        self.end: CommandEnd | None = None
        """How a command ends; None: it is really run."""
        self.ends_after_a_line = False
        """The time of a command is up as soon as it has printed a line."""
        self.questions: list[Question] = []
        self.commands: list[tuple[tuple[str, ...], str, float]] = []
        self.story: list[str] = []
        self.tasks: tuple[Task, ...] = ()
        self.background: bool | None = None

    @asynccontextmanager
    async def waiting(self, reason: WaitReason, detail: str) -> AsyncIterator[None]:
        self.story.append(f"waits for {reason}: {detail}")
        yield
        self.story.append("goes on")

    async def approve(self, question: Question) -> Answer:
        self.story.append("asks")
        self.questions.append(question)
        return self.answer

    async def command(
        self, argv: Sequence[str], *, cwd: str, env: Mapping[str, str], timeout: float
    ) -> CommandEnd:
        self.story.append("runs")
        self.commands.append((tuple(argv), cwd, timeout))
        if self.end is not None:
            return self.end
        return await self._really(argv, cwd, env, timeout)

    async def _really(self, argv: Sequence[str], cwd: str, env: Mapping[str, str], timeout: float) -> CommandEnd:
        began = time.monotonic()
        process = await asyncio.create_subprocess_exec(
            *argv, cwd=cwd, env=env, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
        )
        assert process.stdout is not None
        output = b""
        timed_out = self.ends_after_a_line
        try:
            async with asyncio.timeout(timeout):
                if self.ends_after_a_line:
                    output = await process.stdout.readline()
                    process.kill()
                output += await process.stdout.read()
        except TimeoutError:
            timed_out = True
            process.kill()
        code = await process.wait()
        return CommandEnd(
            code if code >= 0 else None,
            -code if code < 0 else None,
            output.decode(errors="replace"),
            timed_out,
            time.monotonic() - began,
        )

    async def delegate(self, tasks: Sequence[Task], *, background: bool) -> str:
        self.tasks, self.background = tuple(tasks), background
        return "{}"

    def caller_limits(self) -> DelegateLimits:
        return self.limits

    def toolbox(self, commands: Commands = Commands.ALLOW) -> Toolbox:
        return Toolbox(ALL, commands=commands, limits=self.caller_limits)

    async def call(self, tool: str, raw: str, commands: Commands = Commands.ALLOW) -> ToolResult:
        """What a model gets for this call."""
        call = self.toolbox(commands).prepare(tool, raw)
        return await call.run(self) if isinstance(call, Call) else call
