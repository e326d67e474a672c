"""``skep resume``: the conversation of an ended agent goes on, in a swarm that lives, died or has ended."""

from __future__ import annotations

import asyncio

from skep.cli import engine
from skep.cli.acts import act_document, done_of
from skep.cli.holding import held_in, hold_line
from skep.cli.links import agent_of, opened
from skep.cli.printing import note, say
from skep.clock import SystemClock
from skep.control.swarms import Target, engine_pid, resolve
from skep.control.verbs import Resume
from skep.errors import BadInput, Refused
from skep.model.events import ROOT
from skep.text import clean_line


def resume(address: str, message: str, *, go: bool, json: bool) -> None:
    """Go on with a conversation; an engine is started for a swarm that has none."""
    target = resolve(address)
    if target.agent is None:
        raise BadInput(
            "which conversation shall go on?",
            where=clean_line(address, limit=80),
            why="it names a whole swarm",
            mend=f"write {target.swarm.id}/AGENT; skep tree {target.swarm.id} shows who was lost",
        )
    asyncio.run(_resume(target, message, go=go, json=json))


async def _resume(target: Target, message: str, *, go: bool, json: bool) -> None:
    clock = SystemClock()
    folder = target.swarm.folder
    if engine_pid(folder) is None:
        async with opened(folder, clock, read_only=True, once=True) as link:
            agent_of(link.registry, target)  # before anything is started for nothing
        try:
            await asyncio.to_thread(engine.start, folder, None, go=go, expects_client=True)
            note(f"an engine was started for {target.swarm.id}")
        except Refused:
            if engine_pid(folder) is None:
                raise
            # Somebody else was quicker: their engine serves as well.
    async with opened(folder, clock, once=True) as link:
        agent = agent_of(link.registry, target)
        done = done_of(await link.call(Resume(agent=agent, message=message)))
        [new] = done.agents
        old = link.registry.agent(agent)
        holding = [
            one for one in await held_in(link) if one.kind in ("swarm", "branch") and one.scope in ("", ROOT)
        ]
        if json:
            act_document(target, "resume", new, done, effective=False)
            return
        name = clean_line(old.name) if old is not None else agent
        say(f"{target.swarm.id}/{new} goes on with the conversation of {name}")
        for one in holding:
            say(f"  it waits: {hold_line(link, one, clock.time())}: skep unpause {target.swarm.id}")
