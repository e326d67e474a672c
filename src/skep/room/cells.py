"""What the cells of one row say, before anybody knows how wide the tree is: taken under the lock, then kept."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from skep.model.agent import Agent, Face, Live, Spend
from skep.model.holds import SWARM_SCOPE, Latch
from skep.model.registry import Registry
from skep.model.states import DriverKind, Mark, State, Strength
from skep.model.swarm import SwarmState
from skep.room.doing import Doing, Places, bereaved, composition, doing, is_late_to_stop, own_hold, signal_name
from skep.room.look import FACE_ROLES, Look, Number, Role
from skep.room.rows import Fold, Row
from skep.text import UNKNOWN, clean_line, money, tokens

NAME_LIMIT = 200
"""Characters of a name that are looked at; a name field has at most 28 cells."""

LABEL_LIMIT = 60
"""Characters of a key's label that are looked at."""

Totals = Mapping[str, tuple[int, int]]
"""Parent → lines and bytes of output of its whole branch."""


@dataclass(frozen=True, slots=True)
class Cells:
    """The content of a row; times are epoch seconds, so that ages can tick without asking the registry."""

    glyph: str
    glyph_role: Role
    name: str
    name_role: Role
    bold: bool
    held_from: int | None
    """Level from which on the guides are those of a held branch; None if nothing holds."""
    since: float | None
    """IN counts from here; None if it stands still or is blank."""
    took: float | None
    """The IN of an ended agent, in seconds."""
    in_role: Role
    doing: Doing
    numbers: tuple[tuple[Number, str], ...]
    asked_at: float | None
    """AGE counts from here."""
    live: bool
    """Works at this moment: grey when the link is lost."""
    placed: bool
    """Names a place in the line, which moves without an event of this agent."""


def cells_of(
    state: SwarmState, row: Row, live: Live, places: Places, totals: Totals, look: Look, *, gone: bool = False
) -> Cells | None:
    """The cells of a row; None if its agent is no longer there. ``gone``: no engine runs the swarm any more."""
    agent = state.agents.get(row.agent)
    if agent is None:
        return None
    if row.more:
        return _gathered(state, agent, row, look)
    face = state.face(agent)
    glyph, role = _glyph(state, agent, face, row, look)
    says = doing(state, agent, live, places)
    hold = own_hold(state, agent.id)
    if gone and not agent.ended:
        says = bereaved(says, agent)
        if agent.slot:
            face, glyph, role = Face.LOST, look.faces[Face.LOST], Role.RED
        elif row.fold is Fold.CLOSED and says.counts:
            glyph, role = look.faces[says.counts[0][0]], FACE_ROLES[says.counts[0][0]]
    broken = face in (Face.FAILED, Face.LOST)
    still = agent.ended or face in (Face.QUEUED, Face.HELD)
    idle = still or face is Face.WAITING
    return Cells(
        glyph=glyph,
        glyph_role=role,
        name=clean_line(short_name(state, agent), limit=NAME_LIMIT),
        name_role=Role.GREY if row.pale or (still and not broken) else Role.TEXT,
        bold=bool(agent.children),
        held_from=_held_from(state, agent, row.level),
        since=_since(agent, hold, gone=gone),
        took=_took(state, agent, gone=gone),
        in_role=Role.GREY if idle else _in_role(says),
        doing=says,
        numbers=_numbers(state, agent, live, totals),
        asked_at=agent.queued_at,
        live=agent.slot and not gone,
        placed=agent.id in state.line,
    )


def short_name(state: SwarmState, agent: Agent) -> str:
    """Its name, less the path that the group above it says already."""
    above = state.agents.get(agent.parent) if agent.parent is not None else None
    if above is None or above.driver is not DriverKind.GROUP:
        return agent.name
    return agent.name.removeprefix(f"{above.name}/") or agent.name


def _since(agent: Agent, hold: Latch | None, *, gone: bool) -> float | None:
    if agent.ended or (gone and agent.slot):
        return None
    return hold.since if hold is not None and not agent.slot else agent.since


def _took(state: SwarmState, agent: Agent, *, gone: bool) -> float | None:
    if agent.ended_at is not None:
        return agent.in_step(agent.ended_at) if agent.started_at else None
    # The last that was heard of the swarm is the last that is known of this agent.
    return agent.in_step(state.time) if gone and agent.slot else None


def _glyph(state: SwarmState, agent: Agent, face: Face, row: Row, look: Look) -> tuple[str, Role]:
    if row.fold is Fold.CLOSED:
        worst = next((one for one, _ in composition(state, agent.id)), face)
        return look.faces[worst], FACE_ROLES[worst]
    if is_late_to_stop(agent) or (agent.mark is Mark.DEAD and agent.state is State.RUNNING):
        return look.faces[face], Role.RED
    if not agent.ended and agent.asked_at is not None and face is not Face.HELD:
        return look.faces[Face.STOPPING], FACE_ROLES[Face.STOPPING]
    if face is Face.ASKS:
        return look.faces[face], FACE_ROLES[face]
    if not agent.ended and not agent.slot and own_hold(state, agent.id) is not None:
        return look.faces[Face.HELD], FACE_ROLES[Face.HELD]
    if agent.state is State.STARTING and agent.mark is None:
        return look.starting, FACE_ROLES[face]
    return look.faces[face], FACE_ROLES[face]


def _in_role(says: Doing) -> Role:
    return says.role if says.words else Role.GREY


def _held_from(state: SwarmState, agent: Agent, level: int) -> int | None:
    """The level of the highest branch above this row (or of itself) that a latch closes."""
    if not state.latches:
        return None
    found = 0 if any((SWARM_SCOPE, strength) in state.latches for strength in Strength) else None
    at = agent.depth
    for one in state.ancestors(agent.id):
        if own_hold(state, one.id) is not None:
            found = at if found is None else min(at, found)
        at -= 1
    return found


def _numbers(state: SwarmState, agent: Agent, live: Live, totals: Totals) -> tuple[tuple[Number, str], ...]:
    if agent.driver is DriverKind.CHAT:
        return _chat_numbers(state, agent, live)
    if agent.driver is DriverKind.GROUP:
        lines, size = totals.get(agent.id, (None, None))
        return ((Number.LINES, _lines(lines)), (Number.OUTPUT, tokens(size)), *_spent(state.spend(agent.id)))
    if not agent.attempt:
        return ()
    told = live if not agent.ended and live.progress_at else None
    known_lines = agent.lines if agent.ended else told.lines if told is not None else None
    known_size = agent.size if agent.ended else told.size if told is not None else None
    return (
        (Number.TRY, _try(agent)),
        (Number.LINES, _lines(known_lines)),
        (Number.OUTPUT, tokens(known_size)),
        (Number.EXIT, _exit(agent)),
    )


def _chat_numbers(state: SwarmState, agent: Agent, live: Live) -> tuple[tuple[Number, str], ...]:
    """The turn and the key are its own, tokens and cost those of its whole branch."""
    if not agent.attempt:
        return ()
    turn = max(agent.turns, 0 if agent.ended else live.turn)
    spend = state.spend(agent.id)
    key = agent.key if agent.ended else live.key or agent.key
    return (
        (Number.TURN, tokens(turn) if turn else ""),
        *(_spent(spend) or ((Number.TOKENS, UNKNOWN), (Number.COST, UNKNOWN))),
        (Number.KEY, clean_line(key, limit=LABEL_LIMIT)),
    )


def _spent(spend: Spend) -> tuple[tuple[Number, str], ...]:
    if not spend.turns:
        return ()
    return ((Number.TOKENS, tokens(spend.tokens_in + spend.tokens_out)), (Number.COST, cost(spend)))


def cost(spend: Spend) -> str:
    """What a branch has cost: ``$0.12``, ``≥$0.12`` if some of it is unknown, ``–`` if nothing has."""
    if spend.unpriced and spend.unpriced == spend.turns:
        return UNKNOWN
    return money(spend.cost, lower_bound=spend.is_lower_bound)


def _lines(count: int | None) -> str:
    return f"{count:,}" if count is not None and count < 100_000 else tokens(count)


def _try(agent: Agent) -> str:
    retries = agent.spec.get("retries")
    of = f"{agent.attempt}/{retries + 1}" if isinstance(retries, int) and retries else ""
    return of if 0 < len(of) <= 4 else str(agent.attempt)


def _exit(agent: Agent) -> str:
    if not agent.ended:
        return ""
    if agent.signal is not None:
        return signal_name(agent.signal)
    return str(agent.exit_code) if agent.exit_code is not None else UNKNOWN


def _gathered(state: SwarmState, parent: Agent, row: Row, look: Look) -> Cells:
    """The row that stands for the queued children without a row; they end with the last queued child."""
    last = next((one for one in reversed(parent.children) if state.agents[one].state is State.QUEUED), None)
    held = last is not None and state.line.is_parked(last)
    face = Face.HELD if held else Face.QUEUED
    return Cells(
        glyph=look.faces[face],
        glyph_role=FACE_ROLES[face],
        name=f"+{row.more:,} more queued",
        name_role=Role.GREY,
        bold=False,
        held_from=_held_from(state, parent, row.level),
        since=state.agents[last].since if last is not None else None,
        took=None,
        in_role=Role.GREY,
        doing=Doing("", Role.GREY),
        numbers=(),
        asked_at=None,
        live=False,
        placed=False,
    )


def branch_totals(registry: Registry) -> dict[str, tuple[int, int]]:
    """Lines and bytes of output below every agent that has any below it, its own included; in one pass."""
    with registry.read() as state:
        busy = [agent.id for agent in state.agents.values() if agent.attempt and agent.ended_at is None]
    told = {agent: registry.live(agent) for agent in busy}
    sums: dict[str, tuple[int, int]] = {}
    with registry.read() as state:
        # Parents stand before their children, so the way back sums up every branch before it is added on.
        for agent in reversed(state.agents.values()):
            own = told.get(agent.id, agent)
            lines, size = own.lines, own.size
            if agent.children:
                below = sums.get(agent.id, (0, 0))
                lines, size = lines + below[0], size + below[1]
                sums[agent.id] = lines, size
            if agent.parent is not None and (lines or size):
                above = sums.get(agent.parent, (0, 0))
                sums[agent.parent] = above[0] + lines, above[1] + size
    return sums
