"""What is told of an agent that ended before its model ever answered: set up how, what size, doing what, where."""

from __future__ import annotations

import dataclasses
import json
import traceback
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from skep.drivers.chat.models import Models
from skep.drivers.chat.trail import Trail
from skep.keys import KeyState, Pool
from skep.llm.messages import Message, ToolSpec
from skep.llm.openai import request_body
from skep.model.launch import ChatSpec
from skep.providers import Provider
from skep.text import clean

LIMIT = 24 * 1024
"""Most characters of it; what is over is cut out of the middle."""

_TRACE_LINES = 200
_LONGEST = 400


@dataclass(frozen=True, slots=True)
class Setup:
    """How an agent was set up."""

    spec: ChatSpec
    provider: Provider
    pool: Pool
    model: str
    models: Models


def diagnosis(
    setup: Setup,
    messages: Sequence[Message],
    tools: Callable[[], Sequence[ToolSpec]],
    trail: Trail,
) -> str:
    """All of it as text for people: cleaned, bounded, and without the bytes of any key."""
    parts: list[tuple[str, Sequence[str]]] = [
        ("configuration", _configuration(setup)),
        ("sizes", _sizes(setup.model, messages, tools())),
        *trail.parts(),
        ("keys", _keys(setup.pool)),
    ]
    if trail.error is not None:
        parts.append(("traceback", _trace(trail.error)))
    text = "\n\n".join("\n".join([title, *(f"  {line}" for line in lines)]) for title, lines in parts)
    return _bounded(setup.models.hide(clean(text)))


def _configuration(setup: Setup) -> list[str]:
    spec = setup.spec
    clocks = ", ".join(
        f"{name} {limit:g}s" for name, limit in dataclasses.asdict(setup.models.client.clocks).items()
    )
    return [
        f"model: {spec.model}",
        f"provider: {setup.provider.base_url} ({setup.provider.dialect})",
        f"requests at once on one key: {setup.provider.max_concurrency or 'no limit known'}",
        f"clocks of a request: {clocks}",
        f"role: {spec.role}, depth {spec.depth}",
        f"tools: {', '.join(spec.tools) if spec.tools is not None else 'all'}; commands: {spec.commands}",
        f"timeout: {f'{spec.timeout:g}s' if spec.timeout else 'none'}; max_turns: {spec.max_turns}",
        f"on_stale: {spec.on_stale or 'as the swarm does'}",
        f"cwd: {spec.cwd}",
    ]


def _sizes(model: str, messages: Sequence[Message], tools: Sequence[ToolSpec]) -> list[str]:
    roles = Counter(message.role for message in messages)
    characters = sum(len(message.content) for message in messages)
    declared = sum(len(tool.description) + len(json.dumps(tool.parameters)) for tool in tools)
    kinds = ", ".join(f"{count} {role}" for role, count in roles.items())
    return [
        f"messages: {len(messages)} ({kinds}), {characters:,} characters",
        f"tools: {len(tools)}, {declared:,} characters",
        f"request: {len(request_body(model, messages, tools)):,} bytes",
    ]


def _keys(pool: Pool) -> list[str]:
    view = pool.snapshot()
    lines = [
        f"{key.label or 'none'}: {key.state}"
        + (f" ({key.reason})" if key.state is not KeyState.OK and key.reason else "")
        + f", {key.in_flight} in flight, {key.failures} failures, {key.rate_limited} rate limits"
        for key in view.keys
    ]
    return [*lines, f"{view.waiters} wait for one"]


def _trace(error: BaseException) -> list[str]:
    """The traceback with its causes; of a long one the newest lines."""
    text = "".join(traceback.TracebackException.from_exception(error, compact=True).format())
    lines = [line[:_LONGEST] for line in text.rstrip("\n").split("\n")]
    return lines[-_TRACE_LINES:]


def _bounded(text: str) -> str:
    if len(text) <= LIMIT:
        return text
    half = LIMIT // 2
    return f"{text[:half]}\n[… {len(text) - LIMIT:,} characters are left out here …]\n{text[-half:]}"
