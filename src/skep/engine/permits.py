"""What agents ask of the engine while they run, in one object that a host hands to them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from skep.engine.approvals import Approvals
from skep.engine.delegation import Delegation
from skep.engine.ledger import Decision, Ledger
from skep.engine.resumption import Resumption, inherited
from skep.engine.seats import Seats
from skep.errors import Refused
from skep.model.approvals import Answer, Question
from skep.model.children import ChildReport, DelegateLimits, Task
from skep.model.events import TurnCompleted
from skep.model.permits import Note
from skep.model.states import WaitReason


class AgentPermits:
    """Implements :class:`skep.model.permits.Permits` over the parts of an engine, in its loop.

    Only :meth:`ask_for` may be called from any thread.
    """

    def __init__(
        self,
        ledger: Ledger,
        seats: Seats,
        delegation: Delegation,
        approvals: Approvals,
        resumption: Resumption,
        admit: Callable[[Decision], None],
    ) -> None:
        self._ledger = ledger
        self._seats = seats
        self._delegation = delegation
        self._approvals = approvals
        self._resumption = resumption
        self._admit = admit

    async def slot(self, agent: str, generation: int, why: str) -> int:
        """Give the slot back and come back at the front of the line."""
        return await self._seats.slot(agent, generation, why)

    async def go(self, agent: str, generation: int) -> None:
        """May the next model call or tool start?"""
        await self._seats.go(agent, generation)

    async def held(self, agent: str, generation: int) -> str:
        """What holds its next model call."""
        return self._seats.held(agent, generation)

    async def released(self, agent: str, generation: int) -> None:
        """Wait until nothing holds its model calls any more."""
        await self._seats.released(agent, generation)

    async def conversation(self, agent: str, generation: int) -> list[Note]:
        """What was said and done in the conversation that it goes on with."""
        return await self._resumption.conversation(agent)

    async def inherit(self, agent: str, generation: int) -> list[str]:
        """The children of the conversation that it goes on with that have not ended."""
        with self._ledger.decide() as decision:
            ids = inherited(decision.state, decision.state.agents[agent])
            self._delegation.expect(ids)
        return ids

    async def note(self, agent: str, generation: int, note: Note) -> None:
        """Keep a part of its conversation; a turn is durable when this returns, for its tools run next."""
        with self._ledger.decide() as decision:
            one = decision.state.agents[agent]
            if one.ended or one.attempt != generation:
                raise Refused(f"{one.name} has ended")
            decision.emit(note)
        if isinstance(note, TurnCompleted):
            await self._ledger.settle(decision.seq)

    async def rest(
        self, agent: str, generation: int, reason: WaitReason, detail: str, *, keeps_slot: bool
    ) -> None:
        """It waits from now on."""
        await self._seats.rest(agent, generation, reason, detail, keeps_slot=keeps_slot)

    async def seated(self, agent: str, generation: int) -> bool:
        """True if it holds a slot."""
        return self._seats.seated(agent)

    async def resume(self, agent: str, generation: int) -> int:
        """It has what it waited for."""
        return await self._seats.resume(agent, generation)

    async def limits(self, agent: str, generation: int) -> DelegateLimits:
        """What it may ask for in children at this moment."""
        return self._delegation.limits(agent)

    async def spawn(self, agent: str, generation: int, tasks: Sequence[Task]) -> list[str]:
        """Ask for agents below it; returns once they are durable."""
        while (asked := self.ask_for(agent, generation, tasks)) is None:
            await self._seats.go(agent, generation)
        seq, ids = asked
        await self._ledger.settle(seq)
        return ids

    def ask_for(self, agent: str, generation: int, tasks: Sequence[Task]) -> tuple[int, list[str]] | None:
        """Decide about agents below it, in any thread: the number of the last event, and their ids.

        All that it depends on is looked at in the one decision that queues them. None while a stop of its branch
        can still be taken back: it has to be asked again then. Raises what :meth:`spawn` does.
        """
        with self._ledger.decide() as decision:
            self._seats.present(decision.state, agent, generation, "may not delegate")
            if decision.state.shut_over(agent) is not None:
                return None
            ids = self._delegation.spawn(decision, agent, tasks)
            self._admit(decision)
        return decision.seq, ids

    async def children(self, agent: str, generation: int, ids: Sequence[str]) -> list[ChildReport]:
        """Wait until all of these have ended."""
        return await self._delegation.children(ids)

    async def approve(self, agent: str, generation: int, question: Question) -> Answer:
        """Ask a person whether a tool may run."""
        return await self._approvals.approve(agent, question)
