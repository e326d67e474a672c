"""Taking over a swarm whose engine died: what ran is lost, what was stopping has stopped, what waited waits on."""

from __future__ import annotations

import os
from collections.abc import Callable

from skep.engine.gate import Gate
from skep.engine.ladder import Ladder
from skep.engine.ledger import Decision
from skep.errors import NotFound
from skep.model.agent import Agent
from skep.model.events import ROOT, AgentEnded, EngineStarted
from skep.model.states import DriverKind, State
from skep.model.swarm import SwarmState


def take_over(
    decision: Decision,
    gate: Gate,
    ladder: Ladder,
    ended: Callable[[Decision, str], None],
    *,
    caps: dict[str, int],
    accounts: dict[str, list[str]],
    go: bool,
) -> None:
    """Bring the state to what is true now that nothing of the old engine lives; in one decision: all or nothing.

    Nothing restarts by itself: unless ``go``, the whole swarm is held. Doing this again ends in the same state,
    and a swarm that has ended stays as it is. Raises NotFound if there never was one.
    """
    state = decision.state
    if ROOT not in state.agents:
        raise NotFound("no swarm was ever begun here")
    if state.status is not None:
        return
    decision.emit(EngineStarted(os.getpid(), True, caps, accounts))
    gate.recover(decision, go=go)
    for one in [agent for agent in state.subtree(ROOT) if not agent.ended][::-1]:
        if one.ended or one.driver is DriverKind.GROUP:
            continue
        if one.id in state.line and (one.driver is DriverKind.COMMAND or not one.attempt):
            cause = _stopped(state, one)
            if cause is not None:
                decision.emit(AgentEnded(one.id, cause[0], error=cause[1]))
                ended(decision, one.id)
            continue
        if one.state is State.STOPPING and one.stop_verb is not None:
            decision.emit(AgentEnded(one.id, one.stop_verb.end, error=one.stop_cause or None))
        else:
            turn = f"in turn {one.turns + 1}" if one.driver is DriverKind.CHAT else "while it ran"
            decision.emit(AgentEnded(one.id, State.LOST, error=f"its engine died {turn}"))
        ended(decision, one.id)
    ladder.resume(decision)


def _stopped(state: SwarmState, agent: Agent) -> tuple[State, str] | None:
    """How an agent ends that had not begun, because a stop reached it or whoever asked for it; None: it waits on.

    Stops of groups are not meant: those go on by themselves (see :meth:`Ladder.resume`).
    """
    shut = state.shut_over(agent.id)
    if shut is not None and state.agents[shut.agent].driver is not DriverKind.GROUP:
        return shut.verb.end, f"{shut.verb.end} by {shut.who} before it ran"
    above = (one for one in state.ancestors(agent.id) if one.driver is not DriverKind.GROUP)
    if any(one.state is State.STOPPING for one in above):
        return State.INTERRUPTED, "whoever asked for it was being stopped"
    return None
