"""Events survive the journal: what is read is what was written, and what cannot be read is one typed error."""

from __future__ import annotations

import dataclasses
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skep.errors import Damaged
from skep.model.codec import decode, encode, public
from skep.model.events import KINDS, ROOT, AgentEnded, Event, LatchClosed, LatchOpened, Record, SwarmCreated
from skep.model.states import DriverKind, Mark, State, StopStep, StopVerb, Strength, WaitReason

TEXT = st.text(max_size=20)
NUMBER = st.floats(allow_nan=False, allow_infinity=False)
BY_TYPE: dict[str, st.SearchStrategy[object]] = {
    "str": TEXT,
    "str | None": TEXT | st.none(),
    "int": st.integers(0, 2**40),
    "int | None": st.integers(-300, 300) | st.none(),
    "float": NUMBER,
    "float | None": NUMBER | st.none(),
    "dict[str, int]": st.dictionaries(TEXT, st.integers(0, 2**40), max_size=3),
    "dict[str, Json] | None": st.dictionaries(TEXT, TEXT | st.integers(0, 9) | st.none(), max_size=3) | st.none(),
    "dict[str, str]": st.dictionaries(TEXT, TEXT, max_size=3),
    "dict[str, list[str]]": st.dictionaries(TEXT, st.lists(TEXT, max_size=3), max_size=3),
    "bool": st.booleans(),
    "dict[str, Json]": st.dictionaries(
        TEXT, st.recursive(st.none() | st.booleans() | NUMBER | TEXT, lambda one: st.lists(one, max_size=3))
    ),
    "tuple[int, ...]": st.lists(st.integers(1, 2**22), max_size=3).map(tuple),
    "DriverKind": st.sampled_from(DriverKind),
    "State": st.sampled_from(State),
    "WaitReason": st.sampled_from(WaitReason),
    "Mark | None": st.sampled_from(Mark) | st.none(),
    "Strength": st.sampled_from(Strength),
    "StopVerb": st.sampled_from(StopVerb),
    "StopStep": st.sampled_from(StopStep),
}


def _of(kind: type[Event]) -> st.SearchStrategy[Event]:
    return st.builds(kind, **{field.name: BY_TYPE[str(field.type)] for field in dataclasses.fields(kind)})


EVENTS = st.one_of([_of(kind) for kind in KINDS.values()])


@settings(max_examples=300, deadline=None, database=None)
@given(EVENTS)
def test_every_event_is_read_as_it_was_written(event: Event):
    body = encode(event)
    again = decode(body)
    assert again == event
    assert [type(getattr(again, field.name)) for field in dataclasses.fields(event)] == [
        type(getattr(event, field.name)) for field in dataclasses.fields(event)
    ]
    assert encode(again) == body
    assert body.isascii()
    assert b"\n" not in body


@settings(max_examples=100, deadline=None, database=None)
@given(EVENTS)
def test_what_a_script_gets_of_an_event_says_which_and_when_and_of_whom(event: Event):
    told = public(Record(7, 12.5, event))
    assert (told["seq"], told["time"], told["kind"]) == (7, 12.5, event.kind)
    where = (event.scope or ROOT) if isinstance(event, LatchClosed | LatchOpened) else None
    assert told["agent"] == getattr(event, "agent", where)
    json.dumps(told)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"7",
        b"null",
        b'"agent_ended"',
        b"{}",
        b'{"kind": 7}',
        b'{"kind": "agent_melted"}',
        b'{"kind": "agent_ended"}',
        b'{"kind": "agent_ended", "agent": "a", "state": "molten"}',
        b'{"kind": "agent_running", "agent": "a", "pids": 7}',
        b'{"kind": "agent_stopping", "agent": "a", "step": 9, "verb": "kill", "who": "you"}',
        b"[" * 100_000,
        b"\xff\xfe",
    ],
)
def test_what_is_no_event_is_one_typed_error(body: bytes):
    with pytest.raises(Damaged):
        decode(body)


def test_fields_that_an_older_version_did_not_write_take_their_default():
    assert decode(b'{"kind":"agent_ended","agent":"a","state":"done"}') == AgentEnded("a", State.DONE)
    old = b'{"kind":"swarm_created","swarm":"s","name":"n","cwd":"/","max_running":3}'
    assert decode(old) == SwarmCreated("s", "n", "/", 3)


def test_the_reason_of_a_hold_is_words_also_if_it_is_the_name_of_something_else():
    event = LatchClosed("", Strength.SPAWNS, "slot", "you")
    assert type(decode(encode(event)).reason) is str
