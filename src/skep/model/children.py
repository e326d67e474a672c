"""What an agent asks of the children that it delegates to, and what it is told when they have ended."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from skep.model.states import State


class Role(StrEnum):
    """What a chat agent is for: an orchestrator may delegate, a leaf may not."""

    LEAF = "leaf"
    ORCHESTRATOR = "orchestrator"


@dataclass(frozen=True, slots=True)
class Task:
    """One child as its parent asks for it; None leaves a matter to the definition, the config or the parent."""

    goal: str
    name: str | None = None
    context: str | None = None
    role: Role = Role.LEAF
    model: str | None = None
    """``PROVIDER/MODEL``."""
    tools: tuple[str, ...] | None = None
    """Names of the tools it shall have; what its parent lacks is not among them."""
    system_prompt: str | None = None
    timeout: float | None = None
    """Seconds; 0: no limit."""
    cwd: str | None = None
    """A folder below the parent's workspace."""
    max_turns: int | None = None


@dataclass(frozen=True, slots=True)
class DelegateLimits:
    """What an agent may ask for in children at one moment."""

    depth: int
    """Where the agent stands; the root stands at 0."""
    max_depth: int
    """The deepest that any agent of the swarm may stand."""
    may_orchestrate: bool = True
    """Whether children may be orchestrators at all, wherever they stand."""
    slots: int | None = None
    """How many agents of the swarm run at once; None where nobody says."""
    agents_left: int | None = None
    """How many more agents the swarm takes by delegation; None: no cap."""
    children_left: int | None = None
    """How many more children this agent may have; None: no cap."""
    tools: tuple[str, ...] = ()
    """The tools that the agent has itself: a child gets no others."""

    @property
    def depth_left(self) -> int:
        """How many levels below the agent there may be."""
        return max(0, self.max_depth - self.depth)

    @property
    def child_may_orchestrate(self) -> bool:
        """Whether a child that asks for it becomes an orchestrator, or a leaf all the same."""
        return self.may_orchestrate and self.depth_left > 1


@dataclass(frozen=True, slots=True)
class ToolTrace:
    """One tool call in a child's life: its name, whether it worked, and the characters of its result."""

    name: str
    ok: bool
    chars: int


@dataclass(frozen=True, slots=True)
class ChildReport:
    """How one child ended; one that never started has a report too."""

    status: State
    summary: str
    """Its final answer, or as far as it came."""
    error: str | None = None
    turns: int = 0
    tokens_in: int = 0
    tokens_out: int = 0
    cost: int | None = None
    """Micro-dollars; None where the price is unknown."""
    seconds: float = 0.0
    """From its request to its end."""
    model: str | None = None
    key: str | None = None
    """Label of the key that it used last."""
    trace: tuple[ToolTrace, ...] = ()
    files_read: tuple[str, ...] = ()
    files_written: tuple[str, ...] = ()
    exit_reason: str = ""
    session: str = ""
    """The agent's id."""
    name: str = ""
    full: str | None = None
    """The file that holds the whole summary."""


_RANK = {
    State.DONE: 0,
    State.INTERRUPTED: 1,
    State.KILLED: 1,
    State.TIMED_OUT: 2,
    State.OVER_LIMIT: 3,
    State.FAILED: 3,
    State.LOST: 3,
}
_GROUP = (State.DONE, State.INTERRUPTED, State.TIMED_OUT, State.FAILED)


def group_status(reports: tuple[ChildReport, ...]) -> State:
    """The worst of them, of failed > timed_out > interrupted > done; whoever did not get to an end has failed."""
    return _GROUP[max((_RANK.get(report.status, 3) for report in reports), default=0)]
