"""What keeps agents from running or lets them: the waiting line, the slots, the holds; one place for all of it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from skep.errors import IllegalTransition
from skep.model.agent import Agent, Face, face_of
from skep.model.events import ROOT, SwarmCreated
from skep.model.holds import SWARM_SCOPE, Latch, Scope, ScopeKind, Shut
from skep.model.line import Line
from skep.model.states import ALLOWED, DriverKind, State, Strength, WaitReason
from skep.model.tree import Tree


class Slots(Tree):
    """The agents of a swarm with their places in line; only the folds of a swarm change them."""

    def __init__(self) -> None:
        super().__init__()
        self.created: SwarmCreated | None = None
        self.line = Line()
        self.latches: dict[tuple[str, Strength], Latch] = {}
        self.shuts: dict[str, Shut] = {}
        self.slots_used = 0
        self.caps: dict[str, int] = {}
        """Provider → how many of its agents may hold a slot at once."""
        self.accounts: dict[str, tuple[str, ...]] = {}
        """Provider → the accounts whose keys its agents may use."""
        self.provider_slots: dict[str, int] = {}
        """Provider → how many of its agents hold one."""

    @property
    def max_running(self) -> int:
        """How many slots there are."""
        return self.created.max_running if self.created is not None else 0

    @property
    def slots_free(self) -> int:
        """How many slots are free."""
        return self.max_running - self.slots_used

    def is_full(self, provider: str) -> bool:
        """True if so many agents of this provider hold a slot as may at once."""
        cap = self.caps.get(provider)
        return cap is not None and self.provider_slots.get(provider, 0) >= cap

    def next_in_line(self) -> str | None:
        """Who gets the next slot; None if there is none, or nobody who may have it."""
        if self.slots_free <= 0:
            return None
        return self.line.next({name for name in self.caps if self.is_full(name)} if self.caps else ())

    def latch_over(self, agent: str) -> Latch | None:
        """The nearest latch that holds this agent; None if nothing does.

        One that holds new spawns lets a conversation that is under way come back from a wait: it is nothing new.
        """
        if not self.latches:
            return None
        one = self.agents[agent]
        begun = one.driver is DriverKind.CHAT and one.attempt > 0
        strengths = (Strength.TURNS,) if begun else (Strength.TURNS, Strength.SPAWNS)
        scopes = [*(above.id for above in self.ancestors(agent)), SWARM_SCOPE]
        if one.model is not None:
            scopes.append(str(Scope(ScopeKind.MODEL, one.model)))
        return self._latch_at(scopes, strengths) or self._latch_of_accounts(one.provider, strengths)

    def turns_held(self, agent: str) -> Latch | None:
        """The nearest latch that holds the next model call of this agent; None if it may go on."""
        one = self.agents[agent]
        scopes = [*(above.id for above in self.ancestors(agent)), SWARM_SCOPE]
        scopes.append(str(Scope(ScopeKind.MODEL, one.model or "")))
        return self._latch_at(scopes, (Strength.TURNS,)) if self.latches else None

    def reach(self, scope: str) -> Iterator[Agent]:
        """Every agent in the scope of a latch, groups and ended ones included."""
        asked = Scope.read(scope)
        match asked.kind:
            case ScopeKind.SWARM:
                yield from self.agents.values()
            case ScopeKind.BRANCH:
                yield from self.subtree(asked.name)
            case ScopeKind.MODEL:
                yield from (one for one in self.agents.values() if one.model == asked.name)
            case ScopeKind.ACCOUNT:
                yield from (
                    one for one in self.agents.values() if asked.name in self.accounts.get(one.provider, ())
                )

    def quiesced(self, latch: Latch) -> bool:
        """True if every agent in its scope really holds: nobody is starting, and with ``turns`` nobody works.

        Of an account only its pool knows what is in flight: it has to be asked as well.
        """
        return next(self._at_work(latch), None) is None

    def at_work(self, latch: Latch) -> int:
        """How many agents in its scope do what it forbids because they had begun before (see :meth:`quiesced`)."""
        return sum(1 for _ in self._at_work(latch))

    def shut_over(self, agent: str) -> Shut | None:
        """The tombstone under which this agent stands; None if there is none."""
        if not self.shuts:
            return None
        for one in self.ancestors(agent):
            shut = self.shuts.get(one.id)
            if shut is not None and (shut.branch or one.id == agent):
                return shut
        return None

    def is_held(self, agent: str) -> bool:
        """True if a latch or a tombstone keeps this agent from being admitted."""
        return self.latch_over(agent) is not None or self.shut_over(agent) is not None

    def face(self, agent: Agent) -> Face:
        """The face of an agent, holds included."""
        if self.line.is_parked(agent.id) or (agent.state is State.WAITING and agent.reason is WaitReason.GATE):
            return Face.HELD
        return face_of(agent)

    # -- inside ----------------------------------------------------------------------------------------------

    def _at_work(self, latch: Latch) -> Iterator[Agent]:
        if Scope.read(latch.scope).kind is not ScopeKind.ACCOUNT:
            turns = latch.strength is Strength.TURNS
            busy = (State.STARTING, State.RUNNING, State.STOPPING) if turns else (State.STARTING,)
            for one in self.reach(latch.scope):
                if one.state in busy and one.driver is not DriverKind.GROUP:
                    yield one

    def _latch_at(self, scopes: Iterable[str], strengths: tuple[Strength, ...]) -> Latch | None:
        """The latch at the first of these scopes that has one, the stronger one first."""
        for scope in scopes:
            for strength in strengths:
                latch = self.latches.get((scope, strength))
                if latch is not None:
                    return latch
        return None

    def _latch_of_accounts(self, provider: str, strengths: tuple[Strength, ...]) -> Latch | None:
        """The latch of an account, if every account that this provider's agents could use is held."""
        found: Latch | None = None
        for account in self.accounts.get(provider, ()):
            latch = self._latch_at([str(Scope(ScopeKind.ACCOUNT, account))], strengths)
            if latch is None:
                return None
            found = found or latch
        return found

    def _agent(self, agent: str) -> Agent:
        try:
            return self.agents[agent]
        except KeyError:
            raise IllegalTransition(f"there is no agent {agent}") from None

    def _live(self, agent: str) -> Agent:
        one = self._agent(agent)
        if one.ended:
            raise IllegalTransition(f"agent {agent} has ended")
        return one

    def _move(self, agent: Agent, state: State, now: float, reason: WaitReason | None = None) -> None:
        if state not in ALLOWED[agent.state]:
            raise IllegalTransition(f"agent {agent.id} cannot go from {agent.state} to {state}")
        before = self.face(agent)
        self.line.remove(agent.id)
        agent.state = state
        agent.reason = reason
        agent.since = now
        self._recount(agent, before)

    def _clear_mark(self, agent: Agent) -> None:
        before = self.face(agent)
        agent.mark = None
        agent.evidence = ""
        self._recount(agent, before)

    def _recount(self, agent: Agent, before: Face) -> None:
        after = self.face(agent)
        if after is not before:
            self._count(agent, before, -1)
            self._count(agent, after, 1)
        self.touched.add(agent.id)

    def _take_slot(self, agent: Agent) -> None:
        agent.slot = True
        self.slots_used += 1
        if agent.provider:
            self.provider_slots[agent.provider] = self.provider_slots.get(agent.provider, 0) + 1

    def _give_slot_back(self, agent: Agent) -> None:
        if agent.slot:
            agent.slot = False
            self.slots_used -= 1
            if agent.provider:
                self.provider_slots[agent.provider] -= 1

    def _enter_line(self, agent: Agent, order: int, *, front: bool) -> None:
        branch = self.agents[agent.branch]
        self.line.add(
            agent.id,
            order,
            branch=branch.id,
            branch_order=branch.order,
            pool=agent.provider,
            front=front,
            parked=self.is_held(agent.id),
        )

    def _hold_again(self, scope: str) -> None:
        """Park or release those in line under ``scope`` after a latch or a tombstone there has changed."""
        if not len(self.line):
            return
        branch = scope if Scope.read(scope).kind is ScopeKind.BRANCH and scope != ROOT else None
        waiting = list(self.line) if branch is None else [a.id for a in self.subtree(scope) if a.id in self.line]
        for agent in waiting:
            held = self.is_held(agent)
            if held != self.line.is_parked(agent):
                before = self.face(self.agents[agent])
                (self.line.park if held else self.line.release)(agent)
                self._recount(self.agents[agent], before)
