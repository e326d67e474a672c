"""Holds of a live swarm: put on and taken off through its engine, and waited for until they are true."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from skep.cli.acts import NotYet, act_document, done_of, title_of, until
from skep.cli.links import AnyLink, agent_of, opened
from skep.cli.printing import say
from skep.clock import Clock, SystemClock
from skep.control.holding import holds
from skep.control.swarms import Target, resolve
from skep.control.verbs import Holds, HoldShown, HoldsShown, Pause, Unpause
from skep.errors import Ambiguous, BadInput, NotFound
from skep.model.events import ROOT
from skep.model.holds import SWARM_SCOPE, Scope, ScopeKind
from skep.model.states import Strength
from skep.model.swarm import SwarmState
from skep.text import clean_line, duration

_LONGEST_PAUSE = 366 * 86_400
_LOOKS_EVERY = 0.1


@dataclass(frozen=True, slots=True)
class What:
    """What a person wants held or released besides what the address says."""

    turns: bool = False
    model: str | None = None
    account: str | None = None


def hold(
    address: str | None,
    what: What,
    *,
    reason: str,
    seconds: float | None,
    wait: bool,
    patience: float | None,
    json: bool,
) -> None:
    """Pause a swarm, a branch, a model or a key account."""
    if seconds is not None and seconds > _LONGEST_PAUSE:
        raise BadInput("a hold ends within a year", where="--for", mend="leave --for out to hold until unpaused")
    asyncio.run(_hold(_target(address, what), what, reason[:500], seconds, wait, patience, json))


async def _hold(
    target: Target, what: What, reason: str, seconds: float | None, wait: bool, patience: float | None, json: bool
) -> None:
    clock = SystemClock()
    async with opened(target.swarm.folder, clock, once=not wait) as link:
        scope = _scope(link, target, what)
        strength = Strength.TURNS if what.turns else Strength.SPAWNS
        pause = Pause(scope=str(scope), strength=strength, reason=reason, seconds=seconds)
        done = done_of(await link.call(pause))
        title = _title(link, target, scope)
        if wait:
            await _quiesced(link, scope, strength, patience, f"the hold of {title}", clock)
        if json:
            act_document(target, "pause", str(scope) or ROOT, done, effective=wait)
            return
        held = f" ({done.count} wait)" if done.count else ""
        end = f"for {duration(seconds)}" if seconds is not None else "until skep unpause"
        things = "turns and new starts are" if what.turns else "new starts are"
        settled = ("; nothing goes on" if what.turns else "; nothing is starting") if wait else ""
        say(f"{things} held in {title}{held} {end}{settled}")


def release(address: str | None, what: What, *, json: bool) -> None:
    """Unpause what was paused so; effective once it is durable."""
    asyncio.run(_release(_target(address, what), what, json))


async def _release(target: Target, what: What, json: bool) -> None:
    async with opened(target.swarm.folder, SystemClock(), once=True) as link:
        scope = _scope(link, target, what)
        strengths = (Strength.TURNS,) if what.turns else (Strength.TURNS, Strength.SPAWNS)
        every = [done_of(await link.call(Unpause(scope=str(scope), strength=one))) for one in strengths]
        last = max(every, key=lambda done: done.seq)
        done = last.model_copy(update={"count": sum(one.count for one in every)})
        with link.registry.read() as state:
            others = [one for one in holds(state, lambda account: 0) if one.scope != str(scope)]
        if json:
            act_document(target, "unpause", str(scope) or ROOT, done, effective=True)
            return
        title = _title(link, target, scope)
        freed = f", {done.count} go on" if done.count else ""
        say(f"{title} is released{freed}" if done.seq else f"nothing was held in {title} itself")
        for other in others:
            say(f"  still held: {other.strength} in {_title(link, target, Scope.read(other.scope))}")


async def held_in(link: AnyLink) -> list[HoldShown]:
    """Every latch of a swarm; of one without an engine as its journal tells."""
    if link.state.live:
        reply = await link.call(Holds())
        if isinstance(reply, HoldsShown):
            return reply.holds
    with link.registry.read() as state:
        return holds(state, lambda account: 0)


def hold_line(link: AnyLink, one: HoldShown, now: float) -> str:
    """A latch in one line for people: what it holds, how many, how long, who and why, and when it ends."""
    strength = "turns" if one.strength == Strength.TURNS.value else "new starts"
    parts = [
        f"{strength} held in {_named(link, Scope.read(one.scope))}",
        f"{one.held} held",
        duration(max(now - one.since, 0.0)),
        f"{duration(one.until - now)} left" if one.until is not None else "",
        ", ".join(filter(None, (f"by {clean_line(one.who)}" if one.who else "", clean_line(one.reason)))),
        "" if one.quiesced else "not everything holds yet",
    ]
    return "  ".join(filter(None, parts))


async def _quiesced(
    link: AnyLink, scope: Scope, strength: Strength, patience: float | None, what: str, clock: Clock
) -> None:
    """Wait until every agent in the scope really holds. Raises NotYet."""
    key = (str(scope), strength)
    if scope.kind is not ScopeKind.ACCOUNT:

        def really(state: SwarmState) -> bool:
            return key not in state.latches or state.quiesced(state.latches[key])

        await until(link, really, patience, what)
        return
    # What is in flight on an account stands in no event: its pool has to be asked.
    deadline = clock.monotonic() + patience if patience is not None else None
    while any(not one.quiesced for one in await held_in(link) if (one.scope, one.strength) == key):
        if deadline is not None and clock.monotonic() >= deadline:
            why = f"waited {duration(patience or 0.0)}"
            raise NotYet(f"{what} is not effective yet", where=link.folder.name, why=why, mend="it goes on")
        await clock.sleep(_LOOKS_EVERY)


def _target(address: str | None, what: What) -> Target:
    target = resolve(address)
    named = [name for name, given in (("--model", what.model), ("--account", what.account)) if given is not None]
    if len(named) > 1:
        raise BadInput("a hold has one scope", where=" and ".join(named), mend="hold them one after the other")
    if named and target.agent is not None:
        raise BadInput(
            f"{named[0]} holds it in the whole swarm",
            where=clean_line(address or ""),
            mend=f"write {target.swarm.id}, or leave {named[0]} out",
        )
    return target


def _scope(link: AnyLink, target: Target, what: What) -> Scope:
    if what.model is not None:
        return Scope(ScopeKind.MODEL, what.model)
    if what.account is not None:
        return Scope(ScopeKind.ACCOUNT, _account(link, what.account))
    agent = agent_of(link.registry, target)
    return Scope.read(SWARM_SCOPE if agent == ROOT else agent)


def _account(link: AnyLink, name: str) -> str:
    """The full name of an account that was written with or without its provider."""
    with link.registry.read() as state:
        known = dict.fromkeys(one for names in state.accounts.values() for one in names)
    found = [one for one in known if one == name or one.partition("/")[2] == name]
    if len(found) == 1:
        return found[0]
    if found:
        raise Ambiguous(
            f"the account {name} is there more than once", why=", ".join(found), mend="write one of these"
        )
    mend = f"known are {', '.join(known)}" if known else "skep keys shows the keys of a swarm"
    raise NotFound(f"there is no account {clean_line(name)}", where=link.folder.name, mend=mend)


def _title(link: AnyLink, target: Target, scope: Scope) -> str:
    """The scope as one would name it to a person."""
    if scope.kind in (ScopeKind.MODEL, ScopeKind.ACCOUNT):
        return f"{scope.kind} {clean_line(scope.name)} of swarm {target.swarm.id}"
    return title_of(link, Target(target.swarm, scope.name or None))


def _named(link: AnyLink, scope: Scope) -> str:
    if scope.kind is ScopeKind.SWARM:
        return "the swarm"
    if scope.kind is ScopeKind.BRANCH:
        one = link.registry.agent(scope.name)
        return f"the branch {clean_line(one.name if one is not None else scope.name)}"
    return f"the {scope.kind} {clean_line(scope.name)}"
