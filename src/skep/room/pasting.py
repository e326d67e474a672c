"""Tells keys that were pasted from keys that were typed: the former come together, and must not act."""

from __future__ import annotations

from textual import events

HOLD_SECONDS = 0.005
"""How long a key is held back to see what comes with it."""

BURST_KEYS = 8
BURST_SECONDS = 0.03
"""So many printable keys in so short a time were pasted; what follows as closely belongs to them."""


class PasteGuard:
    """Gathers keys for a moment; a burst is dropped whole, all else is given back in its order."""

    def __init__(self) -> None:
        self._held: list[events.Key] = []
        self._dropped_at = float("-inf")

    @property
    def holding(self) -> bool:
        """True while keys wait for :meth:`release`."""
        return bool(self._held)

    def hold(self, key: events.Key) -> None:
        """Keep a key until the next :meth:`release`."""
        self._held.append(key)

    def release(self) -> tuple[list[events.Key], int]:
        """The keys that were typed, and how many were dropped because they were pasted."""
        held, self._held = self._held, []
        if not held:
            return [], 0
        if held[0].time - self._dropped_at <= BURST_SECONDS or _is_burst(held):
            self._dropped_at = held[-1].time
            return [], len(held)
        return held, 0


def _is_burst(keys: list[events.Key]) -> bool:
    times = [key.time for key in keys if key.is_printable]
    return any(end - start <= BURST_SECONDS for start, end in zip(times, times[BURST_KEYS - 1 :], strict=False))
