"""The verbs that a client may ask an engine for, as typed requests and replies; the wire carries their JSON."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field

from skep.model.states import Strength

AgentId = Annotated[str, Field(min_length=1, max_length=64)]
Reason = Annotated[str, Field(max_length=500)]


NAMED = 1_000
"""Most agents that a reply names, so that it fits into a frame whatever the size of the swarm."""

ASKED = 500
"""Most agents that a request names."""


class Request(BaseModel):
    """Base of all requests: no unknown fields, no silent conversions of type."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    changes: ClassVar[bool] = True
    """False for a question, which a read-only client may ask, too."""


Scope = Annotated[str, Field(max_length=300)]
"""The text of a :class:`skep.model.holds.Scope`: an agent's id, ``model:…``, ``account:…``; empty: the swarm."""


class Pause(Request):
    """Hold new spawns (or turns) in ``scope`` for ``seconds``, or until unpaused."""

    verb: Literal["pause"] = "pause"
    scope: Scope = ""
    strength: Strength = Strength.SPAWNS
    reason: Reason = ""
    seconds: float | None = Field(None, gt=0, le=366 * 86_400)


class Unpause(Request):
    """Release the latch of that scope and strength; no error if there is none."""

    verb: Literal["unpause"] = "unpause"
    scope: Scope = ""
    strength: Strength = Strength.SPAWNS


class Stop(Request):
    """Interrupt or kill an agent or its whole branch; ``window`` seconds to take it back (0: none)."""

    verb: Literal["stop"] = "stop"
    agent: AgentId
    branch: bool = False
    how: Literal["interrupt", "kill"] = "interrupt"
    window: float = Field(0.0, ge=0, le=60)


class TakeBack(Request):
    """Undo a stop whose window is still open."""

    verb: Literal["take_back"] = "take_back"
    agent: AgentId


class Hurry(Request):
    """Go one rung down the ladder now (or straight to the kill), for an agent or a branch that is stopping."""

    verb: Literal["hurry"] = "hurry"
    agent: AgentId
    branch: bool = False
    kill: bool = False


class Preview(Request):
    """What a stop would take with it, as far as the engine knows it at once; changes nothing."""

    changes: ClassVar[bool] = False
    verb: Literal["preview"] = "preview"
    agent: AgentId
    branch: bool = False


class Uncommitted(Request):
    """What the folders of these agents (or of their branches) hold that is in no commit; changes nothing.

    The answer may take two seconds, for the host looks at the folders.
    """

    changes: ClassVar[bool] = False
    verb: Literal["uncommitted"] = "uncommitted"
    agents: tuple[AgentId, ...] = Field(min_length=1, max_length=ASKED)
    branch: bool = False


class Answer(Request):
    """Allow or deny what an agent asks; ``hash`` is that of the question which was read."""

    verb: Literal["answer"] = "answer"
    agent: AgentId
    hash: str = Field(min_length=1, max_length=128)
    allow: bool


class Resume(Request):
    """Go on with the conversation of an ended agent, as a new agent; ``message`` is told to it besides."""

    verb: Literal["resume"] = "resume"
    agent: AgentId
    message: str = Field("", max_length=128 * 1024)


class Holds(Request):
    """What is held in the swarm, and whether it really holds; changes nothing."""

    changes: ClassVar[bool] = False
    verb: Literal["holds"] = "holds"


class Keys(Request):
    """How the keys of the swarm's providers stand; changes nothing."""

    changes: ClassVar[bool] = False
    verb: Literal["keys"] = "keys"


AnyRequest = Annotated[
    Pause | Unpause | Stop | TakeBack | Hurry | Preview | Uncommitted | Answer | Resume | Holds | Keys,
    Field(discriminator="verb"),
]


class Done(BaseModel):
    """The command is durable as event ``seq`` (0: nothing had to change) and touches ``count`` agents."""

    seq: int
    count: int = 0
    agents: list[str] = []
    """The first :data:`NAMED` of them, groups included."""


class Standing(StrEnum):
    """How an agent stands when a stop is thought of, in the words of the screen; each live one in just one way."""

    RUNNING = "running"
    ASK = "ask"
    """It waits for a person."""
    WAIT = "wait"
    """It waits for its children or for a key."""
    STOPPING = "stopping"
    QUEUED = "queued"
    HELD = "held"
    """In line, and kept back there by a hold or a stop."""


class Flight(StrEnum):
    """What an agent may be in the middle of."""

    PROGRAM = "program"
    TOOL = "tool"
    REQUEST = "request"
    """A call of its model."""


class InFlight(BaseModel):
    """What one agent is in the middle of, and for how many seconds."""

    agent: str
    name: str
    kind: Flight
    doing: str
    seconds: float


class Previewed(BaseModel):
    """What a stop would take with it: live agents (groups left out), what is in flight, money spent."""

    agent: str
    name: str
    count: int
    agents: list[str]
    """The first :data:`NAMED` of them."""
    states: dict[str, int]
    standing: dict[Standing, int]
    flights: dict[Flight, int]
    in_flight: list[InFlight]
    """Programs and tools first, those that have taken longest before the others; the rest is only counted."""
    cost_usd: float | None = None
    """What the branch has spent so far; None where nothing is known of it."""
    cost_is_lower_bound: bool = False
    turns: int = 0
    """Model calls of the branch so far; 0 if it talks to no model."""
    tokens: int = 0


class WorktreeShown(BaseModel):
    """One working tree of git and what in it is in no commit; all texts are cleaned."""

    path: str
    agents: int
    """Live agents whose folder lies in it, of those that were asked about."""
    agent: str
    """The name of one of them."""
    files: int
    names: list[str]
    """The first of them, as they are called from the top of the tree."""
    at_least: bool = False
    unknown: str | None = None
    """Why nothing is known of it."""


class UncommittedShown(BaseModel):
    """What is in no commit, the working tree with most of it first; folders under no git are left out."""

    worktrees: list[WorktreeShown]
    files: int
    """In all that are known; a stop touches none of them."""
    at_least: bool = False
    """True if there may be more: some are not known, or were not looked at."""
    left_out: int = 0
    """Folders that were not looked at, for they were too many."""


class KeyShown(BaseModel):
    """One key: its state, its load, what came of it; counts are since the engine began."""

    label: str
    account: str = ""
    """The quota group that it belongs to."""
    fingerprint: str
    state: str
    """``ok``, ``cooling`` (not before ``until``, epoch seconds), ``held`` or ``quarantined``."""
    until: float | None = None
    reason: str = ""
    model: str | None = None
    """The model that it cools for; None for all of them."""
    in_flight: int = 0
    cap: int | None = None
    requests_minute: int = 0
    tokens_minute: int = 0
    rate_limited: int = 0
    successes: int = 0
    failures: int = 0
    rotations: int = 0
    cost_usd: float = 0.0
    cost_is_lower_bound: bool = False
    first_token_seconds: float | None = None
    holders: dict[str, int] = {}
    """Id of a branch → requests of it that are in flight on this key."""


class PoolShown(BaseModel):
    """The keys of one provider at a moment (``at``, epoch seconds), and who waits for one of them."""

    provider: str
    endpoint: str
    at: float
    keys: list[KeyShown]
    waiters: int = 0
    oldest_wait: float | None = None
    """Seconds."""


class KeysShown(BaseModel):
    """The keys of all providers of a swarm; none for a swarm without chat agents."""

    pools: list[PoolShown] = []


class HoldShown(BaseModel):
    """One latch; times are in epoch seconds."""

    scope: str
    kind: str
    """``swarm``, ``branch``, ``model`` or ``account``."""
    name: str
    strength: str
    reason: str
    who: str
    since: float
    until: float | None = None
    held: int
    """Agents that it reaches and that are held just now."""
    quiesced: bool
    """Every agent in its scope really holds: nothing of what it forbids is still under way."""


class HoldsShown(BaseModel):
    """Every latch of a swarm."""

    holds: list[HoldShown] = []


Reply = Done | Previewed | UncommittedShown | KeysShown | HoldsShown
