"""The stop ladder: shut, soft, cancel, kill, verify; for one agent or a branch, leaves first, clocks visible."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from functools import partial

from skep.engine.alarms import Alarm, Alarms
from skep.engine.ledger import Decision, Ledger
from skep.errors import NotFound, Refused
from skep.model.agent import Agent
from skep.model.events import AgentEnded, AgentMarked, AgentStopping, BranchReopened, BranchShut
from skep.model.launch import EngineSettings
from skep.model.states import DriverKind, Mark, State, StopStep, StopVerb
from skep.model.swarm import SwarmState

Control = Callable[[str, int, StopStep], Awaitable[None]]
"""Carry out a rung for (agent, generation); called once the rung is durable."""


class Ladder:
    """Every stop of a swarm. All methods that take a decision are called inside of it."""

    def __init__(
        self,
        ledger: Ledger,
        alarms: Alarms,
        settings: EngineSettings,
        control: Control,
        ended: Callable[[Decision, str], None],
    ) -> None:
        self._ledger = ledger
        self._alarms = alarms
        self._settings = settings
        self._control = control
        self._ended = ended
        self._next: dict[str, Alarm] = {}
        self._windows: dict[str, Alarm] = {}

    def ask(
        self, decision: Decision, agent: str, *, branch: bool, verb: StopVerb, who: str, window: float = 0.0
    ) -> list[str]:
        """Stop an agent or a branch; with a ``window`` (seconds) it stays shut so long and can be taken back.

        Returns the live agents that it takes with it. Raises NotFound, and Refused for an agent with live
        children when ``branch`` is not asked for: they would go too, so it has to be said.
        """
        state = decision.state
        one = _known(state, agent)
        scope = self.scope(state, agent, branch=branch)
        if not scope:
            return []
        if not branch and state.live_below(agent):
            raise Refused(
                f"{one.name} has {state.live_below(agent)} live agents below it",
                why="stopping it would stop them too",
                mend="stop the whole branch: --branch, or X in the room",
            )
        self._close_window(agent)
        until = decision.now + window if window > 0 else None
        decision.emit(BranchShut(agent, branch, verb, who, until))
        if until is None:
            self._descend(decision, agent, verb, who)
        else:
            self._windows[agent] = self._alarms.after(window, lambda: self._window_over(agent))
        return [live.id for live in scope]

    def take_back(self, decision: Decision, agent: str, who: str) -> None:
        """Undo a stop in its window. Raises Refused when the window has closed."""
        shut = decision.state.shuts.get(agent)
        if shut is None or agent not in self._windows:
            raise Refused(
                "there is nothing to take back",
                where=_known(decision.state, agent).name,
                why="no stop is in its window there",
            )
        self._close_window(agent)
        decision.emit(BranchReopened(agent, who))

    def hurry(self, decision: Decision, agent: str, *, branch: bool, kill: bool, who: str) -> list[str]:
        """One rung further down now, or with ``kill`` straight to the kill; also closes an open window."""
        state = decision.state
        _known(state, agent)
        shut = next(
            (s for a in state.ancestors(agent) if (s := state.shuts.get(a.id)) and a.id in self._windows), None
        )
        if shut is not None:
            self._close_window(shut.agent)
            self._descend(decision, shut.agent, StopVerb.KILL if kill else shut.verb, who)
            if not kill:
                return [a.id for a in self.scope(state, shut.agent, branch=shut.branch)]
        touched = []
        for one in self.scope(state, agent, branch=branch or state.agents[agent].driver is DriverKind.GROUP):
            if one.state is State.STOPPING and one.stop_step is not None:
                step = StopStep.KILL if kill else StopStep(min(one.stop_step + 1, StopStep.KILL))
                if step > one.stop_step:
                    self._step(decision, one, step, StopVerb.KILL if kill else one.stop_verb, who)
                    touched.append(one.id)
        return touched

    def time_out(self, decision: Decision, agent: str, cause: str) -> None:
        """Stop an agent whose time is up; its process is told at once."""
        one = decision.state.agents[agent]
        if not one.ended and one.state is not State.STOPPING:
            self._step(decision, one, StopStep.CANCEL, StopVerb.TIMEOUT, "timeout", cause)

    def left(self, decision: Decision, agent: str, evidence: str) -> None:
        """The last rung did not end it: say so on its row, in red, with what is left."""
        if decision.state.agents[agent].state is State.STOPPING:
            said = f"not stopped: {evidence}" if evidence else "not stopped yet"
            decision.emit(AgentMarked(agent, Mark.UNSTOPPED, said))

    def forget(self, agent: str) -> None:
        """The agent has ended: nothing more is due for it."""
        alarm = self._next.pop(agent, None)
        if alarm is not None:
            alarm.cancel()

    def resume(self, decision: Decision) -> None:
        """After a restart: stops whose window was open when the engine died go on, nothing new starts there."""
        for shut in list(decision.state.shuts.values()):
            self._descend(decision, shut.agent, shut.verb, shut.who)

    @staticmethod
    def scope(state: SwarmState, agent: str, *, branch: bool) -> list[Agent]:
        """The live agents that a stop takes with it, leaves first."""
        agents: Iterable[Agent] = state.subtree(agent) if branch else (state.agents[agent],)
        return [one for one in agents if not one.ended][::-1]

    def _window_over(self, agent: str) -> None:
        with self._ledger.decide() as decision:
            self._windows.pop(agent, None)
            shut = decision.state.shuts.get(agent)
            if shut is not None:
                self._descend(decision, agent, shut.verb, shut.who)

    def _close_window(self, agent: str) -> None:
        alarm = self._windows.pop(agent, None)
        if alarm is not None:
            alarm.cancel()

    def _descend(self, decision: Decision, agent: str, verb: StopVerb, who: str) -> None:
        """From the shut gate to the first rung, for everyone in the scope."""
        shut = decision.state.shuts[agent]
        step = StopStep.CANCEL if verb is StopVerb.KILL else StopStep.SOFT
        for one in self.scope(decision.state, agent, branch=shut.branch):
            if one.ended:
                continue
            if one.id in decision.state.line:
                # Nothing of it runs: it ends at once, and whoever waits for its slot is let go.
                decision.emit(AgentEnded(one.id, verb.end, error=f"{verb.end} by {who} before it ran"))
                self._ended(decision, one.id)
            elif one.stop_step is None or step > one.stop_step:
                self._step(decision, one, step, verb, who)

    def _step(
        self, decision: Decision, one: Agent, step: StopStep, verb: StopVerb | None, who: str, cause: str = ""
    ) -> None:
        verb = verb if verb is not None else StopVerb.INTERRUPT
        decision.emit(AgentStopping(one.id, step, verb, who, cause or f"{verb.end} by {who}"))
        self.forget(one.id)
        if one.driver is DriverKind.GROUP:
            self._ended(decision, one.id)
            return
        decision.then(partial(self._control, one.id, one.attempt, step))
        grace = {StopStep.SOFT: self._settings.grace, StopStep.CANCEL: self._settings.term_grace}.get(step)
        if grace is not None:
            self._next[one.id] = self._alarms.after(grace, lambda: self._next_rung(one.id, step))

    def _next_rung(self, agent: str, step: StopStep) -> None:
        with self._ledger.decide() as decision:
            one = decision.state.agents[agent]
            if one.state is State.STOPPING and one.stop_step is step:
                self._step(decision, one, StopStep(step + 1), one.stop_verb, one.stop_who)


def _known(state: SwarmState, agent: str) -> Agent:
    one = state.agents.get(agent)
    if one is None:
        raise NotFound(f"there is no agent {agent}", mend="skep tree lists them")
    return one
