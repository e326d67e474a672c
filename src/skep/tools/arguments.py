"""The arguments of a call: parsed with limits, checked against the tool's schema, read with their types."""

from __future__ import annotations

import json
import math
import re
from typing import NoReturn, cast

from skep.model.events import Json
from skep.tools.base import Arguments, Tool
from skep.tools.faults import ToolFault

RAW_LIMIT = 256 * 1024
"""Most bytes of the JSON text of one call."""

DEPTH_LIMIT = 32
"""How deep lists and objects may stand in each other."""

_STRINGS = re.compile(r'"(?:[^"\\]++|\\.)*+"?', re.DOTALL)
_BRACKETS = re.compile(r"[\[\]{}]")
_SURROGATES = re.compile(r"[\ud800-\udfff]")
_TYPES: dict[str, tuple[type, ...]] = {
    "object": (dict,),
    "array": (list,),
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
}


def parse_arguments(tool: Tool, raw: str) -> Arguments:
    """The arguments in the JSON text that a model gave; an empty text is an empty object.

    A list or an object may itself come as JSON text, and null stands for an argument that is not given: models
    write both. A lone surrogate becomes the replacement character.

    Raises:
        ToolFault: for anything else that the schema does not describe; it names the field.
    """
    value = _load(raw, "") if raw.strip() else {}
    return cast(Arguments, _checked(value, tool.parameters(), ""))


def text(args: Arguments, name: str) -> str:
    """A text that must be there and may not be blank."""
    value = optional_text(args, name)
    if value is None or not value.strip():
        raise ToolFault("is missing or empty", where=name)
    return value


def optional_text(args: Arguments, name: str) -> str | None:
    """A text, or None."""
    value = args.get(name)
    if value is not None and not isinstance(value, str):
        raise ToolFault("must be a string", where=name)
    return value


def integer(args: Arguments, name: str, *, least: int, most: int) -> int | None:
    """A whole number within limits, or None."""
    value = args.get(name)
    if value is None:
        return None
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
        raise ToolFault(f"must be a whole number from {least:,} to {most:,}", where=name)
    return value


def number(args: Arguments, name: str, *, least: float, most: float) -> float | None:
    """A number within limits, or None."""
    value = args.get(name)
    if value is None:
        return None
    if not isinstance(value, int | float) or isinstance(value, bool) or not least <= value <= most:
        raise ToolFault(f"must be a number from {least:,} to {most:,}", where=name)
    return float(value)


def _load(raw: str, where: str) -> Json:
    if len(raw) > RAW_LIMIT or len(raw.encode(errors="replace")) > RAW_LIMIT:
        raise ToolFault("the arguments are too long", where=where or None, why=f"over {RAW_LIMIT:,} bytes")
    depth = 0
    # The parser itself goes as deep as it is led, so this is looked at before.
    for bracket in _BRACKETS.finditer(_STRINGS.sub("", raw)):
        depth += 1 if bracket.group() in "[{" else -1
        if depth > DEPTH_LIMIT:
            raise ToolFault("the arguments are nested too deep", where=where or None, why=f"over {DEPTH_LIMIT}")
    try:
        value: Json = json.loads(
            raw, object_pairs_hook=_unique, parse_constant=_no_number, parse_float=_finite, strict=False
        )
    except (ValueError, RecursionError) as error:
        raise ToolFault("the arguments are no valid JSON", where=where or None, why=str(error)[:200]) from None
    return _mended(value)


def _unique(pairs: list[tuple[str, Json]]) -> dict[str, Json]:
    found: dict[str, Json] = {}
    for name, value in pairs:
        if name in found:
            raise ToolFault("is given twice", where=_shown(name))
        found[name] = value
    return found


def _no_number(name: str) -> NoReturn:
    raise ToolFault("the arguments are no valid JSON", why=f"{name} is no number")


def _finite(digits: str) -> float:
    value = float(digits)
    if not math.isfinite(value):
        raise ToolFault("the arguments hold a number that is too large", why=digits[:40])
    return value


def _mended(value: Json) -> Json:
    """Without lone surrogates, which nothing could write out again."""
    if isinstance(value, str):
        return _SURROGATES.sub("\N{REPLACEMENT CHARACTER}", value)
    if isinstance(value, list):
        return [_mended(item) for item in value]
    if isinstance(value, dict):
        return _unique([(str(_mended(name)), _mended(item)) for name, item in value.items()])
    return value


def _checked(value: Json, schema: dict[str, Json], where: str) -> Json:
    wanted = str(schema["type"])
    if isinstance(value, str) and wanted in ("array", "object"):
        value = _load(value, where)
    if wanted == "integer" and isinstance(value, float) and value.is_integer():
        value = int(value)
    if not isinstance(value, _TYPES[wanted]) or (isinstance(value, bool) and wanted != "boolean"):
        raise _fault(f"must be {_a(wanted)}, not {_kind(value)}", where)
    allowed = schema.get("enum")
    if isinstance(allowed, list) and value not in allowed:
        raise _fault(f"must be one of {', '.join(map(str, allowed))}", where)
    if isinstance(value, dict):
        return _checked_object(value, schema, where)
    if isinstance(value, list):
        items = cast("dict[str, Json]", schema["items"])
        return [_checked(item, items, f"{where}[{place}]") for place, item in enumerate(value)]
    return value


def _checked_object(value: dict[str, Json], schema: dict[str, Json], where: str) -> Json:
    known = cast("dict[str, dict[str, Json]]", schema["properties"])
    required = cast("list[str]", schema.get("required", []))
    checked: dict[str, Json] = {}
    for name, item in value.items():
        place = f"{where}.{_shown(name)}" if where else _shown(name)
        if name not in known:
            raise ToolFault("is unknown", where=place, mend=f"known are {', '.join(known)}")
        if item is not None:
            checked[name] = _checked(item, known[name], place)
    for name in required:
        if name not in checked:
            raise ToolFault("is missing", where=f"{where}.{name}" if where else name)
    return checked


def _fault(what: str, where: str) -> ToolFault:
    return ToolFault(what, where=where) if where else ToolFault(f"the arguments {what}")


def _shown(name: str) -> str:
    return _SURROGATES.sub("\N{REPLACEMENT CHARACTER}", name)[:80]


def _a(wanted: str) -> str:
    names = {"object": "an object", "array": "a list", "integer": "a whole number", "boolean": "true or false"}
    return names.get(wanted, f"a {wanted}")


def _kind(value: Json) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true or false"
    if isinstance(value, dict):
        return "an object"
    return "a list" if isinstance(value, list) else "a string" if isinstance(value, str) else "a number"
