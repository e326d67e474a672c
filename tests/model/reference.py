"""A swarm as one would count it by hand: plain lists, everything looked up anew each time."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from itertools import combinations

from skep.model.agent import Face
from skep.model.events import ROOT
from skep.model.states import DriverKind, State, Strength, WaitReason

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
WORKS = {Strength.SPAWNS: {State.STARTING}, Strength.TURNS: {State.STARTING, State.RUNNING, State.STOPPING}}
"""What nobody may do under a latch that really holds."""


@dataclass
class Row:
    """One agent."""

    name: str
    parent: str | None
    kind: DriverKind
    model: str = ""
    state: State = State.QUEUED
    reason: WaitReason | None = None
    slot: bool = False
    begun: bool = False
    step: int = -1
    marked: Face | None = None
    asks: bool = False
    turns: int = 0
    resumed: bool = False
    path: tuple[str, ...] = ()
    """The agent and all above it."""

    @property
    def group(self) -> bool:
        return self.kind is DriverKind.GROUP

    @property
    def live(self) -> bool:
        return self.state in LIVE

    @property
    def provider(self) -> str:
        return self.model.partition("/")[0]

    @property
    def branch(self) -> str:
        return self.path[-2] if len(self.path) > 1 else self.path[-1]


@dataclass
class Reference:
    """The agents, two lists of those who stand in line, and what is closed."""

    slots: int
    caps: dict[str, int] = field(default_factory=dict)
    accounts: dict[str, tuple[str, ...]] = field(default_factory=dict)
    agents: dict[str, Row] = field(default_factory=dict)
    new: list[str] = field(default_factory=list)
    """In line and not yet begun, in the order of arrival."""
    back: list[str] = field(default_factory=list)
    """In line again, in the order of coming back."""
    latches: list[tuple[str, Strength]] = field(default_factory=list)
    shut: dict[str, bool] = field(default_factory=dict)
    """Tombstones, and whether the whole branch is meant."""
    over: bool = False
    held: list[str] = field(default_factory=list)
    ready: list[str] = field(default_factory=list)
    """Those in line whom something holds and those whom nothing holds, who came back first."""
    servable: list[str] = field(default_factory=list)
    """Those who could be admitted now, if a slot is free."""
    ahead: dict[tuple[str, str], int] = field(default_factory=dict)
    """How many more the first branch was given than the second since both have had somebody to serve."""

    @property
    def rows(self) -> list[Row]:
        return list(self.agents.values())

    def add(self, row: Row) -> None:
        above = self.agents[row.parent].path if row.parent is not None else ()
        row.path = (row.name, *above)
        self.agents[row.name] = row
        if row.state is State.QUEUED:
            self.new.append(row.name)

    def row(self, name: str) -> Row:
        return self.agents[name]

    # -- what holds ------------------------------------------------------------------------------------------

    def is_shut(self, name: str) -> bool:
        path = self.row(name).path
        return any(at == name or (whole and at in path) for at, whole in self.shut.items())

    def covers(self, scope: str, row: Row) -> bool:
        kind, colon, name = scope.partition(":")
        if not colon:
            return not scope or scope in row.path
        return row.model == name if kind == "model" else name in self.accounts.get(row.provider, ())

    def is_latched(self, row: Row) -> bool:
        """A conversation that has begun is nothing new: only what holds turns holds it."""
        weak = row.kind is not DriverKind.CHAT or not row.begun
        holds = [scope for scope, strength in self.latches if weak or strength is Strength.TURNS]
        if any(self.covers(scope, row) for scope in holds if not scope.startswith("account:")):
            return True
        accounts = self.accounts.get(row.provider, ())
        return bool(accounts) and all(f"account:{account}" in holds for account in accounts)

    def turns_held(self, row: Row) -> bool:
        strong = [scope for scope, strength in self.latches if strength is Strength.TURNS]
        return any(self.covers(scope, row) for scope in strong if not scope.startswith("account:"))

    def quiesced(self, scope: str, strength: Strength) -> bool:
        """Of an account only its pool knows what is in flight."""
        working = [row for row in self.rows if not row.group and row.state in WORKS[strength]]
        return scope.startswith("account:") or not any(self.covers(scope, row) for row in working)

    def is_held(self, name: str) -> bool:
        return self.is_latched(self.row(name)) or self.is_shut(name)

    # -- who is next -----------------------------------------------------------------------------------------

    def holders(self) -> list[Row]:
        return [row for row in self.rows if row.slot]

    def is_full(self, provider: str) -> bool:
        return sum(row.provider == provider for row in self.holders()) >= self.caps.get(provider, 1_000)

    def look(self) -> None:
        """After each step: who can be served, and whose branches have to take turns."""
        in_line = self.back + self.new
        self.held = [name for name in in_line if self.is_held(name)]
        self.ready = [name for name in in_line if name not in self.held]
        full = {provider for provider in self.caps if self.is_full(provider)}
        self.servable = [name for name in self.ready if self.row(name).provider not in full]
        self.watch_fairness()

    def serve(self, name: str) -> None:
        """Check that it was this one's turn, then give it a slot."""
        row, servable = self.row(name), self.servable
        assert name in servable, f"{name} is held, its provider is full, or it does not stand in line"
        assert len(self.holders()) < self.slots, "no slot was free"
        back = [one for one in servable if one in self.back]
        if back:
            assert name == back[0], "somebody else came back earlier"
            self.back.remove(name)
        else:
            mine = [one for one in servable if self.row(one).branch == row.branch]
            assert name == mine[0], "somebody else of its branch came earlier"
            self.note_fairness(row.branch)
            self.new.remove(name)
        row.slot = row.begun = True
        row.state, row.reason = (State.RUNNING if row.state is State.WAITING else State.STARTING), None

    def note_fairness(self, served: str) -> None:
        for first, second in self.ahead:
            self.ahead[first, second] += (served == first) - (served == second)
        # Two, not one: a branch that joins in the middle of a round may have its turn in it and begin the next.
        assert all(abs(count) <= 2 for count in self.ahead.values()), f"unfair: {self.ahead}"

    def watch_fairness(self) -> None:
        """Two branches are compared for as long as both have somebody new to serve."""
        servable = [name for name in self.servable if name in self.new]
        pairs = combinations(sorted({self.row(name).branch for name in servable}), 2)
        self.ahead = {pair: self.ahead.get(pair, 0) for pair in pairs}

    # -- what is shown ---------------------------------------------------------------------------------------

    def face(self, row: Row) -> Face:
        if row.name in self.held or row.reason is WaitReason.GATE:
            return Face.HELD
        if row.asks and row.state in (State.RUNNING, State.WAITING):
            return Face.ASKS
        if row.state is State.RUNNING and row.marked is not None:
            return row.marked
        return Face.ASKS if row.reason in (WaitReason.APPROVAL, WaitReason.BUDGET) else FACES[row.state]

    def tallies(self, faces: dict[str, Face]) -> dict[str, Counter[Face]]:
        """Agent → how many below it show which face."""
        counts: dict[str, Counter[Face]] = {name: Counter() for name in self.agents}
        for row in self.rows:
            for above in row.path[1:]:
                counts[above][faces[row.name]] += 1
        return counts

    def spends(self) -> Counter[str]:
        """Agent → the turns of its branch."""
        turns = Counter[str]()
        for row in self.rows:
            turns.update(dict.fromkeys(row.path, row.turns))
        return turns

    def live_below(self, name: str) -> list[Row]:
        return [row for row in self.rows if row.live and name in row.path[1:]]

    # -- what happens ----------------------------------------------------------------------------------------

    def leaves_the_line(self, row: Row) -> None:
        for line in (self.new, self.back):
            if row.name in line:
                line.remove(row.name)

    def waits(self, row: Row, reason: WaitReason, *, keeps: bool) -> None:
        row.state, row.reason, row.marked = State.WAITING, reason, None
        row.slot = row.slot and keeps
        if reason is WaitReason.SLOT:
            self.back.append(row.name)

    def stops(self, row: Row, step: int) -> None:
        self.leaves_the_line(row)
        row.state, row.reason, row.step, row.marked, row.asks = State.STOPPING, None, step, None, False

    def ends(self, row: Row, state: State) -> None:
        """Whatever held or stopped it is over with it."""
        self.leaves_the_line(row)
        row.state, row.reason, row.marked, row.asks, row.slot = state, None, None, False, False
        self.latches = [(scope, strength) for scope, strength in self.latches if scope != row.name]
        self.shut.pop(row.name, None)

    def reopens(self, row: Row) -> None:
        self.over = self.over and row.name != ROOT
        self.shut.pop(row.name, None)
        row.state, row.reason, row.step = State.WAITING, WaitReason.CHILD, -1

    def scopes(self, kind: int) -> list[str]:
        """Everything of one kind that can be paused now: the swarm, a branch, a model, an account."""
        branches = [row.name for row in self.rows if row.live or self.live_below(row.name)]
        models = [f"model:{model}" for model in sorted({row.model for row in self.rows if row.model})]
        accounts = [f"account:{name}" for names in self.accounts.values() for name in names]
        return [[""], branches, models, accounts][kind % 4] or [""]
