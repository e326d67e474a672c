"""Time limits of agents: the clock runs while they hold a slot, not while they wait in line."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from skep.clock import Clock
from skep.engine.alarms import Alarm, Alarms
from skep.engine.ledger import Decision
from skep.text import duration


@dataclass(slots=True)
class _Deadline:
    limit: float
    left: float
    since: float = 0.0
    alarm: Alarm | None = None


class Deadlines:
    """One limit per agent, in seconds, for all its tries together. All methods are called inside of a decision."""

    def __init__(self, alarms: Alarms, clock: Clock, timed_out: Callable[[str, str, Decision], None]) -> None:
        self._alarms = alarms
        self._clock = clock
        self._timed_out = timed_out
        self._deadlines: dict[str, _Deadline] = {}

    def start(self, decision: Decision, agent: str, limit: float) -> None:
        """The agent was admitted: its clock runs, from where it stood."""
        deadline = self._deadlines.setdefault(agent, _Deadline(limit, limit))
        if deadline.alarm is not None:
            deadline.alarm.cancel()
            deadline.left -= self._clock.monotonic() - deadline.since
        deadline.since = self._clock.monotonic()
        cause = f"timed out after {f'{limit:g}s' if limit < 10 else duration(limit)}"
        deadline.alarm = self._alarms.after(decision, deadline.left, partial(self._timed_out, agent, cause))

    def hold(self, agent: str) -> None:
        """The agent waits: its clock stands."""
        deadline = self._deadlines.get(agent)
        if deadline is not None and deadline.alarm is not None:
            deadline.alarm.cancel()
            deadline.alarm = None
            deadline.left -= self._clock.monotonic() - deadline.since

    def go_on(self, decision: Decision, agent: str) -> None:
        """The agent goes on: its clock runs again, if it has a limit and the clock stood."""
        deadline = self._deadlines.get(agent)
        if deadline is not None and deadline.alarm is None:
            self.start(decision, agent, deadline.limit)

    def forget(self, agent: str) -> None:
        """The agent has ended."""
        deadline = self._deadlines.pop(agent, None)
        if deadline is not None and deadline.alarm is not None:
            deadline.alarm.cancel()
