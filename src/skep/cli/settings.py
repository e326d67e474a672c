"""What an engine takes along of the configuration: it reads no files of its own."""

from __future__ import annotations

from collections.abc import Mapping

from skep.config import Config
from skep.model.launch import EngineSettings
from skep.model.states import OnStale
from skep.providers import Provider


def engine_settings(config: Config, providers: Mapping[str, Provider] | None = None) -> EngineSettings:
    """The settings of a swarm that may use these providers; the keys of all others are kept from it as well."""
    return EngineSettings(
        grace=config.grace,
        term_grace=config.term_grace,
        quiet_after=config.quiet_after,
        idle_after=config.idle_after,
        in_tool_after=config.in_tool_after,
        on_stale=OnStale(config.on_stale),
        output_ring_lines=config.output_ring_lines,
        output_cap_bytes=config.output_cap_bytes,
        max_depth=config.max_depth,
        max_agents=config.max_agents,
        max_children=config.max_children,
        allow_orchestrators=config.allow_orchestrators,
        delegate_timeout=config.delegate_timeout,
        approval_timeout=config.approval_timeout,
        providers=dict(providers or {}),
        key_prefixes=tuple(sorted({provider.keys for provider in config.providers.values()} - {""})),
    )
