"""Which providers a swarm may use: the one of its model, which must have a key, and all others that have one."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from pathlib import Path

from skep.config import Config
from skep.errors import BadInput, NotFound
from skep.keys import Key, keys_of
from skep.paths import config_dir
from skep.providers import Provider, split_model
from skep.text import clean_line

KEYS_FILE = "keys.toml"
"""The file of keys, beside the user's ``config.toml``."""


def keys_file(env: Mapping[str, str]) -> Path:
    """Where a person may keep keys instead of in variables."""
    return config_dir(env) / KEYS_FILE


def find_keys(name: str, provider: Provider, env: Mapping[str, str]) -> tuple[Key, ...]:
    """The keys of a provider. Raises ``BadInput`` where there is none, or one that cannot be used."""
    return keys_of(name, provider.keys, provider.label, env, keys_file(env))


def needed_model(config: Config) -> str:
    """The model that agents are to think with. Raises ``BadInput`` if nobody has named one."""
    if config.model is None:
        raise BadInput(
            "no model is named",
            where="skep run",
            why="a goal needs one to think with",
            mend="add --model PROVIDER/MODEL, or set SKEP_MODEL, or model in config.toml; a program goes after --",
        )
    return config.model


def usable_providers(
    model: str, config: Config, env: Mapping[str, str], *, where: str = "--model"
) -> dict[str, Provider]:
    """The provider of this model, which must be known and have a key, then all others with a key.

    ``where`` says where the model was named. Raises ``NotFound`` or ``BadInput``.
    """
    name, _ = split_model(model)
    provider = config.providers.get(name)
    if provider is None:
        raise _unknown(name, config, where)
    find_keys(name, provider, env)
    found = {name: provider}
    for other, its in config.providers.items():
        if other not in found and _has_keys(other, its, env):
            found[other] = its
    return found


def _has_keys(name: str, provider: Provider, env: Mapping[str, str]) -> bool:
    try:
        find_keys(name, provider, env)
    except BadInput:
        return False  # nobody has asked for it; skep keys says what is wrong there
    return True


def _unknown(name: str, config: Config, where: str) -> NotFound:
    close = difflib.get_close_matches(name, config.providers, n=1)
    guess = f"did you mean {close[0]}? " if close else ""
    return NotFound(
        f"there is no provider {clean_line(name, limit=40)}",
        where=where,
        why=f"known are {', '.join(sorted(config.providers))}",
        mend=f"{guess}A table [providers.NAME] with its base_url in config.toml adds one",
    )
