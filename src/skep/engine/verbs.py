"""What people ask of a swarm, decided at once: every verb as one critical section, from any thread."""

from __future__ import annotations

from collections.abc import Callable

from skep.engine.approvals import Approvals
from skep.engine.gate import Gate
from skep.engine.ladder import Ladder
from skep.engine.ledger import Decision, Ledger
from skep.engine.resumption import Resumption
from skep.engine.seats import Seats
from skep.model.events import ROOT
from skep.model.holds import SWARM_SCOPE
from skep.model.states import StopVerb, Strength


class Verbs:
    """The verbs of an engine. All methods: any thread, also while the engine's loop works.

    Each returns the number of its last event, 0 if there was nothing to do. What was decided is so from then on,
    for everybody who looks at the registry; it is certain once ``Ledger.settle`` or ``wait`` says that it is
    durable, and its effects follow by themselves. :class:`skep.engine.engine.Engine` has each verb as a coroutine
    that waits for that. They raise NotFound and Refused as the part that they belong to says.
    """

    def __init__(
        self,
        ledger: Ledger,
        gate: Gate,
        ladder: Ladder,
        approvals: Approvals,
        resumption: Resumption,
        seats: Seats,
        admit: Callable[[Decision], None],
        reopened: Callable[[], None],
    ) -> None:
        """``reopened`` is called, in the loop, when an agent goes on in a swarm that had ended."""
        self._ledger = ledger
        self._gate = gate
        self._ladder = ladder
        self._approvals = approvals
        self._resumption = resumption
        self._seats = seats
        self._admit = admit
        self._reopened = reopened

    def pause(self, scope: str, strength: Strength, reason: str, who: str, seconds: float | None) -> int:
        """Close a latch over a scope."""
        with self._ledger.decide() as decision:
            return self._gate.close(decision, scope, strength, reason, who, seconds)

    def unpause(self, scope: str, strength: Strength, who: str) -> int:
        """Open such a latch."""
        with self._ledger.decide() as decision:
            self._gate.open(decision, scope, strength, who)
        return decision.seq

    def stop(
        self, agent: str, *, branch: bool, verb: StopVerb, who: str, window: float = 0.0
    ) -> tuple[int, list[str]]:
        """Stop an agent or a branch; also returns the agents that it takes along."""
        with self._ledger.decide() as decision:
            agents = self._ladder.ask(decision, agent, branch=branch, verb=verb, who=who, window=window)
            if (
                agent == ROOT
                and not decision.state.live_below(ROOT)
                and self._gate.keeps_open(decision.state, ROOT)
            ):
                self._gate.open(decision, SWARM_SCOPE, Strength.SPAWNS, who)  # it is not wanted any more
            self._admit(decision)
        return decision.seq, agents

    def take_back(self, agent: str, who: str) -> int:
        """Undo a stop in its window."""
        with self._ledger.decide() as decision:
            self._ladder.take_back(decision, agent, who)
            self._admit(decision)
            decision.then(self._seats.look_again)
        return decision.seq

    def hurry(self, agent: str, *, branch: bool, kill: bool, who: str) -> tuple[int, list[str]]:
        """One rung further down the ladder, or straight to the kill; also returns the agents that it moved."""
        with self._ledger.decide() as decision:
            agents = self._ladder.hurry(decision, agent, branch=branch, kill=kill, who=who)
            self._admit(decision)
        return decision.seq, agents

    def answer(self, agent: str, hash: str, *, allow: bool, who: str) -> int:
        """Allow or deny what an agent asks."""
        with self._ledger.decide() as decision:
            return self._approvals.answer(decision, agent, hash, allow=allow, who=who)

    def resume(self, agent: str, message: str, who: str) -> tuple[int, str]:
        """Go on with the conversation of an ended agent; also returns the new agent's id.

        The coroutine of the same name looks first whether that conversation can be read.
        """
        with self._ledger.decide() as decision:
            had_ended = decision.state.status is not None
            new = self._resumption.resume(decision, agent, message, who)
            if had_ended:
                decision.soon(self._reopened)
            self._admit(decision)
        return decision.seq, new
