"""Sixty-four threads at a switch interval of 1 µs spawn, pause, interrupt, kill and report; nothing gives way."""

from __future__ import annotations

import re
import threading
from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import suppress

import pytest

from skep.engine.delegation import Delegation
from skep.engine.engine import Engine
from skep.engine.ledger import Decision, Ledger
from skep.engine.permits import AgentPermits
from skep.errors import IllegalTransition, Refused
from skep.model.children import Task
from skep.model.events import AgentAdmitted
from skep.model.launch import ChatSpec
from skep.model.permits import Report
from skep.model.swarm import SwarmState
from tests.engine.conftest import MakeHive
from tests.engine.played import engine_with
from tests.engine.race import ACCOUNTS, CAPS, SETTINGS, RaceHive, leaves, race
from tests.model.mutants import GivesSlotsBackTwice, TakesLateChildren

OPERATIONS = 40
HAPPENS = {
    "agent_waiting", "agent_stopping", "branch_reopened", "latch_closed", "latch_opened", "approval_answered",
    "message_added",
}  # fmt: skip
"""What must have come up in a race, or it is none."""


def _hive(make_hive: MakeHive, seed: int, **parts: object) -> RaceHive:
    hive = make_hive(f"race {seed}", kind=RaceHive, settings=SETTINGS, caps=CAPS, accounts=ACCOUNTS, **parts)
    assert isinstance(hive, RaceHive)
    return hive


async def test_sixty_four_threads_break_no_limit_and_lose_nobody(make_hive: MakeHive):
    counts = Counter[str]()
    for seed in range(2):
        counts += await race(_hive(make_hive, seed), seed=seed, operations=OPERATIONS)
    assert counts.keys() >= HAPPENS


@pytest.mark.full
@pytest.mark.parametrize("seed", range(20))
async def test_sixty_four_threads_for_longer(make_hive: MakeHive, seed: int):
    hive = _hive(make_hive, 100 + seed)
    assert (await race(hive, seed=100 + seed, operations=10 * OPERATIONS)).keys() >= HAPPENS


# -- what the race must catch ------------------------------------------------------------------------------------


class LooksThenDecides(AgentPermits):
    """Looks whether the branch is being stopped, and only then opens the decision."""

    def ask_for(self, agent: str, generation: int, tasks: Sequence[Task]) -> tuple[int, list[str]] | None:
        with self._ledger.registry.read() as state:
            self._seats.present(state, agent, generation, "may not delegate")
            if state.shut_over(agent) is not None:
                return None
        with self._ledger.decide() as decision:
            ids = self._delegation.spawn(decision, agent, tasks)
            self._admit(decision)
        return decision.seq, ids


class CountsThenDecides(AgentPermits):
    """Looks how many agents there may be, and only then opens the decision."""

    def ask_for(self, agent: str, generation: int, tasks: Sequence[Task]) -> tuple[int, list[str]] | None:
        with self._ledger.registry.read() as state:
            parent = state.agents[agent]
            limits = self._delegation._limits(state, parent)
            Delegation._check_limits(self._delegation, limits, parent, ChatSpec.of(parent.spec), len(tasks))
        self._delegation._check_limits = lambda *given: None
        return super().ask_for(agent, generation, tasks)


class RefusesWhatIsHeld(AgentPermits):
    """Says no to who asks for agents in a branch that is paused."""

    def ask_for(self, agent: str, generation: int, tasks: Sequence[Task]) -> tuple[int, list[str]] | None:
        with self._ledger.registry.read() as state:
            if state.turns_held(agent) is not None:
                raise Refused("no new agents", why="the branch is paused")
        return super().ask_for(agent, generation, tasks)


class LetsThroughWhatIsInFlight(AgentPermits):
    """Does not look for tombstones when the request arrives."""

    def ask_for(self, agent: str, generation: int, tasks: Sequence[Task]) -> tuple[int, list[str]] | None:
        with self._ledger.decide() as decision:
            if decision.state.agents[agent].ended:
                raise Refused("too late", why="it is being stopped")
            ids = self._delegation.spawn(decision, agent, tasks)
            self._admit(decision)
        return decision.seq, ids


def ledger_of(kind: type[SwarmState]) -> type[Ledger]:
    """A ledger over a fresh state of this kind."""

    class Other(Ledger):
        def _replay(self) -> SwarmState:
            return kind()

    return Other


class PicksThenAdmits(Engine):
    """In threads it looks who is next in line, and only then decides it."""

    def _admit(self, decision: Decision) -> None:
        if threading.current_thread() is threading.main_thread():
            super()._admit(decision)

    def take(self, reports: Iterable[Report]) -> int:
        seq = super().take(reports)
        with self.registry.read() as state:
            agent = state.next_in_line()
        if agent is not None:
            with self.ledger.decide() as decision:
                decision.emit(AgentAdmitted(agent))
                decision.then(self._start(decision.state.agents[agent], decision.state.agents[agent].attempt))
        return seq


MUTANTS: dict[str, tuple[str, dict[str, object]]] = {
    "looks, then decides": ("takes no more children", {"engine": engine_with(LooksThenDecides)}),
    "counts, then decides": ("agents were delegated", {"engine": engine_with(CountsThenDecides)}),
    "picks, then admits": ("is not in the line|no slot is free", {"engine": PicksThenAdmits}),
    "ignores tombstones": (
        "ready although something holds|which is shut",
        {"engine": engine_with(LetsThroughWhatIsInFlight), "ledger": ledger_of(TakesLateChildren)},
    ),
    "refuses what is held": ("refused: no new agents", {"engine": engine_with(RefusesWhatIsHeld)}),
    "gives slots back twice": ("slots", {"ledger": ledger_of(GivesSlotsBackTwice)}),
}


async def _first_fault(make_hive: MakeHive, parts: dict[str, object]) -> str:
    """What the first race says that something gives way in."""
    said: list[str] = []
    for seed in range(20):
        hive = _hive(make_hive, seed, **parts)
        try:
            await race(hive, seed=seed, operations=OPERATIONS)
        except* (AssertionError, IllegalTransition) as faults:
            said.extend(str(fault) for fault in leaves(faults))
        if said:
            with suppress(ExceptionGroup):  # it may have ended of the same fault
                await hive.close()
            return said[0]
    return "nothing"


@pytest.mark.parametrize("mutant", MUTANTS)
async def test_the_race_catches_one_that(make_hive: MakeHive, mutant: str):
    said, parts = MUTANTS[mutant]
    assert re.search(said, await _first_fault(make_hive, parts))
