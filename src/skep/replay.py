"""Where journal and model meet: rows are events, checkpoints pages of a state, and together they give it back."""

from __future__ import annotations

import logging
from dataclasses import dataclass

from skep.errors import Damaged
from skep.journal import JournalReader, Row
from skep.model.codec import decode
from skep.model.events import Record
from skep.model.registry import from_pages
from skep.model.swarm import SwarmState

BATCH = 5_000
"""Rows that are read at once: so many are in memory, and not a week's worth."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Replayed:
    """A state as the journal gives it back, and the number of the checkpoint that it began with (0: none)."""

    state: SwarmState
    checkpoint: int


def record_of(row: Row) -> Record:
    """The event that a row holds. Raises Damaged if this version does not know it."""
    return Record(row.seq, row.time, decode(row.body))


def replay(reader: JournalReader) -> Replayed:
    """The state after the last event, from the newest checkpoint that can be used and the events after it.

    Raises Damaged at an event that does not prove itself or that this version does not know.
    """
    begun = _newest_checkpoint(reader)
    state = begun.state
    while rows := reader.read(state.seq, BATCH):
        for row in rows:
            state.fold(record_of(row))
    state.touched.clear()
    return begun


def _newest_checkpoint(reader: JournalReader) -> Replayed:
    at_or_before: int | None = None
    while (checkpoint := reader.checkpoint(at_or_before)) is not None:
        try:
            return Replayed(from_pages(checkpoint.pages), checkpoint.seq)
        except Damaged as error:
            # An older one, or the events themselves, give the same state: only slower.
            _log.info("the checkpoint of event %d is passed over: %s", checkpoint.seq, error)
            at_or_before = checkpoint.seq - 1
    return Replayed(SwarmState(), 0)
