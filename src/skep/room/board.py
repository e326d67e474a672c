"""What the keys panel says: each key in words and figures, in a quiet order, and who waits for one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from skep.control.verbs import KeyShown, KeysShown
from skep.model.agent import Face
from skep.room.look import FACE_ROLES, Look, Role
from skep.text import UNKNOWN, clean_line, duration, money

USABLE, COOLING, HELD, QUARANTINED = "ok", "cooling", "held", "quarantined"
"""What the engine calls the states of a key."""

LABEL_LIMIT = 60
NAME_LIMIT = 40
REASON_LIMIT = 200


@dataclass(frozen=True, slots=True)
class KeyRow:
    """One key. Whatever foreign text it holds is cleaned."""

    label: str
    state: str
    until: float | None
    """When it may be used again, epoch seconds."""
    in_flight: int
    cap: int | None
    requests: int
    """In the last minute, as the tokens."""
    tokens: int
    limited: int | None
    """Percent of its answers that were a 429; None before the first answer."""
    first_token: float | None
    """Seconds."""
    cost: str
    used_by: str

    @property
    def load(self) -> float:
        """How much of what it may carry it carries."""
        return self.in_flight / self.cap if self.cap else self.in_flight / 100

    def face(self) -> Face | None:
        """The face of an agent that says the same; None for a state that nobody knows here."""
        return _FACES.get(self.state)

    def glyph(self, look: Look) -> str:
        """The sign at its left edge."""
        face = self.face()
        return look.faces[face] if face is not None else "?"

    @property
    def role(self) -> Role:
        """The colour of the sign. Cooling is daily bread and must not shout."""
        if self.state == COOLING:
            return Role.AMBER_DIM
        face = self.face()
        return FACE_ROLES[face] if face is not None else Role.GREY

    def words(self, now: float) -> str:
        """Its state in words; ``now`` in epoch seconds."""
        if self.state == COOLING and self.until is not None:
            return f"cooling {countdown(self.until - now)}"
        return self.state

    def brief(self, now: float) -> str:
        """The same in a word: load, time left, or why not."""
        if self.state == USABLE:
            return f"{self.in_flight}/{self.cap}" if self.cap else str(self.in_flight)
        if self.state == COOLING and self.until is not None:
            return countdown(self.until - now)
        return self.state


_FACES = {USABLE: Face.RUNNING, COOLING: Face.WAITING, HELD: Face.HELD, QUARANTINED: Face.FAILED}


@dataclass(frozen=True, slots=True)
class Board:
    """All keys at one moment."""

    rows: tuple[KeyRow, ...] = ()
    waiters: int = 0
    oldest: float | None = None
    """Since when the first of them has waited, epoch seconds."""
    trouble: str = ""
    """Why nothing, or nothing new, is known."""

    def note(self, now: float) -> str:
        """How many may be used, and who waits for one."""
        usable = sum(row.state == USABLE for row in self.rows)
        parts = [f"{usable} of {len(self.rows)} usable" if self.rows else "", self.waits(now), self.trouble]
        return "   ".join(part for part in parts if part)

    def waits(self, now: float) -> str:
        """Who waits for a key, and for how long."""
        if not self.waiters:
            return ""
        agents = "1 agent waits" if self.waiters == 1 else f"{self.waiters:,} agents wait"
        since = f", oldest {countdown(now - self.oldest)}" if self.oldest is not None else ""
        return f"{agents}{since}"

    @property
    def order(self) -> tuple[tuple[str, str], ...]:
        """Labels and states, by label: while they stay, rows need not move."""
        return tuple(sorted((row.label, row.state) for row in self.rows))


def board_of(shown: KeysShown, name_of: Callable[[str], str]) -> Board:
    """The board of an answer of the engine; ``name_of`` gives the name of a branch by its id."""
    rows = [_row(key, name_of) for pool in shown.pools for key in pool.keys]
    rows.sort(key=_rank)
    waits = [pool.at - pool.oldest_wait for pool in shown.pools if pool.waiters and pool.oldest_wait is not None]
    return Board(tuple(rows), sum(pool.waiters for pool in shown.pools), min(waits, default=None))


def in_order_of(board: Board, labels: Iterator[str]) -> tuple[KeyRow, ...]:
    """Its rows in an order that they had before."""
    places = {label: at for at, label in enumerate(labels)}
    return tuple(sorted(board.rows, key=lambda row: places.get(row.label, len(places))))


def _rank(row: KeyRow) -> tuple[int, float, str]:
    """Usable ones first, by load; then those that come back, by when."""
    if row.state == USABLE:
        return (0, -row.load, row.label)
    return (1, row.until if row.until is not None else float("inf"), row.label)


def _row(key: KeyShown, name_of: Callable[[str], str]) -> KeyRow:
    answers = key.rate_limited + key.successes
    return KeyRow(
        label=clean_line(key.label, limit=LABEL_LIMIT),
        state=clean_line(key.state, limit=LABEL_LIMIT),
        until=key.until,
        in_flight=key.in_flight,
        cap=key.cap,
        requests=key.requests_minute,
        tokens=key.tokens_minute,
        limited=round(100 * key.rate_limited / answers) if answers else None,
        first_token=key.first_token_seconds,
        cost=_cost(key),
        used_by=_used_by(key, name_of),
    )


def _cost(key: KeyShown) -> str:
    micro = round(key.cost_usd * 1_000_000)
    return UNKNOWN if key.cost_is_lower_bound and not micro else money(micro, lower_bound=key.cost_is_lower_bound)


def _used_by(key: KeyShown, name_of: Callable[[str], str]) -> str:
    reason = clean_line(key.reason, limit=REASON_LIMIT)
    if key.state == QUARANTINED:
        return ": ".join(part for part in (reason, "replace it, skep keys") if part)
    holders = sorted(key.holders.items(), key=lambda held: (-held[1], held[0]))
    used = "  ".join(f"{clean_line(name_of(branch), limit=NAME_LIMIT)} {count}" for branch, count in holders)
    if used or key.state == USABLE:
        return used
    model = clean_line(key.model or "", limit=NAME_LIMIT)
    return "  ".join(part for part in (reason, model) if part)


def countdown(seconds: float) -> str:
    """``0:42``, ``12:05``; over an hour as any other time."""
    whole = max(int(seconds + 0.999), 0)
    return f"{whole // 60}:{whole % 60:02d}" if whole < 3600 else duration(whole)
