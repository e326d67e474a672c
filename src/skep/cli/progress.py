"""How a headless run says where it is, on standard error: a bar on a terminal, else a plain line now and then."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Mapping

from skep.model.agent import Face
from skep.text import clean_line, cut_end, duration

PLAIN_EVERY = 2.0
"""Seconds between two plain lines, at least."""

BAR_EVERY = 0.1
"""Seconds between two pictures of the bar."""

_BAR_CELLS = 24
_FAILED = (Face.FAILED, Face.LOST, Face.OVER_LIMIT)
_RUNNING = (Face.RUNNING, Face.QUIET, Face.STALE, Face.SPINNING)
_WORDS: tuple[tuple[str, tuple[Face, ...]], ...] = (
    ("done", (Face.DONE,)),
    ("failed", _FAILED),
    ("stopped", (Face.STOPPED,)),
    ("stopping", (Face.STOPPING,)),
    ("asking", (Face.ASKS,)),
    ("running", _RUNNING),
    ("waiting", (Face.WAITING,)),
    ("held", (Face.HELD,)),
    ("queued", (Face.QUEUED,)),
)
_ENDED = (Face.DONE, *_FAILED, Face.STOPPED)


class Progress:
    """Takes counts as they come and shows them no more often than is of use."""

    def __init__(self) -> None:
        self._bar = sys.stderr.isatty()
        self._fancy = (sys.stderr.encoding or "").lower().startswith("utf")
        self._shown = ""
        self._shown_at = float("-inf")
        self._asked = False

    @property
    def every(self) -> float:
        """Seconds after which a new picture is worth while."""
        return BAR_EVERY if self._bar else PLAIN_EVERY

    def show(self, counts: Mapping[Face, int], seconds: float) -> None:
        """The faces of all agents so far, and how long the run has taken."""
        if self._asked:
            return
        words = counted(counts)
        if not self._bar:
            if words != self._shown and seconds - self._shown_at >= PLAIN_EVERY:
                self._shown, self._shown_at = words, seconds
                self._write(f"{self._ended(counts)}/{_total(counts)} after {duration(seconds)}: {words}\n")
            return
        line = f"{self._picture(counts)} {self._ended(counts)}/{_total(counts)}  {words}  {duration(seconds)}"
        line = cut_end(line, shutil.get_terminal_size().columns - 1)
        if line != self._shown:
            self._shown = line
            self._write(f"\r{line}\x1b[K")

    def tell(self, text: str) -> None:
        """One line that stays, above the bar."""
        self._clear()
        self._write(clean_line(text) + "\n")

    def ask(self, question: str) -> None:
        """A question that the person answers on the same line."""
        self._clear()
        self._write(question)
        self._asked = True

    def answered(self) -> None:
        """The line belongs to the progress again."""
        self._asked = False

    def close(self) -> None:
        """Take the bar away."""
        self._clear()

    def _picture(self, counts: Mapping[Face, int]) -> str:
        filled = _BAR_CELLS * self._ended(counts) // max(_total(counts), 1)
        full, empty = "━─" if self._fancy else "#-"
        return full * filled + empty * (_BAR_CELLS - filled)

    def _ended(self, counts: Mapping[Face, int]) -> int:
        return sum(counts.get(face, 0) for face in _ENDED)

    def _clear(self) -> None:
        if self._bar and self._shown:
            self._shown = ""
            self._write("\r\x1b[K")

    def _write(self, text: str) -> None:
        sys.stderr.write(text)
        sys.stderr.flush()


def _total(counts: Mapping[Face, int]) -> int:
    return sum(counts.values())


def counted(counts: Mapping[Face, int]) -> str:
    """The counts in words, those that are none left out: ``12 done, 1 failed, 8 running``."""
    sums = [(sum(counts.get(face, 0) for face in faces), word) for word, faces in _WORDS]
    return ", ".join(f"{count} {word}" for count, word in sums if count) or "nothing yet"
