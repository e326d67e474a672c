"""What a chat agent leaves to whoever asked for it: which tools it called, which files it read and wrote."""

from __future__ import annotations

from collections import deque

from skep.model.events import Json

MOST_CALLS = 100
"""The newest calls are kept, older ones are only counted."""
MOST_FILES = 200
"""As many files of each kind are named."""


class WorkRecord:
    """Gathers the trace of one agent; bounded, however long it works."""

    def __init__(self) -> None:
        self._calls: deque[tuple[str, bool, int]] = deque(maxlen=MOST_CALLS)
        self._read: dict[str, None] = {}
        self._wrote: dict[str, None] = {}
        self._last: tuple[str, str] | None = None
        self.repeats = 0
        """How often in a row the very same call was made."""

    def calling(self, tool: str, arguments: str) -> None:
        """A call begins."""
        self.repeats = self.repeats + 1 if self._last == (tool, arguments) else 1
        self._last = (tool, arguments)

    @property
    def last_tool(self) -> str:
        """The tool of the newest call."""
        return self._last[0] if self._last is not None else ""

    def called(
        self, tool: str, *, ok: bool, characters: int, read: tuple[str, ...], wrote: tuple[str, ...]
    ) -> None:
        """A call has ended."""
        self._calls.append((tool, ok, characters))
        for paths, kept in ((read, self._read), (wrote, self._wrote)):
            for path in paths:
                if len(kept) < MOST_FILES:
                    kept[path] = None

    def document(self, exit_reason: str, full: str | None) -> dict[str, Json]:
        """As the engine keeps it."""
        return {
            "exit_reason": exit_reason,
            "trace": [[name, ok, characters] for name, ok, characters in self._calls],
            "files_read": list(self._read),
            "files_written": list(self._wrote),
            "full": full,
        }
