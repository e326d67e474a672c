"""A swarm told as a story: who was asked for, who ran, who ended, and how long ago."""

from __future__ import annotations

from skep.clock import VirtualClock
from skep.model.agent import Live
from skep.model.approvals import Commands, Question
from skep.model.children import Role
from skep.model.events import (
    ROOT,
    AgentAdmitted,
    AgentEnded,
    AgentQueued,
    AgentRunning,
    AgentWaiting,
    ApprovalAsked,
    EngineStarted,
    Event,
    Record,
    SwarmCreated,
    TurnCompleted,
)
from skep.model.launch import ChatSpec, CommandSpec
from skep.model.registry import Registry
from skep.model.states import DriverKind, State, WaitReason
from skep.text import clean_line

SCENE_NOW = 1_700_002_520.0
"""The moment of every scene: 42 minutes after its swarm was created."""

AGE = 2_520.0


def scene_clock() -> VirtualClock:
    """A clock that stands at the moment of the scenes."""
    return VirtualClock(SCENE_NOW)


class Story:
    """A swarm told in any order; every moment is given as seconds before :data:`SCENE_NOW`."""

    def __init__(
        self,
        name: str = "check-billing",
        slots: int = 8,
        age: float = AGE,
        *,
        goal: str = "",
        simulated: bool = False,
    ) -> None:
        """With a goal the root is a chat agent that orchestrates, else a group."""
        self.age = age
        self._turns: dict[str, int] = {}
        self._told: list[tuple[float, int, Event]] = []
        self._live: list[tuple[str, Live]] = []
        created = SwarmCreated("s-7f3a", name, "/home/ana/billing", slots, version="0.1.0", simulated=simulated)
        self.tell(age, created)
        self.tell(age, EngineStarted(4100))
        if goal:
            self.chat(ROOT, None, goal=goal, name=name, role=Role.ORCHESTRATOR)
        else:
            self.tell(age, AgentQueued(ROOT, None, name, DriverKind.GROUP, "", {}))

    def tell(self, ago: float, event: Event) -> None:
        """One event, so many seconds ago; those of the same moment keep the order of telling."""
        self._told.append((SCENE_NOW - ago, len(self._told), event))

    def group(self, agent: str, parent: str = ROOT, *, name: str | None = None) -> None:
        """A branch that only holds others."""
        self.tell(self.age, AgentQueued(agent, parent, name or agent, DriverKind.GROUP, "", {}))

    def queued(
        self, agent: str, parent: str = ROOT, *, command: str = "", name: str | None = None, retries: int = 0
    ) -> None:
        """A command agent that stands in line since the beginning."""
        argv = tuple((command or f"python -m pytest -q tests/{agent}").split())
        spec = CommandSpec(argv=argv, cwd="/home/ana/billing", retries=retries).model_dump(mode="json")
        goal = " ".join(argv)
        self.tell(self.age, AgentQueued(agent, parent, name or agent, DriverKind.COMMAND, goal, spec))

    def chat(
        self,
        agent: str,
        parent: str | None = ROOT,
        *,
        goal: str = "",
        name: str | None = None,
        role: Role = Role.LEAF,
        asked_role: Role | None = None,
        ago: float | None = None,
        model: str = "moonshot/kimi-k2",
    ) -> None:
        """A chat agent that stands in line, by default since the beginning."""
        spec = ChatSpec(
            model=model,
            cwd="/home/ana/billing",
            role=role,
            asked_role=asked_role,
            commands=Commands.ASK,
        ).model_dump(mode="json")
        said = goal or f"see to {agent}"
        at = self.age if ago is None else ago
        self.tell(at, AgentQueued(agent, parent, name or agent, DriverKind.CHAT, said, spec))

    def turns(self, agent: str, count: int, used: int, cost: int | None, key: str, *, ago: float) -> None:
        """It made so many turns, which used so many tokens and micro-dollars (None: no known price) in all."""
        for at in range(count):
            turn = self._turns[agent] = self._turns.get(agent, 0) + 1
            tokens = used // count + (used % count if at == 0 else 0)
            price = None if cost is None else cost // count + (cost % count if at == 0 else 0)
            out = tokens // 8
            said = {"role": "assistant", "content": ""}
            self.tell(ago, TurnCompleted(agent, turn, said, "tool_calls", key, tokens - out, out, cost=price))

    def talks(self, agent: str, activity: str, key: str, *, since: float = 0.0, tool: bool = False) -> None:
        """What it does in its present turn, for so many seconds, over which key; in a tool or with its model."""
        turn = self._turns.get(agent, 0) + 1
        began = SCENE_NOW - since if since else 0.0
        live = Live(activity, SCENE_NOW - 1, 40, 2_000, turn=turn, key=key, since=began, in_tool=tool)
        self._live.append((agent, live))

    def asks(self, agent: str, ago: float, command: str, *, patience: float = 600.0) -> None:
        """It wants to run a command, and waits for an answer."""
        about = Question.about(
            "terminal",
            f"$ {clean_line(command)}",
            {"agent": agent, "command": command, "cwd": "/home/ana/billing", "timeout": 120.0},
        )
        self.tell(ago, AgentWaiting(agent, WaitReason.APPROVAL, about.headline))
        until = SCENE_NOW - ago + patience
        asked = ApprovalAsked(agent, about.hash, about.tool, about.headline, about.detail, until)
        self.tell(ago, asked)

    def started(self, agent: str, ago: float) -> None:
        """It got a slot."""
        self.tell(ago, AgentAdmitted(agent))

    def running(self, agent: str, ago: float, activity: str = "", lines: int = 0, size: int = 0) -> None:
        """It got a slot and runs; with an activity line, output has been seen."""
        self.started(agent, ago)
        self.tell(ago, AgentRunning(agent, (4200 + len(self._told),)))
        if activity:
            self.output(agent, activity, lines, size)

    def output(self, agent: str, activity: str, lines: int, size: int) -> None:
        """Its newest line and how much it has written."""
        self._live.append((agent, Live(activity, SCENE_NOW - 1, lines, size)))

    def ended(
        self,
        agent: str,
        ago: float,
        state: State = State.DONE,
        *,
        code: int | None = 0,
        signal: int | None = None,
        error: str | None = None,
        result: str | None = None,
        lines: int = 0,
        size: int = 0,
    ) -> None:
        """It is over."""
        self.tell(ago, AgentEnded(agent, state, code, signal, error, result, lines, size))

    def failed(self, agent: str, ago: float, code: int, last: str, *, lines: int, size: int) -> None:
        """It ended by itself with this exit code; ``last`` is its last line of output."""
        self.ended(agent, ago, State.FAILED, code=code, error=f"exit {code}", result=last, lines=lines, size=size)

    def registry(self) -> Registry:
        """The registry that all of this folds into."""
        registry = Registry()
        told = sorted(self._told, key=lambda one: one[:2])
        registry.fold(Record(seq, time, event) for seq, (time, _, event) in enumerate(told, 1))
        registry.tell_live(self._live)
        return registry
