"""Every setting, where its value came from, and one clear message for each way to get it wrong."""

from __future__ import annotations

import difflib
import math
import os
import re
import tomllib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from pydantic_core import ErrorDetails
from pydantic_settings import BaseSettings, EnvSettingsSource, SettingsError

from skep.errors import BadInput, Refused, SkepError
from skep.paths import config_dir
from skep.text import clean_line
from skep.trust import absolute, is_trusted, read_capped, trusted

PREFIX = "SKEP_"
"""What the environment variables of settings begin with; tables are parted by ``__``: ``SKEP_ROOM__THEME``."""

_NUMBER = r"(\d+(?:\.\d+)?)"
_DURATION = re.compile(rf"(?:{_NUMBER}d)?(?:{_NUMBER}h)?(?:{_NUMBER}m)?(?:{_NUMBER}s)?|{_NUMBER}", re.ASCII)
_DURATION_UNITS = (86400.0, 3600.0, 60.0, 1.0, 1.0)
_TOML_PART = r"""(?:[\w-]+|"[^"]*"|'[^']*')"""
_TOML_KEY = re.compile(rf"\s*(\[{{0,2}})\s*({_TOML_PART}(?:\s*\.\s*{_TOML_PART})*)\s*[=\]]")
_DEEPEST = 6  # parts of the longest name that a setting can sensibly have: room.keys and a binding id
_TOML_PLACE = re.compile(r" \(at (?:line (\d+), column \d+|end of document)\)")


def parse_duration(text: str) -> float:
    """Seconds of ``10m``, ``90s``, ``1h30m``, ``2d`` or a plain number of seconds; else ``BadInput``."""
    bare = text.strip()
    match = _DURATION.fullmatch(bare)
    seconds = math.inf
    if bare and match:
        seconds = sum(
            float(count) * unit for count, unit in zip(match.groups(), _DURATION_UNITS, strict=True) if count
        )
    if not math.isfinite(seconds):
        raise BadInput(
            f"{clean_line(text, limit=40)!r} is not a duration",
            mend="write it like 90s, 10m, 1h30m or 2d; a plain number is seconds",
        )
    return seconds


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


Seconds = Annotated[float, BeforeValidator(_as_seconds), Field(ge=0, allow_inf_nan=False)]
Count = Annotated[int, BeforeValidator(_no_flag), Field(ge=0)]
KeyNames = Annotated[list[str], BeforeValidator(_as_list)]


class OnStale(StrEnum):
    """What to do with an agent that shows no progress for too long."""

    MARK = "mark"
    INTERRUPT = "interrupt"
    KILL = "kill"


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
    on_stale: OnStale = Field(OnStale.MARK, description="what to do with a stale agent: mark, interrupt or kill")
    output_ring_lines: Count = Field(2000, ge=1, description="lines of output kept in memory for each agent")
    output_cap_bytes: Count = Field(16 * 1024 * 1024, description="bytes of output kept on disk for each agent")
    room: RoomConfig = Field(default_factory=RoomConfig, description="how the room looks")


class SourceKind(StrEnum):
    """The kinds of sources, weakest first."""

    DEFAULT = "default"
    USER = "user"
    PROJECT = "project"
    ENVIRONMENT = "environment"
    FLAG = "flag"


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
    layers = [_user_layer(env), _project_layer(cwd, env, warnings), _environment_layer(env), _flag_layer(flags)]
    merged: dict[str, object] = {}
    origins: dict[str, tuple[SourceKind, str]] = {}
    for layer in layers:
        if layer is not None:
            layer.check()
            merged = _merged(merged, layer.values)
            origins.update((name, (layer.kind, layer.where(name))) for name, _ in _leaves(layer.values))
    config = Config.model_validate(merged)
    sources = {
        name: Source(value, *origins.get(name, (SourceKind.DEFAULT, "built in")))
        for name, value in _leaves(config.model_dump())
    }
    return Loaded(config, sources, tuple(warnings))


@dataclass(frozen=True, slots=True)
class _Layer:
    """The settings of one source, and how to say where in it a setting stands."""

    kind: SourceKind
    values: dict[str, object]
    where: Callable[[str], str]

    def check(self) -> None:
        """Raise ``BadInput`` for the first setting that does not fit. Each layer must be right on its own."""
        try:
            Config.model_validate(self.values)
        except ValidationError as error:
            raise self._bad_setting(error.errors(include_url=False)[0]) from error

    def _bad_setting(self, error: ErrorDetails) -> BadInput:
        name = ".".join(part for part in error["loc"] if isinstance(part, str))
        shown, where = clean_line(name, limit=80), self.where(name)
        if error["type"] == "extra_forbidden":
            return BadInput(f"unknown setting {shown}", where=where, mend=_did_you_mean(name))
        given = _shown(error["input"])
        if error["type"] in {"model_type", "dict_type"}:
            why = f"it should be a table, and it is {given}"
        else:
            why = f"{error['msg'].replace('Input', 'it').removeprefix('Value error, ')}, and it is {given}"
        return BadInput(f"bad value for {shown}", where=where, why=why, mend=_described(error["loc"]))


class _Variables(Config, BaseSettings):  # type: ignore[misc]  # pydantic merges the two model_config
    """The same settings, in the form in which pydantic-settings reads them from variables."""


def _user_layer(env: Mapping[str, str]) -> _Layer | None:
    file = config_dir(env) / "config.toml"
    return _file_layer(SourceKind.USER, file, read_capped(file)[0]) if os.path.lexists(file) else None


def _project_layer(cwd: Path, env: Mapping[str, str], warnings: list[SkepError]) -> _Layer | None:
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
        return _file_layer(SourceKind.PROJECT, file, content)
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


def _file_layer(kind: SourceKind, file: Path, content: bytes) -> _Layer:
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
        known = next((place for place in _outwards(name) if place in lines), None)
        return f"{file}:{lines[known]}" if known else str(file)

    return _Layer(kind, values, where)


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
        for place in _outwards(".".join(parts[:_DEEPEST])):
            lines.setdefault(place, number)
    return lines


def _outwards(name: str) -> Iterator[str]:
    """A dotted name, then the names of the tables around it."""
    while name:
        yield name
        name = name.rpartition(".")[0]


def _environment_layer(env: Mapping[str, str]) -> _Layer:
    source = EnvSettingsSource(
        _Variables, case_sensitive=False, env_prefix=PREFIX, env_nested_delimiter="__", env_ignore_empty=True
    )
    source.env_vars = {name.lower(): value for name, value in env.items() if name.startswith(PREFIX) and value}

    def where(name: str) -> str:
        names = [PREFIX + part.upper().replace(".", "__") for part in _outwards(name)]
        return next((variable for variable in names if variable in env), names[0])

    try:
        return _Layer(SourceKind.ENVIRONMENT, source(), where)
    except (SettingsError, RecursionError) as error:
        tables = sorted(name for name in env if name.startswith(f"{PREFIX}ROOM"))
        raise BadInput(
            "not valid JSON",
            where=" or ".join(tables),
            why=clean_line(str(error.__cause__ or error), limit=200),
            mend="write a whole table as JSON, or set its settings one by one, as in SKEP_ROOM__THEME",
        ) from error


def _flag_layer(flags: Mapping[str, object]) -> _Layer:
    values: dict[str, object] = {}
    for name, value in flags.items():
        if value is not None:
            first, *below = name.split(".")
            for part in reversed(below):
                value = {part: value}
            values = _merged(values, {first: value})
    return _Layer(SourceKind.FLAG, values, lambda name: "--" + name.rpartition(".")[2].replace("_", "-"))


def _merged(lower: object, upper: Mapping[str, object]) -> dict[str, object]:
    """Both tables in one; where both have a setting, the upper one's."""
    result = dict(lower) if isinstance(lower, Mapping) else {}
    for name, value in upper.items():
        result[name] = _merged(result.get(name), value) if isinstance(value, Mapping) else value
    return result


def _leaves(values: Mapping[str, object], above: str = "") -> Iterator[tuple[str, object]]:
    for name, value in values.items():
        if isinstance(value, Mapping) and value:
            yield from _leaves(value, f"{above}{name}.")
        else:
            yield f"{above}{name}", value


def _shown(value: object) -> str:
    if isinstance(value, Mapping):
        return "a table"
    if isinstance(value, list):
        return "a list"
    if isinstance(value, int) and value.bit_length() > 64:  # Python refuses to write out the biggest
        return "a very big number"
    return clean_line(repr(value), limit=80)


def _did_you_mean(name: str) -> str:
    known = [known for known, _ in _leaves(Config().model_dump())]
    close = difflib.get_close_matches(name, known, n=1)
    return f"did you mean {close[0]}?" if close else "skep config lists all settings"


def _described(place: tuple[int | str, ...]) -> str | None:
    model: type[BaseModel] = Config
    described = None
    for part in place:
        field = model.model_fields.get(str(part))
        if field is None:
            break
        described = f"{part}: {field.description}"
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            model = field.annotation
    return described
