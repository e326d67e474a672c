"""Frames: what is written can be read, and whatever else comes is one typed error."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skep.control import wire
from skep.control.wire import MAX_DEPTH, MAX_FRAME, Answer, Call
from skep.errors import (
    Ambiguous,
    BadInput,
    Damaged,
    IllegalTransition,
    NoSpace,
    NotFound,
    Refused,
    SkepError,
    Unreachable,
)
from skep.model.agent import Live
from skep.model.events import LatchClosed, Record
from skep.model.logs import TailChunk
from skep.model.states import Strength
from tests.control.listed import born, ends, runs

_TEXT = st.text(max_size=50)
_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | _TEXT,
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(_TEXT, inner, max_size=5),
    max_leaves=20,
)


@settings(max_examples=50)
@given(method=_TEXT, params=st.dictionaries(_TEXT, _JSON, max_size=5), number=st.none() | st.integers())
def test_a_call_is_read_as_it_was_written(method: str, params: dict[str, object], number: int | None):
    frame = wire.call_frame(method, params, number)  # type: ignore[arg-type]
    assert frame.endswith(b"\n")
    assert frame.count(b"\n") == 1
    assert wire.read_frame(frame) == Call(number, method, params)  # type: ignore[arg-type]


@settings(max_examples=50)
@given(result=_JSON)
def test_a_result_is_read_as_it_was_written(result: object):
    assert wire.read_frame(wire.result_frame(3, result)) == Answer(3, result)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "kind",
    [SkepError, BadInput, NotFound, Ambiguous, Refused, Unreachable, Damaged, NoSpace, IllegalTransition],
)
def test_an_error_stays_what_it_is(kind: type[SkepError]):
    answer = wire.read_frame(wire.error_frame(7, kind("what", where="where", why="why", mend="mend")))
    assert isinstance(answer, Answer)
    assert answer.id == 7
    assert type(answer.error) is kind
    assert str(answer.error) == "where: what: why (mend)"


def test_an_error_brings_no_terminal_escape_with_it():
    answer = wire.read_frame(wire.error_frame(1, Refused("no\x1b[2J", why="\x1b]52;c;x\x07 \u202e")))
    assert isinstance(answer, Answer)
    assert not any(char in str(answer.error) for char in "\x1b\x07\u202e")


_NEARLY = st.sampled_from(
    [b'{"jsonrpc":"2.0"', b'"id":1', b'"method":"x"', b'"params":{}', b'"result":1', b'"error":{"data":{}}']
)


@settings(max_examples=300)
@given(st.binary(max_size=200) | st.lists(_NEARLY | st.binary(max_size=3), max_size=8).map(b",".join))
def test_of_anything_that_is_no_frame_only_our_error_comes_out(line: bytes):
    try:
        message = wire.read_frame(line)
    except BadInput:
        return
    assert isinstance(message, Call | Answer)


@pytest.mark.parametrize(
    "line",
    [
        b'{"jsonrpc":"2.0","id":true,"method":"x"}',
        b'{"jsonrpc":"2.0","id":"1","method":"x"}',
        b'{"jsonrpc":"1.0","id":1,"method":"x"}',
        b'{"jsonrpc":"2.0","id":1,"method":5}',
        b'{"jsonrpc":"2.0","id":1,"method":"x","params":[]}',
        b'{"jsonrpc":"2.0","id":1}',
        b'{"jsonrpc":"2.0","id":1,"method":"x","params":{"a":Infinity}}',
        b'{"jsonrpc":"2.0","id":1,"method":"x","params":{"a":-Infinity}}',
        b'{"jsonrpc":"2.0","id":1,"method":"x","params":{"a":NaN}}',
        b'{"jsonrpc":"2.0","id":1,"method":"x","params":{"a":' + b"9" * 5_000 + b"}}",
        b"[" * 500_000,
        b'{"a":' * 200_000,
        b" " * (MAX_FRAME + 1),
    ],
)
def test_what_is_nearly_a_frame_is_refused(line: bytes):
    with pytest.raises(BadInput):
        wire.read_frame(line)


def test_depth_counts_brackets_and_not_those_inside_of_texts():
    def nested(levels: int) -> bytes:
        return wire.call_frame("x", {"a": json.loads("[" * levels + "]" * levels)})

    assert wire.read_frame(nested(MAX_DEPTH - 2))
    with pytest.raises(BadInput, match="nested"):
        wire.read_frame(nested(MAX_DEPTH - 1))
    assert wire.read_frame(wire.call_frame("x", {"a": '[{"\\' * 1_000}))


@pytest.mark.parametrize("value", [float("nan"), float("inf"), "x" * MAX_FRAME])
def test_what_cannot_be_read_is_not_sent(value: object):
    with pytest.raises(BadInput):
        wire.result_frame(1, {"a": value})  # type: ignore[dict-item]


def _records(count: int, reason: str) -> list[Record]:
    return [Record(i, 0.1 * i, LatchClosed("", Strength.SPAWNS, reason, "you")) for i in range(1, count + 1)]


def test_events_are_read_as_they_were_written():
    events = [*born(3), *runs("a1"), *ends("a1")]
    records = [Record(number, 1_700_000_000.125 + number, event) for number, event in enumerate(events, 1)]
    packed = wire.record_frames(records)
    assert packed is not None
    frame, last = packed
    message = wire.read_frame(frame)
    assert isinstance(message, Call)
    assert message.method == "events"
    assert last == len(records)
    assert wire.records_of(message.params["records"]) == records
    assert wire.records_of(wire.records_json(records)) == records


@pytest.mark.parametrize("size", [1, 400, 10_000, 200_000, 900_000])
def test_a_frame_of_events_is_filled_but_never_over_the_limit(size: int):
    records = _records(600 if size < 100_000 else 12, "x" * size)
    read = 0
    while read < len(records):
        packed = wire.record_frames(records[read:])
        assert packed is not None
        frame, last = packed
        assert len(frame) <= MAX_FRAME
        assert read < last <= read + wire.BATCH_RECORDS
        read = last


def test_an_event_that_no_frame_can_hold_is_not_packed():
    assert wire.record_frames(_records(1, "x" * MAX_FRAME)) is None


def test_pages_come_in_pieces_that_fit_and_join_again():
    pages = [b"{}", b'["' + b"\\\\" * MAX_FRAME + b'"]', b"[]"]
    joined: list[str] = []
    ends_of: list[int] = []
    for frame in (f for number, page in enumerate(pages) for f in wire.piece_frames(page, number, 3)):
        assert len(frame) <= MAX_FRAME
        message = wire.read_frame(frame)
        assert isinstance(message, Call)
        piece = wire.piece_of(message.params)
        if piece.page == len(joined):
            joined.append("")
        joined[piece.page] += piece.text
        if piece.end:
            ends_of.append(piece.page)
    assert [text.encode() for text in joined] == pages
    assert ends_of == [0, 1, 2]


def test_output_is_cut_to_a_frame_from_its_first_line_on():
    chunk = TailChunk(10, tuple(f"{number} " + "é" * 8_000 for number in range(500)), "rest", 510)
    part = wire.chunk_of(wire.chunk_json(chunk))
    assert (part.first, part.total, part.rest) == (10, 510, "")
    assert part.lines == chunk.lines[: len(part.lines)]
    assert len(wire.result_frame(1, wire.chunk_json(chunk))) < MAX_FRAME
    short = TailChunk(3, ("a", "b"), "prompt> ", 5)
    assert wire.chunk_of(wire.chunk_json(short)) == short


@pytest.mark.parametrize("rows", [None, 5, [5], [[1]], [["a1", "x", 0.0, 1, 1, 1]]])
def test_figures_of_a_wrong_shape_are_one_typed_error(rows: object):
    with pytest.raises(Damaged):
        wire.live_of(rows)  # type: ignore[arg-type]
    live = Live("x", 1.5, 2, 3)
    message = wire.read_frame(wire.live_frame([wire.live_text("a1", live), wire.live_text("a2", live)]))
    assert isinstance(message, Call)
    assert wire.live_of(message.params["rows"]) == [("a1", live), ("a2", live)]


@pytest.mark.parametrize("rows", [None, [[1, 2]], [[1, "x", {}]], [[1, 1.0, {"kind": "birthday"}]]])
def test_events_of_a_wrong_shape_are_one_typed_error(rows: object):
    with pytest.raises(Damaged):
        wire.records_of(rows)  # type: ignore[arg-type]


@pytest.mark.parametrize("params", [{}, {"page": "x", "pages": 1, "end": True, "text": ""}, {"page": 0}])
def test_a_page_of_a_wrong_shape_is_one_typed_error(params: dict[str, object]):
    with pytest.raises(Damaged):
        wire.piece_of(params)  # type: ignore[arg-type]


@pytest.mark.parametrize("body", [None, [], {"first": 0}, {"first": 0, "lines": 5, "rest": "", "total": 0}])
def test_output_of_a_wrong_shape_is_one_typed_error(body: object):
    with pytest.raises(Damaged):
        wire.chunk_of(body)  # type: ignore[arg-type]
