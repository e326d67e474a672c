"""A conversation put together again from what the journal kept of it."""

from __future__ import annotations

from collections.abc import Iterable

from skep.drivers.chat.history import History
from skep.llm.messages import Message, ToolCall
from skep.model.events import MessageAdded, ToolEnded, TurnCompleted
from skep.model.permits import Note

UNKNOWN = (
    "error: unknown: this call was cut short, and nobody can tell how it ended. It may have taken effect in full, "
    "in part or not at all."
)
"""What a model is told of a call that has no result and may have changed something."""


class Rebuilt:
    """Adds an old conversation to a history up to its last complete turn; what that turn left open comes later."""

    def __init__(self, history: History, notes: Iterable[Note]) -> None:
        """Raises Damaged for a message that is not as it was written."""
        self._history = history
        self._calls: tuple[ToolCall, ...] = ()
        self._results: dict[str, str] = {}
        self._said: list[Message] = []
        self.turns = 0
        """Complete turns of the old conversation."""
        for note in notes:
            self._take(note)

    @property
    def open(self) -> tuple[ToolCall, ...]:
        """Calls of the last turn that have no result."""
        return tuple(call for call in self._calls if call.id not in self._results)

    def finish(self, results: Iterable[Message]) -> None:
        """Add the results of the calls that were open, and then what else the model is told."""
        self._results |= {result.call_id or "": result.content for result in results}
        self._settle()

    def _take(self, note: Note) -> None:
        if isinstance(note, TurnCompleted):
            self._settle()
            message = Message.from_json(note.message)
            self._history.restore(message)
            self._calls = message.tool_calls
            self.turns += 1
        elif isinstance(note, ToolEnded):
            self._results[note.call] = note.content
        elif isinstance(note, MessageAdded):
            self._said.append(Message("user", note.content))

    def _settle(self) -> None:
        """Results stand right behind their turn, in the order of its calls; providers refuse anything else."""
        for call in self._calls:
            self._history.add(Message("tool", self._results.get(call.id, UNKNOWN), call_id=call.id))
        self._history.add(*self._said)
        self._calls, self._results, self._said = (), {}, []
