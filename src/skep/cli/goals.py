"""From goals to a swarm of chat agents; makes nothing, and says at once what cannot be."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from skep.cli.items import STDIN, refuse_undecodable
from skep.cli.naming import checked_name, new_id, slug, unique
from skep.cli.planning import check_folder
from skep.cli.providing import needed_model, usable_providers
from skep.cli.settings import engine_settings
from skep.config import Loaded
from skep.errors import BadInput
from skep.model.approvals import Commands
from skep.model.children import Role
from skep.model.events import ROOT
from skep.model.launch import AgentAsk, ChatSpec, Launch
from skep.model.states import DriverKind
from skep.text import clean_line
from skep.tools.toolbox import ALL, granted

LONGEST = 128 * 1024
"""Most bytes of a goal in UTF-8: it travels in one frame with everything else that is known of its agent."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Goals:
    """What a person wants to have done, word by word; ``cwd`` is absolute."""

    cwd: Path
    goals: tuple[str, ...]
    role: Role = Role.ORCHESTRATOR
    name: str | None = None
    room: bool = False
    """Whether somebody watches who can be asked about commands."""


def plan_goals(wish: Goals, loaded: Loaded, env: Mapping[str, str]) -> Launch:
    """The swarm that was asked for: one goal is its root, several stand under a group; makes nothing.

    ``-`` among the goals is read from standard input. Raises ``BadInput`` or ``NotFound`` for the first thing
    that cannot be.
    """
    check_folder(wish.cwd)
    refuse_undecodable(str(wish.cwd), "--cwd", mend="rename it as valid UTF-8")
    name = checked_name(wish.name) if wish.name is not None else None
    config = loaded.config
    model = needed_model(config)
    providers = usable_providers(model, config, env, where=loaded.sources["model"].where)
    goals = _read(wish.goals)
    spec = _spec(wish, loaded, model)
    one = goals[0] if len(goals) == 1 else None
    title = name or slug(goals[0])
    taken: set[str] = set()
    return Launch(
        swarm=new_id(),
        name=title,
        cwd=str(wish.cwd),
        max_running=config.max_running,
        root=_ask(ROOT, title, one, spec) if one is not None else None,
        agents=()
        if one is not None
        else tuple(_ask(f"a{n}", unique(slug(goal), taken), goal, spec) for n, goal in enumerate(goals, 1)),
        settings=engine_settings(config, providers),
    )


def _ask(id: str, name: str, goal: str, spec: ChatSpec) -> AgentAsk:
    return AgentAsk(id=id, name=name, driver=DriverKind.CHAT, goal=goal, chat=spec)


def _spec(wish: Goals, loaded: Loaded, model: str) -> ChatSpec:
    config = loaded.config
    may = config.allow_orchestrators and config.max_depth > 0
    role = wish.role if may else Role.LEAF
    return ChatSpec(
        model=model,
        cwd=str(wish.cwd),
        role=role,
        asked_role=wish.role if wish.role is not role else None,
        tools=granted(ALL, None, role),
        commands=Commands(config.commands or (Commands.ASK if wish.room else Commands.DENY)),
        timeout=config.timeout,
        max_turns=config.max_turns,
    )


def _read(words: tuple[str, ...]) -> tuple[str, ...]:
    if words.count(STDIN) > 1:
        raise BadInput("standard input holds one goal", where="skep run - -", mend="write - once")
    return tuple(
        _checked(sys.stdin.buffer.read() if word == STDIN else word, n) for n, word in enumerate(words, 1)
    )


def _checked(goal: str | bytes, number: int) -> str:
    """The goal as text. Raises ``BadInput`` for what no model could be asked."""
    where = f"goal {number}"
    if isinstance(goal, bytes):
        where += " (standard input)"
        goal = goal.decode(errors="surrogateescape")
    else:
        where += f" {clean_line(goal, limit=40)!r}"
    refuse_undecodable(goal, where, mend="write it as valid UTF-8")
    text = goal.strip()
    if not text:
        raise BadInput("the goal is empty", where=where, mend='say what is to be done: skep run "goal"')
    if "\0" in text:
        raise BadInput("a goal cannot hold a zero byte", where=where, mend="leave it out")
    size = len(text.encode())
    if size > LONGEST:
        raise BadInput(
            "the goal is too long",
            where=where,
            why=f"it has {size:,} bytes, and {LONGEST:,} are the most",
            mend="write it into a file below --cwd, and name that file in the goal",
        )
    return text
