"""What the banner has to say: the gravest thing that is held or broken first, each with the true way out of it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from skep.control.link import LinkState
from skep.model.agent import Face
from skep.model.events import ROOT
from skep.model.holds import SWARM_SCOPE, Latch, Scope, ScopeKind
from skep.model.states import DriverKind, State, Strength
from skep.model.swarm import SwarmState
from skep.room.cells import cost
from skep.room.headline import Headline, is_held_itself
from skep.room.keymap import Keymap
from skep.text import clean_line, duration


class Gravity(Enum):
    """How loud a notice is."""

    BROKEN = "broken"
    HOLD = "hold"
    PLAIN = "plain"


@dataclass(frozen=True, slots=True)
class Notice:
    """One thing: what, the particulars, and how to see or to end it."""

    gravity: Gravity
    what: str
    details: tuple[str, ...] = ()
    hint: str = ""


NOTHING = Notice(Gravity.PLAIN, "nothing held, nothing waits for you")
"""What stands there when there is nothing to say."""


def notices(
    state: SwarmState, total: Headline, link: LinkState, keymap: Keymap, frozen_at: float | None, now: float
) -> tuple[Notice, ...]:
    """Everything worth a banner at this moment (epoch seconds), the gravest first; never empty."""
    found: list[Notice] = []
    if link.damage is not None:
        swarm = state.created.swarm if state.created is not None else "SWARM"
        way = f"skep recover {swarm} --accept-loss" if link.damage.blocks else ""
        found.append(Notice(Gravity.BROKEN, "its journal is damaged", (link.damage.loss,), way))
    lost = _lost(state, total, link, keymap)
    if lost is not None:
        found.append(lost)
    if link.connected and link.trouble and not total.gone and link.damage is None:
        found.append(Notice(Gravity.BROKEN, clean_line(link.trouble, limit=200)))
    if frozen_at is not None:
        age = duration(max(now - frozen_at, 0.0))
        hint = f"{keymap.key('freeze')} unfreezes"
        found.append(Notice(Gravity.PLAIN, "screen frozen", (age, "the swarm goes on"), hint))
    found.extend(_hold(state, latch, keymap, now) for latch in sorted(state.latches.values(), key=_rank))
    if total.status is None and link.live and not total.gone and (unresumed := _to_resume(state)):
        them = "1 lost agent" if unresumed == 1 else f"{unresumed:,} lost agents"
        way = f"{keymap.key('resume')} on one resumes it"
        found.append(Notice(Gravity.HOLD, f"{them} can be resumed", hint=way))
    if total.status is not None:
        found.append(_over(total, now))
    return tuple(found) or (_quiet(total),)


def _to_resume(state: SwarmState) -> int:
    """How many conversations were lost with an engine and nobody goes on with."""
    root = state.agents.get(ROOT)
    if root is None or not (state.composition(ROOT).get(Face.LOST) or root.state is State.LOST):
        return 0  # as a rule; only else is everybody looked at
    return sum(
        one.state is State.LOST and one.driver is DriverKind.CHAT and not one.resumed_by
        for one in state.agents.values()
    )


def _lost(state: SwarmState, total: Headline, link: LinkState, keymap: Keymap) -> Notice | None:
    """That the engine, or the link to it, is lost; how old the picture is, and how it comes back."""
    age = duration(link.behind)
    if total.gone:
        particulars = (age if link.live else "", f"{total.lost:,} lost" if total.lost else "", _waits(total))
        swarm = state.created.swarm if state.created is not None else ""
        way = f"skep recover {swarm} takes it up again"
        if not link.live:  # what is shown is a journal, to which nothing is ever added
            option = " --accept-loss" if link.damage is not None and link.damage.blocks else ""
            way = f"{keymap.key('leave')}, then skep attach{option} takes it up again"
        return Notice(Gravity.BROKEN, "its engine is gone", tuple(filter(None, particulars)), way)
    if link.foreign:
        way = clean_line(link.foreign, limit=100)
        return Notice(Gravity.BROKEN, "another version of skep runs it now", (age,), way)
    if not link.connected and not (link.gone and state.status is not None):
        why = clean_line(link.trouble or "the engine does not answer", limit=200)
        return Notice(Gravity.BROKEN, "link lost", (age, why), "it comes back by itself")
    if link.silent:
        told = "what is shown is as old; nothing is sent"
        return Notice(Gravity.BROKEN, "the engine is silent", (age, told), "it comes back by itself")
    return None


def _rank(latch: Latch) -> tuple[bool, bool, float]:
    return (latch.scope != SWARM_SCOPE, latch.strength is not Strength.TURNS, latch.since)


def _hold(state: SwarmState, latch: Latch, keymap: Keymap, now: float) -> Notice:
    turns = latch.strength is Strength.TURNS
    what = "turns" if turns else "new spawns"
    asked = Scope.read(latch.scope)
    if asked.kind is ScopeKind.SWARM:
        held = state.composition(ROOT).get(Face.HELD, 0) + is_held_itself(state, ROOT)
        where, hint = "in the swarm", f"{keymap.key('hold.turns_swarm' if turns else 'hold.swarm')} release"
    elif asked.kind in (ScopeKind.MODEL, ScopeKind.ACCOUNT):
        name = clean_line(asked.name, limit=60)
        held = sum(state.face(one) is Face.HELD for one in state.reach(latch.scope))
        where = f"on {asked.kind} {name}"
        hint = f"{keymap.key('command')}unpause --{asked.kind} {name}{' --turns' if turns else ''}"
    else:
        scope = state.agents.get(latch.scope)
        name = clean_line(scope.name, limit=40) if scope is not None else latch.scope
        where = "under the root" if latch.scope == ROOT else f"under {name}"
        held = state.composition(latch.scope).get(Face.HELD, 0) + is_held_itself(state, latch.scope)
        hint = f"{keymap.key('hold.turns' if turns else 'hold')} on {name} releases"
    who = f"by {clean_line(latch.who, limit=60)}" if latch.who else ""
    reason = clean_line(latch.reason, limit=200)
    left = f"{duration(latch.until - now)} left" if latch.until is not None else ""
    why = ", ".join(part for part in (who, reason) if part)
    working = state.at_work(latch) if turns else 0
    still = f"{working:,} still at work" if working else ""
    details = (f"{held:,} held", still, duration(max(now - latch.since, 0.0)), left, why)
    return Notice(Gravity.HOLD, f"{what} held {where}", tuple(filter(None, details)), hint)


def _waits(total: Headline) -> str:
    waiting = total.queued + total.held
    return f"{waiting:,} still wait" if waiting else ""


def _over(total: Headline, now: float) -> Notice:
    counts = [f"{total.done:,} done"]
    if total.failed:
        counts.append(f"{total.failed:,} failed")
    others = total.ended - total.done - total.failed
    if others:
        counts.append(f"{others:,} stopped")
    if total.chat:
        counts.append(cost(total.spend))
    return Notice(Gravity.PLAIN, f"{total.status} in {duration(total.elapsed(now))}, {', '.join(counts)}")


def _quiet(total: Headline) -> Notice:
    if total.need_you:
        return Notice(Gravity.PLAIN, "nothing held")
    return NOTHING
