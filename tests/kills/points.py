"""Every place where a crash between two steps matters, by name; what is done there, and what must hold, in words.

A point is ``STAGE`` or ``STAGE/EVENT``. The stages of an event on its way: *folded* (decided and numbered, only in
memory), *queued* (handed to the journal's thread), *unwritten* (its transaction has not begun), *uncommitted* (its
rows are in, COMMIT is next), *committed* (the head mark does not name it yet), *marked* (nobody was told),
*acknowledged* (the engine's loop hears of it), *due* (replies and effects are about to go out). The others are
explained where they stand.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto


class Life(Enum):
    """The engine in which the fuse burns."""

    LAUNCH = auto()
    """The first one, before anybody was told that it began."""
    FIRST = auto()
    """The first one, with a swarm at work."""
    RECOVERY = auto()
    """The second one, while it takes over from one that was killed at work."""
    SECOND = auto()
    """The second one, once somebody resumes what was lost."""
    END = auto()
    """The last one, whose swarm has come to its end: nobody is live any more."""


class Act(Enum):
    """What a client does to get there, besides opening the gate at which the leads stand."""

    NOTHING = auto()
    PAUSE = auto()
    """Holds a branch."""
    PAUSE_ACCOUNT = auto()
    """Holds the keys of an account."""
    UNPAUSE = auto()
    """Lets a branch go, in which agents wait for it."""
    INTERRUPT = auto()
    """Stops a branch of conversations."""
    KILL = auto()
    """Kills a branch of commands, some of which are deaf to everything else."""
    STOP_IN_WINDOW = auto()
    """Stops a branch in a window of five seconds."""
    ANSWER = auto()
    """Allows what an agent asks."""
    RESUME = auto()
    """Resumes every lost conversation."""


@dataclass(frozen=True, slots=True)
class Point:
    """Where an engine dies, at the ``nth`` passage after it was armed."""

    name: str
    nth: int
    life: Life
    act: Act
    says: str


def _first(name: str, says: str, *, nth: int = 1, act: Act = Act.NOTHING) -> Point:
    return Point(name, nth, Life.FIRST, act, says)


POINTS = (
    # -- the launch: there is a whole swarm afterwards, or none
    Point(
        "folded/swarm_created",
        1,
        Life.LAUNCH,
        Act.NOTHING,
        "The swarm exists in memory only: there never was one.",
    ),
    Point("uncommitted/swarm_created", 1, Life.LAUNCH, Act.NOTHING, "Its rows are in the log, uncommitted: none."),
    Point(
        "committed/swarm_created",
        1,
        Life.LAUNCH,
        Act.NOTHING,
        "Durable, unmarked: a whole one, all of it in line.",
    ),
    Point("launched", 1, Life.LAUNCH, Act.NOTHING, "Durable, and who started it was not told: a whole one."),
    # -- the way of any event into the journal, of whatever comes by
    _first("folded", "After the fold, before the append: what nobody was told never was.", nth=20),
    _first("queued", "In the queue of the journal's thread: as if it had not been.", nth=21),
    _first("unwritten", "The batch is taken, its transaction has not begun.", nth=9),
    _first("uncommitted", "Before COMMIT: SQLite takes the rows back.", nth=7),
    _first("committed", "After COMMIT, before the head mark: adopted by the next owner.", nth=8),
    _first("marked", "After the head mark, before the acknowledgement: durable, and nobody relies on it.", nth=6),
    _first("acknowledged", "Acknowledged in the loop, nothing has followed from it.", nth=5),
    _first("due", "Replies and effects are due, none has gone out.", nth=10),
    _first("half a checkpoint", "The pages are written, the checkpoint is not: the one before serves."),
    _first("whole checkpoint", "The checkpoint is written, uncommitted."),
    # -- effects
    _first(
        "unsubmitted/chat", "A conversation is admitted, its host was not told: it counts as begun, so it is lost."
    ),
    _first("submitted/chat", "Its host knows of it, nothing of it runs yet.", nth=3),
    _first("unsubmitted/command", "A command is admitted and not started.", act=Act.UNPAUSE),
    _first("submitted/command", "A command is admitted and about to start.", act=Act.UNPAUSE, nth=2),
    _first(
        "spawn in flight", "The order to start a program is on its way to the warden: what it starts ends with it."
    ),
    _first("spawned", "A program runs, and nobody was told its pid.", nth=2),
    _first("reported/started", "The host says that it runs, the engine has not taken it in.", nth=2),
    _first(
        "reported/ended", "The host says that it has ended, the record does not: lost, though it had ended.", nth=2
    ),
    _first("due/agent_ended", "A child's end is durable, its parent was not told.", nth=4),
    # -- conversations
    _first("turn over", "The answer is whole and paid for, nothing of it is kept: asked for again.", nth=3),
    _first(
        "turn durable/with calls", "The turn is durable, its tools have not begun: all of them unknown.", nth=4
    ),
    _first("due/turn_completed", "The same, told to the loop and not to the conversation.", nth=5),
    _first("tool over", "A tool has ended, its result is not kept: unknown, and not run again.", nth=3),
    _first("tool noted", "The result is decided, not durable: unknown, and not run again.", nth=5),
    _first("uncommitted/tool_ended", "Results at the door of the disk.", nth=3),
    _first("folded/delegated", "Children are asked for, not durable: there never were any.", nth=2),
    _first("children durable", "Children are durable, and may run, before their parent knows their names.", nth=2),
    _first("committed/approval_asked", "A question is durable, nobody has seen it: nothing runs.", act=Act.ANSWER),
    _first("folded/approval_answered", "The answer is decided, not durable: nothing was allowed.", act=Act.ANSWER),
    _first(
        "due/approval_answered",
        "The answer is durable, not delivered: allowed, and it did not run.",
        act=Act.ANSWER,
    ),
    _first("uncommitted/message_added", "What children in the background left is on its way into the record."),
    # -- holds
    _first("folded/latch_closed", "A hold is decided, not durable: nothing is held.", act=Act.PAUSE),
    _first("marked/latch_closed", "A hold is durable, who asked was not told: it holds.", act=Act.PAUSE),
    _first(
        "due/account latch", "A hold on keys is durable, their pool was not told: it holds.", act=Act.PAUSE_ACCOUNT
    ),
    _first("uncommitted/latch_opened", "A hold is lifted, not durable: it holds.", act=Act.UNPAUSE),
    _first("due/latch_opened", "A hold is lifted for good, nothing has followed from it.", act=Act.UNPAUSE),
    # -- stops
    _first("folded/branch_shut", "A stop is asked for, not durable: it never was.", act=Act.INTERRUPT),
    _first(
        "due/branch_shut",
        "The gate of a branch is shut in a window: what waits there ends.",
        act=Act.STOP_IN_WINDOW,
    ),
    _first("due/rung soft", "The first rung is durable, delivered to nobody.", act=Act.INTERRUPT),
    _first("delivered/soft", "The first rung is delivered to one, the others run.", act=Act.INTERRUPT),
    _first("undelivered/cancel", "The rung of TERM is durable, not delivered.", act=Act.KILL),
    _first("delivered/cancel", "TERM is delivered to some.", act=Act.KILL, nth=3),
    _first("undelivered/kill", "The rung of KILL is durable, not delivered.", act=Act.KILL),
    _first("delivered/kill", "KILL is delivered, the end not verified.", act=Act.KILL),
    _first("uncommitted/ended killed", "The end is verified, not durable.", act=Act.KILL),
    # -- recovery: done again, it ends in the same
    Point("replayed", 1, Life.RECOVERY, Act.NOTHING, "The journal is proven and replayed, nothing is decided."),
    Point(
        "recovering",
        1,
        Life.RECOVERY,
        Act.NOTHING,
        "What was left is swept, the socket answers, nothing is decided.",
    ),
    Point("folded/recovered", 1, Life.RECOVERY, Act.NOTHING, "The take-over is decided, not durable."),
    Point("uncommitted/recovered", 1, Life.RECOVERY, Act.NOTHING, "All its rows are in, before COMMIT."),
    Point("committed/recovered", 1, Life.RECOVERY, Act.NOTHING, "Durable, the head mark behind."),
    Point("due/recovered", 1, Life.RECOVERY, Act.NOTHING, "Durable, its effects not carried out."),
    Point("recovered", 1, Life.RECOVERY, Act.NOTHING, "Done, and who started it was not told."),
    # -- resuming
    Point(
        "folded/resumed",
        3,
        Life.SECOND,
        Act.RESUME,
        "A resume is decided, not durable: the old one can be resumed.",
    ),
    Point("committed/resumed", 2, Life.SECOND, Act.RESUME, "Durable, unmarked: somebody goes on with it."),
    Point("due/resumed", 4, Life.SECOND, Act.RESUME, "Durable, and who asked was not told."),
    Point(
        "conversation read",
        3,
        Life.SECOND,
        Act.RESUME,
        "The old conversation is read, its open calls are not settled.",
    ),
    Point("tool noted/settled", 4, Life.SECOND, Act.RESUME, "Some open calls are settled, others are not."),
    Point("turn over", 2, Life.SECOND, Act.RESUME, "The first turn of one that goes on is over, not kept."),
    # -- the end
    Point("folded/swarm_ended", 1, Life.END, Act.NOTHING, "The end of the swarm is decided, not durable."),
    Point("due/swarm_ended", 1, Life.END, Act.NOTHING, "The swarm has ended for good, its engine is still there."),
    Point("leaving", 1, Life.END, Act.NOTHING, "The engine leaves, its journal is open."),
    Point("log folded in", 1, Life.END, Act.NOTHING, "The journal is being made into one file."),
)
"""In the order of a swarm's life."""
