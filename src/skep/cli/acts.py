"""Acts upon a live swarm: asked for through its engine, and waited for until they are true."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Literal

from skep.cli.foretelling import losses_document, show_losses
from skep.cli.links import AnyLink, agent_of, opened
from skep.cli.printing import document, say
from skep.clock import SystemClock
from skep.control.swarms import Target, resolve
from skep.control.verbs import Done, Preview, Previewed, Reply, Stop, Uncommitted, UncommittedShown
from skep.errors import BadInput, Refused, SkepError
from skep.model.agent import Agent
from skep.model.events import ROOT
from skep.model.states import DriverKind, Mark
from skep.model.swarm import SwarmState
from skep.text import clean_line, duration

_SHOWN = 10


class NotYet(SkepError):
    """What was waited for has not become true."""

    exit_code = 1


def stop(
    address: str | None,
    how: Literal["interrupt", "kill"],
    *,
    branch: bool,
    wait: bool,
    patience: float | None,
    dry_run: bool,
    json: bool,
) -> None:
    """Interrupt or kill an agent or a branch; the address of a swarm means all of it."""
    target = resolve(address)
    asyncio.run(_stop(target, how, branch or target.agent is None, wait, patience, dry_run, json))


async def _stop(
    target: Target,
    how: Literal["interrupt", "kill"],
    branch: bool,
    wait: bool,
    patience: float | None,
    dry_run: bool,
    json: bool,
) -> None:
    async with opened(target.swarm.folder, SystemClock(), once=not wait) as link:
        agent = agent_of(link.registry, target)
        title = title_of(link, target)
        if not link.state.live and _has_ended(link):
            # Whoever makes sure that it is stopped finds that it is.
            if json:
                act_document(target, how, agent, Done(seq=0), effective=True)
            else:
                say(f"{title} has ended already")
            return
        if dry_run:
            _refuse_half(link, agent, branch=branch)
            preview = await link.call(Preview(agent=agent, branch=branch))
            files = await link.call(Uncommitted(agents=(agent,), branch=branch))
            if not isinstance(preview, Previewed) or not isinstance(files, UncommittedShown):
                raise _other_answer()
            if json:
                document(
                    {"swarm": target.swarm.id, "verb": how, "dry_run": True, **losses_document(preview, files)}
                )
            elif not preview.count:
                say(f"{title} has ended already")
            else:
                show_losses(preview, files, how, title)
            return
        done = done_of(await link.call(Stop(agent=agent, branch=branch, how=how)))
        if wait:
            await until(link, _effective(agent, branch=branch), patience, f"the stop of {title}")
            _refuse_left_over(link, agent, branch=branch)
        if json:
            act_document(target, how, agent, done, effective=wait)
        elif not done.agents:
            say(f"{title} has ended already")
        else:
            count = f"{done.count} agent{'s' if done.count != 1 else ''}"
            say(f"{title}: {count} stopped, nothing is left" if wait else f"{title}: {how} asked of {count}")


def _has_ended(link: AnyLink) -> bool:
    with link.registry.read() as state:
        return state.status is not None


def _refuse_half(link: AnyLink, agent: str, *, branch: bool) -> None:
    with link.registry.read() as state:
        name, below = state.agents[agent].name, state.live_below(agent)
    if below and not branch:
        raise Refused(
            f"{clean_line(name)} has {below} live agents below it",
            why="stopping it would stop them too",
            mend="add --branch",
        )


def _refuse_left_over(link: AnyLink, agent: str, *, branch: bool) -> None:
    with link.registry.read() as state:
        left = [one for one in _live(state, agent, branch=branch) if one.driver is not DriverKind.GROUP]
        words = [f"{clean_line(one.name)}: {clean_line(one.evidence) or one.state}" for one in left]
    if words:
        more = f" and {len(words) - _SHOWN} more" if len(words) > _SHOWN else ""
        raise NotYet(
            "something could not be ended",
            where=link.folder.name,
            why="; ".join(words[:_SHOWN]) + more,
            mend="skep tree shows what is left; it ends as soon as the system lets it",
        )


async def until(link: AnyLink, predicate: Callable[[SwarmState], bool], patience: float | None, what: str) -> None:
    """Wait until the state is so, at most so many seconds. Raises NotYet."""
    try:
        await link.until(predicate, patience)
    except TimeoutError:
        raise NotYet(
            f"{what} is not effective yet",
            where=link.folder.name,
            why=f"waited {duration(patience)}",
            mend="it goes on; skep tree shows how far it is",
        ) from None


def _live(state: SwarmState, agent: str, *, branch: bool) -> list[Agent]:
    scope = state.subtree(agent) if branch else iter((state.agents[agent],))
    return [one for one in scope if not one.ended]


def _effective(agent: str, *, branch: bool) -> Callable[[SwarmState], bool]:
    """Everyone in the scope has ended, or is past the last rung of the ladder and still there."""

    def effective(state: SwarmState) -> bool:
        left = _live(state, agent, branch=branch)
        stuck = [one for one in left if one.mark is Mark.UNSTOPPED]
        # A group above one that cannot be ended waits for it: it is not what is left.
        return all(one in stuck or one.driver is DriverKind.GROUP for one in left) and bool(stuck or not left)

    return effective


def title_of(link: AnyLink, target: Target) -> str:
    """The target as one would name it to a person."""
    agent = agent_of(link.registry, target)
    if agent == ROOT:
        return f"swarm {target.swarm.id} ({clean_line(target.swarm.name)})"
    with link.registry.read() as state:
        return f"{clean_line(state.agents[agent].name)} of swarm {target.swarm.id}"


def act_document(target: Target, verb: str, agent: str, done: Done, *, effective: bool) -> None:
    """Print what became of a verb as one JSON document."""
    document(
        {
            "swarm": target.swarm.id,
            "verb": verb,
            "agent": agent,
            "seq": done.seq,
            "count": done.count,
            "agents": list(done.agents),
            "effective": effective,
        }
    )


def done_of(reply: Reply) -> Done:
    """The reply of a verb that acts. Raises BadInput for any other."""
    if not isinstance(reply, Done):
        raise _other_answer()
    return reply


def _other_answer() -> BadInput:
    return BadInput("the engine gave an answer to something else", mend="use one version of skep for both")
