"""``list_files``: what is in a folder of the workspace, or all below it that fits a pattern."""

from __future__ import annotations

from dataclasses import dataclass

from skep.model.events import Json
from skep.text import clean_line, size
from skep.tools import arguments
from skep.tools.base import Arguments, Here, ToolResult
from skep.tools.blocking import Halt, in_thread
from skep.tools.walking import Glob, Walk
from skep.tools.workspace import Entry, Names, Workspace, shown

MOST = 1_000
"""Names that one call gives."""


@dataclass(frozen=True, slots=True)
class ListFiles:
    """Names one on a line: folders end in a slash, files show their size, links say that they are links."""

    name: str = "list_files"
    read_only: bool = True
    description: str = (
        "List a folder of the workspace, or with a pattern all files below it that fit: *.py is any name, "
        "src/**/test_*.py a path. Folders end in /; .git is left out; links are not followed."
    )

    def parameters(self) -> dict[str, Json]:
        """path, pattern."""
        return {
            "type": "object",
            "properties": {
                "path": {"type": "string", "description": "the folder, from the workspace's folder; default that"},
                "pattern": {"type": "string", "description": "which files below it, as *.py or src/**/test_*.py"},
            },
        }

    def headline(self, args: Arguments) -> str:
        """``list src``, ``list *.py in src``."""
        path, pattern = args.get("path") or ".", args.get("pattern")
        return clean_line(f"list {pattern} in {path}" if pattern else f"list {path}", limit=200)

    async def run(self, args: Arguments, here: Here) -> ToolResult:
        """List in a thread."""
        path = arguments.optional_text(args, "path") or ""
        pattern = arguments.optional_text(args, "pattern")
        glob = Glob(pattern, where="pattern") if pattern else None

        def work(halt: Halt) -> ToolResult:
            workspace = Workspace(here.workspace)
            top = workspace.names(path)
            if glob is None:
                lines = [_line((*top, entry.name), entry) for entry in workspace.entries(top)]
                return _result(lines, "the folder is empty", "")
            walk = Walk(workspace, top, lambda: halt.due)
            lines = []
            for names, entry in walk:
                if not entry.is_folder and glob.matches(names[len(top) :]):
                    lines.append(_line(names, entry))
                    if len(lines) > MOST:
                        break
            return _result(lines, "no file fits", walk.cut)

        return await in_thread(work)


def _line(names: Names, entry: Entry) -> str:
    if entry.is_folder:
        return f"{shown(names)}/"
    if entry.is_link:
        return f"{shown(names)}  (symbolic link)"
    return f"{shown(names)}  {size(entry.size) if entry.is_file else '(no plain file)'}"


def _result(lines: list[str], nothing: str, cut: str) -> ToolResult:
    notes = []
    if not lines:
        notes.append(nothing)
    if len(lines) > MOST:
        notes.append(f"there are more than {MOST:,}: name a folder below or a narrower pattern")
    if cut:
        notes.append(f"the list is not whole: {cut}")
    return ToolResult(True, "\n".join([*lines[:MOST], *(f"[{note}]" for note in notes)]))
