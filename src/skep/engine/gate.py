"""The gate: latches that hold new spawns, closed and opened by people, by recovery and by their end time."""

from __future__ import annotations

from collections.abc import Callable

from skep.clock import Clock
from skep.engine.alarms import Alarm, Alarms
from skep.engine.ledger import Decision, Ledger
from skep.errors import NotFound, Refused
from skep.model.events import LatchClosed, LatchOpened
from skep.model.holds import SWARM_SCOPE
from skep.model.states import Strength

RECOVERY = "recovery"
"""Who holds a swarm that was taken over from a dead engine."""


class Gate:
    """Every latch of a swarm. All methods are called inside of a decision."""

    def __init__(self, ledger: Ledger, alarms: Alarms, clock: Clock, opened: Callable[[Decision], None]) -> None:
        self._ledger = ledger
        self._alarms = alarms
        self._clock = clock
        self._opened = opened
        self._ends: dict[tuple[str, Strength], Alarm] = {}

    def close(
        self, decision: Decision, scope: str, strength: Strength, reason: str, who: str, seconds: float | None
    ) -> int:
        """Hold what is under ``scope``, for so many seconds or until it is opened; returns the event's number.

        Raises NotFound, and Refused if what should be held has ended.
        """
        state = decision.state
        if state.status is not None:
            raise Refused("the swarm has ended", why=f"it is {state.status}")
        if scope != SWARM_SCOPE:
            one = state.agents.get(scope)
            if one is None:
                raise NotFound(f"there is no agent {scope}", mend="skep tree lists them")
            if one.ended:
                raise Refused(f"{one.name} has ended", why=f"it is {one.state}")
        until = decision.now + seconds if seconds is not None else None
        seq = decision.emit(LatchClosed(scope, strength, reason, who, until))
        self._end_at(scope, strength, until)
        return seq

    def open(self, decision: Decision, scope: str, strength: Strength, who: str) -> int:
        """Let go of such a latch; returns the event's number, 0 if there was none."""
        self._end_at(scope, strength, None)
        if (scope, strength) not in decision.state.latches:
            return 0
        seq = decision.emit(LatchOpened(scope, strength, who))
        self._opened(decision)
        return seq

    def recover(self, decision: Decision, *, go: bool) -> None:
        """After a restart: hold the whole swarm until a person lets it go, and set the end times again.

        With ``go`` it is not held, and a hold that an earlier recovery left is lifted.
        """
        state = decision.state
        old = state.latches.get((SWARM_SCOPE, Strength.SPAWNS))
        if go:
            if old is not None and old.who == RECOVERY:
                decision.emit(LatchOpened(SWARM_SCOPE, Strength.SPAWNS, RECOVERY))
        elif old is None or old.until is not None:
            # A hold that ends by itself would restart the swarm by itself.
            before = f"; before that: {old.reason or 'held'} ({old.who})" if old is not None else ""
            reason = f"recovered after its engine died{before}"
            decision.emit(LatchClosed(SWARM_SCOPE, Strength.SPAWNS, reason, RECOVERY))
        for latch in state.latches.values():
            self._end_at(latch.scope, latch.strength, latch.until)

    def _end_at(self, scope: str, strength: Strength, until: float | None) -> None:
        key = (scope, strength)
        old = self._ends.pop(key, None)
        if old is not None:
            old.cancel()
        if until is not None:
            left = until - self._clock.time()
            self._ends[key] = self._alarms.after(left, lambda: self._end(scope, strength))

    def _end(self, scope: str, strength: Strength) -> None:
        with self._ledger.decide() as decision:
            self.open(decision, scope, strength, "its end time")
