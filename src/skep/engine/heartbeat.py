"""The heartbeat monitor: two clocks per agent at work, alive and progress, and what follows from them."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from skep.clock import Clock
from skep.engine.ledger import Decision
from skep.model.agent import Agent
from skep.model.events import AgentMarked
from skep.model.launch import EngineSettings
from skep.model.permits import Pulse
from skep.model.states import DriverKind, Mark, OnStale, State
from skep.text import duration

TICK = 2.0
"""Seconds between two heartbeats."""
LATE_AFTER = 6.0
"""Seconds without a heartbeat until it is said (three ticks missed)."""
DEAD_AFTER = 15.0
"""Seconds without a heartbeat until it is said in red."""
SPINNING_AFTER = 5
"""The very same tool call so often in a row says that an agent goes in circles."""
LAG = 1.0
"""Seconds by which a tick may be late; what is over is the engine's own lag, and counts against nobody."""
STOPPED_AFTER = 6.0
"""A tick that is so late says that this process stood still, and the world around it perhaps not."""
JUMP = 2.0
"""Seconds by which the wall clock may run ahead between two ticks; more says that the machine was suspended."""

NOT_YET = "steered, not delivered yet"
"""What the evidence says of a note that was just sent; its host tells what becomes of it."""

Act = Callable[[Decision, Agent, OnStale, str], None]
"""What to do with an agent that just became stale or spins: called with the action and the evidence."""

_WATCHED = (State.STARTING, State.RUNNING)
_log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Beat:
    """What is known of one agent that its host tells of. All of it in seconds that count."""

    generation: int
    moves: int
    """How often it had made progress when its host last told …"""
    idle: float
    """… its silence then …"""
    silent: float
    """… and as much of that as counts against it."""
    in_tool: bool = False
    missed: float = 0.0
    """Since it last answered."""
    stands: Mark | None = None
    """``quiet`` or ``stale``: only progress takes that back, not a wait, a retry or an amnesty."""
    acted: set[Mark] = field(default_factory=set)
    """For what something was done already since then."""
    notes: int = 0
    """How many notes it had been given when it was steered …"""
    receipt: str = ""
    """… and what the evidence last said of that; empty if it was not."""

    def recovered(self, mark: Mark) -> None:
        """It does no longer deserve this mark: the next time something is done about it again."""
        self.acted.discard(mark)
        if not self.acted:
            self.receipt = ""


class Heartbeat:
    """Marks agents that ought to get on and do not. Agents that wait are never marked: they hold no process."""

    def __init__(self, clock: Clock, settings: EngineSettings, act: Act) -> None:
        self._clock = clock
        self._settings = settings
        self._act = act
        self._beats: dict[str, _Beat] = {}
        self._ticked = (clock.monotonic(), clock.time())
        self.lag = 0.0
        """Seconds by which the last tick was late."""

    def tick(self, decision: Decision, pulses: Sequence[Pulse]) -> None:
        """Take in one round of heartbeats; called every :data:`TICK` seconds."""
        counts = self._time_that_counts()
        told = {pulse.agent: pulse for pulse in pulses}
        agents = decision.state.agents
        for gone in [agent for agent in self._beats if agent not in agents or agents[agent].ended]:
            del self._beats[gone]
        for pulse in pulses:
            if pulse.agent in agents and not agents[pulse.agent].ended:
                self._hear(pulse, counts, works=agents[pulse.agent].state in _WATCHED)
        for agent in [one for one in agents.values() if one.slot and one.state in _WATCHED]:
            if agent.state in _WATCHED:  # else one of those before took it along
                self._look(decision, agent, told.get(agent.id), counts)

    def _time_that_counts(self) -> float:
        """Seconds since the last tick that may count against somebody.

        After a suspend of the machine, or a stop of this process, there are none, and all silence counts anew.
        """
        before, wall_before = self._ticked
        now, wall = self._ticked = self._clock.monotonic(), self._clock.time()
        passed = now - before
        late, self.lag = self.lag, max(0.0, passed - TICK)
        slept = wall - wall_before - passed
        if slept > JUMP or self.lag > STOPPED_AFTER:
            _log.warning("the clock jumped by %.1fs: all silence counts anew", max(slept, self.lag))
            self._pardon()
            return 0.0
        if self.lag <= LAG:
            return passed
        if late <= LAG:
            _log.warning("the engine's loop is %.1fs late: that counts against nobody", self.lag)
        return TICK

    def _pardon(self) -> None:
        """Everybody has a whole interval from here on. What stands marked stays so: nothing has moved."""
        for beat in self._beats.values():
            beat.silent = beat.missed = 0.0

    def _hear(self, pulse: Pulse, counts: float, *, works: bool) -> None:
        beat = self._beats.get(pulse.agent)
        if beat is None:
            idle = pulse.idle or 0.0
            self._beats[pulse.agent] = _Beat(pulse.generation, pulse.moves, idle, min(idle, counts), pulse.in_tool)
            return
        if pulse.generation != beat.generation or not works:
            beat.generation, beat.missed = pulse.generation, 0.0
        if pulse.idle is None:
            beat.silent += counts
            return
        if pulse.moves != beat.moves:
            beat.moves, beat.silent, beat.stands = pulse.moves, min(pulse.idle, counts), None
            beat.recovered(Mark.STALE)
        else:
            beat.silent += min(pulse.idle - beat.idle, counts)
        beat.idle, beat.in_tool = pulse.idle, pulse.in_tool

    def _look(self, decision: Decision, agent: Agent, pulse: Pulse | None, counts: float) -> None:
        if pulse is None:
            if agent.state is State.RUNNING:
                beat = self._beats.setdefault(agent.id, _Beat(agent.attempt, 0, 0.0, 0.0))
                beat.missed += counts
                mark, evidence = _missing(beat.missed, "its host does not know it")
                self._set(decision, agent, mark, evidence)
            return  # one that starts may still be on its way there
        beat = self._beats[agent.id]
        if pulse.generation != agent.attempt:
            beat.missed = 0.0
            return  # it has not been told yet that it goes on: that is for the engine to do
        beat.missed = 0.0 if pulse.alive else beat.missed + counts
        slow = self._slowness(pulse, beat)
        mark, evidence = _missing(beat.missed, pulse.mute)
        if mark is None:
            mark, evidence = slow
        action = self._action(agent, beat, slow[0])
        told = beat.receipt
        if action is OnStale.STEER:
            beat.notes, beat.receipt = pulse.notes, NOT_YET
        elif told and pulse.notes > beat.notes:
            beat.receipt = pulse.receipt
        if beat.receipt:
            evidence = f"{evidence}; {beat.receipt}"
        # Once more for a mark that stays, when the note has been delivered meanwhile.
        self._set(decision, agent, mark, evidence, anew=mark is not None and beat.receipt != told)
        if action is not OnStale.MARK:
            self._act(decision, agent, action, slow[1])

    def _slowness(self, pulse: Pulse, beat: _Beat) -> tuple[Mark | None, str]:
        """What its progress clock says, and the evidence."""
        settings = self._settings
        limit = settings.in_tool_after if beat.in_tool else settings.idle_after
        if limit and beat.silent >= limit:
            beat.stands = Mark.STALE
        if beat.stands is not Mark.STALE:
            if pulse.repeats >= SPINNING_AFTER:
                return Mark.SPINNING, f"same {pulse.repeated} call {pulse.repeats} times"
            beat.recovered(Mark.SPINNING)
            if settings.quiet_after and beat.silent >= settings.quiet_after and pulse.quiets:
                beat.stands = Mark.QUIET
        if beat.stands is None:
            return None, ""
        silent = pulse.idle if pulse.idle is not None else beat.silent  # all of it: what counts is for us to know
        return beat.stands, f"{pulse.lacks} for {duration(silent)}{pulse.where}"

    def _action(self, agent: Agent, beat: _Beat, slow: Mark | None) -> OnStale:
        """What is to be done now: once for each time that it became stale, or began to spin."""
        if slow not in (Mark.STALE, Mark.SPINNING) or slow in beat.acted:
            return OnStale.MARK
        action = action_for(agent, self._settings)
        if slow is Mark.SPINNING and action is not OnStale.STEER:
            return OnStale.MARK  # it gets on, if only in circles: whether to end it is for a person to say
        beat.acted.add(slow)
        return action

    def _set(
        self, decision: Decision, agent: Agent, mark: Mark | None, evidence: str, *, anew: bool = False
    ) -> None:
        if mark is not agent.mark or anew:
            decision.emit(AgentMarked(agent.id, mark, evidence if mark is not None else ""))


def action_for(agent: Agent, settings: EngineSettings) -> OnStale:
    """What to do with this agent when it is stale: what its definition says, else the swarm's settings.

    A command cannot be steered; where only the swarm's settings want that, it is marked.
    """
    asked = agent.spec.get("on_stale")
    action = OnStale(asked) if isinstance(asked, str) else settings.on_stale
    return OnStale.MARK if action is OnStale.STEER and agent.driver is not DriverKind.CHAT else action


def _missing(seconds: float, mute: str) -> tuple[Mark | None, str]:
    if seconds < LATE_AFTER:
        return None, ""
    evidence = f"no heartbeat for {duration(seconds)}" + (f": {mute}" if mute else "")
    return Mark.DEAD if seconds >= DEAD_AFTER else Mark.LATE, evidence
