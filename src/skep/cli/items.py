"""The items of a run: what the globs match, and the lines of a file or of standard input."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterable, Iterator
from fnmatch import fnmatchcase
from pathlib import Path

from skep.cli.template import Item
from skep.errors import BadInput, NotFound
from skep.paths import file_error
from skep.text import clean_line

STDIN = "-"
"""The file name that means standard input."""

_MAGIC = re.compile(r"[*?\[]")


def gather(globs: Iterable[str], line_files: Iterable[str], cwd: Path) -> list[Item]:
    """All items: the matches of all globs, each once and in order, then every line of each file.

    Raises ``BadInput`` or ``NotFound`` for a glob without a match, an unreadable file or one without a line.
    """
    found: dict[str, None] = {}
    for pattern in globs:
        found.update(dict.fromkeys(expand(pattern, cwd)))
    lines = [line for file in line_files for line in read_lines(file, cwd)]
    return [Item(text, number) for number, text in enumerate([*found, *lines], 1)]


def expand(pattern: str, cwd: Path) -> list[str]:
    """Files and folders that a glob matches, sorted; relative to ``cwd`` unless the glob is absolute.

    ``**`` stands for any depth and follows no links. What begins with a dot is matched only by a part that does
    so too. A match that begins with a dash gets ``./`` before it, so that no program takes it for an option.
    """
    where = f"--each {clean_line(pattern, limit=80)!r}"
    if not pattern or "\0" in pattern:
        raise BadInput("the glob is empty" if not pattern else "a glob cannot hold a zero byte", where=where)
    full = os.path.expanduser(pattern)
    start = "/" if full.startswith("/") else ""
    parts = tuple(part for part in full.split("/") if part not in ("", "."))
    matches = {match for match in _walk(cwd, start, parts) if match}
    if not matches:
        braces = "skep has no {a,b}: repeat --each instead; " if "{" in pattern else ""
        raise NotFound(
            "the glob matches nothing",
            where=where,
            why=f"looked in {clean_line(str(cwd))}",
            mend=f"{braces}quote it, so that the shell leaves it alone, and check --cwd",
        )
    for match in matches:
        refuse_undecodable(match, where)
    return [f"./{match}" if match.startswith("-") else match for match in sorted(matches)]


def read_lines(file: str, cwd: Path) -> list[str]:
    """The lines of a file (``-``: standard input) without those that are blank; ``NotFound`` if none is left."""
    shown = "standard input" if file == STDIN else clean_line(file, limit=80)
    where = f"--each-line {shown}"
    try:
        data = sys.stdin.buffer.read() if file == STDIN else (cwd / os.path.expanduser(file)).read_bytes()
    except FileNotFoundError as error:
        raise NotFound("no such file", where=where, mend="check the path; it is relative to --cwd") from error
    except OSError as error:
        raise file_error(error, Path(file), "cannot read the lines") from error
    lines = []
    for number, raw in enumerate(data.split(b"\n"), 1):
        line = raw.removesuffix(b"\r").decode(errors="surrogateescape")
        if not line.strip():
            continue
        if "\0" in line:
            raise BadInput("a line holds a zero byte", where=f"{where}, line {number}", mend="give it text lines")
        refuse_undecodable(line, f"{where}, line {number}")
        lines.append(line)
    if not lines:
        raise NotFound("there is not one line to run for", where=where, mend="give it a line for each item")
    return lines


def _walk(cwd: Path, base: str, parts: tuple[str, ...]) -> Iterator[str]:
    if not parts:
        yield base
        return
    part, rest = parts[0], parts[1:]
    if part == "**":
        yield from _walk(cwd, base, rest)
        for entry in _entries(cwd, base):
            if entry.name.startswith("."):
                continue
            below = os.path.join(base, entry.name)
            if entry.is_dir(follow_symlinks=False):
                yield from _walk(cwd, below, parts)
            elif not rest:
                yield below
    elif _MAGIC.search(part) is None:
        below = os.path.join(base, part)
        if os.path.lexists(cwd / below):
            yield from _walk(cwd, below, rest)
    else:
        for entry in _entries(cwd, base):
            hidden = entry.name.startswith(".") and not part.startswith(".")
            below = os.path.join(base, entry.name)
            if not hidden and fnmatchcase(entry.name, part) and (not rest or (cwd / below).is_dir()):
                yield from _walk(cwd, below, rest)


def _entries(cwd: Path, base: str) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(cwd / base) as entries:
            return list(entries)
    except OSError:
        return []  # a file, or a folder that may not be read: it holds no match


def refuse_undecodable(text: str, where: str, mend: str = "rename it") -> None:
    """Raise ``BadInput`` for bytes that are no text: a terminal, the journal and JSON could not hold them."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise BadInput("not valid UTF-8", where=where, why=clean_line(repr(text), limit=80), mend=mend) from error
