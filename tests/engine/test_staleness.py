"""Any mixture of work, waits, lag, stops and suspends: who is marked has earned it, and who has earned it is."""

from __future__ import annotations

import random
from dataclasses import dataclass

import pytest

from skep.clock import VirtualClock
from skep.drivers.progress import Progress
from skep.engine.heartbeat import DEAD_AFTER, JUMP, LAG, LATE_AFTER, STOPPED_AFTER, TICK, Heartbeat
from skep.engine.ledger import Decision
from skep.model.agent import Agent
from skep.model.events import (
    ROOT,
    AgentAdmitted,
    AgentQueued,
    AgentRunning,
    AgentWaiting,
    EngineStarted,
    SwarmCreated,
)
from skep.model.launch import EngineSettings
from skep.model.permits import Pulse
from skep.model.states import DriverKind, Mark, OnStale, State, WaitReason
from skep.model.swarm import SwarmState

SETTINGS = EngineSettings(quiet_after=10.0, idle_after=25.0, in_tool_after=40.0, on_stale=OnStale.INTERRUPT)
SLACK = 1e-3
"""Seconds; for sums that come out differently."""
REASONS = (WaitReason.KEY, WaitReason.APPROVAL, WaitReason.CHILD, WaitReason.GATE, WaitReason.BUDGET)
AGENTS = 6
QUIET, STALE, UNHEARD = 1, 2, 3
LEVELS = {None: 0, Mark.QUIET: QUIET, Mark.STALE: STALE}


@dataclass
class Worker:
    """One agent, and what is true of it."""

    id: str
    progress: Progress
    in_tool: bool
    works: bool = True
    mute: bool = False
    silent: float = 0.0
    """Seconds that it was silent in time that counts, since it last moved or an amnesty."""
    unanswered: float = 0.0
    recent: float = 0.0
    """Of the present interval."""
    may: int = 0
    """The level that its silence may have earned, which stands until it moves …"""
    must: int = 0
    """… and the one that it has earned for certain."""
    acted: int = 0
    """How often something was done about it since it last moved."""

    def level(self, slack: float) -> int:
        """What its silence earns if it has to last so much longer than the limits say."""
        limit = SETTINGS.in_tool_after if self.in_tool else SETTINGS.idle_after
        silent = self.silent - slack
        return STALE if silent >= limit else QUIET if silent >= SETTINGS.quiet_after else 0

    def moves(self) -> None:
        self.progress.moved()
        self.silent = self.recent = 0.0
        self.may = self.must = self.acted = 0


class World:
    """Agents that are watched by a heartbeat, and a truth that is kept beside it."""

    def __init__(self, heartbeat: type[Heartbeat], progress: type[Progress], seed: int) -> None:
        self.choice = random.Random(seed)
        self.clock = VirtualClock()
        self.state = SwarmState()
        self.acts = 0
        names = [f"a{n}" for n in range(AGENTS)]
        self.tell(
            SwarmCreated("s", "s", "/", AGENTS),
            EngineStarted(1),
            AgentQueued(ROOT, None, "s", DriverKind.GROUP, "", {}),
            *(AgentQueued(name, ROOT, name, DriverKind.CHAT, "", {}) for name in names),
            *(AgentAdmitted(name) for name in names),
            *(AgentRunning(name) for name in names),
        )
        self.heartbeat = heartbeat(self.clock, SETTINGS, self.act)
        self.workers = [
            Worker(name, progress(self.clock, lambda: None), bool(n % 2)) for n, name in enumerate(names)
        ]

    def tell(self, *events: object) -> None:
        decision = Decision(self.state, self.clock.time())
        for event in events:
            decision.emit(event)  # type: ignore[arg-type]

    def act(self, decision: Decision, agent: Agent, action: OnStale, evidence: str) -> None:
        worker = next(worker for worker in self.workers if worker.id == agent.id)
        assert worker.works, "something was done to an agent that waits"
        worker.acted += 1
        self.acts += 1

    def run(self, ticks: int) -> None:
        for _ in range(ticks):
            self.interval()

    def interval(self) -> None:
        """From one tick to the next: on time, late, after a stop of the process or a suspend of the machine."""
        kind = self.choice.choice(["on time"] * 12 + ["late"] * 3 + ["stopped", "suspended", "set back"])
        length = {"late": TICK + LAG + self.choice.uniform(0.1, STOPPED_AFTER - LAG), "stopped": 40.0}.get(
            kind, TICK + self.choice.uniform(0.001, 0.1)
        )
        if kind in ("suspended", "set back"):
            self.clock.jump(self.choice.uniform(JUMP, 5_000.0) * (1 if kind == "suspended" else -1))
        for worker in self.workers:
            worker.recent = 0.0
        for _ in range(3):
            self.happens(self.choice.choice(self.workers))
            self.pass_time(length / 3)
        amnesty = kind in ("suspended", "stopped")
        for worker in self.workers:
            counts = 0.0 if amnesty else min(worker.recent, TICK) if kind == "late" else worker.recent
            worker.silent = counts if amnesty else worker.silent + counts
            worker.unanswered += 0.0 if amnesty else TICK if kind == "late" else length
            if amnesty:
                worker.unanswered = 0.0
        self.tick()

    def happens(self, worker: Worker) -> None:
        what = self.choice.choice(["nothing"] * 9 + ["moves", "waits", "goes on", "falls silent", "answers"])
        if what == "moves" and worker.works:
            worker.moves()
        elif what == "waits" and worker.works:
            worker.works = False
            worker.progress.stand()
            self.tell(AgentWaiting(worker.id, self.choice.choice(REASONS), "", keeps_slot=True))
        elif what == "goes on" and not worker.works:
            worker.works = True
            worker.progress.go_on()
            self.tell(AgentRunning(worker.id))
        elif what == "falls silent":
            worker.mute = True
        elif what == "answers":
            worker.mute = False

    def pass_time(self, seconds: float) -> None:
        self.clock.advance(seconds)
        for worker in self.workers:
            if worker.works:
                worker.recent += seconds

    def tick(self) -> None:
        before = {worker.id: worker.acted for worker in self.workers}
        decision = Decision(self.state, self.clock.time())
        self.heartbeat.tick(decision, [self.pulse(worker) for worker in self.workers])
        for worker in self.workers:
            if not worker.mute or not worker.works:
                worker.unanswered = 0.0
            self.check(worker, worker.acted - before[worker.id])

    def pulse(self, worker: Worker) -> Pulse:
        attempt = self.state.agents[worker.id].attempt
        progress = worker.progress
        return Pulse(worker.id, attempt, not worker.mute, progress.idle, progress.moves, in_tool=worker.in_tool)

    def check(self, worker: Worker, acted: int) -> None:
        mark = self.state.agents[worker.id].mark
        if not worker.works:
            assert mark is None, f"{mark} although it waits"
            assert not acted
            return
        worker.may = max(worker.may, worker.level(-SLACK))
        worker.must = max(worker.must, worker.level(SLACK))
        if worker.unanswered >= LATE_AFTER:
            assert mark is (Mark.DEAD if worker.unanswered >= DEAD_AFTER else Mark.LATE)
        else:
            assert worker.must <= LEVELS.get(mark, UNHEARD) <= worker.may, f"{mark} after {worker.silent}s"
        if worker.may < STALE:
            assert not worker.acted, "something was done before it was stale"
        if worker.must >= STALE:
            assert worker.acted == 1, f"something was done {worker.acted} times"


def check(heartbeat: type[Heartbeat] = Heartbeat, progress: type[Progress] = Progress, worlds: int = 60) -> int:
    """How often something was done about an agent that was stale, in all of it."""
    acts = 0
    for seed in range(worlds):
        world = World(heartbeat, progress, seed)
        world.run(120)
        acts += world.acts
    return acts


def test_who_is_marked_has_earned_it_and_who_has_earned_it_is_marked():
    assert check() > 100, "hardly anybody was ever stale"


class BlamesForLag(Heartbeat):
    def _time_that_counts(self) -> float:
        before = self._ticked[0]
        return super()._time_that_counts() and self._clock.monotonic() - before


class KnowsNoAmnesty(Heartbeat):
    def _pardon(self) -> None:
        pass


class BelievesTheWallClock(Heartbeat):
    def _time_that_counts(self) -> float:
        before = self._ticked[1]
        super()._time_that_counts()
        return max(0.0, self._clock.time() - before)


class ForgetsAtAmnesty(Heartbeat):
    """A suspend makes everybody look well again, and what is stale is ended a second time."""

    def _pardon(self) -> None:
        self._beats.clear()


class WatchesWhoWaits(Heartbeat):
    def tick(self, decision, pulses):
        for agent in decision.state.agents.values():
            if agent.state is State.WAITING and agent.slot:
                agent.state = State.RUNNING
        super().tick(decision, pulses)


class CountsWaits(Progress):
    def stand(self) -> None:
        pass


class TakesAWaitForProgress(Progress):
    def go_on(self) -> None:
        super().go_on()
        self.moved()


@pytest.mark.parametrize(
    "mutant", [BlamesForLag, KnowsNoAmnesty, BelievesTheWallClock, ForgetsAtAmnesty, WatchesWhoWaits]
)
def test_a_heartbeat_with_a_fault_is_found_out(mutant: type[Heartbeat]):
    with pytest.raises(AssertionError):
        check(heartbeat=mutant)


@pytest.mark.parametrize("mutant", [CountsWaits, TakesAWaitForProgress])
def test_a_progress_clock_with_a_fault_is_found_out(mutant: type[Progress]):
    with pytest.raises(AssertionError):
        check(progress=mutant)
