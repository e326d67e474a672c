"""The settings of one source on its own, and the one message for the first of them that does not fit."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from skep.config.settings import Config
from skep.errors import BadInput
from skep.providers import UNPROTECTED, Provider
from skep.text import clean_line

PREFIX = "SKEP_"
"""What the environment variables of settings begin with; tables are parted by ``__``: ``SKEP_ROOM__THEME``."""

_LEVELS = 8  # more than tables stand in tables; what is deeper is wrong, and only to be said so


class SourceKind(StrEnum):
    """The kinds of sources, weakest first."""

    DEFAULT = "default"
    USER = "user"
    PROJECT = "project"
    ENVIRONMENT = "environment"
    FLAG = "flag"


@dataclass(frozen=True, slots=True)
class Layer:
    """The settings of one source, and how to say where in it a setting stands."""

    kind: SourceKind
    values: dict[str, object]
    where: Callable[[str], str]

    def over(self, lower: Mapping[str, object]) -> dict[str, object]:
        """These settings over those of the weaker sources, which are right.

        Raises ``BadInput`` for the first setting of this layer that does not fit.
        """
        both = merged(lower, self.values)
        try:
            Config.model_validate(both)
        except ValidationError as error:
            raise self._bad_setting(error.errors(include_url=False)[0]) from error
        return both

    def _bad_setting(self, error: ErrorDetails) -> BadInput:
        name = ".".join(part for part in error["loc"] if isinstance(part, str) and part != "[key]")
        shown, where = clean_line(name, limit=80), self.where(name)
        if error["type"] == "extra_forbidden":
            return BadInput(f"unknown setting {shown}", where=where, mend=_did_you_mean(name))
        if error["type"] == "missing":
            return BadInput(f"{shown} is missing", where=where, mend=_described(error["loc"]))
        if error["type"] == UNPROTECTED:
            return BadInput(
                f"plain http is too open for the keys of {shown.rpartition('.')[2]}",
                where=self.where(f"{name}.base_url"),
                why=clean_line(error["msg"], limit=300),
                mend="use https; or say plain_http = true in that table, if the way there is protected otherwise",
            )
        given = _shown(error["input"])
        if error["type"] in {"model_type", "dict_type"}:
            why = f"it should be a table, and it is {given}"
        else:
            why = f"{error['msg'].replace('Input', 'it').removeprefix('Value error, ')}, and it is {given}"
        return BadInput(f"bad value for {shown}", where=where, why=why, mend=_described(error["loc"]))


def outwards(name: str) -> Iterator[str]:
    """A dotted name, then the names of the tables around it."""
    while name:
        yield name
        name = name.rpartition(".")[0]


def merged(lower: object, upper: Mapping[str, object], levels: int = _LEVELS) -> dict[str, object]:
    """Both tables in one; where both have a setting, the upper one's."""
    result = dict(lower) if isinstance(lower, Mapping) else {}
    for name, value in upper.items():
        if isinstance(value, Mapping) and levels:
            value = merged(result.get(name), value, levels - 1)
        result[name] = value
    return result


def leaves(values: Mapping[str, object], above: str = "") -> Iterator[tuple[str, object]]:
    """Every setting of a table and of the tables in it, by its dotted name."""
    for name, value in values.items():
        if isinstance(value, Mapping) and value:
            yield from leaves(value, f"{above}{name}.")
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
    table, _, field = name.rpartition(".")
    if table.startswith("providers."):
        close = [f"{table}.{match}" for match in difflib.get_close_matches(field, Provider.model_fields, n=1)]
    else:
        known = [known for known, _ in leaves(Config().model_dump()) if not known.startswith("providers.")]
        close = difflib.get_close_matches(name, known, n=1)
    return f"did you mean {clean_line(close[0], limit=80)}?" if close else "skep config lists all settings"


def _described(place: tuple[int | str, ...]) -> str | None:
    model: type[BaseModel] = Config
    described = None
    parts = iter(place)
    for part in parts:
        field = model.model_fields.get(str(part))
        if field is None:
            break
        described = f"{part}: {field.description}" if field.description else described
        below = field.annotation
        if isinstance(below, type) and issubclass(below, BaseModel):
            model = below
            continue
        table = get_args(below)[-1:]  # of a table of tables, what stands under each name
        if not (table and isinstance(table[0], type) and issubclass(table[0], BaseModel)):
            break
        model = table[0]
        next(parts, None)
    return described
