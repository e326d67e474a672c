"""All swarms as a list, and one swarm as a tree: the same figures as in the room."""

from __future__ import annotations

import asyncio
import os
from dataclasses import dataclass
from pathlib import Path

from skep.cli.links import agent_of, opened
from skep.cli.printing import complain, document, note, table
from skep.clock import Clock, SystemClock
from skep.control.swarms import SwarmFolder, all_swarms, engine_pid, resolve
from skep.errors import SkepError
from skep.model.agent import Agent, Face, Live
from skep.model.events import ROOT, Json
from skep.model.holds import SWARM_SCOPE
from skep.model.logs import log_path
from skep.model.registry import Registry
from skep.model.report import run_document, states_count, tree_document
from skep.model.states import State, Strength
from skep.model.swarm import SwarmState
from skep.room.doing import Places, bereaved, doing
from skep.room.look import Look, choose_look
from skep.text import clean_line, duration

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
    pid = engine_pid(swarm.folder)
    try:
        async with opened(swarm.folder, clock, read_only=True, once=True) as link:
            live = link.state.live
            with link.registry.read() as state:
                return _Line(swarm, state_word(state, live=live), pid, states_count(state))
    except SkepError as error:
        complain(error, prefix="skep: warning")
        return _Line(swarm, "damaged" if pid is None else "unreachable", pid, {})


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
            else:
                rows = _tree_rows(state, top, now, news, choose_look(os.environ), gone=gone)
    if json:
        document(body)
    else:
        table(rows, heads=("", "NAME", "STATE", "IN", "DOING"), right=frozenset({3}))


def _tree_body(state: SwarmState, top: str, now: float, news: dict[str, Live], folder: Path) -> dict[str, Json]:
    def log_of(agent: Agent) -> str | None:
        path = log_path(folder, agent)
        return str(path) if path is not None else None

    scope = {agent.id for agent in state.subtree(top)} - {ROOT}
    rows = tree_document(state, now, lambda agent: news.get(agent, Live()), log_of)
    return run_document(state, now, log_of) | {"agents": [row for row in rows if row["id"] in scope]}


def _tree_rows(
    state: SwarmState, top: str, now: float, news: dict[str, Live], look: Look, *, gone: bool = False
) -> list[tuple[str, ...]]:
    places = Places()
    places.refresh(state)
    base = state.agents[top].depth
    rows: list[tuple[str, ...]] = []
    for agent in state.subtree(top):
        glyph = look.starting if agent.state is State.STARTING else look.faces[state.face(agent)]
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


def _news(registry: Registry) -> dict[str, Live]:
    """The live figures of those that run."""
    with registry.read() as state:
        running = [agent.id for agent in state.agents.values() if agent.slot]
    return {agent: registry.live(agent) for agent in running}
