"""All swarms as a list, and one swarm as a tree: the same figures as in the room."""

from __future__ import annotations

import asyncio
import os
from dataclasses import dataclass
from pathlib import Path

from skep.cli.holding import held_in, hold_line
from skep.cli.links import agent_of, damage_document, opened, warn_of
from skep.cli.printing import complain, document, note, say, table
from skep.clock import Clock, SystemClock
from skep.control.archive import NothingLeft
from skep.control.swarms import SwarmFolder, all_swarms, engine_pid, resolve
from skep.errors import SkepError
from skep.model.agent import Agent, Face, Live
from skep.model.events import Json
from skep.model.holds import SWARM_SCOPE
from skep.model.logs import diagnostic_path, log_path
from skep.model.registry import Registry
from skep.model.report import is_counted, run_document, states_count, tree_document
from skep.model.states import DriverKind, State, Strength
from skep.model.swarm import SwarmState
from skep.room.doing import Places, bereaved, doing
from skep.room.look import Look, choose_look
from skep.text import UNKNOWN, clean_line, duration, money, tokens

NEWEST = 20
"""So many swarms are listed unless all are asked for; live ones always are."""

_AT_ONCE = 8
_DEEPEST_INDENT = 12


@dataclass(frozen=True, slots=True)
class _Line:
    """One swarm of the list."""

    swarm: SwarmFolder
    state: str
    pid: int | None
    states: dict[str, Json]
    damage: dict[str, Json] | None = None


def list_swarms(*, json: bool, every: bool) -> None:
    """Print the list of swarms; one that cannot be read is told on standard error and listed as ``damaged``."""
    warnings: list[str] = []
    swarms = all_swarms(warnings)
    for warning in warnings:
        note(f"skep: warning: {clean_line(warning)}")
    if not every and not json:
        swarms = [
            swarm for place, swarm in enumerate(swarms) if place < NEWEST or engine_pid(swarm.folder) is not None
        ]
    clock = SystemClock()
    lines = asyncio.run(_lines(swarms, clock))
    if json:
        entries: list[Json] = [
            {
                "id": line.swarm.id,
                "name": line.swarm.name,
                "state": line.state,
                "pid": line.pid,
                "states": line.states,
                "damage": line.damage,
            }
            for line in lines
        ]
        document({"swarms": entries})
    elif not lines:
        note("no swarm yet: skep run starts one")
    else:
        table([_row(line, clock.time()) for line in lines], heads=("SWARM", "NAME", "STATE", "AGE", "AGENTS"))


async def _lines(swarms: list[SwarmFolder], clock: Clock) -> list[_Line]:
    doors = asyncio.Semaphore(_AT_ONCE)

    async def one(swarm: SwarmFolder) -> _Line:
        async with doors:
            return await _line(swarm, clock)

    return list(await asyncio.gather(*map(one, swarms)))


async def _line(swarm: SwarmFolder, clock: Clock) -> _Line:
    ended = swarm.outcome()
    if ended is not None:
        return _Line(swarm, ended.status, None, dict(ended.states))
    pid = engine_pid(swarm.folder)
    try:
        async with opened(swarm.folder, clock, read_only=True, once=True, whole=False) as link:
            live, damage = link.state.live, link.state.damage
            warn_of(damage)
            with link.registry.read() as state:
                word = "damaged" if damage is not None and damage.blocks else state_word(state, live=live)
                return _Line(swarm, word, pid, states_count(state), damage_document(damage))
    except SkepError as error:
        complain(error, prefix="skep: warning")
        word = "damaged" if pid is None else "unreachable"
        return _Line(
            swarm, word, pid, {}, damage_document(error.damage if isinstance(error, NothingLeft) else None)
        )


def state_word(state: SwarmState, *, live: bool) -> str:
    """How a swarm is: its status once it has ended, ``dead`` without an engine, else ``held`` or ``running``."""
    if state.status is not None:
        return state.status
    if not live:
        return "dead"
    held = any((SWARM_SCOPE, strength) in state.latches for strength in Strength)
    return "held" if held else "running"


def _row(line: _Line, now: float) -> tuple[str, ...]:
    counts = ", ".join(f"{count} {state.replace('_', ' ')}" for state, count in line.states.items())
    return (line.swarm.id, line.swarm.name, line.state, duration(now - line.swarm.created_at), counts)


def show_tree(address: str | None, *, json: bool) -> None:
    """Print the agents of a swarm or a branch as they are at this moment."""
    asyncio.run(_show_tree(address, json))


async def _show_tree(address: str | None, json: bool) -> None:
    target = resolve(address)
    clock = SystemClock()
    async with opened(target.swarm.folder, clock, read_only=True, once=True) as link:
        told = link.state
        holding = await held_in(link)
        warn_of(told.damage)
        if told.live and told.trouble:
            note(f"skep: warning: {clean_line(told.trouble)}")
        top = agent_of(link.registry, target)
        folder = target.swarm.folder
        news = _news(link.registry)
        now = clock.time()
        with link.registry.read() as state:
            gone = told.gone and state.status is None
            if json:
                body = _tree_body(state, top, now, news, folder) | ({"status": "dead"} if gone else {})
                body["holds"] = [dict(one.model_dump(mode="json")) for one in holding]
                body["damage"] = damage_document(told.damage)
            else:
                rows = _tree_rows(state, top, now, news, choose_look(os.environ), gone=gone)
                models = any(one.driver is DriverKind.CHAT for one in state.agents.values())
                used = _used(state, top, news) if models else []
        lines = [hold_line(link, one, now) for one in holding]
    if json:
        document(body)
        return
    for line in lines:
        say(line)
    if used:
        table(
            [(*row[:-1], *numbers, row[-1]) for row, numbers in zip(rows, used, strict=True)],
            heads=("", "NAME", "STATE", "IN", "TURN", "TOKENS", "COST", "KEY", "DOING"),
            right=frozenset({3, 4, 5, 6}),
        )
    else:
        table(rows, heads=("", "NAME", "STATE", "IN", "DOING"), right=frozenset({3}))


def _tree_body(state: SwarmState, top: str, now: float, news: dict[str, Live], folder: Path) -> dict[str, Json]:
    def log_of(agent: Agent) -> str | None:
        path = log_path(folder, agent)
        return str(path) if path is not None else None

    def diagnostic_of(agent: Agent) -> str | None:
        path = diagnostic_path(folder, agent)
        return str(path) if path is not None else None

    scope = {agent.id for agent in state.subtree(top) if is_counted(agent)}
    rows = tree_document(state, now, lambda agent: news.get(agent, Live()), log_of, diagnostic_of)
    return run_document(state, now, log_of, diagnostic_of) | {
        "agents": [row for row in rows if row["id"] in scope]
    }


def _tree_rows(
    state: SwarmState, top: str, now: float, news: dict[str, Live], look: Look, *, gone: bool = False
) -> list[tuple[str, ...]]:
    places = Places()
    places.refresh(state)
    base = state.agents[top].depth
    rows: list[tuple[str, ...]] = []
    for agent in state.subtree(top):
        glyph = (
            look.starting
            if agent.state is State.STARTING and agent.mark is None
            else look.faces[state.face(agent)]
        )
        indent = "  " * min(agent.depth - base, _DEEPEST_INDENT)
        told = doing(state, agent, news.get(agent.id, Live()), places)
        word = agent.state.value.replace("_", " ")
        seconds = agent.in_step(now)
        if gone and not agent.ended:
            told = bereaved(told, agent)
            if agent.slot:
                # Nothing was heard of it after the last event.
                glyph, word, seconds = look.faces[Face.LOST], "lost", agent.in_step(state.time)
        name = f"{indent}{clean_line(agent.name)}"
        rows.append((glyph, name, word, duration(seconds), told.sentence(look)))
    return rows


def _used(state: SwarmState, top: str, news: dict[str, Live]) -> list[tuple[str, ...]]:
    """Turn and key of each agent of the branch; tokens and cost of an agent are those of all below it, too."""
    return [_used_by(state, agent, news.get(agent.id, Live())) for agent in state.subtree(top)]


def _used_by(state: SwarmState, agent: Agent, live: Live) -> tuple[str, ...]:
    turn = max(agent.turns, live.turn)
    spend = state.spend(agent.id)
    shown_turn = str(turn) if turn and agent.driver is DriverKind.CHAT else ""
    if not spend.turns:
        return shown_turn, "", "", live.key or agent.key
    cost = money(spend.cost, lower_bound=spend.is_lower_bound) if spend.unpriced < spend.turns else UNKNOWN
    return shown_turn, tokens(spend.tokens_in + spend.tokens_out), cost, live.key or agent.key


def _news(registry: Registry) -> dict[str, Live]:
    """The live figures of those that run."""
    with registry.read() as state:
        running = [agent.id for agent in state.agents.values() if agent.slot]
    return {agent: registry.live(agent) for agent in running}
