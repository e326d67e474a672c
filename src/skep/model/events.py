"""Every fact that can happen to a swarm, as one immutable type each; the journal is the list of them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, TypeAlias

from skep.model.states import DriverKind, Mark, State, StopStep, StopVerb, Strength, WaitReason

Json: TypeAlias = "bool | int | float | str | list[Json] | dict[str, Json] | None"
"""What a JSON text can hold."""

ROOT = "root"
"""The id of the agent at the top of every swarm."""


@dataclass(frozen=True, slots=True)
class SwarmCreated:
    """The swarm exists; always event 1."""

    kind: ClassVar[str] = "swarm_created"
    swarm: str
    name: str
    cwd: str
    max_running: int
    fail_fast: bool = False
    version: str = ""
    simulated: bool = False
    """Its models are a simulator's, which the engine runs itself."""


@dataclass(frozen=True, slots=True)
class EngineStarted:
    """An engine took the swarm over; ``recovered`` if another one had it before and did not end it."""

    kind: ClassVar[str] = "engine_started"
    pid: int
    recovered: bool = False
    caps: dict[str, int] = field(default_factory=dict)
    """Provider → how many of its agents may run at once (row C5); providers without a known cap are left out."""
    accounts: dict[str, list[str]] = field(default_factory=dict)
    """Provider → the accounts whose keys its agents may use, as ``PROVIDER/ACCOUNT``."""


@dataclass(frozen=True, slots=True)
class AgentQueued:
    """An agent was asked for; it waits in line (a group needs no slot and holds its children at once)."""

    kind: ClassVar[str] = "agent_queued"
    agent: str
    parent: str | None
    name: str
    driver: DriverKind
    goal: str
    spec: dict[str, Json]
    resumes: str = ""
    """The ended agent whose conversation it goes on with."""


@dataclass(frozen=True, slots=True)
class AgentAdmitted:
    """A slot was reserved: a queued agent starts, one that came back into the line goes on."""

    kind: ClassVar[str] = "agent_admitted"
    agent: str


@dataclass(frozen=True, slots=True)
class AgentRunning:
    """The host runs it, or it goes on after a wait in which it kept its slot; ``pids`` are its main processes."""

    kind: ClassVar[str] = "agent_running"
    agent: str
    pids: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class AgentWaiting:
    """It waits, as a rule without its slot; ``detail`` says for what in words (``try 2 of 3 after exit 1``)."""

    kind: ClassVar[str] = "agent_waiting"
    agent: str
    reason: WaitReason
    detail: str = ""
    keeps_slot: bool = False


@dataclass(frozen=True, slots=True)
class TurnCompleted:
    """A model call came to its end; only now its tools may run, and they are listed in ``message``.

    ``cost`` is in micro-dollars, None where the price is unknown. ``tokens_in`` includes the ``cached`` ones.
    """

    kind: ClassVar[str] = "turn_completed"
    agent: str
    turn: int
    message: dict[str, Json]
    finish: str
    key: str
    tokens_in: int
    tokens_out: int
    cached: int = 0
    cost: int | None = None
    seconds: float = 0.0
    calls: dict[str, str] = field(default_factory=dict)
    """The tool calls that it asks for, which may run from now on: id → the call in a few words."""


@dataclass(frozen=True, slots=True)
class AttemptStruck:
    """A model call failed; what it had said does not count. ``outcome`` is the class of the failure.

    What it used is counted as far as the provider told it; unless ``settled``, it may have used more.
    """

    kind: ClassVar[str] = "attempt_struck"
    agent: str
    turn: int
    key: str
    outcome: str
    error: str
    text: str = ""
    tokens_in: int = 0
    tokens_out: int = 0
    cost: int | None = None
    settled: bool = True


@dataclass(frozen=True, slots=True)
class ToolEnded:
    """A tool call has its result, which the model is told next."""

    kind: ClassVar[str] = "tool_ended"
    agent: str
    turn: int
    call: str
    tool: str
    ok: bool
    content: str
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class MessageAdded:
    """Something that the model is told besides the results of its tools, as the results of background children.

    A note has somebody who wrote it; ``turn`` is the one that it was delivered at then.
    """

    kind: ClassVar[str] = "message_added"
    agent: str
    turn: int
    content: str
    who: str = ""


@dataclass(frozen=True, slots=True)
class ApprovalAsked:
    """A tool may not run before a person has allowed it; ``hash`` binds the answer to exactly this call."""

    kind: ClassVar[str] = "approval_asked"
    agent: str
    hash: str
    tool: str
    headline: str
    question: dict[str, Json]
    until: float | None = None


@dataclass(frozen=True, slots=True)
class ApprovalAnswered:
    """The answer, by a person or by the clock (``who``)."""

    kind: ClassVar[str] = "approval_answered"
    agent: str
    hash: str
    allow: bool
    who: str


@dataclass(frozen=True, slots=True)
class AgentMarked:
    """The heartbeat monitor set or (``mark`` None) took back a mark, with its evidence."""

    kind: ClassVar[str] = "agent_marked"
    agent: str
    mark: Mark | None
    evidence: str = ""


@dataclass(frozen=True, slots=True)
class LatchClosed:
    """New spawns (or turns) are held in ``scope``; the same scope and strength again replaces the latch."""

    kind: ClassVar[str] = "latch_closed"
    scope: str
    strength: Strength
    reason: str
    who: str
    until: float | None = None


@dataclass(frozen=True, slots=True)
class LatchOpened:
    """The latch of that scope and strength no longer holds."""

    kind: ClassVar[str] = "latch_opened"
    scope: str
    strength: Strength
    who: str


@dataclass(frozen=True, slots=True)
class BranchShut:
    """Rung 0 of a stop: nothing new starts there; until ``until`` (epoch seconds) it can be taken back."""

    kind: ClassVar[str] = "branch_shut"
    agent: str
    branch: bool
    verb: StopVerb
    who: str
    until: float | None = None


@dataclass(frozen=True, slots=True)
class BranchReopened:
    """A stop was taken back within its window."""

    kind: ClassVar[str] = "branch_reopened"
    agent: str
    who: str


@dataclass(frozen=True, slots=True)
class AgentStopping:
    """An agent reached a rung of the ladder; ``cause`` says why in words."""

    kind: ClassVar[str] = "agent_stopping"
    agent: str
    step: StopStep
    verb: StopVerb
    who: str
    cause: str = ""


@dataclass(frozen=True, slots=True)
class AgentEnded:
    """The end, verified: nothing of the agent is left."""

    kind: ClassVar[str] = "agent_ended"
    agent: str
    state: State
    exit_code: int | None = None
    signal: int | None = None
    error: str | None = None
    result: str | None = None
    lines: int = 0
    size: int = 0
    report: dict[str, Json] | None = None
    """What a chat agent leaves to whoever asked for it: exit reason, tool trace, files."""
    diagnostic: str | None = None
    """The file in the swarm's folder that says what it was doing, if it ended without an answer of its model."""


@dataclass(frozen=True, slots=True)
class Reopened:
    """A group that had ended holds agents again; with the root the swarm goes on, whatever became of the root."""

    kind: ClassVar[str] = "reopened"
    agent: str
    who: str


@dataclass(frozen=True, slots=True)
class SwarmEnded:
    """Every agent has ended; ``status`` is ``done``, ``failed`` or ``interrupted``."""

    kind: ClassVar[str] = "swarm_ended"
    status: str


Event = (
    SwarmCreated
    | EngineStarted
    | AgentQueued
    | AgentAdmitted
    | AgentRunning
    | AgentWaiting
    | TurnCompleted
    | AttemptStruck
    | ToolEnded
    | MessageAdded
    | ApprovalAsked
    | ApprovalAnswered
    | AgentMarked
    | LatchClosed
    | LatchOpened
    | BranchShut
    | BranchReopened
    | AgentStopping
    | AgentEnded
    | Reopened
    | SwarmEnded
)

KINDS: dict[str, type[Event]] = {
    event.kind: event
    for event in (
        SwarmCreated,
        EngineStarted,
        AgentQueued,
        AgentAdmitted,
        AgentRunning,
        AgentWaiting,
        TurnCompleted,
        AttemptStruck,
        ToolEnded,
        MessageAdded,
        ApprovalAsked,
        ApprovalAnswered,
        AgentMarked,
        LatchClosed,
        LatchOpened,
        BranchShut,
        BranchReopened,
        AgentStopping,
        AgentEnded,
        Reopened,
        SwarmEnded,
    )
}


@dataclass(frozen=True, slots=True)
class Record:
    """An event with its number in the swarm (1, 2, 3 …) and its moment (epoch seconds)."""

    seq: int
    time: float
    event: Event
