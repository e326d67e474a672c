"""Takes a tree of processes down step by step: TERM, a grace, then KILL until nothing is left."""

from __future__ import annotations

import math
import signal
from collections.abc import Callable, Iterable

from skep.warden import signalling
from skep.warden.procfs import Process

GRACE = 2.0
"""Seconds between TERM and KILL where nobody says otherwise: for leftovers, or once the engine is gone."""

PATIENCE = 10.0
"""Seconds that the leftovers of a command which was told to terminate may wait for the engine's next step."""

ATTEMPT = 1.75
"""Seconds of quick sweeping. What is left then is reported, and swept at a slow pace from there on. The engine
says what is left after two seconds, and knows it by then."""

_QUICK = 0.01
_QUICK_AT_MOST = 0.16
_SLOW = 0.5
_ROUNDS = 50


class Ladder:
    """The steps for one tree. It sends signals when it is called, and says in `due` when to call it next.

    Moments are seconds of the monotonic clock. A repeated or later request shortens the ladder, never restarts it.
    """

    __slots__ = ("_group", "_pause", "_report_at", "_tree", "climbing", "due")

    def __init__(self, tree: Callable[[], Iterable[Process]], group: Callable[[], int] = lambda: 0) -> None:
        """``group`` is what is signalled where no process is seen: without /proc nothing else is known."""
        self._tree = tree
        self._group = group
        self.reset()

    def reset(self) -> None:
        """Forget everything: the tree is gone."""
        self.climbing = False
        self.due = math.inf
        self._pause = _QUICK
        self._report_at = math.inf

    def terminate(self, now: float, grace: float) -> None:
        """TERM to every group, CONT so that stopped ones hear it; KILL after so many seconds (may be infinite)."""
        self.climbing = True
        self.due = min(self.due, now + grace)
        if not self._sweeping:
            if tree := list(self._tree()):
                signalling.send_groups(tree, signal.SIGTERM, signal.SIGCONT)
            else:
                signalling.send_group(self._group(), signal.SIGTERM, signal.SIGCONT)

    def hasten(self, now: float, grace: float) -> None:
        """Have the next step follow after this grace at the latest."""
        self.due = min(self.due, now + grace)

    def kill(self, now: float) -> None:
        """Begin to sweep at once."""
        self.climbing = True
        self._report_at = now + ATTEMPT
        self._pause = _QUICK
        self.due = now

    def climb(self, now: float) -> bool:
        """Take the step that is due, if one is; True if what is left should be reported now."""
        if now < self.due:
            return False
        if not self._sweeping:
            self.kill(now)
        if not sweep(self._tree):
            signalling.send_group(self._group(), signal.SIGKILL)
        overdue = now >= self._report_at
        # What was killed takes its time to die where many are; their guards must not take it from them.
        self.due = now + _SLOW if overdue else min(now + self._pause, self._report_at)
        self._pause = min(self._pause * 2, _QUICK_AT_MOST)
        return overdue

    @property
    def _sweeping(self) -> bool:
        return self._report_at < math.inf


def sweep(tree: Callable[[], Iterable[Process]]) -> bool:
    """One pass: stop everybody, from the top down, then kill them. False if there was nobody.

    A process that forks as fast as it is killed is beaten that way: what is stopped has no more children when they
    are listed, whole groups are stopped at once, which no fork inside them outruns, and each round finds fewer.
    """
    stopped: dict[tuple[int, int], Process] = {}
    groups: set[int] = set()
    for _ in range(_ROUNDS):
        known = len(stopped)
        for process in tree():
            if not process.living or (process.pid, process.start) in stopped:
                continue
            stopped[process.pid, process.start] = process
            if process.group in groups:
                signalling.send(process, signal.SIGSTOP)
            else:
                groups.add(process.group)
                signalling.send_groups([process], signal.SIGSTOP)
        if len(stopped) == known:
            break
    for process in stopped.values():
        signalling.send(process, signal.SIGKILL)
    return bool(stopped)
