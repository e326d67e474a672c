"""A walk over all that is below a folder, with an end in any case, and the globs that choose among it."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Callable, Iterator

from skep.tools.faults import ToolFault
from skep.tools.workspace import MOST_NAMES, Entry, Names, Workspace

MOST_SEEN = 50_000
"""Names that one walk looks at."""

_LONGEST_GLOB = 500


class Walk:
    """Every name below ``top``, files of a folder first, links not followed, ``.git`` left out.

    Folders that cannot be opened are passed over. ``due`` is asked again and again whether to end now.
    """

    def __init__(self, workspace: Workspace, top: Names, due: Callable[[], bool]) -> None:
        self._workspace = workspace
        self._top = top
        self._due = due
        self.cut = ""
        """Why it ended before its end, in words; empty if it did not."""

    def __iter__(self) -> Iterator[tuple[Names, Entry]]:
        seen = 0
        waiting = [self._top]
        while waiting:
            folder = waiting.pop()
            try:
                entries = self._workspace.entries(folder)
            except ToolFault:
                if folder == self._top:
                    raise
                continue  # gone meanwhile, or closed to us
            for entry in entries:
                seen += 1
                if seen > MOST_SEEN:
                    self.cut = f"it ended after {MOST_SEEN:,} names"
                elif self._due():
                    self.cut = "it ended for lack of time"
                if self.cut:
                    return
                yield (*folder, entry.name), entry
            if len(folder) < MOST_NAMES:
                waiting.extend((*folder, entry.name) for entry in reversed(entries) if entry.is_folder)


class Glob:
    """A pattern such as ``*.py`` (a name at any depth) or ``src/**/test_*.py`` (a path; ``**`` is any folders).

    Raises ToolFault if it is too long.
    """

    def __init__(self, pattern: str, *, where: str) -> None:
        if len(pattern) > _LONGEST_GLOB:
            raise ToolFault("the pattern is too long", where=where, why=f"over {_LONGEST_GLOB} characters")
        parts = [part for part in pattern.split("/") if part not in ("", ".")]
        if "/" not in pattern:
            parts.insert(0, "**")
        self._parts = [None if part == "**" else re.compile(fnmatch.translate(part)) for part in parts]

    def matches(self, names: Names) -> bool:
        """Whether a path, named from where the walk began, is one of those."""
        # The places in the pattern that the names so far may have led to; this is linear whatever is in it.
        places = self._skipped({0})
        for name in names:
            after = set()
            for place in places:
                if place == len(self._parts):
                    continue
                part = self._parts[place]
                if part is None:
                    after.add(place)
                elif part.match(name):
                    after.add(place + 1)
            places = self._skipped(after)
        return len(self._parts) in places

    def _skipped(self, places: set[int]) -> set[int]:
        """With the places that follow when ``**`` stands for no folder."""
        found = set()
        for place in places:
            found.add(place)
            while place < len(self._parts) and self._parts[place] is None:
                place += 1
                found.add(place)
        return found
