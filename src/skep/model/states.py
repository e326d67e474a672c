"""The states of an agent, the steps of a stop, the marks of the heartbeat, and which step may follow which."""

from __future__ import annotations

from enum import IntEnum, StrEnum


class State(StrEnum):
    """Where an agent is in its life; the last seven are final."""

    QUEUED = "queued"
    STARTING = "starting"
    RUNNING = "running"
    WAITING = "waiting"
    STOPPING = "stopping"
    DONE = "done"
    FAILED = "failed"
    TIMED_OUT = "timed_out"
    OVER_LIMIT = "over_limit"
    INTERRUPTED = "interrupted"
    KILLED = "killed"
    LOST = "lost"

    @property
    def ended(self) -> bool:
        """True for the end states."""
        return self in END_STATES


END_STATES = frozenset(
    {
        State.DONE,
        State.FAILED,
        State.TIMED_OUT,
        State.OVER_LIMIT,
        State.INTERRUPTED,
        State.KILLED,
        State.LOST,
    }
)

ALLOWED: dict[State, frozenset[State]] = {
    # A queued agent ends without a ladder: nothing of it runs yet.
    State.QUEUED: frozenset({State.STARTING, State.FAILED, State.INTERRUPTED, State.KILLED}),
    State.STARTING: frozenset({State.RUNNING, State.STOPPING, State.FAILED, State.LOST}),
    State.RUNNING: frozenset(
        {State.WAITING, State.STOPPING, State.DONE, State.FAILED, State.OVER_LIMIT, State.LOST}
    ),
    State.WAITING: frozenset(
        {
            State.RUNNING,
            State.WAITING,
            State.STOPPING,
            State.DONE,
            State.FAILED,
            State.TIMED_OUT,
            State.OVER_LIMIT,
            State.INTERRUPTED,
            State.KILLED,
            State.LOST,
        }
    ),
    State.STOPPING: END_STATES,
    **{state: frozenset() for state in END_STATES},
}
"""Present state → the states that may follow it."""


class WaitReason(StrEnum):
    """What a waiting agent waits for."""

    SLOT = "slot"
    KEY = "key"
    APPROVAL = "approval"
    CHILD = "child"
    GATE = "gate"
    BUDGET = "budget"


class StopVerb(StrEnum):
    """Who or what stops an agent, which decides the state it ends in."""

    INTERRUPT = "interrupt"
    KILL = "kill"
    TIMEOUT = "timeout"

    @property
    def end(self) -> State:
        """The end state of an agent that this verb stopped."""
        return _ENDS[self]


_ENDS = {
    StopVerb.INTERRUPT: State.INTERRUPTED,
    StopVerb.KILL: State.KILLED,
    StopVerb.TIMEOUT: State.TIMED_OUT,
}


class StopStep(IntEnum):
    """The rungs of the stop ladder; an agent only ever goes down."""

    SHUT = 0
    SOFT = 1
    CANCEL = 2
    KILL = 3
    VERIFY = 4


class Strength(StrEnum):
    """How much a latch holds."""

    SPAWNS = "spawns"
    TURNS = "turns"


class Mark(StrEnum):
    """What the heartbeat monitor thinks of an agent that ought to get on."""

    QUIET = "quiet"
    STALE = "stale"
    SPINNING = "spinning"
    LATE = "late"
    """No heartbeat for 6 s."""
    DEAD = "dead"
    """No heartbeat for 15 s."""
    UNSTOPPED = "unstopped"
    """Still there after the last rung of the ladder."""


class OnStale(StrEnum):
    """What to do, besides marking it, with an agent that shows no progress for too long."""

    MARK = "mark"
    STEER = "steer"
    """Put a note before its model; also where it goes in circles. Only where there is a model."""
    INTERRUPT = "interrupt"
    KILL = "kill"


class DriverKind(StrEnum):
    """How an agent runs."""

    CHAT = "chat"
    COMMAND = "command"
    GROUP = "group"
