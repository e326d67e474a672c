"""A swarm as it stands at one moment: what a frozen screen goes on showing, wherever the operator moves in it."""

from __future__ import annotations

import copy
from dataclasses import replace

from skep.model.agent import Agent
from skep.model.line import Line
from skep.model.registry import Registry
from skep.model.swarm import SwarmState


def still(registry: Registry) -> Registry:
    """A registry of this moment that no event reaches any more, live figures included."""
    with registry.read() as state:
        stands = _copy(state)
    running = [agent.id for agent in stands.agents.values() if agent.slot]
    stilled = Registry(stands)
    stilled.tell_live([(agent, registry.live(agent)) for agent in running])
    return stilled


def _copy(state: SwarmState) -> SwarmState:
    stands = copy.copy(state)
    stands.agents = {id: _agent(agent) for id, agent in state.agents.items()}
    stands.tallies = {id: dict(tally) for id, tally in state.tallies.items()}
    stands.spends = {id: replace(spend) for id, spend in state.spends.items()}
    parked = frozenset(agent for agent in state.line if state.line.is_parked(agent))
    stands.line = Line.restore(state.line.state(), parked)
    stands.latches = dict(state.latches)
    stands.shuts = dict(state.shuts)
    stands.touched = set()
    return stands


def _agent(agent: Agent) -> Agent:
    # What has ended never changes again, and in a long swarm that is nearly everybody.
    return agent if agent.ended else replace(agent, children=list(agent.children))
