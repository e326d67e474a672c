"""A reply in the OpenAI chat dialect: as the events of a stream, or as one JSON document."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

from skep.simulator.behaviour import Json, Reply
from skep.simulator.conversation import ChatRequest
from skep.simulator.tokens import count, pieces

KEEP_ALIVE = b": keep-alive\n\n"
DONE = b"data: [DONE]\n\n"
_encode = json.JSONEncoder().encode


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of one answer."""

    tokens_in: int
    tokens_out: int
    cached: int = 0
    thinking: int = 0

    def document(self) -> dict[str, Json]:
        """Return it as it stands in an answer."""
        return {
            "prompt_tokens": self.tokens_in,
            "completion_tokens": self.tokens_out,
            "total_tokens": self.tokens_in + self.tokens_out,
            "prompt_tokens_details": {"cached_tokens": self.cached},
            "completion_tokens_details": {"reasoning_tokens": self.thinking},
        }


def event(document: Json) -> bytes:
    """Return one event of a stream."""
    return b"data: " + json.dumps(document, separators=(",", ":")).encode() + b"\n\n"


class Completion:
    """One answer to one request, cut to the tokens that the request allows."""

    def __init__(self, request: ChatRequest, reply: Reply, created: int) -> None:
        conversation = request.conversation
        self.model = conversation.model
        self.created = created
        self._stamp = hashlib.blake2b(
            f"{conversation.seed}\0{conversation.turn}\0{conversation.attempt}\0{conversation.goal}".encode(
                "utf-8", "surrogatepass"
            ),
            digest_size=6,
        ).hexdigest()
        self.id = f"chatcmpl-{self._stamp}"
        self._include_usage = request.include_usage
        self._thinking, self._text = reply.thinking, reply.text
        self._calls = [
            (call.name, call.arguments if isinstance(call.arguments, str) else json.dumps(call.arguments))
            for call in reply.calls
        ]
        thinking = count(reply.thinking)
        tokens = thinking + count(reply.text) + sum(count(arguments) + 1 for _, arguments in self._calls)
        cut = request.limit is not None and tokens > request.limit
        self.tokens = request.limit if cut and request.limit is not None else tokens
        """How many events with tokens there are: one for each token, and one that opens each call."""
        self.finish = "length" if cut else "tool_calls" if self._calls else "stop"
        self.usage = Usage(request.tokens_in, self.tokens, request.cached, min(thinking, self.tokens))

    def opening(self) -> bytes:
        """Return the event that a stream begins with."""
        return self._event({"role": "assistant", "content": ""})

    def events(self) -> Iterator[bytes]:
        """Yield an event for each token."""
        return islice(self._events(), self.tokens)

    def finishing(self) -> bytes:
        """Return the event with the reason of the end."""
        return self._event({}, self.finish)

    def ending(self) -> bytes:
        """Return the end of a stream: the reason, the usage where it was asked for, and the mark of the end."""
        usage = event({**self._head(), "choices": [], "usage": self.usage.document()})
        return self.finishing() + (usage if self._include_usage else b"") + DONE

    def document(self) -> dict[str, Json]:
        """Return the answer to a request that asked for no stream."""
        left = self.tokens
        thinking, left = _cut(self._thinking, left)
        text, left = _cut(self._text, left)
        calls: list[Json] = []
        for index, (name, arguments) in enumerate(self._calls):
            if left <= 0:
                break
            kept, left = _cut(arguments, left - 1)
            calls.append({**self._call(index, name, kept)})
        message: dict[str, Json] = {"role": "assistant", "content": text or None if calls else text}
        if thinking:
            message["reasoning_content"] = thinking
        if calls:
            message["tool_calls"] = calls
        return {
            **self._head("chat.completion"),
            "choices": [{"index": 0, "message": message, "finish_reason": self.finish}],
            "usage": self.usage.document(),
        }

    def _events(self) -> Iterator[bytes]:
        for field, text in (("reasoning_content", self._thinking), ("content", self._text)):
            # The frame of the event is made once; only the token differs.
            before, after = self._event({field: "\0"}).rsplit(b'"\\u0000"', 1)
            for piece in pieces(text):
                yield before + _encode(piece).encode() + after
        for index, (name, arguments) in enumerate(self._calls):
            yield self._event({"tool_calls": [{"index": index, **self._call(index, name, "")}]})
            delta: dict[str, Json] = {"tool_calls": [{"index": index, "function": {"arguments": "\0"}}]}
            before, after = self._event(delta).rsplit(b'"\\u0000"', 1)
            for piece in pieces(arguments):
                yield before + _encode(piece).encode() + after

    def _call(self, index: int, name: str, arguments: str) -> dict[str, Json]:
        function: Json = {"name": name, "arguments": arguments}
        return {"id": f"call_{self._stamp}_{index}", "type": "function", "function": function}

    def _event(self, delta: dict[str, Json], finish: str | None = None) -> bytes:
        return event({**self._head(), "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]})

    def _head(self, kind: str = "chat.completion.chunk") -> dict[str, Json]:
        return {"id": self.id, "object": kind, "created": self.created, "model": self.model}


def _cut(text: str, tokens: int) -> tuple[str, int]:
    """Return the text as far as so many tokens reach, and the tokens that are left."""
    kept = "".join(islice(pieces(text), max(0, tokens)))
    return kept, tokens - count(kept)
