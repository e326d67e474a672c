"""The answer of a model, put together from the stream in which it comes, and whether it is complete."""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable
from typing import NoReturn

from skep.llm.faults import StreamFault, fault_in
from skep.llm.messages import Delta, DeltaKind, Message, ToolCall, Usage
from skep.llm.sse import LINE_LIMIT, EventReader, LineTooLong
from skep.model.events import Json

RESPONSE_LIMIT = 64 * 1024 * 1024
"""Most bytes of one response."""

ARGUMENTS_LIMIT = 256 * 1024
"""Most bytes of the arguments of one tool call."""

CALLS_LIMIT = 128
"""Most tool calls of one answer."""

_TOKENS_LIMIT = 10**12  # more than any model can count, and still a number that every store can hold


class _Call:
    """A tool call that is still arriving."""

    __slots__ = ("arguments", "id", "index", "name", "size")

    def __init__(self, index: int) -> None:
        self.index = index
        self.id = ""
        self.name = ""
        self.arguments: list[str] = []
        self.size = 0


class AnswerReader:
    """Reads one streamed chat completion; ``hear`` gets each piece as it arrives.

    The answer is complete only once its finish reason came and the stream ended after it.
    """

    def __init__(self, hear: Callable[[Delta], None]) -> None:
        self._hear = hear
        self._events = EventReader(self._event)
        self._bytes = 0
        self._text: list[str] = []
        self._calls: list[_Call] = []
        self._by_index: dict[int, _Call] = {}
        self.usage = Usage(0, 0)
        """Tokens, as far as the provider has told."""
        self._finish = ""
        self.steps = 0
        """Events so far that added to the answer."""
        self.started = False
        """Whether the first event came."""
        self.done = False
        """Whether the stream said that it is over, after a finish reason."""

    def feed(self, chunk: bytes) -> None:
        """Take the next bytes of the body; what comes after the end is ignored. Raises StreamFault."""
        if self.done:
            return
        self._bytes += len(chunk)
        if self._bytes > RESPONSE_LIMIT:
            raise StreamFault(f"it is longer than {RESPONSE_LIMIT >> 20} MiB")
        try:
            self._events.feed(chunk)
        except LineTooLong:
            raise StreamFault(f"a line of it is longer than {LINE_LIMIT >> 20} MiB") from None

    def end(self, *, framed: bool) -> None:
        """The body came to its end. Raises StreamFault if the answer is not complete.

        A body that is not framed (by chunks or a length) ends the same way when it is cut: there only the
        provider's own mark of the end counts.
        """
        if not self.done and framed:
            try:
                self._events.end()
            except LineTooLong:
                raise StreamFault(f"a line of it is longer than {LINE_LIMIT >> 20} MiB") from None
        if not self._finish:
            raise StreamFault("it ended before the answer did", cut=True)
        if not (self.done or framed):
            raise StreamFault("it was cut before its end", cut=True)
        self._check_calls()

    def turn(self) -> tuple[Message, Usage, str]:
        """The message, its tokens and why it ended; of meaning only after ``end``, or once ``done``."""
        seen: set[str] = set()
        calls = []
        for call in sorted(self._calls, key=lambda call: call.index):
            name = call.id if call.id and call.id not in seen else f"call_{secrets.token_hex(8)}"
            seen.add(name)
            calls.append(ToolCall(name, call.name, _whole("".join(call.arguments))))
        return Message("assistant", self.text, tuple(calls)), self.usage, self._finish

    @property
    def text(self) -> str:
        """The text so far."""
        return _whole("".join(self._text))

    def _event(self, name: bytes, data: bytes) -> None:
        if self.done:
            return
        if data.strip() == b"[DONE]":
            self._close()
            return
        document = _parsed(data)
        self.started = True
        if name == b"error" or document.get("error"):
            raise fault_in(document)
        self._count(document.get("usage"))
        choices = document.get("choices")
        if choices is None:
            return
        if not isinstance(choices, list):
            raise StreamFault("its choices are not a list")
        for choice in choices:
            if not isinstance(choice, dict):
                raise StreamFault("a choice in it is not an object")
            if choice.get("index", 0) == 0:  # we ask for one answer; others are nobody's
                self._choose(choice)

    def _close(self) -> None:
        if not self._finish:
            raise StreamFault("it said that it is over before the answer was", cut=True)
        self._check_calls()
        self.done = True

    def _choose(self, choice: dict[str, Json]) -> None:
        if choice.get("error"):
            raise fault_in(choice)
        self._count(choice.get("usage"))  # Moonshot puts it here
        delta = choice.get("delta")
        if isinstance(delta, dict):
            self._add(delta)
        elif delta is not None:
            raise StreamFault("a delta in it is not an object")
        finish = choice.get("finish_reason")
        if finish is None:
            return
        if not isinstance(finish, str):
            raise StreamFault("its finish reason is not a text")
        if finish == "error":
            raise StreamFault("the provider ended it with an error")
        if finish:
            self._finish = finish[:64]
            self.steps += 1

    def _add(self, delta: dict[str, Json]) -> None:
        for field in ("reasoning_content", "reasoning"):
            thought = delta.get(field)
            if thought and isinstance(thought, str):
                self.steps += 1
                self._hear(Delta(DeltaKind.THINKING, _whole(thought)))
                break
        for field in ("content", "refusal"):
            text = delta.get(field)
            if text:
                if not isinstance(text, str):
                    raise StreamFault(f"the {field} of a delta in it is not a text")
                self._text.append(text)
                self.steps += 1
                self._hear(Delta(DeltaKind.TEXT, _whole(text)))
        calls = delta.get("tool_calls")
        if calls:
            if not isinstance(calls, list):
                raise StreamFault("its tool calls are not a list")
            for call in calls:
                self._add_call(call)

    def _add_call(self, part: Json) -> None:
        if not isinstance(part, dict):
            raise StreamFault("a tool call in it is not an object")
        call_id, function = part.get("id") or "", part.get("function") or {}
        if not isinstance(call_id, str) or not isinstance(function, dict):
            raise StreamFault("a tool call in it has no proper id or function")
        name, arguments = function.get("name") or "", function.get("arguments") or ""
        if not isinstance(name, str) or not isinstance(arguments, str):
            raise StreamFault("the name or the arguments of a tool call in it are not a text")
        call = self._call(part.get("index"), call_id, name)
        call.id = call.id or call_id
        if name and not call.name:
            call.name = _whole(name)
            self._hear(Delta(DeltaKind.CALL, call.name))
        if arguments:
            call.size += len(arguments) if arguments.isascii() else len(arguments.encode(errors="replace"))
            if call.size > ARGUMENTS_LIMIT:
                raise StreamFault(
                    f"the arguments of a tool call in it are longer than {ARGUMENTS_LIMIT >> 10} KiB"
                )
            call.arguments.append(arguments)
            self._hear(Delta(DeltaKind.ARGUMENTS, arguments))
        self.steps += 1

    def _call(self, index: Json, call_id: str, name: str) -> _Call:
        """The call that a part belongs to: by its index; some providers leave it out, or give the same to all."""
        if isinstance(index, bool) or not (index is None or isinstance(index, int)):
            raise StreamFault("the index of a tool call in it is not a number")
        if index is None:
            index = self._calls[-1].index if self._calls else 0
            call = self._by_index.get(index)
            if call is not None and not call_id and name and call.name:
                return self._new_call(index + 1)
        call = self._by_index.get(index)
        if call is None or (call_id and call.id and call_id != call.id):
            return self._new_call(index)
        return call

    def _new_call(self, index: int) -> _Call:
        if len(self._calls) == CALLS_LIMIT:
            raise StreamFault(f"it has more than {CALLS_LIMIT} tool calls")
        call = self._by_index[index] = _Call(index)
        self._calls.append(call)
        return call

    def _check_calls(self) -> None:
        if not all(call.name for call in self._calls):
            raise StreamFault("a tool call in it has no name")

    def _count(self, usage: Json) -> None:
        if isinstance(usage, dict):
            details = usage.get("prompt_tokens_details")
            cached = details.get("cached_tokens") if isinstance(details, dict) else usage.get("cached_tokens")
            self.usage = Usage(
                _tokens(usage.get("prompt_tokens")), _tokens(usage.get("completion_tokens")), _tokens(cached)
            )


def _not_a_number(text: str) -> NoReturn:
    raise ValueError(text)


_decode = json.JSONDecoder(parse_constant=_not_a_number).decode


def _parsed(data: bytes) -> dict[str, Json]:
    try:
        document = _decode(data.decode())
    except (ValueError, RecursionError):  # no UTF-8, no JSON, or nested out of all reason
        raise StreamFault("an event in it is not JSON") from None
    if not isinstance(document, dict):
        raise StreamFault("an event in it is not an object")
    return document


def _tokens(value: Json) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= _TOKENS_LIMIT:
        return 0
    return value


def _whole(text: str) -> str:
    """The text with its surrogate pairs joined and lone surrogates replaced, so that it can be written."""
    if text.isascii():
        return text
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
