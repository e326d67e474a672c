"""Slots of agents that are under way: given back while they wait, got again from the front of the line."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial

from skep.engine.alarms import Alarm, Alarms
from skep.engine.deadlines import Deadlines
from skep.engine.ledger import Decision, Effect, Ledger
from skep.errors import Refused
from skep.model.agent import Agent, Face
from skep.model.events import ROOT, AgentRunning, AgentWaiting
from skep.model.states import State, WaitReason
from skep.model.swarm import SwarmState

KEY_PATIENCE = 60.0
"""Seconds for which an agent that waits for a key keeps its slot."""


class Seats:
    """What agents that run ask about their slots (see :class:`skep.model.permits.Permits`).

    What agents ask is asked in the engine's loop, where they wait. What the engine says is said inside of a
    decision, in any thread; a future is only touched in the loop.
    """

    def __init__(
        self, ledger: Ledger, alarms: Alarms, deadlines: Deadlines, admit: Callable[[Decision], None]
    ) -> None:
        self._ledger = ledger
        self._alarms = alarms
        self._deadlines = deadlines
        self._admit = admit
        self._returning: dict[str, asyncio.Future[int]] = {}
        self._patience: dict[str, Alarm] = {}
        self._held: set[asyncio.Future[None]] = set()
        self.closing = False
        """True while what still runs is ended at the end: nobody goes on any more."""

    # -- what agents ask -------------------------------------------------------------------------------------

    async def slot(self, agent: str, generation: int, why: str) -> int:
        """Give the slot back and come back at the front of the line, for another try."""
        with self._ledger.decide() as decision:
            one = self._runs(decision, agent, generation, "may not try again")
            if _fails_fast(decision.state):
                raise Refused(f"{one.name} may not try again", why="nothing new starts any more")
            decision.emit(AgentWaiting(agent, WaitReason.SLOT, why))
            future = self._back_in_line(decision, agent)
        return await self._taken_up(agent, future)

    async def rest(
        self, agent: str, generation: int, reason: WaitReason, detail: str, *, keeps_slot: bool
    ) -> None:
        """It waits from now on; its clock stands unless it waits for its children."""
        with self._ledger.decide() as decision:
            self._runs(decision, agent, generation, "may not wait")
            decision.emit(AgentWaiting(agent, reason, detail, keeps_slot))
            if reason is not WaitReason.CHILD:
                self._deadlines.hold(agent)
            if not keeps_slot:
                self._admit(decision)
            elif reason is WaitReason.KEY:
                self._forget_patience(agent)
                self._patience[agent] = self._alarms.after(
                    decision, KEY_PATIENCE, partial(self._lose_patience, agent)
                )

    async def resume(self, agent: str, generation: int) -> int:
        """It goes on: at once if it kept its slot, else from the front of the line."""
        with self._ledger.decide() as decision:
            one = self.present(decision.state, agent, generation, "may not go on")
            self._forget_patience(agent)
            if one.slot:
                if one.state is State.WAITING:
                    decision.emit(AgentRunning(agent))
                    self._deadlines.go_on(decision, agent)
                return generation
            decision.emit(AgentWaiting(agent, WaitReason.SLOT, "back in line"))
            future = self._back_in_line(decision, agent)
        return await self._taken_up(agent, future)

    def seated(self, agent: str) -> bool:
        """True if it holds a slot."""
        with self._ledger.registry.read() as state:
            return state.agents[agent].slot

    async def go(self, agent: str, generation: int) -> None:
        """Wait while a stop of its branch can still be taken back; raises Refused once it is stopping."""
        while True:
            with self._ledger.registry.read() as state:
                self.present(state, agent, generation, "may not go on")
                if state.shut_over(agent) is None:
                    return
            await self._next_change()

    def held(self, agent: str, generation: int) -> str:
        """What holds its next model call, in words; empty if nothing does. Raises Refused once it is stopping."""
        with self._ledger.registry.read() as state:
            self.present(state, agent, generation, "may not go on")
            latch = state.turns_held(agent)
            return f"turns held by {latch.who}" if latch is not None else ""

    async def released(self, agent: str, generation: int) -> None:
        """Wait until nothing holds its model calls any more; raises Refused once it is stopping."""
        while self.held(agent, generation):
            await self._next_change()

    # -- what the engine says --------------------------------------------------------------------------------

    def present(self, state: SwarmState, agent: str, generation: int, what: str) -> Agent:
        """The agent, if it may go on; raises Refused once it is stopping, or if this is an old run of it."""
        one = state.agents[agent]
        shut = state.shut_over(agent)
        stopping = one.ended or one.state is State.STOPPING or (shut is not None and shut.until is None)
        if stopping or self.closing or one.attempt != generation:
            why = "it is being stopped" if stopping else "nothing new starts any more"
            raise Refused(f"{one.name} {what}", why=why)
        return one

    def is_of(self, agent: Agent, generation: int) -> bool:
        """True if a report is of its present run, which may have ended before it heard of its newest slot."""
        untold = agent.slot and agent.id in self._returning
        return generation == agent.attempt or (untold and generation == agent.attempt - 1)

    def admitted(self, agent: str, generation: int) -> Effect | None:
        """It has a slot again: what tells it so; None if nobody waits for that, because it is new."""
        future = self._returning.get(agent)
        if future is None:
            return None

        async def tell() -> None:
            if not future.done():
                future.set_result(generation)

        return tell

    async def look_again(self) -> None:
        """A stop was taken back, or a latch was opened: who waits for that looks again. An effect."""
        for future in self._held:
            if not future.done():
                future.set_result(None)

    def forget(self, decision: Decision, agent: str) -> None:
        """It has ended: if it waited in line, nothing of it runs, and its task just ends."""
        self._forget_patience(agent)
        returning = self._returning.pop(agent, None)
        if returning is None:
            return

        async def let_go() -> None:
            returning.cancel()

        decision.then(let_go)

    # -- inside ----------------------------------------------------------------------------------------------

    async def _next_change(self) -> None:
        """Wait until the engine says that holds or tombstones have changed (in the loop, as its effects)."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._held.add(future)
        try:
            await future
        finally:
            self._held.discard(future)

    def _runs(self, decision: Decision, agent: str, generation: int, what: str) -> Agent:
        one = self.present(decision.state, agent, generation, what)
        if one.state not in (State.STARTING, State.RUNNING):
            raise Refused(f"{one.name} {what}", why="it does not run")
        if one.state is State.STARTING:  # it can get so far before the word of its start has been taken in
            decision.emit(AgentRunning(agent))
        return one

    def _back_in_line(self, decision: Decision, agent: str) -> asyncio.Future[int]:
        self._deadlines.hold(agent)
        future: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._returning[agent] = future
        self._admit(decision)
        return future

    async def _taken_up(self, agent: str, future: asyncio.Future[int]) -> int:
        generation = await future
        with self._ledger.registry.read():
            self._returning.pop(agent, None)
        return generation

    def _lose_patience(self, agent: str, decision: Decision) -> None:
        one = decision.state.agents[agent]
        if one.state is State.WAITING and one.reason is WaitReason.KEY and one.slot:
            decision.emit(AgentWaiting(agent, WaitReason.KEY, one.detail))
            self._admit(decision)

    def _forget_patience(self, agent: str) -> None:
        alarm = self._patience.pop(agent, None)
        if alarm is not None:
            alarm.cancel()


def _fails_fast(state: SwarmState) -> bool:
    failed = state.tallies.get(ROOT, {}).get(Face.FAILED, 0) > 0
    return failed and state.created is not None and state.created.fail_fast
