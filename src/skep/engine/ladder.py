"""The stop ladder: shut, soft, cancel, kill, verify; for one agent or a branch, leaves first, clocks visible."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from functools import partial

from skep.engine.alarms import Alarm, Alarms
from skep.engine.ledger import Decision
from skep.errors import NotFound, Refused
from skep.model.agent import Agent
from skep.model.events import AgentEnded, AgentMarked, AgentStopping, BranchReopened, BranchShut
from skep.model.holds import Shut
from skep.model.launch import EngineSettings
from skep.model.states import DriverKind, Mark, State, StopStep, StopVerb
from skep.model.swarm import SwarmState

Control = Callable[[str, int, StopStep], Awaitable[None]]
"""Carry out a rung for (agent, generation); called once the rung is durable."""


class Ladder:
    """Every stop of a swarm. All methods are called inside of a decision, in any thread."""

    def __init__(
        self,
        alarms: Alarms,
        settings: EngineSettings,
        control: Control,
        ended: Callable[[Decision, str], None],
    ) -> None:
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

        A stop that is under way is only ever shortened: no new window opens there, and an open one does not grow.
        Returns the live agents that it takes with it. Raises NotFound, and Refused for an agent with live children
        when ``branch`` is not asked for: they would go too, so it has to be said.
        """
        state = decision.state
        one = _known(state, agent)
        _refuse_half(state, one, branch=branch)
        scope = [live.id for live in self.scope(state, agent, branch=branch)]
        if not scope:
            return []
        until = self._until(decision, agent, window)
        self._close_window(agent)
        old = state.shuts.get(agent)
        if old is not None:
            branch = branch or old.branch
            verb = StopVerb.KILL if old.verb is StopVerb.KILL else verb
        decision.emit(BranchShut(agent, branch, verb, who, until))
        if until is None:
            self._descend(decision, agent, who)
        else:
            self._windows[agent] = self._alarms.after(
                decision, until - decision.now, partial(self._window_over, agent)
            )
        return scope

    def take_back(self, decision: Decision, agent: str, who: str) -> None:
        """Undo a stop in its window. Raises NotFound, and Refused when there is none or its window has closed."""
        one = _known(decision.state, agent)
        if agent not in decision.state.shuts or agent not in self._windows:
            raise Refused("there is nothing to take back", where=one.name, why="no stop is in its window there")
        self._close_window(agent)
        decision.emit(BranchReopened(agent, who))

    def hurry(self, decision: Decision, agent: str, *, branch: bool, kill: bool, who: str) -> list[str]:
        """One rung further down now, or with ``kill`` straight to the kill; an open window there closes.

        In a branch whose window is open this stops what was named and leaves the rest its window. Returns the
        agents that it moved. Raises NotFound and Refused as :meth:`ask` does.
        """
        state = decision.state
        one = _known(state, agent)
        branch = branch or one.driver is DriverKind.GROUP
        moved: list[str] = []
        shut = self._open_window(state, agent)
        if shut is not None:
            verb = StopVerb.KILL if kill else shut.verb
            branch = shut.branch if shut.agent == agent else branch
            moved = self.ask(decision, agent, branch=branch, verb=verb, who=who)
            if not kill:
                return moved
        for live in self.scope(state, agent, branch=branch):
            if not live.ended and live.state is State.STOPPING and live.stop_step is not None:
                step = StopStep.KILL if kill else StopStep(min(live.stop_step + 1, StopStep.KILL))
                if step > live.stop_step:
                    self._step(decision, live, step, StopVerb.KILL if kill else live.stop_verb, who)
                    moved.append(live.id)
        return list(dict.fromkeys(moved))

    def time_out(self, decision: Decision, agent: str, cause: str) -> None:
        """Stop an agent whose time is up; its process is told at once. Nobody new comes below it any more."""
        one = decision.state.agents[agent]
        if not one.ended and one.state is not State.STOPPING:
            if agent not in decision.state.shuts:
                decision.emit(BranchShut(agent, True, StopVerb.TIMEOUT, "timeout"))
            self._step(decision, one, StopStep.CANCEL, StopVerb.TIMEOUT, "timeout", cause)

    def left(self, decision: Decision, agent: str, evidence: str) -> None:
        """The last rung did not end it: say so on its row, in red, with what is left."""
        if decision.state.agents[agent].state is State.STOPPING:
            said = f"not stopped: {evidence}" if evidence else "not stopped yet"
            decision.emit(AgentMarked(agent, Mark.UNSTOPPED, said))

    def forget(self, agent: str) -> None:
        """The agent has ended: nothing more is due for it."""
        for alarms in (self._next, self._windows):
            alarm = alarms.pop(agent, None)
            if alarm is not None:
                alarm.cancel()

    def resume(self, decision: Decision) -> None:
        """After a restart: stops whose window was open when the engine died go on, nothing new starts there."""
        for shut in list(decision.state.shuts.values()):
            if shut.agent in decision.state.shuts:
                self._end_window(decision, shut)

    @staticmethod
    def scope(state: SwarmState, agent: str, *, branch: bool) -> list[Agent]:
        """The live agents that a stop takes with it, leaves first."""
        agents: Iterable[Agent] = state.subtree(agent) if branch else (state.agents[agent],)
        return [one for one in agents if not one.ended][::-1]

    # -- windows ---------------------------------------------------------------------------------------------

    def _until(self, decision: Decision, agent: str, window: float) -> float | None:
        """When a window that is asked for now ends; None if there is none."""
        if window <= 0:
            return None
        over = decision.state.shut_over(agent)
        if over is not None and over.until is None:
            return None
        old = decision.state.shuts.get(agent)
        until = decision.now + window
        return min(until, old.until) if old is not None and old.until is not None else until

    def _open_window(self, state: SwarmState, agent: str) -> Shut | None:
        """The nearest stop over this agent that is in its window."""
        for one in state.ancestors(agent):
            shut = state.shuts.get(one.id)
            if shut is not None and one.id in self._windows and (shut.branch or one.id == agent):
                return shut
        return None

    def _window_over(self, agent: str, decision: Decision) -> None:
        shut = decision.state.shuts.get(agent)
        if shut is not None:
            self._end_window(decision, shut)

    def _end_window(self, decision: Decision, shut: Shut) -> None:
        self._close_window(shut.agent)
        if shut.until is not None:
            decision.emit(BranchShut(shut.agent, shut.branch, shut.verb, shut.who))
        self._descend(decision, shut.agent, shut.who)

    def _close_window(self, agent: str) -> None:
        alarm = self._windows.pop(agent, None)
        if alarm is not None:
            alarm.cancel()

    # -- rungs -----------------------------------------------------------------------------------------------

    def _descend(self, decision: Decision, agent: str, who: str) -> None:
        """From the shut gate to the first rung, for everyone in the scope."""
        shut = decision.state.shuts[agent]
        for one in self.scope(decision.state, agent, branch=shut.branch):
            if one.ended:
                continue
            begun = one.driver is DriverKind.CHAT and one.attempt > 0
            if one.id in decision.state.line and not begun:
                # Nothing of it runs: it ends at once, and whoever waits for its slot is let go.
                when = "between two tries" if one.attempt else "before it ran"
                decision.emit(AgentEnded(one.id, shut.verb.end, error=f"{shut.verb.end} by {who} {when}"))
                self._ended(decision, one.id)
                continue
            step = _first_rung(one, shut.verb)
            if one.stop_step is None or step > one.stop_step:
                self._step(decision, one, step, shut.verb, who)

    def _step(
        self, decision: Decision, one: Agent, step: StopStep, verb: StopVerb | None, who: str, cause: str = ""
    ) -> None:
        verb = verb if verb is not None else StopVerb.INTERRUPT
        shut = decision.state.shuts.get(one.id)
        if shut is not None and one.id in self._windows:
            # Its own stop was in a window, and something stronger came: nothing of it can be taken back any more.
            decision.emit(BranchShut(shut.agent, shut.branch, shut.verb, shut.who))
        decision.emit(AgentStopping(one.id, step, verb, who, cause or f"{verb.end} by {who}"))
        self.forget(one.id)
        if one.driver is DriverKind.GROUP:
            self._ended(decision, one.id)
            return
        decision.then(partial(self._control, one.id, one.attempt, step))
        grace = {StopStep.SOFT: self._settings.grace, StopStep.CANCEL: self._settings.term_grace}.get(step)
        if grace is not None:
            self._next[one.id] = self._alarms.after(decision, grace, partial(self._next_rung, one.id, step))

    def _next_rung(self, agent: str, step: StopStep, decision: Decision) -> None:
        one = decision.state.agents[agent]
        if one.state is State.STOPPING and one.stop_step is step:
            self._step(decision, one, StopStep(step + 1), one.stop_verb, one.stop_who, one.stop_cause)


def _first_rung(agent: Agent, verb: StopVerb) -> StopStep:
    """Where a stop begins for an agent; a kill after anything weaker takes at least one rung more."""
    if verb is not StopVerb.KILL:
        return StopStep.SOFT
    if agent.stop_step is None or agent.stop_verb is StopVerb.KILL:
        return StopStep.CANCEL
    return StopStep(min(max(agent.stop_step + 1, StopStep.CANCEL), StopStep.KILL))


def _refuse_half(state: SwarmState, agent: Agent, *, branch: bool) -> None:
    if not branch and state.live_below(agent.id):
        raise Refused(
            f"{agent.name} has {state.live_below(agent.id)} live agents below it",
            why="stopping it would stop them too",
            mend="stop the whole branch: --branch, or X in the room",
        )


def _known(state: SwarmState, agent: str) -> Agent:
    one = state.agents.get(agent)
    if one is None:
        raise NotFound(f"there is no agent {agent}", mend="skep tree lists them")
    return one
