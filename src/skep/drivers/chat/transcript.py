"""A conversation as lines for people: the first two cells of a line say what it is, text comes after them.

No text of a model, a tool or a file can pass for anything else: each of its lines gets its gutter from here.
"""

from __future__ import annotations

from collections.abc import Callable

from skep.clock import Clock
from skep.drivers.output import Output
from skep.model.agent import Live
from skep.model.logs import Gutter, TailChunk

GATHER_SECONDS = 0.25
"""Text is gathered for so long …"""
GATHER_CHARACTERS = 4 * 1024
"""… or up to so many characters before it goes to disk; whoever looks sees it at once."""

SHOWN_LINES = 8
"""Lines of a tool's result that are shown, if the tool did not show its output itself."""


class Transcript:
    """Writes the output of one chat agent."""

    def __init__(self, output: Output, clock: Clock) -> None:
        self._output = output
        self._clock = clock
        self._gutter: Gutter | None = None
        self._within_line = False
        self._pending: list[str] = []
        self._characters = 0
        self._flushed_at = clock.monotonic()

    def stream(self, gutter: Gutter, text: str) -> None:
        """Add a piece of text to the lines of this kind."""
        if not text:
            return
        # A carriage return would let text write over its own gutter.
        text = text.replace("\r\n", "\n").replace("\r", "\n")
        if self._gutter is not gutter:
            self._break()
            self._gutter = gutter
        start = "" if self._within_line else gutter.value
        body = text[:-1] if text.endswith("\n") else text
        self._within_line = body is text
        piece = start + body.replace("\n", "\n" + gutter.value) + ("" if body is text else "\n")
        self._pending.append(piece)
        self._characters += len(piece)
        if self._characters >= GATHER_CHARACTERS or self._clock.monotonic() - self._flushed_at >= GATHER_SECONDS:
            self.flush()

    def line(self, gutter: Gutter, text: str) -> None:
        """Add whole lines of this kind."""
        self._break()
        self.stream(gutter, text.rstrip("\n") + "\n")

    def result(self, content: str) -> None:
        """The first lines of a tool's result."""
        lines = content.splitlines()
        shown = lines[:SHOWN_LINES]
        if len(lines) > len(shown):
            shown.append(f"… {len(lines) - SHOWN_LINES:,} more lines")
        if shown:
            self.line(Gutter.OUTPUT, "\n".join(shown))

    def flush(self) -> None:
        """Hand on what was gathered."""
        self._flushed_at = self._clock.monotonic()
        if self._pending:
            data = "".join(self._pending).encode(errors="replace")
            self._pending.clear()
            self._characters = 0
            self._output.feed(data)

    def tail(self, first: int, limit: int) -> TailChunk:
        """Lines from ``first`` on."""
        self.flush()
        return self._output.tail(first, limit)

    def live(self, progress_at: float) -> Live:
        """Lines and bytes so far."""
        self.flush()
        return Live("", progress_at, self._output.total, self._output.size)

    def close(self) -> None:
        """Finish; again is harmless."""
        self._break()
        self.flush()
        self._output.close()

    def _break(self) -> None:
        if self._within_line:
            self._pending.append("\n")
            self._characters += 1
            self._within_line = False


class Shown:
    """The output of one program as it comes in, in whole lines, so that programs that run at once do not mix."""

    def __init__(self, transcript: Transcript, moved: Callable[[], None]) -> None:
        self._transcript = transcript
        self._moved = moved
        self._rest = b""
        self.used = False
        """True once there was any."""

    def feed(self, data: bytes) -> None:
        """Take in what it wrote."""
        self.used = True
        self._moved()
        whole, newline, rest = (self._rest + data).rpartition(b"\n")
        if newline or len(rest) > GATHER_CHARACTERS:
            self._show(whole if newline else rest)
            rest = rest if newline else b""
        self._rest = rest

    def close(self) -> None:
        """Show an unfinished last line."""
        if self._rest:
            self._show(self._rest)
            self._rest = b""

    def _show(self, data: bytes) -> None:
        self._transcript.line(Gutter.OUTPUT, data.decode(errors="replace"))
