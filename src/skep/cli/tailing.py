"""The end of an agent's output, and what comes after it until the agent has ended."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterable

from skep.cli.links import AnyLink, agent_of, engine_died, opened, warn_of
from skep.cli.printing import note, say
from skep.clock import Clock, SystemClock
from skep.control.swarms import Target, resolve
from skep.errors import BadInput, NotFound
from skep.model.agent import Agent
from skep.model.states import DriverKind, State
from skep.text import clean_line

LOOKS_EVERY = 0.1
"""Seconds between two looks at what was told."""

_MOST_AGENTS = 10
_PAGE = 2_000


def tail_of(address: str | None, lines: int, *, follow: bool) -> None:
    """Print the last lines of the agent, or of those that run in the branch, that this address names."""
    asyncio.run(_tail_of(resolve(address), lines, follow))


async def _tail_of(target: Target, lines: int, follow: bool) -> None:
    clock = SystemClock()
    async with opened(target.swarm.folder, clock, read_only=True, once=not follow) as link:
        warn_of(link.state.damage)
        agents = _worth_a_look(link, agent_of(link.registry, target))
        if not agents:
            raise NotFound(
                "nothing in there has output", where=target.swarm.id, mend="skep tree shows what is there"
            )
        if follow:
            if len(agents) > 1:
                names = ", ".join(clean_line(agent.name) for agent in agents[:3])
                raise BadInput(
                    f"one agent at a time can be followed, and {len(agents)} run there",
                    where=target.swarm.id,
                    mend=f"name one of them: {names}",
                )
            await _follow(link, agents[0].id, lines, clock)
            return
        for place, agent in enumerate(agents[:_MOST_AGENTS]):
            if len(agents) > 1:
                say(f"{'' if place == 0 else chr(10)}==> {clean_line(agent.name)} ({agent.state.value}) <==")
            await _print_end(link, agent.id, lines)
        if len(agents) > _MOST_AGENTS:
            note(f"… and {len(agents) - _MOST_AGENTS} more; name an agent to see its output")


def _worth_a_look(link: AnyLink, top: str) -> list[Agent]:
    """The command itself; of a branch those that run, else those that failed, else all that began."""
    with link.registry.read() as state:
        commands = [agent for agent in state.subtree(top) if agent.driver is not DriverKind.GROUP]
        if len(commands) == 1:
            return commands
        for states in ((State.RUNNING, State.STOPPING), (State.FAILED, State.TIMED_OUT)):
            found = [agent for agent in commands if agent.state in states]
            if found:
                return found
        return [agent for agent in commands if agent.started_at is not None]


async def _print_end(link: AnyLink, agent: str, lines: int) -> int:
    """Print the last lines; returns the number of the line that comes next."""
    chunk = await link.tail(agent, -1, 1)
    at = max(0, chunk.total - lines)
    while at < chunk.total:
        chunk = await link.tail(agent, at, min(_PAGE, chunk.total - at))
        if not chunk.lines:
            break
        _print(chunk.lines)
        at = chunk.first + len(chunk.lines)
    if chunk.rest and at >= chunk.total:
        _print((chunk.rest,))
    return at


async def _follow(link: AnyLink, agent: str, lines: int, clock: Clock) -> None:
    link.follow(agent)
    at = await _print_end(link, agent, lines)
    while True:
        one = link.registry.agent(agent)
        ended = one is None or one.ended
        for _, chunk in link.take_output():
            at = await _catch_up(link, agent, at, chunk.first)
            _print(chunk.lines[max(0, at - chunk.first) :])
            at = max(at, chunk.first + len(chunk.lines))
        if ended or not link.state.live:
            total = (await link.tail(agent, -1, 1)).total
            await _catch_up(link, agent, at, total)
            return
        if not link.state.connected:
            raise engine_died(link.folder.name)
        await clock.sleep(LOOKS_EVERY)


async def _catch_up(link: AnyLink, agent: str, at: int, to: int) -> int:
    """Print what was not told on the way, as far as it is at hand; returns where the print stands then."""
    while at < to:
        chunk = await link.tail(agent, at, min(_PAGE, to - at))
        if chunk.first > at:
            note(f"… {chunk.first - at:,} lines are no longer at hand; the log has them")
        if not chunk.lines:
            return to
        _print(chunk.lines)
        at = chunk.first + len(chunk.lines)
    return at


def _print(lines: Iterable[str]) -> None:
    for line in lines:
        say(line)
    sys.stdout.flush()
