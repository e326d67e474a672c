"""The heartbeat monitor: two clocks per running agent, alive and progress, and what follows from them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from skep.clock import Clock
from skep.engine.ledger import Decision
from skep.model.agent import Agent
from skep.model.events import AgentMarked
from skep.model.launch import EngineSettings
from skep.model.permits import Pulse
from skep.model.states import Mark, State
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
"""Seconds by which a tick of our own may be late before nobody is blamed for the time in between."""

Act = Callable[[Decision, Agent, str], None]
"""What to do with an agent that just became stale: called with the evidence."""


@dataclass(slots=True)
class _Beat:
    generation: int
    alive_at: float


class Heartbeat:
    """Marks agents that ought to get on and do not. Agents that wait are never marked: they hold no process."""

    def __init__(self, clock: Clock, settings: EngineSettings, on_stale: Act) -> None:
        self._clock = clock
        self._settings = settings
        self._on_stale = on_stale
        self._beats: dict[str, _Beat] = {}
        self._last_tick: float | None = None
        self._amnesty = clock.monotonic()
        """Silence before this moment is not counted: the machine slept, or our own loop was late."""

    def tick(self, decision: Decision, pulses: Sequence[Pulse]) -> None:
        """Take in one round of heartbeats; called every :data:`TICK` seconds."""
        now = self._clock.monotonic()
        if self._last_tick is not None and now - self._last_tick > TICK + LAG:
            self._amnesty = now
        self._last_tick = now
        seen = set()
        for pulse in pulses:
            agent = decision.state.agents.get(pulse.agent)
            if agent is None or agent.state is not State.RUNNING or agent.attempt != pulse.generation:
                continue
            seen.add(agent.id)
            beat = self._beats.get(agent.id)
            if beat is None or beat.generation != pulse.generation:
                beat = self._beats[agent.id] = _Beat(pulse.generation, now)
            if pulse.alive:
                beat.alive_at = now
            silent = now - max(beat.alive_at, self._amnesty)
            mark, evidence = self._judge(pulse, silent, min(pulse.idle, now - self._amnesty))
            self._set(decision, agent, mark, evidence)
        for gone in self._beats.keys() - seen:
            del self._beats[gone]

    def _judge(self, pulse: Pulse, silent: float, idle: float) -> tuple[Mark | None, str]:
        if silent >= DEAD_AFTER:
            return Mark.DEAD, f"no heartbeat for {duration(silent)}"
        if silent >= LATE_AFTER:
            return Mark.LATE, f"no heartbeat for {duration(silent)}"
        limit = self._settings.in_tool_after if pulse.in_tool else self._settings.idle_after
        evidence = pulse.evidence or ("no output" if pulse.in_tool else "no progress")
        if limit and idle >= limit:
            return Mark.STALE, evidence
        if pulse.repeats >= SPINNING_AFTER:
            return Mark.SPINNING, f"same {pulse.repeated} call {pulse.repeats} times"
        if self._settings.quiet_after and idle >= self._settings.quiet_after and pulse.quiets:
            return Mark.QUIET, evidence
        return None, ""

    def _set(self, decision: Decision, agent: Agent, mark: Mark | None, evidence: str) -> None:
        if mark is agent.mark:
            return
        decision.emit(AgentMarked(agent.id, mark, evidence))
        if mark is Mark.STALE:
            self._on_stale(decision, agent, evidence)
