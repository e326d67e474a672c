"""Who waits for a key, first come first served among those that one and the same key could serve."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections import OrderedDict
from collections.abc import Iterator

from skep.keys.lease import Lease


class Waiter:
    """One attempt that waits for a key. The pool sets ``lease`` under its lock, then wakes it without."""

    __slots__ = ("_loop", "_nudge", "agent", "avoid", "branch", "lease", "model", "number", "own", "since")

    def __init__(self, model: str, agent: str, branch: str, avoid: str | None, since: float) -> None:
        self._loop = asyncio.get_running_loop()
        self._nudge = asyncio.Event()
        self.model = model
        self.agent = agent
        self.branch = branch
        self.avoid = avoid
        self.since = since
        self.number = 0
        self.own: str | None = None
        """The label of the key that its agent used last."""
        self.lease: Lease | None = None

    def wake(self) -> bool:
        """Have it look around again, from any thread; false if its event loop is gone and nobody will."""
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._nudge.set)
            return True
        return False

    @property
    def is_reachable(self) -> bool:
        """Whether its event loop is still there."""
        return not self._loop.is_closed()

    async def nudged(self) -> None:
        """Wait until it is woken; a call from before this moment counts."""
        await self._nudge.wait()
        self._nudge.clear()

    def nudge(self) -> None:
        """Wake it from within its own event loop."""
        self._nudge.set()


_Group = tuple[str, str | None, str | None]


def _group_of(waiter: Waiter) -> _Group:
    """What decides which keys could serve it."""
    return waiter.model, waiter.avoid, waiter.own


class WaitingLine:
    """All waiters of a pool, in groups that can use the same keys. Its pool guards it with a lock.

    Waiters of one group stand in order of arrival, and only their first one is ever looked at: to pass over a
    group whose keys rest costs the same for one waiter as for a thousand.
    """

    def __init__(self) -> None:
        self._numbers = itertools.count(1)
        # Not plain dicts: the first entry of one from whose front much was taken is slow to find.
        self._groups: dict[_Group, OrderedDict[int, Waiter]] = {}

    def __len__(self) -> int:
        return sum(map(len, self._groups.values()))

    def __bool__(self) -> bool:
        return bool(self._groups)

    def join(self, waiter: Waiter) -> None:
        """Stand at the end."""
        waiter.number = next(self._numbers)
        self._groups.setdefault(_group_of(waiter), OrderedDict())[waiter.number] = waiter

    def leave(self, waiter: Waiter) -> None:
        """Stand in line no longer; harmless if it does not."""
        group = self._groups.get(_group_of(waiter))
        if group is not None:
            group.pop(waiter.number, None)
            if not group:
                del self._groups[_group_of(waiter)]

    def firsts(self) -> list[Waiter]:
        """The first of each group, in order of arrival."""
        return sorted(self._first_of_each(), key=lambda waiter: waiter.number)

    def first(self) -> Waiter | None:
        """Who waits longest."""
        return min(self._first_of_each(), key=lambda waiter: waiter.number, default=None)

    def _first_of_each(self) -> Iterator[Waiter]:
        return (next(iter(group.values())) for group in self._groups.values())
