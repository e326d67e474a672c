"""The tools of a request: only schemas that the strictest provider would take."""

from __future__ import annotations

import re

from skep.simulator.refusals import invalid

NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
KEYWORDS = frozenset({"type", "properties", "required", "enum", "items", "description"})
TYPES = frozenset({"object", "array", "string", "integer", "number", "boolean", "null"})
_DEEPEST = 12


def check_tools(tools: object) -> frozenset[str]:
    """Return the names of the tools.

    Raises: Refusal (400) that names the path of the first thing that is wrong.
    """
    if not isinstance(tools, list) or not tools:
        raise invalid("tools", "expected a list of at least one tool; leave it out to offer none")
    names: set[str] = set()
    for index, tool in enumerate(tools):
        name = _check_tool(f"tools[{index}]", tool)
        if name in names:
            raise invalid(f"tools[{index}].function.name", f"there is another tool called {name!r}")
        names.add(name)
    return frozenset(names)


def _check_tool(path: str, tool: object) -> str:
    if not isinstance(tool, dict) or tool.get("type") != "function":
        raise invalid(f"{path}.type", 'expected an object with the type "function"')
    function = tool.get("function")
    if not isinstance(function, dict):
        raise invalid(f"{path}.function", "expected an object")
    only(path, tool, frozenset({"type", "function"}))
    path = f"{path}.function"
    only(path, function, frozenset({"name", "description", "parameters"}))
    name = function.get("name")
    if not isinstance(name, str) or not NAME.fullmatch(name):
        raise invalid(f"{path}.name", "expected 1 to 64 letters, digits, _ or -")
    if not isinstance(function.get("description", ""), str):
        raise invalid(f"{path}.description", "expected text")
    if "parameters" in function:
        path = f"{path}.parameters"
        check_schema(path, function["parameters"])
        if function["parameters"].get("type") != "object":
            raise invalid(f"{path}.type", 'the parameters of a function have the type "object"')
    return name


def check_schema(path: str, schema: object, depth: int = 0) -> None:
    """Check one schema and those in it.

    Raises: Refusal (400) for any keyword but type, properties, required, enum, items and description, and for
    wrong use of those.
    """
    if not isinstance(schema, dict):
        raise invalid(path, "expected a schema, which is an object")
    if depth > _DEEPEST:
        raise invalid(path, f"schemas nest at most {_DEEPEST} deep")
    only(path, schema, KEYWORDS)
    kind = schema.get("type")
    if not isinstance(kind, str) or kind not in TYPES:
        raise invalid(f"{path}.type", f"expected one of {', '.join(sorted(TYPES))}")
    if not isinstance(schema.get("description", ""), str):
        raise invalid(f"{path}.description", "expected text")
    if "enum" in schema and not (isinstance(schema["enum"], list) and schema["enum"]):
        raise invalid(f"{path}.enum", "expected a list of at least one value")
    _check_object(path, schema, kind, depth)
    if kind == "array" and "items" not in schema:
        raise invalid(f"{path}.items", "an array says what its items are")
    if "items" in schema:
        if kind != "array":
            raise invalid(f"{path}.items", f"only an array has items, this is of the type {kind}")
        check_schema(f"{path}.items", schema["items"], depth + 1)


def _check_object(path: str, schema: dict[str, object], kind: str, depth: int) -> None:
    for keyword in ("properties", "required"):
        if keyword in schema and kind != "object":
            raise invalid(f"{path}.{keyword}", f"only an object has {keyword}, this is of the type {kind}")
    properties = schema.get("properties", {})
    if not isinstance(properties, dict):
        raise invalid(f"{path}.properties", "expected an object with a schema for each name")
    for name, inner in properties.items():
        check_schema(f"{path}.properties.{name}", inner, depth + 1)
    required = schema.get("required", [])
    if not isinstance(required, list):
        raise invalid(f"{path}.required", "expected a list of names")
    for index, name in enumerate(required):
        if not isinstance(name, str) or name not in properties:
            raise invalid(f"{path}.required[{index}]", "expected the name of one of the properties")
        if name in required[:index]:
            raise invalid(f"{path}.required[{index}]", f"{name!r} stands there twice")


def only(path: str, table: dict[str, object], known: frozenset[str]) -> None:
    """Refuse the first key of a table that is not known."""
    for key in table:
        if key not in known:
            where = f"{path}.{key}" if path else key
            raise invalid(where, f"not supported here; known are {', '.join(sorted(known))}", "unsupported_value")
