"""What is held in a swarm and whether it really holds, from the registry and what is in flight on accounts."""

from __future__ import annotations

from collections.abc import Callable

from skep.control.verbs import HoldShown
from skep.model.agent import Face
from skep.model.holds import Scope, ScopeKind
from skep.model.states import Strength
from skep.model.swarm import SwarmState


def holds(state: SwarmState, in_flight: Callable[[str], int]) -> list[HoldShown]:
    """Every latch, the oldest first; ``in_flight`` tells the requests on the keys of ``PROVIDER/ACCOUNT``."""
    shown = []
    for latch in sorted(state.latches.values(), key=lambda latch: latch.since):
        scope = Scope.read(latch.scope)
        quiesced = state.quiesced(latch)
        if scope.kind is ScopeKind.ACCOUNT and latch.strength is Strength.TURNS:
            quiesced = quiesced and not in_flight(scope.name)
        held = sum(state.face(one) is Face.HELD for one in state.reach(latch.scope))
        shown.append(
            HoldShown(
                scope=latch.scope,
                kind=scope.kind.value,
                name=scope.name,
                strength=latch.strength.value,
                reason=latch.reason,
                who=latch.who,
                since=latch.since,
                until=latch.until,
                held=held,
                quiesced=quiesced,
            )
        )
    return shown
