"""Who serves models: the endpoints that a person may name, the variables with their keys, and their prices."""

from __future__ import annotations

import ipaddress
import re
from enum import StrEnum
from typing import Annotated, Self
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator
from pydantic_core import PydanticCustomError

SIMULATOR = "simulator"
"""The ready provider that stands for simulated models, also for those that an engine serves itself."""

UNPROTECTED = "unprotected"
"""The type of the error for a provider whose keys would be sent without encryption."""

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,31}")
"""What a provider may be called; the name stands before the slash of a model."""


class Dialect(StrEnum):
    """How a provider wants to be spoken to."""

    OPENAI = "openai"


Price = Annotated[float, Field(ge=0, allow_inf_nan=False, le=1_000_000)]


class _Table(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Prices(_Table):
    """US dollars per million tokens, which is micro-dollars per token."""

    input: Price
    output: Price
    cached_input: Price | None = None
    """For input that the provider had in its cache; by default the price of any other input."""


def _host(url: str) -> str:
    """The host of an address; empty where there is none to be called."""
    try:
        parts = urlsplit(url)
        return (parts.hostname or "") if parts.port != 0 else ""
    except ValueError:
        return ""


def _is_this_machine(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class Provider(_Table):
    """One endpoint that serves models."""

    base_url: str = Field(description="where its API begins, as https://api.example.com/v1")
    dialect: Dialect = Field(Dialect.OPENAI, description="how it is spoken to: openai")
    keys: str = Field(
        "",
        pattern=r"^([A-Za-z_][A-Za-z0-9_]*)?$",
        description="its keys are in the variables of this name, with _1 to _99 after it; empty: it needs none",
    )
    label: str = Field(
        "", pattern=r"^([A-Za-z0-9][A-Za-z0-9_-]{0,15})?$", description="short name that its keys are shown under"
    )
    max_concurrency: int | None = Field(None, ge=1, le=10_000, description="requests at once on one key")
    plain_http: bool = Field(
        False, description="whether keys may go to another machine over plain http, where others can read them"
    )
    prices: dict[str, Prices] = Field(
        default_factory=dict, description="US dollars per million tokens, by the name of the model"
    )

    @field_validator("base_url")
    @classmethod
    def _is_an_address(cls, value: str) -> str:
        if not re.fullmatch(r"https?://[^\s/?#@]+(/[^\s?#]*)?", value) or not _host(value):
            raise ValueError("Input should be like https://api.example.com/v1, without a user, query or fragment")
        return value.rstrip("/")

    @model_validator(mode="after")
    def _keeps_its_keys(self) -> Self:
        if self.keys and not self.plain_http and self.base_url.startswith("http://"):
            host = _host(self.base_url)
            if not _is_this_machine(host):
                raise PydanticCustomError(
                    UNPROTECTED,
                    "its keys would go to {host} over plain http, where others can read them",
                    {"host": host},
                )
        return self


READY: dict[str, Provider] = {
    "openai": Provider(base_url="https://api.openai.com/v1", keys="OPENAI_API_KEY"),
    "openrouter": Provider(base_url="https://openrouter.ai/api/v1", keys="OPENROUTER_API_KEY", label="router"),
    "moonshot": Provider(base_url="https://api.moonshot.ai/v1", keys="MOONSHOT_API_KEY", label="kimi"),
    "ollama": Provider(base_url="http://127.0.0.1:11434/v1"),
    SIMULATOR: Provider(base_url="http://127.0.0.1:8399/v1", keys="SIMULATOR_API_KEY", label="sim"),
}
"""Providers that need no configuration but their keys."""


def split_model(text: str) -> tuple[str, str]:
    """``PROVIDER/MODEL`` in two; the model may hold further slashes. Raises ValueError for anything else."""
    provider, slash, model = text.partition("/")
    if not (slash and model and NAME.fullmatch(provider)) or not model.isprintable() or " " in model:
        raise ValueError("a model is written PROVIDER/MODEL, as openai/gpt-4.1-mini")
    return provider, model
