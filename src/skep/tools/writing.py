"""``write_file``: one whole file of the workspace, replaced at once."""

from __future__ import annotations

from dataclasses import dataclass

from skep.model.events import Json
from skep.text import clean_line, size
from skep.tools import arguments
from skep.tools.base import Arguments, Here, ToolResult
from skep.tools.blocking import Halt, in_thread
from skep.tools.faults import ToolFault
from skep.tools.workspace import Workspace, shown


@dataclass(frozen=True, slots=True)
class WriteFile:
    """Makes missing folders; a reader finds the old content or the new one."""

    name: str = "write_file"
    read_only: bool = False
    description: str = (
        "Write a whole text file: it is made, with the folders that are missing, or its content is replaced."
    )

    def parameters(self) -> dict[str, Json]:
        """path, content."""
        return {
            "type": "object",
            "properties": {
                "path": {"type": "string", "description": "the file, named from the workspace's folder"},
                "content": {"type": "string", "description": "all that shall be in it"},
            },
            "required": ["path", "content"],
        }

    def headline(self, args: Arguments) -> str:
        """``write a.py``."""
        return clean_line(f"write {args.get('path', '')}", limit=200)

    async def run(self, args: Arguments, here: Here) -> ToolResult:
        """Write in a thread."""
        path = arguments.text(args, "path")
        content = arguments.optional_text(args, "content")
        if content is None:
            raise ToolFault("is missing", where="content")
        data = content.encode(errors="replace")

        def work(halt: Halt) -> ToolResult:
            workspace = Workspace(here.workspace)
            names = workspace.names(path)
            is_new = workspace.write(names, data)
            how = "a new file" if is_new else "it replaced what was there"
            return ToolResult(True, f"wrote {size(len(data))} to {shown(names)} ({how})", wrote=(shown(names),))

        return await in_thread(work)
