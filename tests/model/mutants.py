"""Swarms with one fault each; a comparison that such a swarm passes would be no comparison."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from skep.model.agent import Agent, Face, Spend, face_of
from skep.model.events import AgentQueued, EngineStarted, Record, Reopened
from skep.model.holds import Latch, Scope, ScopeKind
from skep.model.line import Line
from skep.model.states import State, Strength
from skep.model.swarm import SwarmState

# -- whose turn it is ----------------------------------------------------------------------------------------


class Stack(Line):
    """Serves the last to come first."""

    def next(self, full: Collection[str] = ()) -> str | None:
        places = self.state()["places"]
        ready = [agent for agent in self.positions() if places[agent][1] not in full]
        return ready[-1] if ready else None


class OneQueue(Line):
    """Serves by arrival alone, so that a long branch keeps the others waiting."""

    def next(self, full: Collection[str] = ()) -> str | None:
        places = self.state()["places"]
        ready = [agent for agent in self.positions() if places[agent][1] not in full]
        return min(ready, key=lambda agent: places[agent][2:]) if ready else None


class SharesPerPool(Line):
    """Gives a branch one share for each pool that its agents need."""

    def add(self, agent: str, order: int, *, branch: str, branch_order: int, pool: str = "", **how: bool) -> None:
        super().add(agent, order, branch=f"{branch} {pool}", branch_order=branch_order, pool=pool, **how)


class AdmitsAnybody(SwarmState):
    """Ignores the order of the line."""

    def __init__(self) -> None:
        super().__init__()
        self.line = Stack()


class GivesNoTurns(SwarmState):
    """Knows no branches."""

    def __init__(self) -> None:
        super().__init__()
        self.line = OneQueue()


class FavoursManyPools(SwarmState):
    """Lets a branch have more turns than others because its agents need different providers."""

    def __init__(self) -> None:
        super().__init__()
        self.line = SharesPerPool()


# -- slots and caps ------------------------------------------------------------------------------------------


class GivesSlotsBackTwice(SwarmState):
    """Counts a slot as free once more when its agent gives it back."""

    def _give_slot_back(self, agent: Agent) -> None:
        if agent.slot:
            self.slots_used -= 1
        super()._give_slot_back(agent)


class WaitsWithItsSlot(SwarmState):
    """Lets whoever waits keep the slot, as if it worked."""

    def _give_slot_back(self, agent: Agent) -> None:
        if agent.state is not State.WAITING:
            super()._give_slot_back(agent)


class KnowsNoCaps(SwarmState):
    """Admits as many of a provider as there are slots."""

    def is_full(self, provider: str) -> bool:
        return False


class KeepsOldCaps(SwarmState):
    """Goes by the limits of the first engine for ever."""

    def fold(self, record: Record) -> None:
        old = self.caps
        super().fold(record)
        if isinstance(record.event, EngineStarted) and record.event.recovered:
            self.caps = old


# -- what holds ----------------------------------------------------------------------------------------------


class AdmitsTheShut(SwarmState):
    """Holds what latches hold and forgets the tombstones."""

    def is_held(self, agent: str) -> bool:
        return self.latch_over(agent) is not None


class TakesLateChildren(SwarmState):
    """Forgets the tombstones when somebody is asked for."""

    def fold(self, record: Record) -> None:
        if not isinstance(record.event, AgentQueued):
            super().fold(record)
            return
        shuts, self.shuts = self.shuts, {}
        try:
            super().fold(record)
        finally:
            self.shuts = shuts


class IgnoresModels(SwarmState):
    """Knows latches on the swarm and on branches only."""

    def _latch_at(self, scopes: Iterable[str], strengths: tuple[Strength, ...]) -> Latch | None:
        models = ScopeKind.MODEL
        return super()._latch_at([one for one in scopes if Scope.read(one).kind is not models], strengths)


class HoldsForOneAccount(SwarmState):
    """Holds agents that have another account to go to."""

    def _latch_of_accounts(self, provider: str, strengths: tuple[Strength, ...]) -> Latch | None:
        names = self.accounts.get(provider, ())
        return self._latch_at([str(Scope(ScopeKind.ACCOUNT, name)) for name in names], strengths)


class IgnoresAccounts(SwarmState):
    """Leaves accounts to their pools."""

    def _latch_of_accounts(self, provider: str, strengths: tuple[Strength, ...]) -> Latch | None:
        return None


class HoldsWhatHasBegun(SwarmState):
    """Takes a conversation that comes back for something new."""

    def latch_over(self, agent: str) -> Latch | None:
        one = self.agents[agent]
        attempt, one.attempt = one.attempt, 0
        try:
            return super().latch_over(agent)
        finally:
            one.attempt = attempt


class LetsTheBegunThrough(SwarmState):
    """Lets a conversation come back, whatever holds its turns."""

    def latch_over(self, agent: str) -> Latch | None:
        begun = self.agents[agent].model is not None and self.agents[agent].attempt > 0
        return None if begun else super().latch_over(agent)


class QuiescesEarly(SwarmState):
    """Says that everything holds while some still work."""

    def quiesced(self, latch: Latch) -> bool:
        return not any(one.state is State.STARTING for one in self.reach(latch.scope))


# -- what is shown, and what goes on -------------------------------------------------------------------------


class ShowsNoGate(SwarmState):
    """Shows whoever holds before its next turn as if it waited for something of its own."""

    def face(self, agent: Agent) -> Face:
        return Face.HELD if self.line.is_parked(agent.id) else face_of(agent)


class CountsItsOwnSpend(SwarmState):
    """Counts what an agent spends for itself and for nobody above it."""

    def _spent(self, agent: Agent, more: Spend) -> None:
        spend = self.spends.setdefault(agent.id, Spend())
        spend.turns += more.turns


class ResumesTwice(SwarmState):
    """Lets two agents go on with one conversation."""

    def _resumable(self, agent: str) -> Agent:
        return self._agent(agent)


class StaysOver(SwarmState):
    """Takes nothing any more when a swarm that had ended goes on."""

    def fold(self, record: Record) -> None:
        status = self.status
        super().fold(record)
        if isinstance(record.event, Reopened):
            self.status = status


RULES = (
    AdmitsAnybody,
    GivesNoTurns,
    FavoursManyPools,
    GivesSlotsBackTwice,
    WaitsWithItsSlot,
    KnowsNoCaps,
    KeepsOldCaps,
    AdmitsTheShut,
    TakesLateChildren,
    IgnoresModels,
    HoldsForOneAccount,
    IgnoresAccounts,
    HoldsWhatHasBegun,
    LetsTheBegunThrough,
    QuiescesEarly,
    ShowsNoGate,
    CountsItsOwnSpend,
    ResumesTwice,
    StaysOver,
)
"""One for each rule that the comparison must know."""
