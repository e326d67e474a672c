"""What a swarm is asked to be, checked before anything starts: the launch document and the spec of each driver."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, model_validator

from skep.model.events import ROOT
from skep.model.states import DriverKind

Seconds = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Id = Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
"""Ids become the names of files and part of the mark that processes carry."""


class _Document(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class CommandSpec(_Document):
    """One program to run. ``argv`` is passed on as it is; with ``shell`` it is one line for ``/bin/sh -c``."""

    argv: tuple[str, ...] = Field(min_length=1)
    cwd: str
    shell: bool = False
    timeout: Seconds = 0.0
    """Seconds for the whole agent, all tries together; 0: no limit."""
    retries: int = Field(0, ge=0, le=1_000)
    """How many more tries after a first failure."""


class AgentAsk(_Document):
    """One agent that the operator asks for. ``spec`` is what its driver needs (a group needs nothing)."""

    id: Id
    parent: str = ROOT
    name: str = Field(min_length=1, max_length=500)
    driver: DriverKind = DriverKind.COMMAND
    goal: str = ""
    command: CommandSpec | None = None
    log: str | None = None
    """Where its output is kept; by default ``output/<id>.log`` in the swarm's folder."""

    @model_validator(mode="after")
    def _fits_its_driver(self) -> AgentAsk:
        if (self.command is not None) != (self.driver is DriverKind.COMMAND):
            raise ValueError("a command agent has a command, a group has none")
        return self


class EngineSettings(_Document):
    """What an engine takes from the configuration; all times in seconds."""

    grace: Seconds = 10.0
    term_grace: Seconds = 5.0
    quiet_after: Seconds = 60.0
    idle_after: Seconds = 450.0
    in_tool_after: Seconds = 1_200.0
    on_stale: str = "mark"
    output_ring_lines: int = 2_000
    output_cap_bytes: int = 16 * 1024 * 1024


class Launch(_Document):
    """A whole swarm: parents stand before their children, ids are unique."""

    swarm: Id
    name: str = Field(min_length=1, max_length=200)
    cwd: str
    max_running: int = Field(8, ge=1, le=10_000)
    fail_fast: bool = False
    agents: tuple[AgentAsk, ...] = Field(min_length=1)
    settings: EngineSettings = EngineSettings()

    @model_validator(mode="after")
    def _is_a_tree(self) -> Launch:
        groups = {ROOT}
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
