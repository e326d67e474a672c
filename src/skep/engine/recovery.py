"""Taking over a swarm whose engine died: what ran is lost, what was stopping has stopped, what waited waits on."""

from __future__ import annotations

import os
from collections.abc import Callable

from skep.engine.gate import Gate
from skep.engine.ladder import Ladder
from skep.engine.ledger import Decision
from skep.errors import NotFound
from skep.model.events import ROOT, AgentEnded, EngineStarted
from skep.model.states import DriverKind, State


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
            above = state.agents[one.parent] if one.parent is not None else None
            if above is None or above.driver is DriverKind.GROUP or above.ended:
                continue
            # One that resumes another was asked for by a person, who can ask again; but its place is gone, too.
            gone = "the agent under which it stood" if one.resumes else "whoever asked for it"
            decision.emit(AgentEnded(one.id, State.INTERRUPTED, error=f"{gone} was lost"))
            ended(decision, one.id)
            continue
        if one.state is State.STOPPING and one.stop_verb is not None:
            decision.emit(AgentEnded(one.id, one.stop_verb.end, error=one.stop_cause or None))
        else:
            decision.emit(AgentEnded(one.id, State.LOST, error="its engine died while it ran"))
        ended(decision, one.id)
    ladder.resume(decision)
