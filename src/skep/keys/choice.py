"""Which key the next attempt gets, and if none, what it waits for."""

from __future__ import annotations

import math
import random
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass

from skep.keys.desk import Desk
from skep.model.states import Strength

REMEMBERED = 10_000
"""Agents whose last key is known; the one that asked longest ago is forgotten first."""


@dataclass(frozen=True, slots=True)
class Hindrance:
    """What an attempt waits for, in words, and whether that is somebody's hold."""

    words: str
    held: bool = False


class Chooser:
    """Sticky, then least loaded, then at random. Its pool guards it with a lock; times are monotonic seconds."""

    def __init__(self, desks: Mapping[str, Desk], seed: int | None) -> None:
        self._desks = desks
        self._random = random.Random(seed)
        self._last: OrderedDict[str, Desk] = OrderedDict()

    def choose(self, model: str, agent: str, avoid: str | None, now: float) -> Desk | None:
        """The key for an attempt that begins now, or None if it has to wait."""
        healthy = [
            desk for desk in self._desks.values() if desk.is_healthy(model, now) and self._takes(desk, agent)
        ]
        others = [desk for desk in healthy if desk.key.label != avoid]
        usable = [desk for desk in others or healthy if desk.has_room]
        if not usable:
            return None
        last = self._last.get(agent)
        desk = last if last in usable else self._least_loaded(usable)
        self._last[agent] = desk
        self._last.move_to_end(agent)
        if len(self._last) > REMEMBERED:
            self._last.popitem(last=False)
        return desk

    def last(self, agent: str) -> str | None:
        """The label of the key that this agent used last."""
        desk = self._last.get(agent)
        return desk.key.label if desk is not None else None

    def why(self, model: str, agent: str, now: float) -> Hindrance:
        """What stands against an attempt of this agent now; no words if nothing does."""
        tried = [desk for desk in self._desks.values() if not desk.standing.quarantined]
        healthy = [desk for desk in tried if desk.is_healthy(model, now)]
        open_ones = [desk for desk in healthy if self._takes(desk, agent)]
        if any(desk.has_room for desk in open_ones):
            return Hindrance("")
        if open_ones:
            all_healthy = len(open_ones) == len(self._desks)
            return Hindrance("all keys at their cap" if all_healthy else "all healthy keys at their cap")
        if healthy or all(desk.hold is not None for desk in tried):
            held = [desk.key.account for desk in healthy or tried]
            return Hindrance(f"{held[0]} is held" if len(held) == 1 else "all accounts are held", held=True)
        first = min(
            (desk for desk in tried if self._takes(desk, agent)),
            key=lambda desk: desk.free_at(model),
            default=tried[0],
        )
        return Hindrance(f"{first.key.label} cools {_countdown(first.free_at(model) - now)}")

    def _takes(self, desk: Desk, agent: str) -> bool:
        """Whether no hold of its account keeps this agent from it."""
        if desk.hold is None:
            return True
        return desk.hold is Strength.SPAWNS and self._last.get(agent) is desk

    def _least_loaded(self, usable: list[Desk]) -> Desk:
        least = min(desk.in_flight for desk in usable)
        return self._random.choice([desk for desk in usable if desk.in_flight == least])


def _countdown(seconds: float) -> str:
    """``0:42``, ``2:05``, ``1:00:00``: rounded up, so that it reads zero only when the wait is over."""
    minutes, rest = divmod(math.ceil(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
