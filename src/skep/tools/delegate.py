"""``delegate``: children for parts of the work; what the model asks for becomes tasks, their reports one text."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

from skep.model.children import DelegateLimits, Role, Task
from skep.model.events import Json
from skep.text import clean_line
from skep.tools import arguments
from skep.tools.base import Arguments, Here, ToolResult
from skep.tools.faults import ToolFault
from skep.tools.reports import result_text

__all__ = ["Delegate", "result_text", "tasks_of"]

MOST_SECONDS = 30 * 24 * 3600.0
"""The longest timeout of a child."""

MOST_TURNS = 100_000
"""The highest turn limit of a child."""

_NAME_LIMIT = 200


@dataclass(frozen=True, slots=True)
class Delegate:
    """Tells a model what it may ask for, and makes tasks of what it asks; the engine decides if they may be."""

    limits: Callable[[], DelegateLimits]
    """What the caller may ask for now."""
    name: str = "delegate"
    read_only: bool = False

    @property
    def description(self) -> str:
        """What it does, with the caller's limits at this moment."""
        return (
            "Give parts of the work to child agents: one goal, or tasks for several at once, each with the same "
            "fields. A child starts fresh and knows only its goal and context. Waits for all and gives their "
            "results in order; with background true it returns at once and the results come later. "
            f"{_limits(self.limits())}"
        )

    def parameters(self) -> dict[str, Json]:
        """The fields of one task, or tasks; and background."""
        limits = self.limits()
        background: Json = {
            "type": "boolean",
            "description": "return at once; the results come as a message when all have ended",
        }
        tasks: Json = {
            "type": "array",
            "description": "several children at once, instead of goal",
            "items": {"type": "object", "properties": _fields(limits), "required": ["goal"]},
        }
        return {"type": "object", "properties": {**_fields(limits), "tasks": tasks, "background": background}}

    def headline(self, args: Arguments) -> str:
        """``delegate 3 tasks``, ``delegate read the parser``."""
        tasks = args.get("tasks")
        if isinstance(tasks, list):
            return f"delegate {len(tasks)} task{'' if len(tasks) == 1 else 's'}"
        return clean_line(f"delegate {args.get('name') or args.get('goal') or ''}", limit=200)

    async def run(self, args: Arguments, here: Here) -> ToolResult:
        """Ask for the children; a child that fails does not make the call a failure."""
        return ToolResult(True, await here.delegate(tasks_of(args), background=args.get("background") is True))


def tasks_of(args: Arguments) -> tuple[Task, ...]:
    """The tasks of a call, in their order.

    Raises:
        ToolFault: it has none, or both forms at once, or a field that cannot be; named as ``tasks[3].goal``.
    """
    if "tasks" not in args:
        if "goal" not in args:
            raise ToolFault("is missing", where="goal", mend="give a goal, or tasks with a goal each")
        return (_task(args, ""),)
    for name in args:
        if name not in ("tasks", "background"):
            raise ToolFault("cannot stand beside tasks", where=name, mend="put it into each task")
    tasks = args["tasks"]
    if not isinstance(tasks, list):
        raise ToolFault("must be a list", where="tasks")
    if not tasks:
        raise ToolFault("is empty", where="tasks", mend="give at least one task, or a goal")
    found = []
    for place, task in enumerate(tasks):
        if not isinstance(task, dict):
            raise ToolFault("must be an object", where=f"tasks[{place}]")
        found.append(_task(task, f"tasks[{place}]."))
    return tuple(found)


def _task(fields: Arguments, where: str) -> Task:
    try:
        tools = fields.get("tools")
        return Task(
            goal=arguments.text(fields, "goal"),
            name=_name(fields),
            context=arguments.optional_text(fields, "context"),
            role=Role(arguments.optional_text(fields, "role") or Role.LEAF),
            model=arguments.optional_text(fields, "model") or None,
            tools=tuple(map(str, tools)) if isinstance(tools, list) else None,
            system_prompt=arguments.optional_text(fields, "system_prompt"),
            timeout=arguments.number(fields, "timeout", least=0.0, most=MOST_SECONDS),
            cwd=arguments.optional_text(fields, "cwd") or None,
            max_turns=arguments.integer(fields, "max_turns", least=1, most=MOST_TURNS),
        )
    except ToolFault as fault:
        raise ToolFault(fault.what, where=f"{where}{fault.where}", why=fault.why, mend=fault.mend) from None


def _name(fields: Arguments) -> str | None:
    name = (arguments.optional_text(fields, "name") or "").strip()
    if len(name) > _NAME_LIMIT:
        raise ToolFault(f"must have at most {_NAME_LIMIT} characters", where="name")
    return name or None


def _limits(limits: DelegateLimits) -> str:
    said = [f"You stand at depth {limits.depth} of {limits.max_depth} (max_depth)."]
    if limits.child_may_orchestrate:
        said.append("A child with the role orchestrator may delegate in turn.")
    else:
        said.append("Every child is a leaf here, whatever role it is given: it cannot delegate.")
    if limits.slots is not None:
        said.append(f"{limits.slots} agents run at once; more wait in line and are not refused.")
    for name, left in (("max_agents", limits.agents_left), ("max_children", limits.children_left)):
        if left is not None:
            said.append(f"You may ask for {left:,} more children ({name}).")
    return " ".join(said)


def _fields(limits: DelegateLimits) -> dict[str, Json]:
    tool: dict[str, Json] = {"type": "string"}
    if limits.tools:
        tool["enum"] = list(limits.tools)
    # What is described here is checked again for each task: a schema cannot say all of it.
    return {
        "goal": _text("what the child shall achieve, in full: it knows nothing else"),
        "name": _text("a short name to show for it"),
        "context": _text("what it must know besides: findings, paths, decisions"),
        "role": {
            "type": "string",
            "enum": cast("list[Json]", [str(role) for role in Role]),
            "description": "leaf (default), or orchestrator: may delegate itself where the depth allows it",
        },
        "model": _text("PROVIDER/MODEL; default yours"),
        "tools": {"type": "array", "items": tool, "description": "the tools it may use, of yours; default all"},
        "system_prompt": _text("added to its usual system prompt"),
        "timeout": {"type": "number", "description": "seconds that it may run; 0: no limit"},
        "cwd": _text("its folder, below your workspace; default yours"),
        "max_turns": {"type": "integer", "description": "model calls that it may make"},
    }


def _text(description: str) -> Json:
    return {"type": "string", "description": description}
