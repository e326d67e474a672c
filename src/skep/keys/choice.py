"""Which key the next attempt gets, and if none, what it waits for."""

from __future__ import annotations

import math
import random
from collections import OrderedDict
from collections.abc import Mapping

from skep.keys.desk import Desk

REMEMBERED = 10_000
"""Agents whose last key is known; the one that asked longest ago is forgotten first."""


class Chooser:
    """Sticky, then least loaded, then at random. Its pool guards it with a lock; times are monotonic seconds."""

    def __init__(self, desks: Mapping[str, Desk], seed: int | None) -> None:
        self._desks = desks
        self._random = random.Random(seed)
        self._last: OrderedDict[str, Desk] = OrderedDict()

    def choose(self, model: str, agent: str, avoid: str | None, now: float) -> Desk | None:
        """The key for an attempt that begins now, or None if it has to wait."""
        healthy = [desk for desk in self._desks.values() if desk.is_healthy(model, now)]
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

    def why(self, model: str, now: float) -> str:
        """What stands against an attempt now, in words; empty if nothing does."""
        tried = [desk for desk in self._desks.values() if not desk.standing.quarantined]
        healthy = [desk for desk in tried if desk.is_healthy(model, now)]
        if any(desk.has_room for desk in healthy):
            return ""
        if healthy:
            return "all keys at their cap" if len(healthy) == len(self._desks) else "all healthy keys at their cap"
        first = min(tried, key=lambda desk: desk.free_at(model))
        return f"{first.key.label} cools {_countdown(first.free_at(model) - now)}"

    def _least_loaded(self, usable: list[Desk]) -> Desk:
        least = min(desk.in_flight for desk in usable)
        return self._random.choice([desk for desk in usable if desk.in_flight == least])


def _countdown(seconds: float) -> str:
    """``0:42``, ``2:05``, ``1:00:00``: rounded up, so that it reads zero only when the wait is over."""
    minutes, rest = divmod(math.ceil(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
