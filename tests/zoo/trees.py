"""Makes trees by a seed: shapes times habits, every kind at least once."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import chain, islice

SIGNALS = ("SIGINT", "SIGTERM", "SIGHUP")
GENERATIONS = 4_000
LIVES = 3


class Habit(StrEnum):
    """What a process does, besides ignoring signals, leaving its session and getting rid of its parent."""

    STAYS = "stays"
    POLITE = "polite"
    PHOENIX = "phoenix"
    SCRUBBED = "scrubbed"
    MUTE = "mute"
    STOPPED = "stopped"
    FLOOD = "flood"
    STORM = "storm"


@dataclass(frozen=True, slots=True)
class Node:
    """One process, and those that it starts."""

    habit: Habit = Habit.STAYS
    deaf: tuple[str, ...] = ()
    """Signals that it ignores."""
    session: bool = False
    """It has a session of its own."""
    orphan: bool = False
    """It was forked twice: its parent is gone before it is ready."""
    children: tuple[Node, ...] = ()

    def __iter__(self) -> Iterator[Node]:
        """All processes of the tree."""
        return chain([self], *self.children)

    def document(self) -> dict[str, object]:
        """For ``animal.py``."""
        words: dict[str, object] = {"habit": self.habit.value, "deaf": self.deaf}
        words |= {"session": self.session, "orphan": self.orphan}
        words |= {"generations": GENERATIONS} if self.habit is Habit.STORM else {}
        words |= {"lives": LIVES} if self.habit is Habit.PHOENIX else {}
        return words | {"children": [child.document() for child in self.children]}


@dataclass(frozen=True, slots=True)
class Tree:
    """A tree with its name, which is part of what its processes are called."""

    name: str
    root: Node
    size: int = field(init=False)
    """Processes that say that they are ready."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "size", sum(1 for _ in self.root))

    def json(self) -> str:
        """For ``animal.py``."""
        return json.dumps(self.root.document(), separators=(",", ":"))


DEAF = Node(deaf=SIGNALS)
DAEMON = Node(session=True, orphan=True)
DEAF_DAEMON = Node(deaf=SIGNALS, session=True, orphan=True)

KINDS: dict[str, Node] = {
    "deaf": DEAF,
    "session": Node(children=(Node(session=True, deaf=SIGNALS),)),
    "daemon": Node(children=(DAEMON,)),
    "deaf daemon": Node(children=(DEAF_DAEMON,), deaf=SIGNALS),
    "stopped": Node(children=(Node(Habit.STOPPED), Node(Habit.STOPPED, deaf=SIGNALS, session=True))),
    "scrubbed": Node(children=(Node(Habit.SCRUBBED, session=True),)),
    "scrubbed daemon": Node(children=(Node(Habit.SCRUBBED, deaf=SIGNALS, session=True, orphan=True),)),
    "mute": Node(children=(Node(Habit.MUTE, deaf=SIGNALS, session=True),)),
    "flood": Node(Habit.FLOOD, deaf=SIGNALS),
    "storm": Node(children=(Node(Habit.STORM), Node(Habit.STORM, deaf=SIGNALS, orphan=True))),
    "phoenix": Node(children=(Node(Habit.PHOENIX), Node(Habit.PHOENIX, session=True, orphan=True))),
    "polite": Node(Habit.POLITE, children=(Node(Habit.POLITE, session=True),)),
}
"""One of each: a change that lets any of them live is seen in a small zoo already."""


def zoo(seed: int, count: int) -> list[Tree]:
    """So many trees: one of each kind, then whatever the seed gives."""
    rolls = random.Random(seed)
    roots = chain(KINDS.items(), (("any", _any(rolls)) for _ in iter(int, 1)))
    return [
        Tree(f"{number}-{name.replace(' ', '-')}", root)
        for number, (name, root) in enumerate(islice(roots, count))
    ]


def _any(rolls: random.Random) -> Node:
    shape = rolls.choice((_chain, _fan, _bush))
    return shape(rolls)


def _chain(rolls: random.Random) -> Node:
    """Each has one child."""
    node = _one(rolls, leaf=True)
    for _ in range(rolls.randrange(2, 10)):
        node = _one(rolls, node)
    return node


def _fan(rolls: random.Random) -> Node:
    """One has many."""
    return _one(rolls, *(_one(rolls, leaf=True) for _ in range(rolls.randrange(3, 10))))


def _bush(rolls: random.Random, depth: int = 3) -> Node:
    if depth == 0:
        return _one(rolls, leaf=True)
    return _one(rolls, *(_bush(rolls, depth - 1) for _ in range(rolls.randrange(1, 3))))


def _one(rolls: random.Random, *children: Node, leaf: bool = False) -> Node:
    """A storm or a flood is rare, for the machine must bear them all at once; what is no leaf has its children."""
    habits, weights = [Habit.STAYS, Habit.POLITE, Habit.PHOENIX, Habit.STOPPED, Habit.MUTE], [8, 4, 2, 2, 2]
    if leaf:
        habits += [Habit.SCRUBBED, Habit.STORM, Habit.FLOOD]
        weights += [4, 1, 1]
    (habit,) = rolls.choices(habits, weights)
    deaf = SIGNALS if rolls.random() < 0.4 else tuple(name for name in SIGNALS if rolls.random() < 0.2)
    return Node(habit, deaf, session=rolls.random() < 0.4, orphan=rolls.random() < 0.25, children=children)
