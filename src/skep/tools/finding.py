"""The search itself: lines of the workspace's files that a matcher finds. It also runs as a program of its own.

Nothing can bound the time that Python's regular expressions take, or end one that runs in a thread, and while it
runs no other thread does. A search for one is therefore a process, which has a deadline and can be killed. This
module imports little, because that process starts anew for each search.
"""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Callable, Iterator

from skep.tools.faults import ToolFault
from skep.tools.walking import Glob, Walk
from skep.tools.workspace import Names, Workspace, shown

MOST_MATCHES = 200
"""Lines that one search gives."""

FILE_LIMIT = 4 * 1024 * 1024
"""Bytes of the largest file that is searched."""

EXCERPT = 300
"""Characters of a line that are given."""

FOUND, NOTHING, FAULT = 0, 1, 2
"""Exit codes of the program."""

Matcher = Callable[[str], int]
"""Where in a line the first match begins; -1 without one."""


class Search:
    """Gives ``path:line: text`` for each line found; afterwards ``notes`` says what the list lacks.

    ``literal`` is what every match holds, if that is known: files without it are passed over quickly.
    """

    def __init__(
        self,
        workspace: Workspace,
        top: Names,
        glob: str,
        matcher: Matcher,
        due: Callable[[], bool],
        literal: bytes,
    ) -> None:
        self._workspace = workspace
        self._top = top
        self._glob = Glob(glob, where="glob") if glob else None
        self._matcher = matcher
        self._due = due
        self._literal = literal
        self._too_large = 0
        self.notes: list[str] = []

    def __iter__(self) -> Iterator[str]:
        count = 0
        walk = Walk(self._workspace, self._top, self._due)
        for names in self._files(walk):
            for line in self._in_file(names):
                count += 1
                if count > MOST_MATCHES:
                    self.notes.append(
                        f"there are more than {MOST_MATCHES} lines: narrow the pattern or the folder"
                    )
                    return
                yield line
        if not count:
            self.notes.append("nothing found")
        if self._too_large:
            self.notes.append(f"not searched, because larger than {FILE_LIMIT:,} bytes: {self._too_large} files")
        if walk.cut:
            self.notes.append(f"the search is not whole: {walk.cut}")

    def _files(self, walk: Walk) -> Iterator[Names]:
        if self._workspace.is_file(self._top):
            yield self._top
            return
        for names, entry in walk:
            if entry.is_file and (self._glob is None or self._glob.matches(names[len(self._top) :])):
                yield names

    def _in_file(self, names: Names) -> Iterator[str]:
        try:
            with self._workspace.reading(names) as file:
                data = file.read(FILE_LIMIT + 1)
        except (ToolFault, OSError):
            return  # gone meanwhile, or closed to us
        if len(data) > FILE_LIMIT:
            self._too_large += 1
            return
        if self._literal not in data or b"\0" in data[:8192]:
            return
        for number, line in enumerate(data.decode(errors="replace").split("\n"), 1):
            at = self._matcher(line)
            if at >= 0:
                yield f"{shown(names)}:{number}: {_excerpt(line.rstrip(chr(13)), at)}"


def _excerpt(line: str, at: int) -> str:
    if len(line) <= EXCERPT:
        return line
    start = max(0, min(at - EXCERPT // 3, len(line) - EXCERPT))
    end = start + EXCERPT
    return f"{'…' if start else ''}{line[start:end]}{'…' if end < len(line) else ''}"


def main() -> int:
    """Search below the present folder as the one argument says: JSON with pattern, top and glob."""
    request = json.loads(sys.argv[1])
    try:
        compiled = re.compile(request["pattern"])
    except (re.error, RecursionError, OverflowError) as error:
        print(f"pattern: is no regular expression: {error}")
        return FAULT

    def matcher(line: str) -> int:
        match = compiled.search(line)
        return match.start() if match else -1

    search = Search(Workspace("."), tuple(request["top"]), request["glob"], matcher, lambda: False, b"")
    count = 0
    try:
        for line in search:
            # At once, so that what was found so far is there when the time is up.
            os.write(1, f"{line}\n".encode(errors="replace"))
            count += 1
    except (ToolFault, OSError) as error:
        print(error)
        return FAULT
    print("".join(f"[{note}]\n" for note in search.notes), end="")
    return FOUND if count else NOTHING
