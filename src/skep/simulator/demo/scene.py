"""What an agent of the demo has before it when it is asked: who it is, what it was sent, and how it may answer."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from skep.simulator.behaviour import Call, Conversation, Fault, Json, Pace, Reply
from skep.simulator.demo.plan import Persona, Plan, Trade
from skep.simulator.demo.reading import Child, children


@dataclass(frozen=True, slots=True)
class Scene:
    """One turn of one agent."""

    plan: Plan
    persona: Persona
    conversation: Conversation
    speed: float
    dice: random.Random
    """They fall the same way for the same seed, agent and turn."""

    @property
    def last(self) -> str:
        """All results of the last turn, one after the other."""
        return "\n".join(result.content for result in self.conversation.results)

    def earlier(self, tool: str) -> str:
        """Return the newest result of a tool in the whole conversation."""
        told = [content for name, content in _told(self.conversation) if name == tool]
        return told[-1] if told else ""

    def delegated(self) -> list[Child]:
        """Return what the agent's children came to, as far as it was told: as results or, later, in a message."""
        return [
            child
            for name, content in _told(self.conversation)
            if name in ("delegate", "")
            for child in children(content)
        ]

    def act(self, text: str, *calls: Call, think: str = "", fault: Fault | None = None) -> Reply:
        """Return a turn that calls tools, at a pace that is pleasant to watch."""
        return Reply(text=text, thinking=think, calls=calls, fault=fault, pace=self._pace())

    def answer(self, text: str, think: str = "") -> Reply:
        """Return the last turn: an answer."""
        return Reply(text=text, thinking=think, pace=self._pace())

    def choose(self, *texts: str) -> str:
        """Return one of some ways to say the same."""
        return self.dice.choice(texts)

    def _pace(self) -> Pace:
        return Pace(first_token=self.dice.uniform(0.3, 1.5), rate=self.dice.uniform(25.0, 60.0))


def _told(conversation: Conversation) -> Iterator[tuple[str, str]]:
    """Yield the results of the tools with their names, and what the user said after the goal with no name."""
    names: dict[str, str] = {}
    is_goal = True
    for message in conversation.messages:
        content = message.get("content")
        text = content if isinstance(content, str) else ""
        match message.get("role"):
            case "assistant":
                names.update(_names(message.get("tool_calls")))
            case "tool":
                yield names.get(str(message.get("tool_call_id")), "?"), text
            case "user":
                if not is_goal:
                    yield "", text
                is_goal = False


def _names(calls: Json) -> Iterator[tuple[str, str]]:
    """Yield the ids of calls and the tools that they call."""
    for call in calls if isinstance(calls, Sequence) else ():
        function = call.get("function") if isinstance(call, Mapping) else None
        if isinstance(call, Mapping) and isinstance(function, Mapping):
            yield str(call.get("id")), str(function.get("name"))


Step: TypeAlias = Callable[[Scene], Reply]


def look(path: str) -> Call:
    """List a folder."""
    return Call("list_files", {"path": path})


def read(path: str) -> Call:
    """Read a file."""
    return Call("read_file", {"path": path})


def search(pattern: str, path: str, glob: str = "*.py") -> Call:
    """Search the files of a folder for a regular expression."""
    return Call("search_files", {"pattern": pattern, "path": path, "glob": glob})


def write(path: str, content: str) -> Call:
    """Write a file."""
    return Call("write_file", {"path": path, "content": content})


def shell(command: str, cwd: str = ".", timeout: int = 120) -> Call:
    """Run a command in a folder, for so many seconds at most."""
    return Call("terminal", {"command": command, "cwd": cwd, "timeout": timeout})


def delegate(personas: Iterable[Persona], *, background: bool = False) -> Call:
    """Ask for agents, all in one call."""
    tasks: list[Json] = [_task(persona) for persona in personas]
    return Call("delegate", {"tasks": tasks, "background": True} if background else {"tasks": tasks})


def _task(persona: Persona) -> dict[str, Json]:
    task: dict[str, Json] = {"name": persona.name, "goal": persona.goal}
    return {**task, "role": "orchestrator"} if persona.trade is Trade.LEAD else task


def bullets(lines: Iterable[str]) -> str:
    """Return lines as a list in Markdown."""
    return "\n".join(f"- {line}" for line in lines)


def several(number: int, noun: str) -> str:
    """Return a number and its noun: `1 note`, `3 notes`."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
