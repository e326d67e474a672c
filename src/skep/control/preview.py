"""What a stop would take with it, and what that has cost, from the registry alone."""

from __future__ import annotations

import shlex
from collections.abc import Callable

from skep.control.verbs import InFlight, Preview, Previewed
from skep.errors import NotFound
from skep.model.agent import Agent, Live
from skep.model.states import DriverKind
from skep.model.swarm import SwarmState
from skep.text import clean_line

IN_FLIGHT = 20
"""So many programs are named, the longest first; the rest is a number."""
DOING = 200
"""Characters of a command line."""


def preview(state: SwarmState, request: Preview, now: float) -> Previewed:
    """The live agents in the scope, by state, and what of them is in flight, longest first. Raises NotFound.

    What a chat agent does is not in the state: see :func:`with_activity`.
    """
    root = state.agents.get(request.agent)
    if root is None:
        raise NotFound(f"there is no agent {request.agent}", mend="skep tree lists them")
    scope = state.subtree(root.id) if request.branch else iter((root,))
    # Groups only hold others: they are counted nowhere.
    live = [agent for agent in scope if not agent.ended and agent.driver is not DriverKind.GROUP]
    states: dict[str, int] = {}
    for agent in live:
        states[agent.state.value] = states.get(agent.state.value, 0) + 1
    flying = [
        InFlight(agent=agent.id, name=agent.name, doing=command_line(agent)[:DOING], seconds=agent.in_step(now))
        for agent in live
        if agent.slot
    ]
    flying.sort(key=lambda one: -one.seconds)
    spend = state.spend(root.id)
    return Previewed(
        agent=root.id,
        name=root.name,
        agents=[agent.id for agent in live],
        states=states,
        in_flight=flying[:IN_FLIGHT],
        running=len(flying),
        held=sum(state.line.is_parked(agent.id) for agent in live),
        cost_usd=spend.cost / 1_000_000 if spend.turns > spend.unpriced else None,
        cost_is_lower_bound=spend.is_lower_bound,
        turns=spend.turns,
    )


def with_activity(previewed: Previewed, live: Callable[[str], Live]) -> Previewed:
    """The same with what its chat agents do just now."""
    flying = [
        one if one.doing else one.model_copy(update={"doing": live(one.agent).activity[:DOING]})
        for one in previewed.in_flight
    ]
    return previewed.model_copy(update={"in_flight": flying})


def command_line(agent: Agent) -> str:
    """The command of an agent as one would type it, cleaned."""
    argv = agent.spec.get("argv")
    words = [str(word) for word in argv] if isinstance(argv, list) else []
    return clean_line(words[0] if agent.spec.get("shell") and words else shlex.join(words))
