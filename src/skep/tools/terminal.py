"""``terminal``: a command for the shell, if the policy or the operator allows it."""

from __future__ import annotations

from dataclasses import dataclass

from skep.model.approvals import Commands, Question
from skep.model.events import Json
from skep.model.states import WaitReason
from skep.text import clean_line, duration
from skep.tools import arguments
from skep.tools.base import Arguments, CommandEnd, Here, ToolResult
from skep.tools.capping import RESULT_LIMIT, capped
from skep.tools.faults import ToolFault
from skep.tools.workspace import folder_path

TIMEOUT = 120.0
"""Seconds for a command that asks for no other time."""

MOST_SECONDS = 1_800.0
"""The longest that a command may ask for."""

COMMAND_LIMIT = 100 * 1024
"""Bytes of a command: the system takes little more as one argument."""

ENVIRONMENT = {"TERM": "dumb", "PAGER": "cat", "GIT_PAGER": "cat", "GIT_TERMINAL_PROMPT": "0"}
"""Added to the bare environment, so that programs neither page nor ask: nobody would answer."""

_STATUS_ROOM = 200
_POLICY = {
    Commands.DENY: "Commands are not allowed to you here: a call is refused.",
    Commands.ASK: "The operator is asked before each command and may refuse it.",
    Commands.ALLOW: "",
}


@dataclass(frozen=True, slots=True)
class Terminal:
    """Runs ``/bin/sh -c`` in the workspace, under the agent's guard."""

    policy: Commands = Commands.DENY
    name: str = "terminal"
    read_only: bool = False

    @property
    def description(self) -> str:
        """What it does, and what becomes of a call under the policy."""
        what = (
            "Run a command with /bin/sh in the workspace. It has no input and a bare environment; it and all "
            "that it started are ended when its time is up. Gives its output and how it ended."
        )
        return f"{what} {_POLICY[self.policy]}".rstrip()

    def parameters(self) -> dict[str, Json]:
        """command, timeout, cwd."""
        seconds = f"seconds until it is ended; default {TIMEOUT:.0f}, at most {MOST_SECONDS:.0f}"
        return {
            "type": "object",
            "properties": {
                "command": {"type": "string", "description": "the command line, for sh"},
                "timeout": {"type": "number", "description": seconds},
                "cwd": {
                    "type": "string",
                    "description": "the folder to run it in; default the workspace's folder",
                },
            },
            "required": ["command"],
        }

    def headline(self, args: Arguments) -> str:
        """``$ pytest -q``."""
        return clean_line(f"$ {args.get('command', '')}", limit=200)

    async def run(self, args: Arguments, here: Here) -> ToolResult:
        """Ask if that is the policy, then run it."""
        command = arguments.text(args, "command")
        if "\0" in command or len(command.encode(errors="replace")) > COMMAND_LIMIT:
            raise ToolFault(f"must have at most {COMMAND_LIMIT:,} bytes and no NUL", where="command")
        timeout = arguments.number(args, "timeout", least=0.001, most=MOST_SECONDS) or TIMEOUT
        path = arguments.optional_text(args, "cwd") or ""
        if self.policy is Commands.DENY:
            return ToolResult(False, "not allowed: commands are denied to this agent; go on without them")
        cwd = await folder_path(here.workspace, path)
        if self.policy is Commands.ASK:
            question = Question.about(
                self.name,
                self.headline(args),
                {"agent": here.agent, "command": command, "cwd": cwd, "timeout": timeout},
            )
            async with here.waiting(WaitReason.APPROVAL, question.headline):
                answer = await here.approve(question)
            if not answer.allow:
                why = f": {answer.why}" if answer.why else ""
                return ToolResult(False, f"not allowed by {answer.who}{why}")
            cwd = await folder_path(here.workspace, path)  # an answer may take its time
        end = await here.command(("/bin/sh", "-c", command), cwd=cwd, env=ENVIRONMENT, timeout=timeout)
        return _result(end, timeout)


def _result(end: CommandEnd, timeout: float) -> ToolResult:
    took = duration(end.seconds)
    if end.timed_out:
        status = f"ended after its time of {timeout:g} seconds was up"
    elif end.signal is not None:
        status = f"ended by signal {end.signal} after {took}"
    elif end.code is None:
        status = f"it is unknown how it ended, after {took}"
    else:
        status = f"exit {end.code} after {took}"
    if end.dropped:
        status += f"; {end.dropped:,} bytes in the middle of its output are left out"
    output = capped(end.output, RESULT_LIMIT - _STATUS_ROOM)
    gap = "" if not output or output.endswith("\n") else "\n"
    return ToolResult(end.code == 0 and not end.timed_out, f"{output}{gap}[{status}]", exit_code=end.code)
