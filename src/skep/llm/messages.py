"""What is said to a model and what it answers, in the words of no particular provider."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Literal, get_args

from skep.errors import Damaged
from skep.model.events import Json

Role = Literal["system", "user", "assistant", "tool"]
"""Who speaks."""


@dataclass(frozen=True, slots=True)
class ToolSpec:
    """A tool as the model is told of it."""

    name: str
    description: str
    parameters: dict[str, Json]
    """JSON schema of its arguments."""


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A tool that the model asks for."""

    id: str
    name: str
    arguments: str
    """Raw JSON text as the model gave it; nobody has checked it yet."""


@dataclass(frozen=True, slots=True)
class Message:
    """One message of a conversation."""

    role: Role
    content: str = ""
    tool_calls: tuple[ToolCall, ...] = ()
    call_id: str | None = None
    """The call that a message of the role ``tool`` answers."""

    def to_json(self) -> dict[str, Json]:
        """The message as plain JSON, for the journal."""
        document: dict[str, Json] = {"role": self.role, "content": self.content}
        if self.tool_calls:
            document["tool_calls"] = [
                {"id": call.id, "name": call.name, "arguments": call.arguments} for call in self.tool_calls
            ]
        if self.call_id is not None:
            document["call_id"] = self.call_id
        return document

    @classmethod
    def from_json(cls, document: dict[str, Json]) -> Message:
        """The message that ``to_json`` wrote. Raises Damaged for anything else."""
        role, content = document.get("role"), document.get("content")
        calls, call_id = document.get("tool_calls", []), document.get("call_id")
        if (
            role not in get_args(Role)
            or not isinstance(content, str)
            or not isinstance(calls, list)
            or not (call_id is None or isinstance(call_id, str))
        ):
            raise Damaged("a message is not as it was written", why="its role, content or calls are missing")
        return cls(role, content, tuple(map(_call, calls)), call_id)  # type: ignore[arg-type]  # checked above


def _call(document: Json) -> ToolCall:
    if isinstance(document, dict):
        call_id, name, arguments = (document.get(field) for field in ("id", "name", "arguments"))
        if isinstance(call_id, str) and isinstance(name, str) and isinstance(arguments, str):
            return ToolCall(call_id, name, arguments)
    raise Damaged("a tool call is not as it was written", why="its id, name or arguments are missing")


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of one turn, as the provider counted them; all zero if it did not say."""

    tokens_in: int
    tokens_out: int
    cached: int = 0
    """How many of ``tokens_in`` the provider had in its cache."""


@dataclass(frozen=True, slots=True)
class Turn:
    """One complete answer of a model."""

    message: Message
    usage: Usage
    finish: str
    """Why it ended, as the provider says: stop, tool_calls, length, content_filter, …"""
    key: str
    """Label of the key that it came through."""
    attempts: int
    """Requests that it took, those included that were turned away."""
    seconds: float
    """Time of its requests; waits for keys and between attempts do not count."""


class DeltaKind(StrEnum):
    """What kind of progress a delta is."""

    TEXT = "text"
    THINKING = "thinking"
    CALL = "call"
    """The name of a tool that is being called; once per call."""
    ARGUMENTS = "arguments"
    """A piece of what it is called with, which may be as long as a whole file."""


@dataclass(frozen=True, slots=True)
class Delta:
    """A piece of an answer as it arrives; it counts only once its turn is complete."""

    kind: DeltaKind
    text: str
