"""Agents that agents ask for: limits checked, children queued in one decision, results kept until read."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from pydantic import ValidationError

from skep.engine.ledger import Decision, Ledger
from skep.engine.seats import Seats
from skep.errors import BadInput, Refused
from skep.model.agent import Agent
from skep.model.children import ChildReport, DelegateLimits, Role, Task, ToolTrace
from skep.model.events import AgentQueued, Json
from skep.model.launch import ChatSpec, EngineSettings
from skep.model.permits import Ended
from skep.model.states import DriverKind, State
from skep.model.swarm import SwarmState
from skep.providers import split_model
from skep.text import clean_line, cut_middle
from skep.tools.toolbox import ALL, granted

NAME_CELLS = 40
"""Most terminal cells of a name that is made from a goal."""

_MOST_DELEGATED_AT_ONCE = 1_000


class Delegation:
    """Every agent that another one asked for; who asked, waits for their ends here (in the engine's loop).

    What takes a decision is called inside of it, in any thread.
    """

    def __init__(self, ledger: Ledger, settings: EngineSettings, seats: Seats) -> None:
        self._ledger = ledger
        self._settings = settings
        self._seats = seats
        self._ends: dict[str, asyncio.Event] = {}
        self._left: dict[str, Ended] = {}
        self._delegated = -1  # counted when somebody asks for the first time: the swarm may have been taken over

    def limits(self, agent: str) -> DelegateLimits:
        """What this agent may ask for at this moment."""
        with self._ledger.registry.read() as state:
            return self._limits(state, state.agents[agent])

    def spawn(self, decision: Decision, agent: str, tasks: Sequence[Task]) -> list[str]:
        """Queue the children of a running agent, all or none; returns their ids in the order of the tasks.

        Raises Refused for limits, BadInput for a task that cannot be.
        """
        state = decision.state
        parent = state.agents[agent]
        spec = chat_spec(parent)
        self._check_limits(self._limits(state, parent), parent, spec, len(tasks))
        children = [self._child_of(spec, task, number) for number, task in enumerate(tasks)]
        taken = {state.agents[child].name for child in parent.children}
        ids: list[str] = []
        for task, child in zip(tasks, children, strict=True):
            name = next_id(state)
            shown = unique_name(_name_of(task), taken)
            taken.add(shown)
            body = child.model_dump(mode="json", exclude_defaults=True)
            decision.emit(AgentQueued(name, parent.id, shown, DriverKind.CHAT, task.goal, body))
            self._ends[name] = asyncio.Event()
            ids.append(name)
        self._delegated += len(ids)
        return ids

    async def children(self, ids: Sequence[str]) -> list[ChildReport]:
        """Wait until all of these have ended; what each of them left, in the same order."""
        for ended in [self._ends[child] for child in ids if child in self._ends]:
            await ended.wait()
        with self._ledger.registry.read() as state:
            return [_report(state.agents[child], self._left.get(child)) for child in ids]

    def expect(self, ids: Sequence[str]) -> None:
        """Somebody will wait for agents that another one had asked for; inside of a decision, before they end."""
        for child in ids:
            self._ends.setdefault(child, asyncio.Event())

    def ended(self, decision: Decision, agent: str, end: Ended | None) -> None:
        """An agent has ended: whoever asked for it is told once that is durable; its children are forgotten."""
        for child in decision.state.agents[agent].children:
            self._ends.pop(child, None)
            self._left.pop(child, None)
        event = self._ends.get(agent)
        if event is None:
            return
        if end is not None:
            self._left[agent] = end

        async def tell() -> None:
            event.set()

        decision.then(tell)

    def _limits(self, state: SwarmState, parent: Agent) -> DelegateLimits:
        settings = self._settings
        spec = chat_spec(parent)
        if self._delegated < 0:
            self._delegated = sum(bool(one.spec.get("depth")) for one in state.agents.values())
        return DelegateLimits(
            depth=spec.depth,
            max_depth=settings.max_depth,
            may_orchestrate=settings.allow_orchestrators,
            slots=state.max_running,
            agents_left=max(0, settings.max_agents - self._delegated),
            children_left=max(0, settings.max_children - len(parent.children)) if settings.max_children else None,
            tools=spec.tools if spec.tools is not None else ALL,
        )

    def _check_limits(self, limits: DelegateLimits, parent: Agent, spec: ChatSpec, count: int) -> None:
        if spec.role is not Role.ORCHESTRATOR:
            raise Refused(f"{parent.name} may not delegate", why="it is a leaf")
        if limits.depth_left < 1:
            raise Refused(
                f"{parent.name} may not delegate",
                why=f"it stands at depth {limits.depth}, and max_depth is {limits.max_depth}",
                mend="the operator can raise it: --max-depth, or max_depth in the configuration",
            )
        for left, name, option in (
            (limits.agents_left, f"max_agents {self._settings.max_agents}", "max_agents"),
            (limits.children_left, f"max_children {self._settings.max_children}", "max_children"),
            (_MOST_DELEGATED_AT_ONCE, f"{_MOST_DELEGATED_AT_ONCE} tasks at once", ""),
        ):
            if left is not None and count > left:
                raise Refused(
                    f"{count} agents are {count - left} too many",
                    why=f"the limit is {name}",
                    mend=f"ask for fewer; the operator can raise {option} in the configuration"
                    if option
                    else "ask for fewer at once",
                )

    def _child_of(self, parent: ChatSpec, task: Task, number: int) -> ChatSpec:
        model = task.model or parent.model
        depth = parent.depth + 1
        may = self._settings.allow_orchestrators and depth < self._settings.max_depth
        role = task.role if may else Role.LEAF
        try:
            provider = split_model(model)[0]
            if provider not in self._settings.providers:
                known = ", ".join(sorted(self._settings.providers)) or "none"
                raise ValueError(f"no provider {provider} is set up for this swarm, only {known}")
            return ChatSpec(
                model=model,
                cwd=task.cwd or parent.cwd,
                role=role,
                asked_role=task.role if task.role is not role else None,
                depth=depth,
                context=task.context or "",
                system_prompt=task.system_prompt or "",
                tools=granted(parent.tools if parent.tools is not None else ALL, task.tools, role),
                commands=parent.commands,
                timeout=self._time_for(parent, task),
                delegate_timeout=parent.delegate_timeout,
                on_stale=parent.on_stale,
                max_turns=min(parent.max_turns, task.max_turns or parent.max_turns),
            )
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            place = ".".join(str(part) for part in first["loc"])
            raise BadInput("a task cannot be", where=f"tasks[{number}].{place}", why=first["msg"]) from error
        except ValueError as error:
            raise BadInput("a task cannot be", where=f"tasks[{number}].model", why=str(error)) from error

    def _time_for(self, parent: ChatSpec, task: Task) -> float:
        """Seconds for a child, 0 for no limit: as its call says, else its parent's definition, else the settings
        (which took ``SKEP_DELEGATE_TIMEOUT`` before the configuration).
        """
        for said in (task.timeout, parent.delegate_timeout):
            if said is not None:
                return said
        return self._settings.delegate_timeout


def chat_spec(agent: Agent) -> ChatSpec:
    """The spec of a chat agent. Raises Refused for any other."""
    if agent.driver is not DriverKind.CHAT:
        raise Refused(f"{agent.name} is no chat agent")
    return ChatSpec.of(agent.spec)


def _name_of(task: Task) -> str:
    first = next((line for line in (task.name or task.goal).splitlines() if line.strip()), "")
    return cut_middle(clean_line(first.strip(), limit=200), NAME_CELLS) or "agent"


def next_id(state: SwarmState) -> str:
    """An id that no agent of the swarm has."""
    number = len(state.agents)
    while (name := f"a{number}") in state.agents:
        number += 1
    return name


def unique_name(name: str, taken: set[str]) -> str:
    """Siblings can be told apart: the second of a name gets a number."""
    if name not in taken:
        return name
    number = 2
    while f"{name} {number}" in taken:
        number += 1
    return f"{name} {number}"


def _report(one: Agent, end: Ended | None) -> ChildReport:
    left = end.report if end is not None and end.report is not None else {}
    ended_at = one.ended_at if one.ended_at is not None else one.since
    return ChildReport(
        status=one.state,
        summary=one.result or "",
        error=one.error,
        turns=one.turns,
        tokens_in=one.tokens_in,
        tokens_out=one.tokens_out,
        cost=None if one.unpriced else one.cost,
        seconds=round(ended_at - one.queued_at, 3),
        model=one.model,
        key=one.key or None,
        trace=tuple(_trace(entry) for entry in _list(left.get("trace"))),
        files_read=tuple(str(path) for path in _list(left.get("files_read"))),
        files_written=tuple(str(path) for path in _list(left.get("files_written"))),
        exit_reason=_exit_reason(one, left),
        session=one.id,
        name=one.name,
        full=str(left["full"]) if left.get("full") else None,
    )


def _exit_reason(one: Agent, left: dict[str, Json]) -> str:
    if one.state is State.DONE or one.state is State.OVER_LIMIT:
        return str(left.get("exit_reason") or one.state.value)
    return one.stop_cause or one.error or one.state.value


def _trace(entry: Json) -> ToolTrace:
    name, ok, chars = _list(entry)
    return ToolTrace(str(name), bool(ok), chars if isinstance(chars, int) else 0)


def _list(value: Json) -> list[Json]:
    return value if isinstance(value, list) else []
