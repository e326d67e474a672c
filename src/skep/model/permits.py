"""What passes between an engine and a host: what to run, what happened, and what an agent must ask for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from skep.model.agent import Live
from skep.model.approvals import Answer, Question
from skep.model.children import ChildReport, DelegateLimits, Task
from skep.model.events import AttemptStruck, Json, MessageAdded, ToolEnded, TurnCompleted
from skep.model.logs import TailChunk
from skep.model.states import DriverKind, State, StopStep, WaitReason


@dataclass(frozen=True, slots=True)
class Assignment:
    """One agent to run; ``generation`` fences off what an earlier run of it may still say."""

    agent: str
    generation: int
    driver: DriverKind
    spec: dict[str, Json]
    output: str
    """Path of the file that keeps its output."""
    name: str = ""
    goal: str = ""
    branch: str = ""
    resumes: str = ""
    """The ended agent whose conversation it goes on with."""


@dataclass(frozen=True, slots=True)
class Started:
    """The agent runs; ``pids`` are its main processes (none for drivers without)."""

    agent: str
    generation: int
    pids: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Ended:
    """The agent has ended and nothing of it is left: request, task, processes.

    ``state`` is what the driver saw (``done``, ``failed``); a stop that is under way decides over it.
    """

    agent: str
    generation: int
    state: State
    exit_code: int | None = None
    signal: int | None = None
    error: str | None = None
    result: str | None = None
    live: Live | None = None
    report: dict[str, Json] | None = None
    """What it leaves to whoever asked for it: exit reason, tool trace, files."""
    diagnosis: str | None = None
    """What it was doing, where it ended without an answer of a model: many lines, cleaned, without keys."""


@dataclass(frozen=True, slots=True)
class Left:
    """After the last rung of the ladder something is still there; ``evidence`` names it (pids, their state)."""

    agent: str
    generation: int
    evidence: str


@dataclass(frozen=True, slots=True)
class Pulse:
    """One answer to the heartbeat: does the agent's own task, thread or process answer, and how long has nothing
    moved?
    """

    agent: str
    generation: int
    alive: bool
    idle: float | None
    """Seconds since its last progress, on the host's monotonic clock, without those in which it waited; None where
    that cannot be told."""
    moves: int = 0
    """How often it has made progress so far."""
    in_tool: bool = False
    """True while a tool or program of it runs, which may be silent for longer than a model."""
    quiets: bool = True
    """False where a short silence is nothing to say, as within a tool of a chat agent."""
    lacks: str = "no progress"
    """What does not come while nothing moves: ``no token``, ``no output``."""
    where: str = ""
    """What else is to be said of that, as it follows a time: `` over 3 attempts, key kimi-2``."""
    mute: str = ""
    """What of it does not answer, where it is not alive."""
    notes: int = 0
    """How many notes it was given so far …"""
    receipt: str = ""
    """… and what became of the newest: ``steered, not delivered yet``."""
    repeats: int = 0
    """How often in a row it has made the very same tool call …"""
    repeated: str = ""
    """… and of which tool."""


@dataclass(frozen=True, slots=True)
class Worktree:
    """One working tree of git in which agents run, and what stands in it that is in no commit."""

    path: str
    """Its top folder; where that is not known, the folder that was asked about."""
    folders: tuple[str, ...]
    """Those of the folders asked about that lie in it."""
    files: int = 0
    """Files that were changed, added, removed or are new; those that git ignores are not counted."""
    names: tuple[str, ...] = ()
    """The first of them as they are called from the top folder, raw; what is no UTF-8 stands as surrogates."""
    at_least: bool = False
    """True if git had more to say than anybody reads."""
    unknown: str = ""
    """Why nothing is known of it, in words; empty if it is."""


@dataclass(frozen=True, slots=True)
class Uncommitted:
    """What some folders hold that is in no commit; those that are under no git have nothing to say."""

    worktrees: tuple[Worktree, ...] = ()
    left_out: int = 0
    """Folders that were not looked at, for they were too many."""


Note = TurnCompleted | AttemptStruck | ToolEnded | MessageAdded
"""What a conversation leaves in the journal."""

Report = Started | Ended | Left


class Permits(Protocol):
    """What an agent may not decide for itself; plain values in and out, so that a call could cross a wire."""

    async def slot(self, agent: str, generation: int, why: str) -> int:
        """Give the slot back and wait at the front of the line for a new one.

        Returns the new generation.

        Raises:
            Refused: it may not try again (the branch is stopping, or the swarm fails fast).
            asyncio.CancelledError: it was stopped while it waited.
        """

    async def go(self, agent: str, generation: int) -> None:
        """May the next model call or tool start? Waits while a stop of its branch can still be taken back.

        Raises Refused once it is stopping.
        """

    async def held(self, agent: str, generation: int) -> str:
        """What holds its next model call, in words; empty if it may go on. Raises Refused once it is stopping."""

    async def released(self, agent: str, generation: int) -> None:
        """Wait until no latch holds its model calls any more. Raises Refused once it is stopping."""

    async def conversation(self, agent: str, generation: int) -> list[Note]:
        """Everything that was said and done in the conversation that it goes on with, oldest first.

        Empty for a fresh one. Raises Damaged if it cannot be read.
        """

    async def inherit(self, agent: str, generation: int) -> list[str]:
        """The children of the conversation that it goes on with that have not ended; it may wait for them now."""

    async def note(self, agent: str, generation: int, note: Note) -> None:
        """Keep a part of its conversation; a complete turn is durable when this returns, for its tools run next.

        Raises Refused once it has ended.
        """

    async def rest(
        self, agent: str, generation: int, reason: WaitReason, detail: str, *, keeps_slot: bool
    ) -> None:
        """From now on it waits for ``reason``; its slot is given back unless it keeps it.

        A slot kept for a key is given back after a minute. Raises Refused once it is stopping.
        """

    async def seated(self, agent: str, generation: int) -> bool:
        """True if it holds a slot, be it that it waits: one kept for a key may be given to somebody else."""

    async def resume(self, agent: str, generation: int) -> int:
        """It has what it waited for: goes on at once if it kept its slot, else from the front of the line.

        Returns its generation from now on. Raises Refused once it is stopping.
        """

    async def limits(self, agent: str, generation: int) -> DelegateLimits:
        """What it may ask for in children at this moment."""

    async def spawn(self, agent: str, generation: int, tasks: Sequence[Task]) -> list[str]:
        """Ask for agents below it, all or none; returns their ids in the order of the tasks, once that is durable.

        Raises Refused for limits (depth, number of agents, children) and when it is stopping; BadInput for a task
        that cannot be.
        """

    async def children(self, agent: str, generation: int, ids: Sequence[str]) -> list[ChildReport]:
        """Wait until all of these have ended; what each of them leaves, in the same order."""

    async def approve(self, agent: str, generation: int, question: Question) -> Answer:
        """Ask a person whether a tool may run; waits without a slot. Denied when nobody answers in time."""


class Host(Protocol):
    """Where agents run. The engine submits and controls; it pulls reports and acknowledges them."""

    async def submit(self, assignment: Assignment) -> None:
        """Start an agent; what happens comes as reports."""

    async def control(self, agent: str, generation: int, step: StopStep) -> None:
        """Carry out a rung of the stop ladder; unknown or ended agents are ignored."""

    async def steer(self, agent: str, generation: int, note: str, who: str) -> None:
        """Put a note before the agent's model at its next turn; returns once it is queued.

        The receipt is a message of its conversation, with the turn of its delivery. Raises NotFound for an agent
        that does not run here, Refused where there is no model to read it.
        """

    async def pull(self, ack: int) -> tuple[int, Sequence[Report]]:
        """Wait for reports after number ``ack``; returns the number of the last one and all of them."""

    def news(self) -> list[tuple[str, Live]]:
        """Live figures that changed since the last call."""

    async def pulses(self) -> Sequence[Pulse]:
        """The heartbeat of every agent that runs here."""

    async def uncommitted(self, folders: Sequence[str]) -> Uncommitted:
        """What these folders hold that is in no commit; within two seconds, and what is not known is said."""

    def tail(self, agent: str, first: int, limit: int) -> TailChunk | None:
        """Output of an agent that runs here (see :class:`TailChunk`); None for any other."""

    async def close(self) -> None:
        """End everything that still runs and wait until it is gone."""
