"""What goes over the control socket: JSON-RPC 2.0, one line a frame, and errors that stay what they are."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import NoReturn, TypeAlias

from pydantic import TypeAdapter, ValidationError

from skep.errors import (
    Ambiguous,
    BadInput,
    Damaged,
    IllegalTransition,
    NoSpace,
    NotFound,
    OtherProtocol,
    Refused,
    SkepError,
    Unreachable,
)
from skep.model.agent import Live
from skep.model.codec import brief, encode, from_mapping
from skep.model.events import Json, Record
from skep.model.logs import TailChunk
from skep.text import clean, clean_line

PROTOCOL = 3
"""Version of this protocol; both sides name theirs in the hand-shake."""

MAX_FRAME = 1024 * 1024
"""Most bytes of a frame, its newline included, in both directions."""

MAX_PARTS = 4_000
"""Most quotes, brackets and commas in a frame to an engine, those in texts left aside: what it costs to read."""

MAX_DEPTH = 64
"""Most levels of objects and lists in one frame."""

BATCH_BYTES = 64 * 1024
"""Bytes at which a frame with many entries is full: what is put together or waits at once stays small."""

BATCH_RECORDS = 500
"""Most events in one frame."""

PARSE_ERROR = -32700
INVALID_REQUEST = -32600
METHOD_NOT_FOUND = -32601
INVALID_PARAMS = -32602
SKEP_ERROR = -32000
"""Code of an error that carries the four parts of a :class:`SkepError`."""

_ERRORS: dict[str, type[SkepError]] = {
    error.__name__: error
    for error in (
        BadInput,
        NotFound,
        Ambiguous,
        OtherProtocol,
        Refused,
        Unreachable,
        Damaged,
        NoSpace,
        IllegalTransition,
    )
}
_ENVELOPE = 1024
"""Room for what stands around the payload of a frame that is put together from ready parts."""


@dataclass(frozen=True, slots=True)
class Call:
    """Somebody asks: with an ``id`` for an answer, without one (None) for none."""

    id: int | None
    method: str
    params: dict[str, Json]


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer to the call of that ``id`` (None: to a frame that could not be read)."""

    id: int | None
    result: Json = None
    error: SkepError | None = None


Message: TypeAlias = Call | Answer


def call_frame(method: str, params: Mapping[str, Json], number: int | None = None) -> bytes:
    """The frame of a call, or without a number of a notification. Raises BadInput if it is too large."""
    body: dict[str, object] = {"jsonrpc": "2.0", "method": method, "params": params}
    if number is not None:
        body["id"] = number
    return _frame(body)


def result_frame(number: int | None, result: Json) -> bytes:
    """The frame of an answer. Raises BadInput if it is too large."""
    return _frame({"jsonrpc": "2.0", "id": number, "result": result})


def error_frame(number: int | None, error: SkepError, code: int = SKEP_ERROR) -> bytes:
    """The frame of an answer that is an error."""
    kind = next((name for name, known in _ERRORS.items() if isinstance(error, known)), "SkepError")
    data = {"class": kind}
    for part in ("what", "where", "why", "mend"):
        text = getattr(error, part)
        if text is not None:
            data[part] = text[:4_000]
    body = {"code": code, "message": error.what[:4_000], "data": data}
    return _frame({"jsonrpc": "2.0", "id": number, "error": body})


def read_frame(line: bytes, *, parts: int | None = None) -> Message:
    """The message of a frame. Raises BadInput for anything that is none: size, depth, NaN, shape.

    With ``parts`` it is refused before it is read if it has more of them than that.
    """
    if len(line) > MAX_FRAME:
        raise too_large()
    if _depth(line, parts) > MAX_DEPTH:
        raise _no_frame(f"it is nested more than {MAX_DEPTH} levels deep")
    try:
        body = json.loads(line, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise _no_frame(str(error)) from error
    if not isinstance(body, dict) or body.get("jsonrpc") != "2.0":
        raise _no_frame("it is no JSON-RPC 2.0 object")
    number = body.get("id")
    if number is not None and type(number) is not int:
        raise _no_frame("its id is no whole number")
    if "method" not in body:
        return _answer(number, body)
    method, params = body["method"], body.get("params", {})
    if not isinstance(method, str) or not isinstance(params, dict):
        raise _no_frame("its method is no text or its params are no object")
    return Call(number, method, params)


def check_protocol(engine: Json, client: Json, *, version: Json = None) -> None:
    """Raise OtherProtocol unless both sides speak the same; ``version`` is the engine's skep.

    It is the first thing that either side looks at. For that the place of ``protocol`` (and of ``version``) in
    what is said and in what is answered stays for ever.
    """
    if type(engine) is int and type(client) is int and engine == client:
        return
    spoken = [f"protocol {one}" if type(one) is int else "none that it names" for one in (engine, client)]
    skep = f"skep {clean_line(version, limit=40)}" if isinstance(version, str) else None
    raise OtherProtocol(
        "engine and client are of versions of skep that do not understand each other",
        why=f"the engine speaks {spoken[0]}{f' ({skep})' if skep else ''}, the client {spoken[1]}",
        mend=f"use {skep} for this swarm" if skep else "use one version of skep for both",
    )


def too_large() -> BadInput:
    """The error for a frame over the limit."""
    return BadInput("a frame on the control socket is too large", why=f"the limit is {MAX_FRAME} bytes")


def bad_params(error: ValidationError, where: str) -> BadInput:
    """The error for values that do not validate: it names the first field that is wrong and why."""
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    field = ".".join(str(step) for step in first["loc"])
    return BadInput("a request cannot be used", where=f"{where}: {field}" if field else where, why=first["msg"])


# -- what the notifications carry ------------------------------------------------------------------------------


def record_text(record: Record) -> bytes:
    """A record as an ``events`` frame carries it."""
    # Who follows a swarm folds its events: the texts of conversations, which no fold looks at, stay here.
    return b"[%d,%b,%b]" % (record.seq, repr(record.time).encode(), encode(brief(record.event)))


def record_frames(
    records: Iterable[Record], text_of: Callable[[Record], bytes] = record_text
) -> tuple[bytes, int] | None:
    """One ``events`` frame of as many records as fit, and the number of the last; None if not even one does."""
    parts: list[bytes] = []
    size = last = 0
    for record in records:
        part = text_of(record)
        if parts and (size + len(part) > BATCH_BYTES or len(parts) >= BATCH_RECORDS):
            break
        if len(part) > MAX_FRAME - _ENVELOPE:
            return None
        parts.append(part)
        size += len(part) + 1
        last = record.seq
    return b'{"jsonrpc":"2.0","method":"events","params":{"records":[%b]}}\n' % b",".join(parts), last


def records_json(records: Iterable[Record]) -> list[Json]:
    """Records as an answer carries them; as many as fit into one frame, and always the first."""
    rows: list[Json] = []
    size = 0
    for record in records:
        body = encode(record.event)
        size += len(body)
        if rows and size > BATCH_BYTES:
            break
        rows.append([record.seq, record.time, json.loads(body)])
    return rows


def records_of(rows: Json) -> list[Record]:
    """The records of an ``events`` frame. Raises Damaged on a wrong shape."""
    try:
        return [Record(seq, float(time), from_mapping(body)) for seq, time, body in rows]  # type: ignore
    except (ValueError, TypeError, KeyError) as error:
        raise Damaged("the engine sent an event that cannot be read", why=repr(error)) from error


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of one page of a snapshot: the canonical text of the page is all its pieces in a row."""

    page: int
    pages: int
    end: bool
    """True for the last piece of its page."""
    text: str


def piece_frames(page: bytes, number: int, pages: int, start: int = 0, most: int | None = None) -> Iterator[bytes]:
    """Page ``number`` (from 0) of so many as ``snapshot`` frames; a page may be larger than a frame.

    From byte ``start`` on, and ``most`` of them.
    """
    # Canonical JSON is ASCII: a byte is a character.
    until = len(page) if most is None else min(len(page), start + most * BATCH_BYTES)
    for at in range(start, until, BATCH_BYTES):
        end = at + BATCH_BYTES
        yield call_frame("snapshot", asdict(Piece(number, pages, end >= len(page), page[at:end].decode())))


_PIECE = TypeAdapter(Piece)


def piece_of(params: Mapping[str, Json]) -> Piece:
    """The piece of a ``snapshot`` frame. Raises Damaged on a wrong shape."""
    try:
        return _PIECE.validate_python(params)
    except ValidationError as error:
        raise Damaged("the engine sent a page that cannot be read", why=error.errors()[0]["msg"]) from error


def live_text(agent: str, live: Live) -> bytes:
    """The live figures of an agent as a ``live`` frame carries them."""
    row = [agent, live.activity, live.progress_at, live.lines, live.size, live.turn, live.key]
    return json.dumps(row, separators=(",", ":")).encode()


def live_frame(rows: Sequence[bytes]) -> bytes:
    """The ``live`` frame of such texts."""
    return b'{"jsonrpc":"2.0","method":"live","params":{"rows":[%b]}}\n' % b",".join(rows)


_LIVE: TypeAdapter[list[tuple[str, str, float, int, int, int, str]]] = TypeAdapter(
    list[tuple[str, str, float, int, int, int, str]]
)


def live_of(rows: Json) -> list[tuple[str, Live]]:
    """The figures of a ``live`` frame. Raises Damaged on a wrong shape."""
    try:
        return [(row[0], Live(*row[1:])) for row in _LIVE.validate_python(rows)]
    except ValidationError as error:
        raise Damaged("the engine sent figures that cannot be read", why=error.errors()[0]["msg"]) from error


def chunk_json(chunk: TailChunk) -> dict[str, Json]:
    """Output as the wire carries it: the lines from the first on that fit into one frame."""
    lines: list[Json] = []
    size = 0
    for line in chunk.lines:
        size += len(json.dumps(line)) + 1
        if lines and size > BATCH_BYTES:
            break
        lines.append(line)
    whole = len(lines) == len(chunk.lines)
    return {"first": chunk.first, "lines": lines, "rest": chunk.rest if whole else "", "total": chunk.total}


def chunk_of(body: Json) -> TailChunk:
    """The output of such an object. Raises Damaged on a wrong shape."""
    try:
        return TailChunk(body["first"], tuple(body["lines"]), body["rest"], body["total"])  # type: ignore
    except (TypeError, KeyError) as error:
        raise Damaged("the engine sent output that cannot be read", why=repr(error)) from error


# -- inside ----------------------------------------------------------------------------------------------------


def _frame(body: Mapping[str, object]) -> bytes:
    try:
        frame = json.dumps(body, separators=(",", ":"), allow_nan=False).encode() + b"\n"
    except ValueError as error:
        raise BadInput("a value cannot be sent", why=str(error)) from error
    if len(frame) > MAX_FRAME:
        raise too_large()
    return frame


def _answer(number: int | None, body: Mapping[str, Json]) -> Answer:
    error = body.get("error")
    if error is None:
        if "result" not in body:
            raise _no_frame("it has no method, no result and no error")
        return Answer(number, body["result"])
    data = error.get("data") if isinstance(error, dict) else None
    if not isinstance(error, dict) or not isinstance(data, dict):
        return Answer(number, error=SkepError("the engine answered with an error", why=clean(str(error))))
    parts = {part: _text(data.get(part)) for part in ("where", "why", "mend")}
    kind = _ERRORS.get(str(data.get("class")), SkepError)
    return Answer(number, error=kind(_text(data.get("what")) or "the engine refused", **parts))


def _text(value: Json) -> str | None:
    return clean(value) if isinstance(value, str) else None


def _depth(line: bytes, parts: int | None) -> int:
    """How deep the JSON text is nested, found without building anything of it.

    Raises BadInput if it has more than so many parts.
    """
    bare = line.replace(b"\\\\", b"").replace(b'\\"', b"").translate(None, _NO_PARTS)
    if parts is not None and bare.count(b'"') > parts:
        raise _too_many(parts)
    outside = b"".join(bare.split(b'"')[::2])
    if parts is not None and len(outside) > parts:
        raise _too_many(parts)
    depth = deepest = 0
    for char in outside.translate(None, b","):
        if char in b"[{":
            depth += 1
            deepest = max(deepest, depth)
        else:
            depth -= 1
    return deepest


_NO_PARTS = bytes(set(range(256)) - set(b'"[]{},'))


def _too_many(parts: int) -> BadInput:
    return _no_frame(f"it has more than {parts:,} parts")


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number")


def _no_frame(why: str) -> BadInput:
    return BadInput("a frame on the control socket cannot be read", why=why[:500])
