"""One node of the tree as the registry knows it, and the face it shows."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from skep.model.events import Json
from skep.model.states import DriverKind, Mark, State, StopStep, StopVerb, WaitReason


@dataclass(slots=True)
class Agent:
    """The durable record of an agent; every moment is in epoch seconds and comes from the journal."""

    id: str
    parent: str | None
    name: str
    driver: DriverKind
    goal: str
    spec: dict[str, Json]
    depth: int
    order: int
    """Number of the event that asked for it; also its place among its siblings."""
    branch: str
    """The child of the root under which it stands (the root's own id for the root)."""
    state: State
    since: float
    """When the present state began."""
    queued_at: float
    started_at: float | None = None
    ended_at: float | None = None
    reason: WaitReason | None = None
    detail: str = ""
    attempt: int = 0
    """How often it was admitted; also the generation that fences late results off."""
    slot: bool = False
    pids: tuple[int, ...] = ()
    mark: Mark | None = None
    evidence: str = ""
    stop_step: StopStep | None = None
    stop_verb: StopVerb | None = None
    stop_who: str = ""
    stop_cause: str = ""
    asked_at: float | None = None
    asked_by: str = ""
    delivered_at: float | None = None
    rungs: tuple[tuple[StopStep, float, str], ...] = ()
    """Each rung of the ladder that it was taken down: which, when, by whom."""
    exit_code: int | None = None
    signal: int | None = None
    error: str | None = None
    diagnostic: str | None = None
    """The file in the swarm's folder that says what it was doing, if it ended without an answer of its model."""
    result: str | None = None
    lines: int = 0
    size: int = 0
    turns: int = 0
    tokens_in: int = 0
    tokens_out: int = 0
    cost: int = 0
    """Micro-dollars of the turns whose price is known."""
    unpriced: int = 0
    """Turns whose price is unknown."""
    struck: int = 0
    """Model calls that failed and were made again or given up."""
    unsettled: int = 0
    """Those of them that may have used more than was told."""
    key: str = ""
    """Label of the key that its last complete turn used."""
    calls: Mapping[str, str] = field(default_factory=dict)
    """Tool calls without a result, id → the call in a few words: open, or unknown once it has ended."""
    resumes: str = ""
    """The ended agent whose conversation it goes on with."""
    resumed_by: str = ""
    """The agent that goes on with this one's conversation."""
    question: dict[str, Json] | None = None
    """What it asks a person to allow: ``hash``, ``tool``, ``headline``, ``until`` and the details."""
    children: list[str] = field(default_factory=list)

    @property
    def model(self) -> str | None:
        """``PROVIDER/MODEL`` of a chat agent."""
        model = self.spec.get("model")
        return model if isinstance(model, str) else None

    @property
    def provider(self) -> str:
        """Who serves its model; empty for agents without one."""
        return (self.model or "").partition("/")[0]

    @property
    def ended(self) -> bool:
        """True once the end state is reached."""
        return self.state.ended

    def seconds(self, now: float) -> float | None:
        """How long it has run or ran, in seconds; None if it never started."""
        if self.started_at is None:
            return None
        return max(0.0, (self.ended_at if self.ended_at is not None else now) - self.started_at)

    def in_step(self, now: float) -> float:
        """What the column IN shows: seconds in the present step; for an ended agent how long it took."""
        if self.ended_at is not None:
            return self.ended_at - (self.started_at if self.started_at is not None else self.ended_at)
        return max(0.0, now - self.since)


@dataclass(slots=True)
class Live:
    """What changes too often for the journal: it is told, not kept, and gone after a restart."""

    activity: str = ""
    """The newest line of output, cleaned."""
    progress_at: float = 0.0
    """When something last moved, epoch seconds."""
    lines: int = 0
    size: int = 0
    """Bytes of output so far."""
    turn: int = 0
    """The turn that it is in, from 1."""
    key: str = ""
    """Label of the key that it uses just now, or used last."""
    since: float = 0.0
    """When the tool or the model call that it is in began, epoch seconds; 0 where that is not known."""
    in_tool: bool = False
    """True while a tool of a conversation runs; else its model is asked."""


@dataclass(slots=True)
class Spend:
    """What a branch, its top included, has used so far."""

    turns: int = 0
    tokens_in: int = 0
    tokens_out: int = 0
    cost: int = 0
    """Micro-dollars of the turns whose price is known."""
    unpriced: int = 0
    """Turns whose price is unknown."""
    unsettled: int = 0
    """Model calls that were cut, and may have used more than was told."""

    @property
    def is_lower_bound(self) -> bool:
        """True if ``cost`` is not all that it was."""
        return bool(self.unpriced or self.unsettled)


class Face(StrEnum):
    """The one thing a row shows at its left edge; in the order worst first."""

    ASKS = "asks"
    STALE = "stale"
    SPINNING = "spinning"
    FAILED = "failed"
    LOST = "lost"
    OVER_LIMIT = "over_limit"
    STOPPING = "stopping"
    HELD = "held"
    RUNNING = "running"
    QUIET = "quiet"
    WAITING = "waiting"
    QUEUED = "queued"
    DONE = "done"
    STOPPED = "stopped"


FACES = tuple(Face)
"""All faces, worst first."""

END_FACES = frozenset({Face.FAILED, Face.LOST, Face.OVER_LIMIT, Face.DONE, Face.STOPPED})
"""The faces of ended agents."""

_STATE_FACES = {
    State.QUEUED: Face.QUEUED,
    State.STARTING: Face.RUNNING,
    State.RUNNING: Face.RUNNING,
    State.WAITING: Face.WAITING,
    State.STOPPING: Face.STOPPING,
    State.DONE: Face.DONE,
    State.FAILED: Face.FAILED,
    State.TIMED_OUT: Face.FAILED,
    State.OVER_LIMIT: Face.OVER_LIMIT,
    State.INTERRUPTED: Face.STOPPED,
    State.KILLED: Face.STOPPED,
    State.LOST: Face.LOST,
}
_MARK_FACES = {
    Mark.QUIET: Face.QUIET,
    Mark.STALE: Face.STALE,
    Mark.SPINNING: Face.SPINNING,
    Mark.LATE: Face.STALE,
    Mark.DEAD: Face.STALE,
}
_ASKING = frozenset({WaitReason.APPROVAL, WaitReason.BUDGET})


def face_of(agent: Agent) -> Face:
    """The face of an agent, leaving aside whether a latch holds it (that belongs to the swarm)."""
    if agent.question is not None and agent.state in (State.RUNNING, State.WAITING):
        return Face.ASKS
    if agent.state in (State.STARTING, State.RUNNING) and agent.mark is not None:
        return _MARK_FACES.get(agent.mark, Face.RUNNING)
    if agent.state is State.WAITING and agent.reason in _ASKING:
        return Face.ASKS
    return _STATE_FACES[agent.state]


def _usual(f: dataclasses.Field[Any]) -> object:
    """The default of a field; what has none equals nothing, and is always written."""
    if f.default_factory is not dataclasses.MISSING:
        return f.default_factory()
    return f.default if f.default is not dataclasses.MISSING else f


_DEFAULTS = {f.name: _usual(f) for f in dataclasses.fields(Agent) if f.name != "children"}
_ENUMS: dict[str, Callable[[Any], object]] = {
    "driver": DriverKind,
    "state": State,
    "reason": WaitReason,
    "mark": Mark,
    "stop_step": StopStep,
    "stop_verb": StopVerb,
    "pids": tuple,
    "rungs": lambda rungs: tuple((StopStep(step), at, who) for step, at, who in rungs),
}


def to_json(agent: Agent) -> dict[str, Json]:
    """The durable fields that are not at their default; the children follow from the parents."""
    return {name: value for name, usual in _DEFAULTS.items() if (value := getattr(agent, name)) != usual}


def from_json(body: dict[str, Json]) -> Agent:
    """The agent of such an object; raises KeyError, TypeError or ValueError on a wrong shape."""
    fields: dict[str, Any] = dict(body)
    for name, convert in _ENUMS.items():
        value = fields.get(name)
        if value is not None:
            fields[name] = convert(value)
    return Agent(**fields)
