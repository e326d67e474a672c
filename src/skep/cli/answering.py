"""``skep approve`` and ``skep deny``: the answer to what one agent asks, bound to exactly what was shown."""

from __future__ import annotations

import asyncio
import json as json_text
import sys

from skep.cli.links import AnyLink, agent_of, opened
from skep.cli.printing import document, note, say
from skep.clock import SystemClock
from skep.control.swarms import Target, resolve
from skep.control.verbs import Answer, Done
from skep.errors import Ambiguous, BadInput, NotFound, Refused
from skep.model.agent import Agent
from skep.model.events import Json
from skep.text import clean_line, clean_whole, duration

_SHOWN = 5
_NOT_DETAILS = ("hash", "tool", "headline", "until")


def answer(address: str | None, *, allow: bool, yes: bool, json: bool) -> None:
    """Show what the agent at this address asks, and allow or deny it."""
    asyncio.run(_answer(resolve(address), allow, yes, json))


async def _answer(target: Target, allow: bool, yes: bool, json: bool) -> None:
    clock = SystemClock()
    async with opened(target.swarm.folder, clock) as link:
        agent = _asking(link, target)
        question = agent.question or {}
        _show(agent, question, clock.time())
        if not yes:
            _confirm(target, allow=allow)
        mark = str(question.get("hash", ""))
        done = await link.call(Answer(agent=agent.id, hash=mark, allow=allow))
    seq = done.seq if isinstance(done, Done) else 0
    if json:
        document(
            {
                "swarm": target.swarm.id,
                "verb": "approve" if allow else "deny",
                "agent": agent.id,
                "tool": question.get("tool"),
                "headline": question.get("headline"),
                "hash": mark,
                "seq": seq,
            }
        )
    else:
        say(f"{clean_line(agent.name)}: {'allowed' if allow else 'denied'}")


def _asking(link: AnyLink, target: Target) -> Agent:
    """The agent that is meant; of a whole swarm, the only one that asks."""
    with link.registry.read() as state:
        asking = [one for one in state.agents.values() if one.question is not None and not one.ended]
        named = {one.id: clean_line(one.name, limit=80) for one in asking}
    swarm = target.swarm.id
    if target.agent is None:
        if len(asking) == 1:
            return asking[0]
        if not asking:
            raise NotFound("nobody asks anything", where=swarm, mend="skep tree shows what the agents do")
        shown = [f"{swarm}/{id} ({name})" for id, name in named.items()]
        raise Ambiguous(
            f"{len(asking)} agents ask",
            where=swarm,
            why=", ".join(shown[:_SHOWN]) + (f" and {len(shown) - _SHOWN} more" if len(shown) > _SHOWN else ""),
            mend="name one of them",
        )
    meant = agent_of(link.registry, target)
    found = next((one for one in asking if one.id == meant), None)
    if found is None:
        others = ", ".join(f"{swarm}/{id}" for id in list(named)[:_SHOWN])
        mend = f"{others} asks" if others else "skep tree shows what the agents do"
        raise Refused("it asks nothing", where=f"{swarm}/{meant}", why="it may have been answered", mend=mend)
    return found


def _show(agent: Agent, question: dict[str, Json], now: float) -> None:
    """All that the answer covers, on standard error: what is not seen must not be allowed."""
    until = question.get("until")
    rest = f", denied by itself in {duration(until - now)}" if isinstance(until, int | float) else ""
    note(f"{clean_line(agent.name)} asks for {clean_line(str(question.get('tool', 'a tool')))}{rest}:")
    note(f"  {clean_line(str(question.get('headline', '')))}")
    for name, value in question.items():
        if name not in _NOT_DETAILS and value not in (None, ""):
            text = value if isinstance(value, str) else json_text.dumps(value, ensure_ascii=True)
            lines = clean_whole(text)
            note(f"  {clean_line(name)}: {lines[0]}")
            for line in lines[1:]:
                note(f"    {line}")


def _confirm(target: Target, *, allow: bool) -> None:
    """Ask on a terminal; without one only a denial needs no further word."""
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        if allow:
            raise BadInput(
                "not asked whether to allow it", where=target.swarm.id, mend="read what it asks, then add --yes"
            )
        return
    sys.stderr.write(f"{'allow' if allow else 'deny'} this? [y/N] ")
    sys.stderr.flush()
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise Refused("nothing was answered", where=target.swarm.id)
