"""The sources of settings: files of TOML, environment variables, flags; each gives one layer."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from pathlib import Path

from pydantic_settings import BaseSettings, EnvSettingsSource, SettingsError

from skep.config.layers import PREFIX, Layer, SourceKind, merged, outwards
from skep.config.settings import Config
from skep.errors import BadInput
from skep.text import clean_line

_TOML_PART = r"""(?:[\w-]+|"[^"]*"|'[^']*')"""
_TOML_KEY = re.compile(rf"\s*(\[{{0,2}})\s*({_TOML_PART}(?:\s*\.\s*{_TOML_PART})*)\s*[=\]]")
_DEEPEST = 9  # parts of the longest name of a setting: the prices of a model whose own name has dots
_TOML_PLACE = re.compile(r" \(at (?:line (\d+), column \d+|end of document)\)")
_TABLES = ("ROOM", "PROVIDERS")


def file_layer(kind: SourceKind, file: Path, content: bytes) -> Layer:
    """The settings in this content of a file. Raises ``BadInput`` for what is no TOML."""
    try:
        text = content.decode()
        values = tomllib.loads(text)
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise BadInput(
            "not UTF-8 text", where=f"{file}:{line}", why=error.reason, mend="save it as UTF-8"
        ) from error
    except (ValueError, RecursionError) as error:
        why = clean_line(_TOML_PLACE.sub("", str(error)), limit=200)
        place = _TOML_PLACE.search(str(error))
        line = int(place[1] or text.count("\n") + 1) if place else 1
        mend = "mend this line; skep config shows the settings"
        raise BadInput("not valid TOML", where=f"{file}:{line}", why=why, mend=mend) from error

    lines = _lines(text)

    def where(name: str) -> str:
        known = next((place for place in outwards(name) if place in lines), None)
        return f"{file}:{lines[known]}" if known else str(file)

    return Layer(kind, values, where)


def _lines(text: str) -> dict[str, int]:
    """The line on which each setting and each table of a TOML text begins; near enough for a message."""
    lines: dict[str, int] = {}
    table: list[str] = []
    for number, line in enumerate(text.split("\n"), 1):
        match = _TOML_KEY.match(line)
        if match is None:
            continue
        parts = [part.strip(" \t\"'") for part in match[2].split(".")]
        if match[1]:
            table = parts
        else:
            parts = table + parts
        for place in outwards(".".join(parts[:_DEEPEST])):
            lines.setdefault(place, number)
    return lines


def environment_layer(env: Mapping[str, str]) -> Layer:
    """What the variables say. Raises ``BadInput`` for a table that is no JSON."""
    source = EnvSettingsSource(
        _Variables, case_sensitive=False, env_prefix=PREFIX, env_nested_delimiter="__", env_ignore_empty=True
    )
    source.env_vars = {name.lower(): value for name, value in env.items() if name.startswith(PREFIX) and value}

    def where(name: str) -> str:
        names = [PREFIX + part.upper().replace(".", "__") for part in outwards(name)]
        return next((variable for variable in names if variable in env), names[0])

    try:
        return Layer(SourceKind.ENVIRONMENT, source(), where)
    except (SettingsError, RecursionError) as error:
        tables = sorted(name for name in env if name.startswith(tuple(PREFIX + table for table in _TABLES)))
        raise BadInput(
            "not valid JSON",
            where=" or ".join(tables),
            why=clean_line(str(error.__cause__ or error), limit=200),
            mend="write a whole table as JSON, or set its settings one by one, as in SKEP_ROOM__THEME",
        ) from error


def flag_layer(flags: Mapping[str, object]) -> Layer:
    """What the flags say, by dotted names; None is not given."""
    values: dict[str, object] = {}
    for name, value in flags.items():
        if value is not None:
            first, *below = name.split(".")
            for part in reversed(below):
                value = {part: value}
            values = merged(values, {first: value})
    return Layer(SourceKind.FLAG, values, lambda name: "--" + name.rpartition(".")[2].replace("_", "-"))


class _Variables(Config, BaseSettings):  # type: ignore[misc]  # pydantic merges the two model_config
    """The same settings, in the form in which pydantic-settings reads them from variables."""
