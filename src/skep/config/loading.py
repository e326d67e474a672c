"""All sources read, the later over the earlier: the effective settings, and where each of them comes from."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from skep.config.layers import Layer, SourceKind, leaves
from skep.config.settings import Config
from skep.config.sources import environment_layer, file_layer, flag_layer
from skep.errors import Refused, SkepError
from skep.paths import config_dir
from skep.providers import READY, Provider
from skep.trust import absolute, is_trusted, read_capped, trusted


@dataclass(frozen=True, slots=True)
class Source:
    """One effective value and where it came from: a file and line, a variable, a flag."""

    value: object
    kind: SourceKind
    where: str


@dataclass(frozen=True, slots=True)
class Loaded:
    """The effective configuration, the source of each setting by its dotted name, and what was left out.

    The warnings are errors that were not raised, to be shown in the same form.
    """

    config: Config
    sources: dict[str, Source]
    warnings: tuple[SkepError, ...]


def load(cwd: Path, flags: Mapping[str, object], env: Mapping[str, str]) -> Loaded:
    """Read all sources, later ones win: defaults, user file, project file if trusted, environment, flags.

    ``flags`` maps dotted names (``room.theme``) to values; ``None`` means not given. Raises ``BadInput`` for
    whatever cannot be used, with the place where it stands.
    """
    warnings: list[SkepError] = []
    layers = [_user_layer(env), _project_layer(cwd, env, warnings), environment_layer(env), flag_layer(flags)]
    values: dict[str, object] = {"providers": _written(READY)}
    origins: dict[str, tuple[SourceKind, str]] = {}
    for layer in layers:
        if layer is not None:
            values = layer.over(values)
            origins.update((name, (layer.kind, layer.where(name))) for name, _ in leaves(layer.values))
    config = Config.model_validate(values)
    # Of a provider only what somebody wrote down: each has far more fields than anybody sets.
    effective = config.model_dump() | {"providers": _written(config.providers)}
    sources = {
        name: Source(value, *origins.get(name, (SourceKind.DEFAULT, "built in")))
        for name, value in leaves(effective)
    }
    return Loaded(config, sources, tuple(warnings))


def _written(providers: Mapping[str, Provider]) -> dict[str, object]:
    return {name: provider.model_dump(exclude_unset=True) for name, provider in providers.items()}


def _user_layer(env: Mapping[str, str]) -> Layer | None:
    file = config_dir(env) / "config.toml"
    return file_layer(SourceKind.USER, file, read_capped(file)[0]) if os.path.lexists(file) else None


def _project_layer(cwd: Path, env: Mapping[str, str], warnings: list[SkepError]) -> Layer | None:
    file = _project_file(cwd, env)
    if file is None:
        return None
    try:
        content, _ = read_capped(file)
        allowed = is_trusted(file, content, env=env)
        known = str(absolute(file)) in trusted(env=env)
    except SkepError as error:
        warnings.append(error)
        return None
    if allowed:
        return file_layer(SourceKind.PROJECT, file, content)
    why = "it has changed since it was trusted" if known else "nobody has trusted it"
    warnings.append(
        Refused(
            "the project's settings are not used", where=str(file), why=why, mend="read it, then run skep trust"
        )
    )
    return None


def _project_file(cwd: Path, env: Mapping[str, str]) -> Path | None:
    """The nearest ``.skep/config.toml``, from the folder upwards to the root of its repository or home."""
    start = Path(os.path.abspath(cwd))
    for folder in (start, *start.parents):
        file = folder / ".skep" / "config.toml"
        if os.path.lexists(file):
            return file
        if os.path.lexists(folder / ".git") or str(folder) == env.get("HOME"):
            break
    return None
