"""Everything that a swarm says of itself, beside what was counted by hand."""

from __future__ import annotations

from collections import Counter

from skep.model.swarm import SwarmState
from tests.model.reference import Reference


def compare(state: SwarmState, reference: Reference) -> None:
    """They say the same; the reference has looked at what its last step has changed."""
    _slots_and_line(state, reference)
    _holds(state, reference)
    _rows(state, reference)


def _slots_and_line(state: SwarmState, reference: Reference) -> None:
    holders = Counter(row.provider for row in reference.holders())
    assert (state.status is not None) is reference.over
    assert state.caps == reference.caps
    assert state.slots_used == holders.total() <= reference.slots
    assert all(state.provider_slots.get(provider, 0) == holders[provider] for provider in reference.accounts)
    assert sorted(state.line.held()) == sorted(reference.held)
    assert sorted(state.line.positions()) == sorted(reference.ready)


def _holds(state: SwarmState, reference: Reference) -> None:
    assert list(state.latches) == reference.latches
    assert state.shuts.keys() == reference.shut.keys()
    for latch in state.latches.values():
        assert state.quiesced(latch) is reference.quiesced(latch.scope, latch.strength)
    for row in reference.rows if reference.latches or reference.shut else ():
        assert (state.shut_over(row.name) is not None) is reference.is_shut(row.name)
        if not row.group:
            assert (state.latch_over(row.name) is not None) is reference.is_latched(row)
            assert (state.turns_held(row.name) is not None) is reference.turns_held(row)


def _rows(state: SwarmState, reference: Reference) -> None:
    faces = {row.name: reference.face(row) for row in reference.rows}
    tallies, spends = reference.tallies(faces), reference.spends()
    assert state.agents.keys() == faces.keys()
    for row in reference.rows:
        one = state.agents[row.name]
        assert (one.state, one.slot, one.reason, one.turns) == (row.state, row.slot, row.reason, row.turns)
        assert state.face(one) is faces[row.name]
        assert state.composition(row.name) == tallies[row.name]
        assert state.spend(row.name).turns == spends[row.name]
