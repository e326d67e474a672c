"""The tools that one agent has, and how a call of the model reaches one of them."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection, Iterator

from skep.errors import SkepError
from skep.model.approvals import Commands
from skep.model.children import DelegateLimits, Role
from skep.tools.arguments import parse_arguments
from skep.tools.base import Arguments, Here, Tool, ToolResult
from skep.tools.capping import capped
from skep.tools.delegate import Delegate
from skep.tools.listing import ListFiles
from skep.tools.reading import ReadFile
from skep.tools.searching import SearchFiles
from skep.tools.terminal import Terminal
from skep.tools.writing import WriteFile

DELEGATE = "delegate"
"""The tool that only orchestrators have."""

ALL = (DELEGATE, "terminal", "read_file", "write_file", "list_files", "search_files")
"""Every tool there is: what a root has if nobody says otherwise."""


def granted(parent: Collection[str], asked: Collection[str] | None, role: Role) -> tuple[str, ...]:
    """The tools of a child: its parent's, narrowed to what is asked for (None: all), never more.

    A leaf never has ``delegate``; an orchestrator keeps it in any case, if its parent has it.
    """
    wanted = ALL if asked is None else asked
    return tuple(
        name
        for name in ALL
        if name in parent and (role is Role.ORCHESTRATOR if name == DELEGATE else name in wanted)
    )


class Toolbox:
    """The tools of one agent by name; ``limits`` tells what it may delegate at the moment that it is asked.

    Raises ValueError for a name that is no tool's.
    """

    def __init__(
        self, names: Collection[str], *, commands: Commands, limits: Callable[[], DelegateLimits]
    ) -> None:
        tools: tuple[Tool, ...] = (
            Delegate(limits),
            Terminal(commands),
            ReadFile(),
            WriteFile(),
            ListFiles(),
            SearchFiles(),
        )
        unknown = sorted(set(names).difference(tool.name for tool in tools))
        if unknown:
            raise ValueError(f"there is no tool {', '.join(unknown)}")
        self._tools = {tool.name: tool for tool in tools if tool.name in names}

    def __iter__(self) -> Iterator[Tool]:
        return iter(self._tools.values())

    @property
    def names(self) -> tuple[str, ...]:
        """What they are called."""
        return tuple(self._tools)

    @property
    def read_only(self) -> frozenset[str]:
        """The names of those that change nothing."""
        return frozenset(tool.name for tool in self if tool.read_only)

    def prepare(self, name: str, raw: str) -> Call | ToolResult:
        """The call of a tool with arguments as the model wrote them; the refusal, if it can be none.

        Nothing is carried out yet: a call is shown and made durable before that.
        """
        tool = self._tools.get(name)
        if tool is None:
            return _refusal(f"there is no tool {name[:80]!r}; there are {', '.join(self._tools)}")
        try:
            return Call(tool, parse_arguments(tool, raw))
        except SkepError as error:
            return _refusal(str(error))


@dataclasses.dataclass(frozen=True, slots=True)
class Call:
    """A tool with checked arguments, ready to run."""

    tool: Tool
    args: Arguments

    @property
    def headline(self) -> str:
        """The call in a few words for people, cleaned."""
        return self.tool.headline(self.args)

    async def run(self, here: Here) -> ToolResult:
        """Carry it out; whatever is wrong with it becomes a result that says so. The content is capped."""
        try:
            result = await self.tool.run(self.args, here)
        except SkepError as error:
            return _refusal(str(error))
        return dataclasses.replace(result, content=capped(result.content))


def _refusal(why: str) -> ToolResult:
    return ToolResult(False, capped(f"error: {why}"))
