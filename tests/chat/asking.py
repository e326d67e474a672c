"""Goals that say themselves how their model answers, and agents with such goals."""

from __future__ import annotations

import json
from pathlib import Path

from skep.model.approvals import Commands
from skep.model.children import Role
from skep.model.events import ROOT, Json
from skep.model.launch import AgentAsk, ChatSpec
from skep.model.states import DriverKind

MODEL = "simulator/any"


def goal(text: str, *steps: dict[str, Json]) -> str:
    """A goal with a script for the simulator: one step a turn."""
    return f"{text}\n[[sim]]\n{json.dumps(steps)}"


def call(name: str, **arguments: Json) -> dict[str, Json]:
    """A step that calls one tool."""
    return {"call": name, "args": arguments}


def task(text: str, *steps: dict[str, Json], **fields: Json) -> dict[str, Json]:
    """A task to delegate, whose agent plays these steps."""
    return {"goal": goal(text, *steps), "name": text, **fields}


def delegate(*tasks: dict[str, Json], background: bool = False) -> dict[str, Json]:
    """A step that delegates these tasks."""
    return call("delegate", tasks=list(tasks), background=background)


def chat(
    id: str,
    *steps: dict[str, Json],
    cwd: Path,
    parent: str = ROOT,
    role: Role = Role.ORCHESTRATOR,
    commands: Commands = Commands.ALLOW,
    **spec: object,
) -> AgentAsk:
    """A chat agent of the operator's, whose model plays these steps."""
    body = {"model": MODEL, "cwd": str(cwd), "role": role, "commands": commands, **spec}
    return AgentAsk(
        id=id,
        parent=parent,
        name=id,
        driver=DriverKind.CHAT,
        goal=goal(f"goal of {id}", *steps),
        chat=ChatSpec.model_validate(body),
    )
