"""``search_files``: lines of the workspace's files that a regular expression finds, in bounded time."""

from __future__ import annotations

import json
import re
import sys
from dataclasses import dataclass
from pathlib import Path

from skep.model.events import Json
from skep.text import clean_line
from skep.tools import arguments, finding
from skep.tools.base import Arguments, Here, ToolResult
from skep.tools.blocking import Halt, in_thread
from skep.tools.faults import ToolFault
from skep.tools.finding import Search
from skep.tools.walking import Glob
from skep.tools.workspace import Names, Workspace

SECONDS = 20.0
"""How long a search may take."""

QUICK_SECONDS = 0.25
"""How long a search for plain text may keep a thread of ours before it is left to a process as well."""

PATTERN_LIMIT = 1_000
"""Characters of a pattern."""

_SPECIAL = re.compile(r"[\\.^$*+?{}\[\]|()]")
_SOURCE = str(Path(__file__).parents[2])
_BOOT = "import sys; sys.path.insert(0, sys.argv.pop(1)); from skep.tools.finding import main; sys.exit(main())"


@dataclass(frozen=True, slots=True)
class SearchFiles:
    """Plain text is looked for here as long as that is quick, all else in a process that can be killed."""

    name: str = "search_files"
    read_only: bool = True
    description: str = (
        "Search the text files of the workspace line by line for a regular expression (Python's syntax; (?i) at "
        "its start ignores case). Gives path:line: text, "
        f"at most {finding.MOST_MATCHES} lines, within {SECONDS:.0f} seconds."
    )

    def parameters(self) -> dict[str, Json]:
        """pattern, path, glob."""
        return {
            "type": "object",
            "properties": {
                "pattern": {"type": "string", "description": "the regular expression"},
                "path": {"type": "string", "description": "the file, or the folder to search below; default all"},
                "glob": {"type": "string", "description": "only files that fit, as *.py or src/**/test_*.py"},
            },
            "required": ["pattern"],
        }

    def headline(self, args: Arguments) -> str:
        """``search foo``, ``search foo in src``."""
        path = args.get("path")
        return clean_line(f"search {args.get('pattern', '')}{f' in {path}' if path else ''}", limit=200)

    async def run(self, args: Arguments, here: Here) -> ToolResult:
        """Search here or in a process, which is the agent's own and ends with it."""
        pattern = arguments.optional_text(args, "pattern")
        if not pattern or len(pattern) > PATTERN_LIMIT or "\0" in pattern:
            raise ToolFault(f"must have 1 to {PATTERN_LIMIT:,} characters and no NUL", where="pattern")
        glob = arguments.optional_text(args, "glob") or ""
        if "\0" in glob:
            raise ToolFault("cannot hold a NUL", where="glob")
        Glob(glob, where="glob")
        workspace = Workspace(here.workspace)
        top = workspace.names(arguments.optional_text(args, "path") or "")
        if not _SPECIAL.search(pattern):
            found = await in_thread(lambda halt: _quick(workspace, top, glob, pattern, halt), QUICK_SECONDS)
            if found is not None:
                return found
        return await _in_process(here, top, glob, pattern)


def _quick(workspace: Workspace, top: Names, glob: str, text: str, halt: Halt) -> ToolResult | None:
    """The result of a search for plain text, or None if it takes too long."""
    search = Search(workspace, top, glob, lambda line: line.find(text), lambda: halt.due, text.encode())
    lines = []
    for line in search:
        lines.append(line)
        if halt.due:
            return None
    if halt.due:
        return None
    return ToolResult(True, "\n".join([*lines, *(f"[{note}]" for note in search.notes)]))


async def _in_process(here: Here, top: Names, glob: str, pattern: str) -> ToolResult:
    request = json.dumps({"pattern": pattern, "top": top, "glob": glob})
    # Isolated and without site: nothing of the workspace or the environment may be imported.
    argv = (sys.executable, "-I", "-S", "-W", "ignore", "-c", _BOOT, _SOURCE, request)
    end = await here.command(argv, cwd=str(here.workspace), env={}, timeout=SECONDS)
    output = end.output.rstrip("\n")
    if end.timed_out:
        note = f"[the search is not whole: it was ended after {SECONDS:.0f} seconds; a simpler pattern may help]"
        return ToolResult(False, f"{output}\n{note}".lstrip("\n"))
    if end.code == finding.FAULT:
        raise ToolFault(output)
    if end.code not in (finding.FOUND, finding.NOTHING):
        raise ToolFault("the search failed", why=output[-500:] or f"it ended with {end.code or end.signal}")
    return ToolResult(True, output)
