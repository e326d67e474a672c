"""Plain output: aligned columns, one document of JSON, and errors with their mend."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping, Sequence

from skep.errors import SkepError
from skep.model.events import Json
from skep.text import clean_line, cut_end, width


def say(line: str = "") -> None:
    """One line on standard output; the text is taken as clean already."""
    sys.stdout.write(line + "\n")


def note(line: str) -> None:
    """One line on standard error, for people: progress, what to do next."""
    sys.stderr.write(line + "\n")
    sys.stderr.flush()


def document(body: Mapping[str, Json]) -> None:
    """One JSON document on standard output, on one line.

    In ASCII: what a name or a command may hold (C1, bidi controls, tags) must not act on a terminal, and escaped
    it is the same document to whoever parses it.
    """
    say(json.dumps(body, ensure_ascii=True, separators=(", ", ": "), allow_nan=False).replace("\x7f", "\\u007f"))


def complain(error: SkepError, *, prefix: str = "skep") -> None:
    """An error, on standard error: ``skep: where: what: why`` and the mend below it."""
    parts = [clean_line(part) for part in (error.where, error.what, error.why) if part]
    note(": ".join([prefix, *parts]))
    if error.mend:
        note(f"  mend: {clean_line(error.mend)}")


def table(rows: Sequence[Sequence[str]], *, heads: Sequence[str], right: frozenset[int] = frozenset()) -> None:
    """Cleaned cells in columns, two blanks between them; columns in ``right`` end flush.

    On a terminal a row is cut at its edge, so that one row stays one line.
    """
    cells = [[_cell(cell) for cell in row] for row in (heads, *rows)]
    widths = [max(map(width, column)) for column in zip(*cells, strict=True)]
    edge = columns()
    for row in cells:
        padded = []
        for index, (cell, wide) in enumerate(zip(row, widths, strict=True)):
            gap = " " * (wide - width(cell))
            padded.append(gap + cell if index in right else cell + gap)
        line = "  ".join(padded).rstrip()
        say(cut_end(line, edge) if edge else line)


def _cell(text: str) -> str:
    # Cleaning takes blanks away at both ends, but the indent of a name is meant.
    return " " * (len(text) - len(text.lstrip(" "))) + clean_line(text)


def columns() -> int | None:
    """How wide the terminal on standard output is; None if it is none."""
    try:
        return os.get_terminal_size(sys.stdout.fileno()).columns or None if sys.stdout.isatty() else None
    except (OSError, ValueError):
        return None
