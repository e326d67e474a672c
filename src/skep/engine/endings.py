"""How agents, groups and the swarm come to their ends: children first, and then whoever waits for nobody else."""

from __future__ import annotations

from functools import partial

from skep.engine.approvals import Approvals
from skep.engine.deadlines import Deadlines
from skep.engine.delegation import Delegation
from skep.engine.diagnostics import verdict
from skep.engine.gate import Gate
from skep.engine.ladder import Ladder
from skep.engine.ledger import Decision, Effect, Ledger
from skep.engine.seats import Seats
from skep.model.agent import Agent
from skep.model.events import ROOT, AgentEnded, AgentRunning, AgentWaiting, SwarmEnded
from skep.model.permits import Ended
from skep.model.report import group_end, status_of
from skep.model.states import DriverKind, State, StopVerb, WaitReason


class Endings:
    """Every end in a swarm. All methods are called inside of a decision."""

    def __init__(
        self,
        ledger: Ledger,
        gate: Gate,
        ladder: Ladder,
        seats: Seats,
        deadlines: Deadlines,
        delegation: Delegation,
        approvals: Approvals,
        over: Effect,
    ) -> None:
        """``over`` follows the end of the swarm."""
        self._registry = ledger.registry
        self._gate = gate
        self._ladder = ladder
        self._seats = seats
        self._deadlines = deadlines
        self._delegation = delegation
        self._approvals = approvals
        self._over = over
        self._ending: dict[str, Ended] = {}
        """Agents that have ended but for children that still have to."""

    def end(self, decision: Decision, one: Agent, end: Ended, diagnostic: str | None = None) -> None:
        """A host says that an agent has ended; ``diagnostic`` is the file that says why it came to nothing."""
        if decision.state.live_below(one.id):
            # It has ended, its children have not: they go first, and its own end is told when they are gone.
            self._ending[one.id] = end
            self._deadlines.forget(one.id)
            if one.state is State.STARTING:
                decision.emit(AgentRunning(one.id))
            if one.state is State.RUNNING:  # nothing of it runs any more: others may have its slot
                decision.emit(AgentWaiting(one.id, WaitReason.CHILD, "its end waits for that of its children"))
            for child in list(one.children):
                # Who was resumed by a person does not work for it: it is only waited for.
                if not decision.state.agents[child].ended and not decision.state.agents[child].resumes:
                    who = f"the end of {one.name}"
                    self._ladder.ask(decision, child, branch=True, verb=StopVerb.INTERRUPT, who=who)
            return
        state, error = verdict(one, end)
        if one.state is State.STARTING and state is not State.FAILED:
            decision.emit(AgentRunning(one.id))
        lines, size = (end.live.lines, end.live.size) if end.live is not None else (0, 0)
        decision.emit(
            AgentEnded(
                one.id, state, end.exit_code, end.signal, error, end.result, lines, size, end.report, diagnostic
            )
        )
        self.after(decision, one.id, end)
        created = decision.state.created
        if state in (State.FAILED, State.TIMED_OUT) and created is not None and created.fail_fast:
            self._skip_the_rest(decision, one)

    def _skip_the_rest(self, decision: Decision, failed: Agent) -> None:
        """Fail fast: what has not started ends without having run; what runs goes on to its end."""
        for agent in decision.state.line.positions() + decision.state.line.held():
            if decision.state.agents[agent].turns or decision.state.live_below(agent):
                continue  # a conversation that is under way
            tried = decision.state.agents[agent].attempt
            said = "not tried again" if tried else "skipped"
            decision.emit(AgentEnded(agent, State.INTERRUPTED, error=f"{said}: {failed.name} failed"))
            self.after(decision, agent)

    def after(self, decision: Decision, agent: str, end: Ended | None = None) -> None:
        """An agent has ended (or a group may): tidy up, and end those above it that wait for nobody else."""
        state = decision.state
        if state.agents[agent].ended:
            self._tidy(decision, agent, end)
        for one in state.ancestors(agent):
            if one.ended:
                if one.id == ROOT:
                    self.end_swarm(decision)
                continue
            if state.live_below(one.id):
                break
            if one.driver is DriverKind.GROUP:
                if one.state is not State.STOPPING and self._gate.keeps_open(state, one.id):
                    break
                stopped = one.stop_verb.end if one.state is State.STOPPING and one.stop_verb is not None else None
                decision.emit(
                    AgentEnded(one.id, stopped or group_end(state, one.id), error=one.stop_cause or None)
                )
                self.after(decision, one.id)
            elif one.id in self._ending:
                self.end(decision, one, self._ending.pop(one.id))
            break

    def end_swarm(self, decision: Decision) -> None:
        """The root has ended: so has the swarm, unless something goes on below it or a person may want that."""
        state = decision.state
        if state.status is None and not state.live_below(ROOT) and not self._gate.keeps_open(state, ROOT):
            decision.emit(SwarmEnded(status_of(state)))
            decision.then(self._over)

    def _tidy(self, decision: Decision, agent: str, end: Ended | None) -> None:
        self._seats.forget(decision, agent)
        self._deadlines.forget(agent)
        self._ladder.forget(agent)
        self._approvals.forget(agent)
        self._delegation.ended(decision, agent, end)
        self._ending.pop(agent, None)
        decision.then(partial(self._forget_live, agent))

    async def _forget_live(self, agent: str) -> None:
        self._registry.forget_live((agent,))
