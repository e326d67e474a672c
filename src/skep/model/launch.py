"""What a swarm is asked to be, checked before anything starts: the launch document and the spec of each driver."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from skep.model.approvals import Commands
from skep.model.children import Role
from skep.model.events import ROOT, Json
from skep.model.states import DriverKind, OnStale
from skep.providers import Provider, split_model

Seconds = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Id = Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
"""Ids become the names of files and part of the mark that processes carry."""


class _Document(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class _Spec(_Document):
    @classmethod
    def of(cls, spec: Mapping[str, Json]) -> Self:
        """The spec in an agent's record, beside which the place of its log may stand. Raises ValueError."""
        return cls.model_validate({name: value for name, value in spec.items() if name != "log"})


class CommandSpec(_Spec):
    """One program to run. ``argv`` is passed on as it is; with ``shell`` it is one line for ``/bin/sh -c``."""

    argv: tuple[str, ...] = Field(min_length=1)
    cwd: str
    shell: bool = False
    timeout: Seconds = 0.0
    """Seconds for the whole agent, all tries together; 0: no limit."""
    retries: int = Field(0, ge=0, le=1_000)
    """How many more tries after a first failure."""
    on_stale: OnStale | None = None
    """What to do when it is stale; None: as the swarm does."""

    @field_validator("on_stale")
    @classmethod
    def _reads_no_notes(cls, value: OnStale | None) -> OnStale | None:
        if value is OnStale.STEER:
            raise ValueError("a command has no model that could read a note: mark, interrupt or kill it")
        return value


class ChatSpec(_Spec):
    """One conversation with a model. Its goal stands beside it, in the agent."""

    model: str
    """``PROVIDER/MODEL``."""
    cwd: str
    """Its workspace: what its tools may see of the file system."""
    role: Role = Role.LEAF
    asked_role: Role | None = None
    """The role that was asked for, where it did not get it."""
    depth: int = Field(0, ge=0)
    """How many agents that delegated stand above it."""
    context: str = ""
    system_prompt: str = ""
    tools: tuple[str, ...] | None = None
    """The tools that it may have, those of its role unless said; None: all of them."""
    commands: Commands = Commands.DENY
    timeout: Seconds = 0.0
    """Seconds for the whole agent; 0: no limit."""
    delegate_timeout: Seconds | None = None
    """The same for those that it delegates to and that ask for nothing else; None: as the swarm does."""
    on_stale: OnStale | None = None
    """What to do when it is stale, and when those below it are; None: as the swarm does."""
    max_turns: int = Field(50, ge=1, le=100_000)

    @field_validator("model")
    @classmethod
    def _names_a_provider(cls, value: str) -> str:
        split_model(value)
        return value


class AgentAsk(_Document):
    """One agent that the operator asks for. Its spec is what its driver needs (a group needs nothing)."""

    id: Id
    parent: str = ROOT
    name: str = Field(min_length=1, max_length=500)
    driver: DriverKind = DriverKind.COMMAND
    goal: str = ""
    command: CommandSpec | None = None
    chat: ChatSpec | None = None
    log: str | None = None
    """Where its output is kept; by default ``output/<id>.log`` in the swarm's folder."""

    @model_validator(mode="after")
    def _fits_its_driver(self) -> AgentAsk:
        if (self.command is not None) != (self.driver is DriverKind.COMMAND):
            raise ValueError("a command agent has a command, the others have none")
        if (self.chat is not None) != (self.driver is DriverKind.CHAT):
            raise ValueError("a chat agent has a conversation, the others have none")
        return self


class Simulated(_Document):
    """A simulator that the engine runs for its swarm, as the demo wants it; the room says SIMULATED then."""

    scenario: Literal["demo"] = "demo"
    seed: int = 0
    speed: float = Field(1.0, gt=0, le=1_000)


class EngineSettings(_Document):
    """What an engine takes from the configuration; all times in seconds."""

    grace: Seconds = 10.0
    term_grace: Seconds = 5.0
    quiet_after: Seconds = 60.0
    idle_after: Seconds = 450.0
    in_tool_after: Seconds = 1_200.0
    on_stale: OnStale = OnStale.MARK
    """For agents that say nothing else; commands cannot be steered and are marked then."""
    output_ring_lines: int = 2_000
    output_cap_bytes: int = 16 * 1024 * 1024
    max_depth: int = Field(2, ge=0, le=1_000)
    """How many levels of agents may stand below one that the operator asked for."""
    max_agents: int = Field(1_000, ge=0)
    """Delegated agents in the whole swarm; what the operator asks for is not counted."""
    max_children: int = Field(0, ge=0)
    """Agents that one agent may delegate to; 0: no limit."""
    allow_orchestrators: bool = True
    delegate_timeout: Seconds = 0.0
    approval_timeout: Seconds = 600.0
    """Seconds after which an approval that nobody answers is denied."""
    providers: dict[str, Provider] = {}
    """Those that this swarm may use."""
    key_prefixes: tuple[str, ...] = ()
    """Where the names of variables with keys begin, of all configured providers: no program gets to see those."""
    simulated: Simulated | None = None


class Launch(_Document):
    """A whole swarm: parents stand before their children, ids are unique.

    ``root`` is the agent at the top; without one it is a group with the swarm's name.
    """

    swarm: Id
    name: str = Field(min_length=1, max_length=200)
    cwd: str
    max_running: int = Field(8, ge=1, le=10_000)
    fail_fast: bool = False
    root: AgentAsk | None = None
    agents: tuple[AgentAsk, ...] = ()
    settings: EngineSettings = EngineSettings()

    @model_validator(mode="after")
    def _is_a_tree(self) -> Launch:
        if self.root is not None and (self.root.id != ROOT or self.root.driver is DriverKind.GROUP):
            raise ValueError(f"the root has the id {ROOT} and is no group")
        if self.root is None and not self.agents:
            raise ValueError("a swarm has at least one agent")
        groups = {ROOT} if self.root is None else set()
        seen = {ROOT}
        for agent in self.agents:
            if agent.id in seen:
                raise ValueError(f"agent id {agent.id} is used twice")
            if agent.parent not in groups:
                raise ValueError(f"the parent of {agent.id} must be a group that stands before it")
            seen.add(agent.id)
            if agent.driver is DriverKind.GROUP:
                groups.add(agent.id)
        return self
