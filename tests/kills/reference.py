"""What has to become of a swarm whose engine died, worked out from its events by other means than the engine's."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from skep.model.events import (
    ROOT,
    AgentAdmitted,
    AgentEnded,
    AgentQueued,
    AgentStopping,
    AgentWaiting,
    AttemptStruck,
    BranchReopened,
    BranchShut,
    LatchClosed,
    LatchOpened,
    MessageAdded,
    Record,
    Reopened,
    SwarmEnded,
    ToolEnded,
    TurnCompleted,
)
from skep.model.states import DriverKind, State, Strength, WaitReason


@dataclass
class Story:
    """What a list of events says, gathered plainly."""

    asked: dict[str, AgentQueued] = field(default_factory=dict)
    admitted: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    ends: dict[str, AgentEnded] = field(default_factory=dict)
    line: list[str] = field(default_factory=list)
    """Who waits for a slot and has nothing running, in no particular order."""
    stopping: dict[str, State] = field(default_factory=dict)
    shuts: dict[str, BranchShut] = field(default_factory=dict)
    open: dict[str, dict[str, str]] = field(default_factory=lambda: defaultdict(dict))
    """Calls of an agent that have no result."""
    latches: dict[tuple[str, Strength], tuple[float, LatchClosed]] = field(default_factory=dict)
    tokens: list[tuple[str, int, int, int]] = field(default_factory=list)
    """Agent, tokens in, tokens out and micro-dollars of each turn or struck attempt."""
    turns: dict[str, list[TurnCompleted]] = field(default_factory=lambda: defaultdict(list))
    talk: dict[str, list[TurnCompleted | ToolEnded | MessageAdded]] = field(
        default_factory=lambda: defaultdict(list)
    )
    resumed_by: dict[str, str] = field(default_factory=dict)
    status: str | None = None

    @classmethod
    def of(cls, records: Iterable[Record]) -> Story:
        story = cls()
        for record in records:
            story._take(record)
        return story

    def _take(self, record: Record) -> None:
        match record.event:
            case AgentQueued(agent=agent, driver=driver, resumes=resumes) as event:
                self.asked[agent] = event
                if driver is not DriverKind.GROUP:
                    self.line.append(agent)
                if resumes:
                    self.resumed_by[resumes] = agent
            case AgentAdmitted(agent=agent):
                self.admitted[agent] += 1
                self.line.remove(agent)
            case AgentWaiting(agent=agent, reason=WaitReason.SLOT):
                self.line.append(agent)
            case AgentEnded(agent=agent) as event:
                self.ends[agent] = event
                if agent in self.line:
                    self.line.remove(agent)
                self.shuts.pop(agent, None)
                for strength in Strength:
                    self.latches.pop((agent, strength), None)
            case Reopened(agent=agent):
                self.ends.pop(agent, None)
                self.status = None if agent == ROOT else self.status
            case SwarmEnded(status=status):
                self.status = status
                self.latches.clear()
            case AgentStopping(agent=agent, verb=verb):
                self.stopping[agent] = verb.end
            case BranchShut(agent=agent) as event:
                self.shuts[agent] = event
            case BranchReopened(agent=agent):
                self.shuts.pop(agent)
            case LatchClosed(scope=scope, strength=strength) as event:
                since, _ = self.latches.get((scope, strength), (record.time, event))
                self.latches[scope, strength] = since, event
            case LatchOpened(scope=scope, strength=strength):
                del self.latches[scope, strength]
            case TurnCompleted(agent=agent) as event:
                self.turns[agent].append(event)
                self.talk[agent].append(event)
                self.open[agent] = dict(event.calls)
                self.tokens.append((agent, event.tokens_in, event.tokens_out, event.cost or 0))
            case AttemptStruck(agent=agent) as event:
                self.tokens.append((agent, event.tokens_in, event.tokens_out, event.cost or 0))
            case ToolEnded(agent=agent, call=call) as event:
                self.open[agent].pop(call, None)
                self.talk[agent].append(event)
            case MessageAdded(agent=agent) as event:
                self.talk[agent].append(event)

    def above(self, agent: str) -> Iterator[str]:
        """The agent and all above it."""
        at: str | None = agent
        while at is not None:
            yield at
            at = self.asked[at].parent

    def chain(self, agent: str) -> list[str]:
        """The agent and all that it goes on from, oldest first."""
        older = [agent]
        while resumes := self.asked[older[-1]].resumes:
            older.append(resumes)
        return older[::-1]

    def newest(self, agent: str) -> str:
        while agent in self.resumed_by:
            agent = self.resumed_by[agent]
        return agent

    def after_a_crash(self) -> dict[str, State | None]:
        """What becomes of each agent that is no group, when its engine dies here; None for one that waits on."""
        return {
            agent: self.ends[agent].state if agent in self.ends else self._lost(agent)
            for agent, asked in self.asked.items()
            if asked.driver is not DriverKind.GROUP
        }

    def _lost(self, agent: str) -> State | None:
        asked = self.asked[agent]
        if agent in self.line and (asked.driver is DriverKind.COMMAND or not self.admitted[agent]):
            for above in self.above(agent):
                shut = self.shuts.get(above)
                if shut is not None and (shut.branch or above == agent):
                    return shut.verb.end
            asking = [one for one in self.above(agent) if self.asked[one].driver is not DriverKind.GROUP]
            return State.INTERRUPTED if any(one in self.stopping for one in asking) else None
        return self.stopping.get(agent, State.LOST)

    def conversation(self, agent: str) -> list[tuple[str, str]]:
        """Role and text of what was said and done, as a provider has to be sent it after everything in here."""
        said: list[tuple[str, str]] = [("user", self.asked[agent].goal)]
        calls: list[str] = []
        results: dict[str, str] = {}
        told: list[str] = []

        def settle() -> None:
            said.extend(("tool", results[call]) for call in calls)
            said.extend(("user", text) for text in told)
            calls.clear()
            results.clear()
            told.clear()

        for note in (note for one in self.chain(agent) for note in self.talk[one]):
            match note:
                case TurnCompleted(message=message):
                    settle()
                    said.append(("assistant", str(message["content"])))
                    calls.extend(_ids(message.get("tool_calls")))
                case ToolEnded(call=call, content=content):
                    results[call] = content
                case MessageAdded(content=content):
                    told.append(content)
        settle()
        return said


def _ids(calls: object) -> Sequence[str]:
    return [str(call["id"]) for call in calls] if isinstance(calls, list) else []
