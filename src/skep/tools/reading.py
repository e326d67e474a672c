"""``read_file``: lines of one text file of the workspace."""

from __future__ import annotations

import codecs
from dataclasses import dataclass
from itertools import islice
from typing import BinaryIO

from skep.model.events import Json
from skep.text import clean_line, size
from skep.tools import arguments
from skep.tools.base import Arguments, Here, ToolResult
from skep.tools.blocking import Halt, in_thread
from skep.tools.faults import ToolFault
from skep.tools.workspace import Workspace, shown

FILE_LIMIT = 16 * 1024 * 1024
"""Bytes of a file that are looked at to find the lines that were asked for."""

LINES = 2_000
"""Lines that are given at once if no other number is asked for."""

LINE_LIMIT = 8 * 1024
"""Bytes of one line that are given."""

TEXT_LIMIT = 60 * 1024
"""Bytes that are given at once: the rest can be read on, which a cut in the middle would not allow."""

_BINARY_PROBE = 8 * 1024
_MOST_LINES = 1_000_000_000
_STEP = 1_000
"""After so many lines the thread shows that it lives."""


@dataclass(frozen=True, slots=True)
class ReadFile:
    """Gives the text as it is, and in square brackets after it what is missing."""

    name: str = "read_file"
    read_only: bool = True
    description: str = (
        "Read a text file of the workspace. Gives the text as it is; a note in square brackets at the end says if "
        "there is more and with which offset to read on. "
        f"At most {LINES:,} lines and {TEXT_LIMIT // 1024} KiB at once."
    )

    def parameters(self) -> dict[str, Json]:
        """path, offset, limit."""
        return {
            "type": "object",
            "properties": {
                "path": {"type": "string", "description": "the file, named from the workspace's folder"},
                "offset": {"type": "integer", "description": "the first line to read, from 1; default 1"},
                "limit": {"type": "integer", "description": f"how many lines to read; default {LINES:,}"},
            },
            "required": ["path"],
        }

    def headline(self, args: Arguments) -> str:
        """``read a.py``."""
        return clean_line(f"read {args.get('path', '')}", limit=200)

    async def run(self, args: Arguments, here: Here) -> ToolResult:
        """Read in a thread."""
        path = arguments.text(args, "path")
        first = arguments.integer(args, "offset", least=1, most=_MOST_LINES) or 1
        limit = arguments.integer(args, "limit", least=1, most=_MOST_LINES) or LINES

        def work(halt: Halt) -> ToolResult:
            workspace = Workspace(here.workspace)
            names = workspace.names(path)
            with workspace.reading(names) as file:
                text = _read(file, shown(names), first, limit, halt)
            return ToolResult(True, text, read=(shown(names),))

        return await in_thread(work)


def _read(file: BinaryIO, where: str, first: int, limit: int, halt: Halt) -> str:
    probe = file.read(_BINARY_PROBE)
    file.seek(0)
    if b"\0" in probe:
        raise ToolFault("it is a binary file", where=where, why="there are zero bytes in it")
    if not probe:
        return "[the file is empty]"
    lines = _Lines(file, halt)
    for _ in islice(lines, first - 1):
        pass
    given: list[bytes] = []
    length = 0
    notes: list[str] = []
    for line in islice(lines, limit):
        is_cut = len(line) > LINE_LIMIT and not line.endswith(b"\n")
        kept = _whole(line[:LINE_LIMIT]) if is_cut else line
        if length + len(kept) > TEXT_LIMIT:
            lines.put_back(line)
            break
        if is_cut:
            notes.append(f"line {lines.number} is cut to its first {size(LINE_LIMIT)}")
            kept += b"\n"
        given.append(kept)
        length += len(kept)
    more = next(iter(lines), None) is not None
    if lines.is_over:
        notes.append(f"what is beyond the first {size(FILE_LIMIT)} of the file cannot be read with this tool")
    elif more:
        notes.append(f"there is more: read on with offset {first + len(given)}")
    if not given:
        if lines.is_over:
            raise ToolFault(notes[-1], where=where)
        raise ToolFault(f"the file has only {lines.number:,} lines", where="offset")
    data = b"".join(given)
    text = data.decode(errors="replace")
    if text.encode() != data:
        notes.insert(0, "not all of it is UTF-8: what is not shows as \N{REPLACEMENT CHARACTER}")
    if not notes:
        return text
    return f"{text}{'' if text.endswith(chr(10)) else chr(10)}[{'; '.join(notes)}]"


def _whole(data: bytes) -> bytes:
    """Without a character that a cut left only the beginning of."""
    decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
    decoder.decode(data)
    return data[: len(data) - len(decoder.getstate()[0])]


class _Lines:
    """Lines of a file one after the other, in bounded memory whatever they are like."""

    def __init__(self, file: BinaryIO, halt: Halt) -> None:
        self._file = file
        self._halt = halt
        self._room = FILE_LIMIT
        self._kept: bytes | None = None
        self.number = 0
        """Of the line that was given last, from 1."""
        self.is_over = False
        """Whether it ended before the file did."""

    def put_back(self, line: bytes) -> None:
        """Give this line once more."""
        self._kept = line
        self.number -= 1

    def __iter__(self) -> _Lines:
        return self

    def __next__(self) -> bytes:
        line, self._kept = self._kept, None
        if line is None:
            line = self._file.readline(LINE_LIMIT + 1)
            self._room -= len(line)
            if len(line) > LINE_LIMIT and not line.endswith(b"\n"):
                self._skip()
        if self._room < 0:
            self.is_over = True
            raise StopIteration
        if not line:
            raise StopIteration
        self.number += 1
        if self.number % _STEP == 0:
            self._halt.step()
        return line

    def _skip(self) -> None:
        """Pass over the rest of a line of which enough is known."""
        while self._room >= 0:
            part = self._file.readline(64 * 1024)
            self._room -= len(part)
            if not part or part.endswith(b"\n"):
                return
