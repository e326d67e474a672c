"""What every tool offers, what it may use of the agent that calls it, and what comes out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from skep.model.approvals import Answer, Question
from skep.model.children import Task
from skep.model.events import Json
from skep.model.states import WaitReason
from skep.tools.faults import ToolFault

__all__ = ["Arguments", "CommandEnd", "Here", "Tool", "ToolFault", "ToolResult"]

Arguments = dict[str, Json]
"""The arguments of a call, checked against the tool's schema: what is absent was not given."""


@dataclass(frozen=True, slots=True)
class ToolResult:
    """What a call gave. ``content`` is raw text for the model, capped; it is cleaned where people see it."""

    ok: bool
    content: str
    read: tuple[str, ...] = ()
    """Files whose content the model has now seen, relative to the workspace."""
    wrote: tuple[str, ...] = ()
    """Files that now stand as the model wanted them, relative to the workspace."""
    exit_code: int | None = None


@dataclass(frozen=True, slots=True)
class CommandEnd:
    """How a command ended."""

    code: int | None
    """Exit code; None if a signal ended it or nobody knows."""
    signal: int | None
    output: str
    """What it printed, raw but decoded; of long output the head and the tail."""
    timed_out: bool
    seconds: float
    dropped: int = 0
    """Bytes of output between the head and the tail that are not in ``output``."""


class Here(Protocol):
    """What a tool may use of its agent."""

    @property
    def agent(self) -> str:
        """The agent's id."""

    @property
    def workspace(self) -> Path:
        """The folder that its files are below: absolute."""

    def waiting(self, reason: WaitReason, detail: str) -> AbstractAsyncContextManager[None]:
        """The agent waits as long as the context lasts; its slot is free for others meanwhile."""

    async def approve(self, question: Question) -> Answer:
        """Ask the operator; no answer in time is a refusal. It only asks: the tool says that the agent waits."""

    async def command(
        self, argv: Sequence[str], *, cwd: str, env: Mapping[str, str], timeout: float
    ) -> CommandEnd:
        """Run a program under the agent's guard, without input, in a bare environment to which ``env`` is added.

        Its output streams into the agent's tail. After ``timeout`` seconds, or when the agent is stopped, its
        whole process tree is ended.

        Raises:
            SkepError: it could not be started, or its guard was lost.
        """

    async def delegate(self, tasks: Sequence[Task], *, background: bool) -> str:
        """Ask for a child for each task; returns the text for the model.

        That is :func:`skep.tools.delegate.result_text` once all have ended, or with ``background`` at once what
        they are called. Says itself that the agent waits for children.

        Raises:
            SkepError: a limit, or a stop that is under way, does not let it spawn.
        """


class Tool(Protocol):
    """One thing that an agent can do."""

    @property
    def name(self) -> str:
        """What the model calls it."""

    @property
    def description(self) -> str:
        """What it does, for the model; true at the moment that it is asked for."""

    @property
    def read_only(self) -> bool:
        """Whether a call changes nothing."""

    def parameters(self) -> dict[str, Json]:
        """JSON Schema of the arguments, of nothing but the keywords that the strictest providers take:
        type, properties, required, enum, items and description."""

    def headline(self, args: Arguments) -> str:
        """The call in a few words for people, cleaned: ``$ pytest -q``, ``read a.py``."""

    async def run(self, args: Arguments, here: Here) -> ToolResult:
        """Carry the call out.

        Raises:
            SkepError: it cannot be done; a :class:`ToolFault` if it is the call that is wrong.
        """
