"""A swarm as one would count it by hand: plain lists, everything looked up anew each time."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import combinations

from skep.model.agent import Face
from skep.model.events import ROOT
from skep.model.states import State

LIVE = {State.QUEUED, State.STARTING, State.RUNNING, State.WAITING, State.STOPPING}
FACES = {
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


@dataclass
class Row:
    """One agent."""

    name: str
    parent: str | None
    group: bool
    state: State
    step: int = -1
    marked: Face | None = None


@dataclass
class Reference:
    """The agents, two lists of those who stand in line, and what is closed."""

    slots: int
    agents: dict[str, Row] = field(default_factory=lambda: {ROOT: Row(ROOT, None, True, State.WAITING)})
    new: list[str] = field(default_factory=list)
    """In line and not yet begun, in the order of arrival."""
    back: list[str] = field(default_factory=list)
    """In line again, in the order of coming back."""
    latches: list[tuple[str, str]] = field(default_factory=list)
    shut: list[tuple[str, bool]] = field(default_factory=list)
    holders: list[str] = field(default_factory=list)
    """Who has a slot."""
    ahead: dict[tuple[str, str], int] = field(default_factory=dict)
    """How many more the first branch was given than the second since both have had somebody to serve."""

    @property
    def rows(self) -> list[Row]:
        return list(self.agents.values())

    def add(self, row: Row) -> None:
        self.agents[row.name] = row

    def row(self, name: str) -> Row:
        return self.agents[name]

    def path(self, name: str) -> list[str]:
        """The agent and all above it."""
        path = []
        at: str | None = name
        while at is not None:
            path.append(at)
            at = self.row(at).parent
        return path

    def below(self, name: str) -> list[str]:
        return [row.name for row in self.rows if row.name != name and name in self.path(row.name)]

    def branch(self, name: str) -> str:
        path = self.path(name)
        return path[-2] if len(path) > 1 else path[-1]

    def is_shut(self, name: str) -> bool:
        path = self.path(name)
        return any(at == name or (whole and at in path) for at, whole in self.shut)

    def is_held(self, name: str) -> bool:
        scopes = ["", *self.path(name)]
        return any(scope in scopes for scope, _ in self.latches) or self.is_shut(name)

    def ready(self) -> list[str]:
        return [name for name in self.back + self.new if not self.is_held(name)]

    def face(self, row: Row) -> Face:
        if row.name in self.back + self.new and self.is_held(row.name):
            return Face.HELD
        if row.state is State.RUNNING and row.marked is not None:
            return row.marked
        return FACES[row.state]

    def tally(self, name: str) -> dict[Face, int]:
        counts: dict[Face, int] = {}
        for one in self.below(name):
            face = self.face(self.row(one))
            counts[face] = counts.get(face, 0) + 1
        return counts

    def live_children(self, name: str) -> list[str]:
        return [row.name for row in self.rows if row.parent == name and row.state in LIVE]

    def ended(self, name: str) -> None:
        """Whatever held or stopped it is over with it."""
        self.new = [one for one in self.new if one != name]
        self.back = [one for one in self.back if one != name]
        self.holders = [one for one in self.holders if one != name]
        self.latches = [(scope, strength) for scope, strength in self.latches if scope != name]
        self.shut = [(at, whole) for at, whole in self.shut if at != name]

    def serve(self, name: str) -> None:
        """Check that it was this one's turn, then give it a slot."""
        assert name in self.ready(), f"{name} is held, or does not stand in line"
        assert len(self.holders) < self.slots, "no slot was free"
        ready_back = [one for one in self.back if not self.is_held(one)]
        if ready_back:
            assert name == ready_back[0], "somebody else came back earlier"
            self.back.remove(name)
        else:
            mine = [one for one in self.new if self.branch(one) == self.branch(name) and not self.is_held(one)]
            assert name == mine[0], "somebody else of its branch came earlier"
            self.note_fairness(name)
            self.new.remove(name)
        self.holders.append(name)

    def note_fairness(self, served: str) -> None:
        for first, second in self.ahead:
            mine = self.branch(served)
            self.ahead[first, second] += (mine == first) - (mine == second)
        # Two, not one: a branch that joins in the middle of a round may have its turn in it and begin the next.
        assert all(abs(count) <= 2 for count in self.ahead.values()), f"unfair: {self.ahead}"

    def watch_fairness(self) -> None:
        """Two branches are compared for as long as both have somebody new to serve."""
        backlogged = sorted({self.branch(name) for name in self.new if not self.is_held(name)})
        pairs = set(combinations(backlogged, 2))
        self.ahead = {pair: self.ahead.get(pair, 0) for pair in pairs}
