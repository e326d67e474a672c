"""Swarms without an engine, made from events, and harm done to their journals."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from skep.control.swarms import describe
from skep.journal import Journal, Row
from skep.model.codec import encode
from skep.model.events import Event, Record
from skep.model.registry import Registry
from tests.control.listed import born, ends, over, runs

DIED = [*born(3), *runs("a1"), *ends("a1"), *runs("a2"), *runs("a3")]
"""12 events of a swarm whose engine died: a1 is done, the others ran."""
ENDED = [*DIED, *ends("a2"), *ends("a3"), *over()]


def swarm(state: Path, events: Sequence[Event], *, checkpoint: int = 0, name: str = "s-1") -> Path:
    """The folder of a swarm without an engine, to which this has happened; in a state folder."""
    folder = state / "swarms" / name
    folder.mkdir(parents=True, mode=0o700)
    records = [Record(seq, 1_700_000_000.0 + seq, event) for seq, event in enumerate(events, 1)]
    with Journal(folder, on_durable=lambda _: None, on_trouble=lambda _: None) as journal:
        journal.append([Row(record.seq, record.time, encode(record.event)) for record in records])
        if checkpoint:
            registry = Registry()
            registry.fold(records[:checkpoint])
            journal.checkpoint(checkpoint, registry.pages())
    describe(folder, name, "migrate", 1_700_000_000.0, str(state))
    return folder


def spoil(folder: Path, event: Event) -> None:
    """Change a bit of this event."""
    path = folder / "journal.db"
    body = encode(event)
    content = path.read_bytes()
    assert content.count(body) == 1
    path.write_bytes(content.replace(body, body[:-2] + bytes([body[-2] ^ 1]) + body[-1:]))


def lose_the_last_events(folder: Path) -> None:
    spoil(folder, DIED[9])


LOST = "3 acknowledged events are missing, from 10 on"
