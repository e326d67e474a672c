"""Every setting: its name, its type, its default, and what it is for."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from skep.config.durations import parse_duration
from skep.errors import BadInput
from skep.providers import NAME, READY, Provider, split_model


def _as_seconds(value: object) -> object:
    if isinstance(value, str):
        try:
            return parse_duration(value)
        except BadInput as error:
            raise ValueError(f"{error.what}; {error.mend}") from error
    return _no_flag(value)


def _no_flag(value: object) -> object:
    if isinstance(value, bool):
        raise ValueError("a number is needed, not true or false")  # noqa: TRY004 (what pydantic collects)
    return value


def _as_list(value: object) -> object:
    return [key.strip() for key in value.split(",")] if isinstance(value, str) else value


def _names_a_model(value: str) -> str:
    split_model(value)
    return value


def _names_a_provider(value: str) -> str:
    if not NAME.fullmatch(value):
        raise ValueError("a provider is named by up to 32 letters, digits, - and _")
    return value


Seconds = Annotated[float, BeforeValidator(_as_seconds), Field(ge=0, allow_inf_nan=False)]
Count = Annotated[int, BeforeValidator(_no_flag), Field(ge=0)]
KeyNames = Annotated[list[str], BeforeValidator(_as_list)]
ModelName = Annotated[str, AfterValidator(_names_a_model)]
ProviderName = Annotated[str, AfterValidator(_names_a_provider)]


class RoomConfig(BaseModel):
    """How the room looks, and which keys it listens to."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    theme: str = Field("skep-dark", min_length=1, description="name of the room's colour theme")
    ascii: bool | None = Field(None, description="draw with ASCII only; unset: as the locale and terminal allow")
    compact: bool = Field(False, description="leave out what is not a row of data")
    keys: dict[str, KeyNames] = Field(default_factory=dict, description="other keys for an act, by its binding id")


class Config(BaseModel):
    """The effective settings. Times are in seconds; files and variables may also say ``10m`` or ``1h30m``."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    max_running: Count = Field(8, ge=1, le=10_000, description="agents that run at once (slots)")
    timeout: Seconds = Field(0.0, description="seconds that one agent may run; 0 = no limit")
    retries: Count = Field(0, le=1_000, description="further tries of an agent that failed")
    grace: Seconds = Field(10.0, description="seconds between a soft interrupt and the cancel that follows it")
    term_grace: Seconds = Field(5.0, description="seconds between SIGTERM and SIGKILL for a command")
    window: Seconds = Field(5.0, description="seconds in which the room can take an interrupt back")
    quiet_after: Seconds = Field(60.0, description="seconds without progress until an agent counts as quiet")
    idle_after: Seconds = Field(450.0, description="seconds without progress until an agent counts as stale")
    in_tool_after: Seconds = Field(1200.0, description="the same as idle_after, while a tool or command runs")
    on_stale: Literal["mark", "steer", "interrupt", "kill"] = Field(
        "mark", description="what to do with a stale agent: mark, steer (commands: mark), interrupt or kill"
    )
    output_ring_lines: Count = Field(2000, ge=1, description="lines of output kept in memory for each agent")
    output_cap_bytes: Count = Field(16 * 1024 * 1024, description="bytes of output kept on disk for each agent")
    model: ModelName | None = Field(None, description="what agents think with, as PROVIDER/MODEL")
    max_turns: Count = Field(50, ge=1, le=100_000, description="turns that a chat agent may take")
    max_depth: Count = Field(2, le=1_000, description="levels of agents below one that you asked for")
    max_agents: Count = Field(1_000, description="agents that may be delegated in one swarm")
    max_children: Count = Field(0, description="agents that one agent may delegate to; 0 = no limit")
    allow_orchestrators: bool = Field(True, description="whether agents may delegate at all")
    delegate_timeout: Seconds = Field(0.0, description="seconds that a delegated agent may run; 0 = no limit")
    approval_timeout: Seconds = Field(600.0, description="seconds until a question nobody answers is denied")
    commands: Literal["deny", "ask", "allow"] | None = Field(
        None, description="commands of chat agents: deny, ask or allow; unset: ask in a room, else deny"
    )
    providers: dict[ProviderName, Provider] = Field(
        default_factory=lambda: dict(READY), description="who serves models, by name; each is a table"
    )
    room: RoomConfig = Field(default_factory=RoomConfig, description="how the room looks")
