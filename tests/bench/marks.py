"""Words that a measured program writes into its terminal right after a paint, for who sits at the other end."""

from __future__ import annotations

import fcntl
import re
import termios
from collections.abc import Callable, Hashable
from dataclasses import dataclass

PAINTED = "painted"
LINES = "lines"
OPEN_KEY = "f12"
"""Opens the tree that is at hand, or closes it again."""
COUNT_KEY = "f11"
"""Asks for the number of lines that the program has heard of."""


@dataclass(frozen=True, slots=True)
class Mark:
    """``painted``: number of the paint that showed another row under the cursor; ``lines``: lines heard of."""

    word: str
    number: int


FORM = re.compile(rb"\x1b\]777;(painted|lines);(\d+)\x07")
"""A mark in the stream: an operating system command, which terminals ignore."""


def marks_in(data: bytes) -> list[Mark]:
    """All whole marks of a part of the stream."""
    return [Mark(found[1].decode(), int(found[2])) for found in FORM.finditer(data)]


class Marker:
    """Writes marks. The paint and its mark go the same way, so who reads the mark has read the paint."""

    def __init__(self, write: Callable[[str], None]) -> None:
        self._write = write
        self._shown: Hashable = object()
        self._count = 0

    def painted(self, shown: Hashable) -> None:
        """A paint is written; ``shown`` is what stands under the cursor as it was drawn last."""
        if shown != self._shown:
            self._shown = shown
            self._count += 1
            self.say(PAINTED, self._count)

    def say(self, word: str, number: int) -> None:
        """Write one mark."""
        self._write(f"\x1b]777;{word};{number}\x07")


def own_terminal() -> None:
    """Let the terminal on standard input be this session's own: when it goes away, so does this process."""
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
