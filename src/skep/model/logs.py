"""Where an agent's output is kept, and how a part of it is read back cleaned."""

from __future__ import annotations

import os
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from skep.errors import BadInput
from skep.model.agent import Agent
from skep.model.states import DriverKind
from skep.paths import open_plain
from skep.text import StreamCleaner

READ_BYTES = 1024 * 1024
"""At most so many bytes of a log are read at once, from its end; older lines stay in the file."""


class Gutter(StrEnum):
    """How the lines in the output of a chat agent begin, by what they are; programs' output has no gutter."""

    TEXT = "  "
    """What the model says."""
    THINKING = "~ "
    """What it thinks."""
    CALL = "* "
    """A tool call begins."""
    OUTPUT = "| "
    """What the tool gives."""
    END = "` "
    """How the call ended."""
    FAULT = "! "
    """How it ended, if it failed; also a model call that failed: what it had said is struck."""
    NOTE = "> "
    """What somebody else says: the operator, the engine, the results of children."""


@dataclass(frozen=True, slots=True)
class TailChunk:
    """Cleaned output of an agent: ``lines`` from number ``first`` on (from 0), and the unfinished ``rest``."""

    first: int
    lines: tuple[str, ...]
    rest: str = ""
    total: int = 0
    """Lines written so far; those before ``first`` that the reader did not get are no longer at hand."""


def log_path(folder: Path, agent: Agent) -> Path | None:
    """The file that keeps an agent's output: as asked for, else ``output/<id>.log``; None for a group."""
    if agent.driver is DriverKind.GROUP:
        return None
    asked = agent.spec.get("log")
    return Path(asked) if isinstance(asked, str) else folder / "output" / f"{agent.id}.log"


def diagnostic_path(folder: Path, agent: Agent) -> Path | None:
    """The file that says what an agent was doing whose model never answered; None for any other."""
    return folder / agent.diagnostic if agent.diagnostic is not None else None


def window(total: int, kept: int, first: int, limit: int) -> tuple[int, int]:
    """The line numbers (from, to) to give when ``kept`` of ``total`` lines are at hand; ``first`` as in tail."""
    oldest = total - kept
    start = max(oldest, total + first if first < 0 else first)
    return min(start, total), min(total, start + limit)


def read_log(path: Path, total: int, first: int, limit: int) -> TailChunk:
    """Lines of a finished log of ``total`` lines (0 if unknown); an absent file is an empty one.

    When only the end of a large file is read, the numbers of its lines follow from ``total``. Raises BadInput when
    the file cannot be read.
    """
    try:
        with open_plain(path) as file:
            size = file.seek(0, os.SEEK_END)
            cut = max(0, size - READ_BYTES)
            file.seek(cut)
            data = file.read(READ_BYTES)
    except FileNotFoundError:
        return TailChunk(0, (), total=0)
    except OSError as error:
        raise BadInput("the log cannot be read", where=str(path), why=error.strerror) from error
    cleaner = StreamCleaner()
    lines = cleaner.feed(data) + cleaner.close()
    if cut:
        lines = lines[1:]  # its beginning was cut off
    count = max(total, len(lines))
    start, end = window(count, len(lines), first, limit)
    offset = count - len(lines)
    return TailChunk(start, tuple(lines[start - offset : end - offset]), total=count)
