"""The gate: latches that hold new spawns or turns; people close and open them, recovery does, and end times."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable
from functools import partial
from typing import Protocol

from skep.clock import Clock
from skep.engine.alarms import Alarm, Alarms
from skep.engine.ledger import Decision
from skep.errors import NotFound, Refused
from skep.model.events import ROOT, LatchClosed, LatchOpened
from skep.model.holds import SWARM_SCOPE, Scope, ScopeKind
from skep.model.states import DriverKind, State, Strength
from skep.model.swarm import SwarmState

RECOVERY = "recovery"
"""Who holds a swarm that was taken over from a dead engine."""


class Accounts(Protocol):
    """The key accounts of a swarm, wherever their pools are."""

    def hold(self, account: str, strength: Strength | None) -> None:
        """Give no lease of ``PROVIDER/ACCOUNT`` to anybody (turns), to nobody new (spawns), or as usual (None)."""


class Gate:
    """Every latch of a swarm. All methods are called inside of a decision, in any thread."""

    def __init__(
        self,
        alarms: Alarms,
        clock: Clock,
        opened: Callable[[Decision], None],
        accounts: Accounts | None,
    ) -> None:
        self._alarms = alarms
        self._clock = clock
        self._opened = opened
        self._accounts = accounts
        self._ends: dict[tuple[str, Strength], Alarm] = {}

    def close(
        self, decision: Decision, scope: str, strength: Strength, reason: str, who: str, seconds: float | None
    ) -> int:
        """Hold what is in ``scope``, for so many seconds or until it is opened; returns the event's number.

        Raises NotFound, and Refused if what should be held has ended.
        """
        state = decision.state
        if state.status is not None:
            raise Refused("the swarm has ended", why=f"it is {state.status}")
        _check(state, Scope.read(scope))
        until = decision.now + seconds if seconds is not None else None
        seq = decision.emit(LatchClosed(scope, strength, reason, who, until))
        self._end_at(decision, scope, strength, until)
        self._tell_accounts(decision, scope)
        return seq

    def open(self, decision: Decision, scope: str, strength: Strength, who: str) -> int:
        """Let go of such a latch; returns the event's number, 0 if there was none."""
        self._end_at(decision, scope, strength, None)
        if (scope, strength) not in decision.state.latches:
            return 0
        seq = decision.emit(LatchOpened(scope, strength, who))
        self._tell_accounts(decision, scope)
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
            self._end_at(decision, latch.scope, latch.strength, latch.until)
            self._tell_accounts(decision, latch.scope)

    @staticmethod
    def keeps_open(state: SwarmState, top: str) -> bool:
        """True while a swarm is held, by whomever, and below ``top`` conversations were lost that may be resumed.

        Not once the whole swarm was stopped: then nobody wants that any more.
        """
        root = state.agents[ROOT]
        stopped = ROOT in state.shuts or (root.stop_verb is not None and not root.resumed_by)
        if stopped or (SWARM_SCOPE, Strength.SPAWNS) not in state.latches:
            return False
        return any(
            one.state is State.LOST and one.driver is DriverKind.CHAT and not one.resumed_by
            for one in state.subtree(top)
        )

    def _tell_accounts(self, decision: Decision, scope: str) -> None:
        """Have the pool of an account hold as the strongest latch there says, once that is durable."""
        asked = Scope.read(scope)
        accounts = self._accounts
        if asked.kind is not ScopeKind.ACCOUNT or accounts is None:
            return
        latches = decision.state.latches
        strength = next((one for one in (Strength.TURNS, Strength.SPAWNS) if (scope, one) in latches), None)

        async def tell() -> None:
            accounts.hold(asked.name, strength)

        decision.then(tell)

    def _end_at(self, decision: Decision, scope: str, strength: Strength, until: float | None) -> None:
        key = (scope, strength)
        old = self._ends.pop(key, None)
        if old is not None:
            old.cancel()
        if until is not None:
            left = until - self._clock.time()
            self._ends[key] = self._alarms.after(decision, left, partial(self._end, scope, strength))

    def _end(self, scope: str, strength: Strength, decision: Decision) -> None:
        self.open(decision, scope, strength, "its end time")


def _check(state: SwarmState, scope: Scope) -> None:
    """Raise NotFound or Refused unless there is something in the swarm that this scope can mean."""
    if scope.kind is ScopeKind.BRANCH:
        one = state.agents.get(scope.name)
        if one is None:
            raise NotFound(f"there is no agent {scope.name}", mend="skep tree lists them")
        if one.ended and not (one.id == ROOT and state.live_below(ROOT)):
            raise Refused(f"{one.name} has ended", why=f"it is {one.state}")
    elif scope.kind is ScopeKind.MODEL:
        used = dict.fromkeys(one.model for one in state.agents.values() if one.model is not None)
        _check_known("model", scope.name, used, "no agent of this swarm uses it")
    elif scope.kind is ScopeKind.ACCOUNT:
        accounts = dict.fromkeys(name for names in state.accounts.values() for name in names)
        _check_known("account", scope.name, accounts, "no key of this swarm belongs to it")


def _check_known(what: str, name: str, known: Iterable[str], why: str) -> None:
    names = list(known)
    if name in names:
        return
    close = difflib.get_close_matches(name, names, n=1)
    mend = (
        f"did you mean {close[0]}?" if close else f"known are {', '.join(sorted(names)[:10])}" if names else None
    )
    raise NotFound(f"there is no {what} {name}", why=why, mend=mend)
