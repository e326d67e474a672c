"""Events as JSON: what the journal keeps, what goes over the wire, what scripts read."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from typing import Any

from skep.errors import Damaged
from skep.model.events import (
    KINDS,
    ROOT,
    AgentEnded,
    AttemptStruck,
    Event,
    Json,
    LatchClosed,
    MessageAdded,
    Record,
    ToolEnded,
    TurnCompleted,
)
from skep.model.states import DriverKind, Mark, State, StopStep, StopVerb, Strength, WaitReason

_CONVERT = {
    "driver": DriverKind,
    "reason": WaitReason,
    "mark": Mark,
    "strength": Strength,
    "verb": StopVerb,
    "step": StopStep,
    "state": State,
    "pids": tuple,
}
_PLAIN_REASON = frozenset({LatchClosed.kind})
_FIELDS = {kind: tuple(field.name for field in dataclasses.fields(cls)) for kind, cls in KINDS.items()}
_SORTED = {kind: tuple(sorted((*names, "kind"))) for kind, names in _FIELDS.items()}
# Encoding is most of what an event costs. Where the keys stand in order already, nothing has to be sorted.
_ENCODERS = {
    kind: json.JSONEncoder(
        sort_keys=any("dict" in str(field.type) for field in dataclasses.fields(cls)), separators=(",", ":")
    )
    for kind, cls in KINDS.items()
}


def brief(event: Event) -> Event:
    """The event without the texts of conversations, which make it long and which no fold looks at."""
    match event:
        case TurnCompleted():
            return dataclasses.replace(event, message={})
        case ToolEnded() | MessageAdded():
            return dataclasses.replace(event, content="")
        case AttemptStruck():
            return dataclasses.replace(event, text="")
        case AgentEnded(report=dict()):
            return dataclasses.replace(event, report=None)
    return event


def encode(event: Event) -> bytes:
    """Canonical JSON of an event, UTF-8: its kind and its fields, keys sorted."""
    body = {name: getattr(event, name) for name in _SORTED[event.kind]}
    return _ENCODERS[event.kind].encode(body).encode()


def decode(body: bytes | str) -> Event:
    """The event of a JSON text made by :func:`encode`.

    Raises:
        Damaged: the text is no event of a kind that this version knows.
    """
    try:
        return from_mapping(json.loads(body))
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise Damaged(
            "an event cannot be read",
            where=repr(body[:80]),
            why=str(error),
            mend="use the version of skep that wrote this swarm",
        ) from error


def from_mapping(body: Mapping[str, Json]) -> Event:
    """The event of a decoded JSON object; raises KeyError, TypeError or ValueError on a wrong shape."""
    kind = body["kind"]
    if not isinstance(kind, str):
        raise TypeError("kind is not a text")
    fields: dict[str, Any] = {}
    for name in _FIELDS[kind]:
        if name not in body:
            continue
        value = body[name]
        convert = _CONVERT.get(name)
        if convert is not None and value is not None and not (name == "reason" and kind in _PLAIN_REASON):
            fields[name] = convert(value)
        else:
            fields[name] = value
    return KINDS[kind](**fields)


def public(record: Record) -> dict[str, Json]:
    """What ``skep events --json`` prints of a record: ``seq``, ``time``, ``kind``, ``agent`` and the fields.

    The agent of a hold is where it holds, the root for the whole swarm; events of the swarm itself have none.
    """
    body: dict[str, Json] = json.loads(encode(record.event))
    body.setdefault("agent", (body["scope"] or ROOT) if "scope" in body else None)
    return {"seq": record.seq, "time": record.time, **body}
