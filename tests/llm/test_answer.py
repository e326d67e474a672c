"""A stream becomes an answer: the same for every cut into chunks, and complete only at its very end."""

from __future__ import annotations

import json
from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skep.llm.answer import AnswerReader
from skep.llm.faults import StreamFault
from skep.llm.messages import Delta, DeltaKind, ToolCall, Usage


def data(**document: object) -> bytes:
    return b"data: " + json.dumps(document, ensure_ascii=False).encode() + b"\n\n"


def delta(finish: str | None = None, **fields: object) -> bytes:
    return data(choices=[{"index": 0, "delta": fields, "finish_reason": finish}])


def call(index: int | None, id: str | None = None, name: str | None = None, arguments: str | None = None) -> bytes:
    function = {"name": name, "arguments": arguments}
    part = {"index": index, "id": id, "function": {k: v for k, v in function.items() if v is not None}}
    return delta(tool_calls=[{k: v for k, v in part.items() if v is not None}])


DONE = b"data: [DONE]\n\n"
USAGE = data(
    choices=[],
    usage={"prompt_tokens": 40, "completion_tokens": 9, "prompt_tokens_details": {"cached_tokens": 30}},
)
RECORDED = b"".join(
    (
        b": OPENROUTER PROCESSING\n\n",
        delta(role="assistant", content=""),
        delta(reasoning_content="Hm… "),
        delta(content="Grüße, "),
        b": keep-alive\r\n\r\n",
        delta(content="世界 🐝").replace(b"\n", b"\r\n"),
        call(0, "c0", "read_file", ""),
        call(1, "c1", "search_files", '{"pat'),
        call(0, arguments='{"path":'),
        b"event: message\rid: 7\rretry: 10\r" + call(1, arguments='tern": "x"}').replace(b"\n", b"\r"),
        call(0, arguments=' "a.py"}'),
        delta(finish="tool_calls"),
        USAGE,
        DONE,
    )
)
HEARD = [
    Delta(DeltaKind.THINKING, "Hm… "),
    Delta(DeltaKind.TEXT, "Grüße, "),
    Delta(DeltaKind.TEXT, "世界 🐝"),
    Delta(DeltaKind.CALL, "read_file"),
    Delta(DeltaKind.CALL, "search_files"),
    Delta(DeltaKind.ARGUMENTS, '{"pat'),
    Delta(DeltaKind.ARGUMENTS, '{"path":'),
    Delta(DeltaKind.ARGUMENTS, 'tern": "x"}'),
    Delta(DeltaKind.ARGUMENTS, ' "a.py"}'),
]


def read_into(heard: list[Delta], chunks: Iterable[bytes], *, framed: bool) -> AnswerReader:
    reader = AnswerReader(heard.append)
    for chunk in chunks:
        reader.feed(chunk)
    reader.end(framed=framed)
    return reader


def read(*chunks: bytes, framed: bool = True) -> tuple[AnswerReader, list[Delta]]:
    heard: list[Delta] = []
    return read_into(heard, chunks, framed=framed), heard


def fault_of(*chunks: bytes, framed: bool = True) -> tuple[StreamFault, list[Delta]]:
    heard: list[Delta] = []
    with pytest.raises(StreamFault) as caught:
        read_into(heard, chunks, framed=framed)
    return caught.value, heard


def cuts(stream: bytes) -> st.SearchStrategy[list[bytes]]:
    places = st.lists(st.integers(0, len(stream)), max_size=30).map(sorted)
    return places.map(lambda at: [stream[a:b] for a, b in zip([0, *at], [*at, len(stream)], strict=True)])


@given(cuts(RECORDED))
def test_the_answer_is_the_same_however_the_stream_is_cut_into_chunks(chunks):
    reader, heard = read(*chunks)
    message, usage, finish = reader.turn()
    assert heard == HEARD
    assert message.content == "Grüße, 世界 🐝"
    assert message.tool_calls == (
        ToolCall("c0", "read_file", '{"path": "a.py"}'),
        ToolCall("c1", "search_files", '{"pattern": "x"}'),
    )
    assert usage == Usage(40, 9, 30)
    assert finish == "tool_calls"


def test_byte_by_byte_is_just_another_cut():
    reader, heard = read(*(RECORDED[at : at + 1] for at in range(len(RECORDED))))
    assert (heard, reader.done) == (HEARD, True)


FAULTY = RECORDED[: -len(DONE)] + b'data: {"error": {"message": "gone", "code": 503}}\n\n' + DONE


@given(cuts(FAULTY))
def test_so_is_the_fault_of_a_bad_stream_and_what_was_heard_before_it(chunks):
    fault, heard = fault_of(*chunks)
    assert (fault.why, fault.status, heard) == ("gone", 503, HEARD)


@pytest.mark.parametrize("framed", [True, False])
def test_a_stream_that_is_cut_anywhere_is_never_complete(framed):
    """To cut a framed body is an error of its own: only before the finish reason could it pass for an end."""
    whole = RECORDED.index(b'"tool_calls"}]}') if framed else RECORDED.index(b"[DONE]")
    for at in range(whole):
        fault, _ = fault_of(RECORDED[:at], framed=framed)
        assert fault.status is None


def test_the_end_of_a_framed_body_after_the_finish_reason_will_do_without_a_done():
    reader, _ = read(delta(content="Hi"), delta(finish="stop"), USAGE.rstrip())
    assert reader.turn()[1:] == (Usage(40, 9, 30), "stop")


def test_what_comes_after_the_end_is_ignored():
    reader, heard = read(delta(content="Hi"), delta(finish="stop"), DONE + delta(content="more") + b"data: {\n\n")
    assert reader.text == "Hi"
    assert heard == [Delta(DeltaKind.TEXT, "Hi")]


def test_text_between_the_finish_reason_and_the_end_still_belongs_to_the_answer():
    reader, _ = read(delta(content="a", finish="stop"), delta(content="b", finish="stop"), DONE)
    assert reader.text == "ab"


@pytest.mark.parametrize(
    ("stream", "why"),
    [
        (b"", "it ended before the answer did"),
        (DONE, "it said that it is over before the answer was"),
        (delta(content="Hi") + DONE, "it said that it is over before the answer was"),
        (b"<html>Bad gateway</html>", "it ended before the answer did"),
        (b"data: <html>\n\n", "an event in it is not JSON"),
        (b"data: \xff\xfe\n\n", "an event in it is not JSON"),
        (b'data: {"choices": NaN}\n\n', "an event in it is not JSON"),
        (b"data: " + b"[" * 100_000 + b"\n\n", "an event in it is not JSON"),
        (b"data: [1, 2]\n\n", "an event in it is not an object"),
        (data(choices={"a": 1}), "its choices are not a list"),
        (data(choices=[1]), "a choice in it is not an object"),
        (data(choices=[{"delta": [1]}]), "a delta in it is not an object"),
        (data(choices=[{"finish_reason": 7}]), "its finish reason is not a text"),
        (data(choices=[{"finish_reason": "error"}]), "the provider ended it with an error"),
        (delta(content=["parts"]), "the content of a delta in it is not a text"),
        (delta(tool_calls={"a": 1}), "its tool calls are not a list"),
        (delta(tool_calls=["a"]), "a tool call in it is not an object"),
        (delta(tool_calls=[{"index": "0"}]), "the index of a tool call in it is not a number"),
        (delta(tool_calls=[{"index": 0, "id": 3}]), "a tool call in it has no proper id or function"),
        (
            delta(tool_calls=[{"index": 0, "function": {"arguments": {"path": "a"}}}]),
            "the name or the arguments of a tool call in it are not a text",
        ),
        (call(0, "c0", arguments="{}") + delta(finish="tool_calls") + DONE, "a tool call in it has no name"),
        (b"".join(call(n, f"c{n}", "ls") for n in range(129)), "it has more than 128 tool calls"),
        (b"data: " + b"x" * 1024 * 1024, "a line of it is longer than 1 MiB"),
        (b"data: x\n" * 200_000, "a line of it is longer than 1 MiB"),
    ],
)
def test_a_stream_that_is_no_answer_is_a_fault_that_says_why(stream, why):
    assert fault_of(stream)[0].why == why


def test_a_line_without_end_is_given_up_at_its_limit_and_not_kept_for_ever():
    reader = AnswerReader(lambda delta: None)
    for _ in range(16):
        reader.feed(b"x" * 65536)
    with pytest.raises(StreamFault, match="longer than 1 MiB"):
        reader.feed(b"x")


def test_arguments_have_a_limit_of_their_own():
    many = [call(0, "c0", "write_file"), *(call(0, arguments="x" * 65536) for _ in range(5))]
    assert fault_of(*many)[0].why == "the arguments of a tool call in it are longer than 256 KiB"


@pytest.mark.parametrize(
    ("error", "status"),
    [
        ({"message": "slow down", "type": "rate_limit_exceeded"}, 429),
        ({"message": "busy", "code": "overloaded_error"}, 529),
        ({"message": "no", "code": "502"}, 502),
        ({"message": "bad key", "code": "invalid_api_key"}, 401),
        ({"message": "too long", "code": "context_length_exceeded"}, 400),
        ({"message": "who knows", "code": True}, None),
    ],
)
def test_an_error_in_the_midst_of_a_stream_stands_for_a_status(error, status):
    fault, _ = fault_of(delta(content="Hi"), data(error=error))
    assert (fault.why, fault.status) == (error["message"], status)


def test_an_error_may_also_be_named_by_its_event_or_sit_in_a_choice():
    assert fault_of(b'event: error\ndata: {"message": "over"}\n\n')[0].why == "over"
    assert fault_of(data(choices=[{"error": {"message": "within"}}]))[0].why == "within"
    assert fault_of(data(error="in words"))[0].why == "in words"


def test_calls_without_an_index_or_all_with_the_same_are_told_apart():
    for stream in (
        [call(None, "a", "ls", "{}"), call(None, "b", "cat", "{"), call(None, arguments="}")],
        [call(0, "a", "ls", "{}"), call(0, "b", "cat", "{}")],
    ):
        reader, _ = read(*stream, delta(finish="stop"), DONE)
        assert reader.turn()[0].tool_calls == (ToolCall("a", "ls", "{}"), ToolCall("b", "cat", "{}"))


def test_calls_without_an_id_of_their_own_get_one():
    reader, _ = read(call(0, None, "ls"), call(1, "x", "ls"), call(2, None, "ls"), delta(finish="stop"), DONE)
    ids = [made.id for made in reader.turn()[0].tool_calls]
    assert ids[1] == "x"
    assert len({*ids} - {""}) == 3


def test_lone_surrogates_are_replaced_and_pairs_that_were_torn_apart_are_joined():
    torn = [
        b'data: {"choices": [{"delta": {"content": "\\ud83d"}}]}\n\n',
        b'data: {"choices": [{"delta": {"content": "\\udc1d \\udc1d"}}]}\n\n',
    ]
    reader, heard = read(*torn, delta(finish="stop"), DONE)
    assert reader.text == "🐝 \N{REPLACEMENT CHARACTER}"
    assert all(delta.text.encode() for delta in heard)


def test_numbers_of_tokens_that_make_no_sense_count_as_none():
    reader, _ = read(
        delta(finish="stop"), data(usage={"prompt_tokens": -5, "completion_tokens": 10**30, "x": None}), DONE
    )
    assert reader.turn()[1] == Usage(0, 0)
