"""A request as it came over the wire becomes a `Conversation`, or a 400 that says what is wrong and where."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import NoReturn

from skep.simulator.behaviour import Conversation, ToolResultSeen
from skep.simulator.refusals import Refusal, invalid
from skep.simulator.schemas import NAME, check_tools, only
from skep.simulator.tokens import count

_PARAMETERS = frozenset(
    {
        "model",
        "messages",
        "tools",
        "tool_choice",
        "parallel_tool_calls",
        "stream",
        "stream_options",
        "temperature",
        "top_p",
        "max_tokens",
        "max_completion_tokens",
        "stop",
        "seed",
        "n",
        "user",
        "metadata",
        "response_format",
        "reasoning_effort",
        "presence_penalty",
        "frequency_penalty",
    }
)
_MESSAGE_KEYS = {
    "system": frozenset({"role", "content", "name"}),
    "user": frozenset({"role", "content", "name"}),
    "assistant": frozenset({"role", "content", "name", "tool_calls", "reasoning_content"}),
    "tool": frozenset({"role", "content", "name", "tool_call_id"}),
}
_CACHE_BLOCK = 64
"""Tokens; what a prompt has in common with an earlier one counts as cached in whole blocks."""


@dataclass(frozen=True, slots=True)
class ChatRequest:
    """A request that is well formed."""

    conversation: Conversation
    stream: bool
    include_usage: bool
    limit: int | None
    """Tokens of the answer at most."""
    tokens_in: int
    cached: int
    """Tokens of the prompt that an earlier turn of the conversation had sent already."""


def parse(body: bytes, *, seed: int, models: frozenset[str] = frozenset()) -> ChatRequest:
    """Read a request for a chat completion; with `models`, only those are served.

    Raises: Refusal with 400, or with 404 for a model that is not served; it names the path of what is wrong.
    """
    request = _document(body)
    only("", request, _PARAMETERS)
    model = request.get("model")
    if not isinstance(model, str) or not model:
        raise invalid("model", "expected the name of a model")
    if models and model not in models:
        raise Refusal(404, f"the model {model!r} does not exist", param="model", code="model_not_found")
    stream, include_usage = _stream(request)
    history = _History()
    messages = request.get("messages")
    if not isinstance(messages, list) or not messages:
        raise invalid("messages", "expected a list of at least one message")
    for index, message in enumerate(messages):
        history.add(f"messages[{index}]", message)
    history.end(len(messages))
    tools = check_tools(request["tools"]) if "tools" in request else frozenset()
    offered = count(json.dumps(request["tools"])) if tools else 0
    return ChatRequest(
        conversation=replace(history.conversation(messages), model=model, tools=tools, seed=seed),
        stream=stream,
        include_usage=include_usage,
        limit=_limit(request),
        tokens_in=history.tokens + offered,
        cached=(history.before + offered) // _CACHE_BLOCK * _CACHE_BLOCK if history.turn else 0,
    )


def _document(body: bytes) -> dict[str, object]:
    try:
        request = json.loads(body, parse_constant=_no_number)
    except RecursionError:
        raise Refusal(400, "the body nests too deep", code="invalid_json") from None
    except ValueError as error:
        raise Refusal(400, f"the body is no JSON: {error}", code="invalid_json") from None
    if not isinstance(request, dict):
        raise Refusal(400, "the body is no JSON object", code="invalid_json")
    return request


def _no_number(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number in JSON")


def _stream(request: dict[str, object]) -> tuple[bool, bool]:
    stream = request.get("stream", False)
    if not isinstance(stream, bool):
        raise invalid("stream", "expected true or false")
    options = request.get("stream_options")
    if options is None:
        return stream, not stream
    if not stream:
        raise invalid("stream_options", "only allowed when stream is true")
    if not isinstance(options, dict) or not isinstance(options.get("include_usage", False), bool):
        raise invalid("stream_options", 'expected an object as {"include_usage": true}')
    only("stream_options", options, frozenset({"include_usage"}))
    return stream, options.get("include_usage") is True


def _limit(request: dict[str, object]) -> int | None:
    if request.get("n", 1) != 1:
        raise invalid("n", "only one choice is served")
    for name in ("max_completion_tokens", "max_tokens"):
        value = request.get(name)
        if value is None:
            continue
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise invalid(name, "expected a number of tokens, at least 1")
        return value
    return None


def _text(path: str, content: object) -> str:
    if isinstance(content, str):
        return content
    if not isinstance(content, list) or not content:
        raise invalid(path, "expected text or a list of text parts")
    parts: list[str] = []
    for index, part in enumerate(content):
        if not isinstance(part, dict) or part.get("type") != "text" or not isinstance(part.get("text"), str):
            raise invalid(f"{path}[{index}]", 'expected a part as {"type": "text", "text": "…"}')
        parts.append(part["text"])
    return "".join(parts)


class _History:
    """The rules of a history, message by message."""

    def __init__(self) -> None:
        self.turn = 0
        self.tokens = 0
        self.before = 0
        """Tokens before the last assistant message."""
        self._goal: str | None = None
        self._system: list[str] = []
        self._results: list[ToolResultSeen] = []
        self._open: dict[str, str] = {}
        """Calls of the last assistant message that have no result yet: id -> name of the tool."""
        self._answered: set[str] = set()
        self._role = ""

    def add(self, path: str, message: object) -> None:
        if not isinstance(message, dict):
            raise invalid(path, "expected a message, which is an object")
        role = message.get("role")
        if not isinstance(role, str) or role not in _MESSAGE_KEYS:
            raise invalid(f"{path}.role", f"expected one of {', '.join(_MESSAGE_KEYS)}")
        only(path, message, _MESSAGE_KEYS[role])
        if role != "tool":
            self._all_answered(f"{path}.role", f"before a message of the role {role!r}")
        match role:
            case "system":
                self._add_system(path, message)
            case "user":
                self._add_user(path, message)
            case "assistant":
                self._add_assistant(path, message)
            case _:
                self._add_result(path, message)
        self._role = role
        self.tokens += 4

    def end(self, length: int) -> None:
        self._all_answered(f"messages[{length - 1}]", "before the next turn")
        if self._goal is None:
            raise invalid("messages", "there is no message of the user")
        if self._role not in ("user", "tool"):
            raise invalid(f"messages[{length - 1}].role", "the last message is of the user or a tool result")

    def conversation(self, messages: list[dict[str, object]]) -> Conversation:
        return Conversation(
            goal=self._goal or "",
            messages=tuple(messages),  # type: ignore[arg-type]  # they come from JSON
            turn=self.turn,
            results=tuple(self._results),
            system="\n".join(self._system),
        )

    def _all_answered(self, path: str, when: str) -> None:
        if self._open:
            missing = ", ".join(self._open)
            raise invalid(path, f"tool calls without a result {when}: {missing}", "missing_tool_results")

    def _add_system(self, path: str, message: dict[str, object]) -> None:
        if self._role not in ("", "system"):
            raise invalid(f"{path}.role", "system messages stand at the beginning")
        text = _text(f"{path}.content", message.get("content"))
        self._system.append(text)
        self.tokens += count(text)

    def _add_user(self, path: str, message: dict[str, object]) -> None:
        text = _text(f"{path}.content", message.get("content"))
        if not text:
            raise invalid(f"{path}.content", "must not be empty")
        if self._goal is None:
            self._goal = text
        self._results = [] if self._role == "assistant" else self._results
        self.tokens += count(text)

    def _add_assistant(self, path: str, message: dict[str, object]) -> None:
        if self._goal is None:
            raise invalid(f"{path}.role", "the first message after the system messages is of the user")
        if self._role == "assistant":
            raise invalid(f"{path}.role", "two assistant messages in a row")
        self.before = self.tokens
        content = message.get("content")
        text = "" if content is None else _text(f"{path}.content", content)
        calls = message.get("tool_calls")
        if not text and calls is None:
            raise invalid(f"{path}.content", "must not be empty without tool_calls")
        thinking = message.get("reasoning_content", "")
        if not isinstance(thinking, str):
            raise invalid(f"{path}.reasoning_content", "expected text")
        self.turn += 1
        self._results = []
        self.tokens += count(text)
        if calls is None:
            return
        if not isinstance(calls, list) or not calls:
            raise invalid(f"{path}.tool_calls", "expected at least one call; leave it out if there is none")
        for index, call in enumerate(calls):
            self._add_call(f"{path}.tool_calls[{index}]", call)

    def _add_call(self, path: str, call: object) -> None:
        if not isinstance(call, dict) or call.get("type") != "function":
            raise invalid(f"{path}.type", 'expected an object with the type "function"')
        only(path, call, frozenset({"id", "type", "function"}))
        identity = call.get("id")
        if not isinstance(identity, str) or not identity:
            raise invalid(f"{path}.id", "expected the id of the call")
        if identity in self._open or identity in self._answered:
            raise invalid(f"{path}.id", f"{identity!r} is the id of an earlier call")
        function = call.get("function")
        if not isinstance(function, dict):
            raise invalid(f"{path}.function", "expected an object")
        only(f"{path}.function", function, frozenset({"name", "arguments"}))
        name, arguments = function.get("name"), function.get("arguments")
        if not isinstance(name, str) or not NAME.fullmatch(name):
            raise invalid(f"{path}.function.name", "expected 1 to 64 letters, digits, _ or -")
        if not isinstance(arguments, str):
            raise invalid(f"{path}.function.arguments", "expected JSON as text")
        self._open[identity] = name
        self.tokens += count(name) + count(arguments)

    def _add_result(self, path: str, message: dict[str, object]) -> None:
        identity = message.get("tool_call_id")
        if not isinstance(identity, str) or not identity:
            raise invalid(f"{path}.tool_call_id", "expected the id of the call that this is the result of")
        if identity in self._answered:
            raise invalid(f"{path}.tool_call_id", f"{identity!r} has a result already", "duplicate_tool_result")
        if identity not in self._open:
            raise invalid(
                f"{path}.tool_call_id",
                f"{identity!r} is no call of the assistant message before it",
                "orphan_tool_result",
            )
        text = _text(f"{path}.content", message.get("content"))
        self._answered.add(identity)
        self._results.append(ToolResultSeen(identity, self._open.pop(identity), text))
        self.tokens += count(text)
