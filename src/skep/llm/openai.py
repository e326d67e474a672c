"""The OpenAI chat dialect: what a request looks like."""

from __future__ import annotations

import json
from collections.abc import Sequence

from skep.llm.messages import Message, ToolCall, ToolSpec
from skep.model.events import Json


def request_body(model: str, messages: Sequence[Message], tools: Sequence[ToolSpec]) -> bytes:
    """The body that asks for the next turn as a stream with its usage at the end."""
    body: dict[str, Json] = {"model": model, "messages": [_message(message) for message in messages]}
    if tools:
        body["tools"] = [_tool(tool) for tool in tools]
    body["stream"] = True
    body["stream_options"] = {"include_usage": True}
    text = json.dumps(body, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return text.encode("utf-8", "replace")  # a lone surrogate, from a file perhaps, must not stop the agent


def _message(message: Message) -> dict[str, Json]:
    if message.role == "tool":
        return {"role": "tool", "tool_call_id": message.call_id, "content": message.content}
    if message.tool_calls:
        # Some providers refuse an empty text beside calls, none refuses null.
        calls: list[Json] = [_call(call) for call in message.tool_calls]
        return {"role": message.role, "content": message.content or None, "tool_calls": calls}
    return {"role": message.role, "content": message.content}


def _call(call: ToolCall) -> dict[str, Json]:
    return {
        "id": call.id,
        "type": "function",
        "function": {"name": call.name, "arguments": call.arguments},
    }


def _tool(tool: ToolSpec) -> dict[str, Json]:
    return {
        "type": "function",
        "function": {"name": tool.name, "description": tool.description, "parameters": tool.parameters},
    }
