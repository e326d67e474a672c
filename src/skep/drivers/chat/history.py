"""What the model is sent: everything that was said so far, in a form that no provider refuses."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Iterable, Sequence

from skep.llm.messages import Message, ToolCall

NOTHING_SAID = "(no text)"
"""Stands for an empty answer: providers refuse a message without content and without calls."""

_NAME = re.compile(r"[^A-Za-z0-9_-]")
_NAME_CHARACTERS = 64


class History:
    """The messages of one conversation, oldest first."""

    def __init__(self, opening: Iterable[Message]) -> None:
        self._messages = list(opening)
        self._answers = 0

    @property
    def messages(self) -> Sequence[Message]:
        """All of them; to send and not to change."""
        return self._messages

    def answered(self, message: Message) -> Message:
        """Take in an answer; returns it with calls whose ids are unique in the whole conversation.

        Models count their calls anew in each answer, and providers refuse an id that was used before. What is kept
        here besides has names and arguments that can be sent back, also where the model invented a name or was cut
        in the middle of its arguments; the call itself is carried out, or refused, as it came.
        """
        calls = tuple(
            dataclasses.replace(call, id=f"call_{self._answers + 1}_{number}")
            for number, call in enumerate(message.tool_calls, 1)
        )
        answer = dataclasses.replace(message, tool_calls=calls)
        self.restore(answer)
        return answer

    def restore(self, answer: Message) -> None:
        """Take in an answer as :meth:`answered` once returned it."""
        content = answer.content if answer.content or answer.tool_calls else NOTHING_SAID
        sent = dataclasses.replace(answer, content=content, tool_calls=tuple(map(_sendable, answer.tool_calls)))
        self._messages.append(sent)
        self._answers += 1

    def add(self, *messages: Message) -> None:
        """Take in results of tools, or what somebody else says."""
        self._messages.extend(messages)


def _sendable(call: ToolCall) -> ToolCall:
    name = _NAME.sub("_", call.name)[:_NAME_CHARACTERS] or "unknown"
    return dataclasses.replace(call, name=name, arguments=call.arguments if _is_object(call.arguments) else "{}")


def _is_object(text: str) -> bool:
    try:
        return isinstance(json.loads(text), dict)
    except (ValueError, RecursionError):
        return False
