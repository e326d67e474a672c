"""How one client comes by the picture of a swarm and keeps it: the state, then events and live figures."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from skep.control import wire
from skep.control.deadline import within
from skep.control.following import SMALL
from skep.control.outlet import Common, Outlet
from skep.control.words import Snapshot
from skep.errors import Refused, Unreachable
from skep.model.agent import Live
from skep.model.registry import Watch

FAR_BEHIND: Final = 20_000
"""A client that misses more events than this gets the state instead."""

STATE_SECONDS: Final = 20.0
"""A client that takes longer for the state is cut off: it is kept for its sake."""

LIVE_SECONDS: Final = 0.25
"""Between two rounds of live figures."""

PING_SECONDS: Final = 0.7
"""A silence after which the next round says that the engine is there; with the round itself below one second."""

_LIVE_ROWS = 500  # live figures in one frame
_PIECES = 4  # frames of a page that are put together in one turn
_LIVE_ROUND = 1_000  # and in one round; what is left over waits for the next


class Picture:
    """Tells one client what it has not been told yet."""

    def __init__(self, common: Common, outlet: Outlet) -> None:
        self._common = common
        self._service = common.service
        self._clock = common.clock
        self._outlet = outlet
        self._attached = False
        self._cursor = 0
        """Number of the last event that this client was told."""
        self._watch: Watch | None = None
        self._stale: dict[str, None] = {}
        """Agents whose live figures this client has not been told, in the order of change."""
        self._trouble: str | None = None

    def close(self) -> None:
        """Nobody looks any more."""
        if self._watch is not None:
            self._watch.close()

    async def attach(self, after: int) -> int:
        """Tell all that came after that event, by the state if that is much; returns the last event told.

        Then :meth:`tell_events` must run.
        """
        if self._attached:
            raise Refused("this client is attached already")
        self._attached = True
        self._watch = self._service.registry.watch()
        self._watch.take()  # what changed so far is told with the state
        self._cursor = after
        behind = self._service.durable - after
        if after == 0 or not 0 <= behind <= FAR_BEHIND:
            await self._tell_state(beyond=0)
        await self._catch_up(self._service.durable)
        await self._tell_all_live()
        return self._cursor

    async def look(self) -> int:
        """Tell the state of this moment, and nothing that comes after it; returns the last event told."""
        if self._attached:
            raise Refused("an attached client has the tree already")
        await self._tell_trouble()  # first: who asks once must not take an old picture for the present one
        await self._tell_state(beyond=0)
        await self._catch_up(self._service.durable)
        await self._tell_all_live()
        return self._cursor

    async def tell_events(self) -> None:
        """Tell each event once it is durable, for ever."""
        while True:
            await self._service.published(self._cursor)
            if self._service.durable - self._cursor > FAR_BEHIND:
                await self._tell_state(beyond=self._cursor)
            await self._catch_up(self._service.durable)

    async def tick(self) -> None:
        """Tell live figures, what troubles the engine, and that it is there, by the clock and for ever."""
        while True:
            await self._clock.sleep(LIVE_SECONDS)
            self._common.words.tidy()
            await self._tell_trouble()
            if self._watch is not None:
                self._stale |= dict.fromkeys(self._watch.take().live)
                await self._tell_live()
            if self._clock.monotonic() - self._outlet.wrote_at >= PING_SECONDS:
                await self._outlet.tell(lambda: wire.call_frame("ping", {"durable": self._service.durable}))

    # -- the state, and events -------------------------------------------------------------------------------

    async def _tell_state(self, *, beyond: int) -> bool:
        """Send the state after event ``beyond`` or later, in pieces that fit; the cursor then stands at its event.

        False if that cannot be now: what is not durable may not be seen, and while the disk is full that can
        last for ever. The events that are durable give the same picture, only slower.
        """
        words = self._common.words
        async with self._outlet.turn():
            snapshot = words.snapshot(beyond)
        while self._service.durable < snapshot.seq:
            if self._service.trouble is not None:
                return False
            try:
                await within(self._clock, LIVE_SECONDS, self._service.published(snapshot.seq - 1))
            except TimeoutError:
                continue
        with words.using(snapshot):
            try:
                await within(self._clock, STATE_SECONDS, self._tell_pages(snapshot))
            except TimeoutError:
                raise Unreachable(
                    "the other side of the control socket is too slow",
                    why=f"the state was not taken in {STATE_SECONDS:g} s",
                ) from None
        self._cursor = snapshot.seq
        return True

    async def _tell_pages(self, snapshot: Snapshot) -> None:
        for number in range(len(snapshot)):
            async with self._outlet.turn():
                page = snapshot.page(number)
            for start in range(0, len(page), wire.BATCH_BYTES * _PIECES):
                async with self._outlet.turn():
                    frames = list(wire.piece_frames(page, number, len(snapshot), start, _PIECES))
                for frame in frames:
                    await self._outlet.write(frame)

    async def _catch_up(self, durable: int) -> None:
        """Send the events up to that number; by the state instead where they are not at hand or too large."""
        while self._cursor < durable:
            records = await self._service.records(self._cursor, wire.BATCH_RECORDS)
            batch = None
            if records and records[0].seq == self._cursor + 1:
                async with self._outlet.turn(small=len(records) <= SMALL):
                    batch = self._common.words.events(records)
            if batch is not None:
                frame, self._cursor = batch
                await self._outlet.write(frame)
            elif not await self._tell_state(beyond=self._cursor):
                await self._clock.sleep(LIVE_SECONDS)

    # -- what comes by the clock -----------------------------------------------------------------------------

    async def _tell_trouble(self) -> None:
        trouble = self._service.trouble
        if trouble != self._trouble:
            self._trouble = trouble
            await self._outlet.tell(lambda: wire.call_frame("trouble", {"text": trouble}))

    async def _tell_all_live(self) -> None:
        with self._service.registry.read() as state:
            running = [a.id for a in state.agents.values() if a.started_at is not None and not a.ended]
        self._stale |= dict.fromkeys(running)
        for _ in range(0, len(running), _LIVE_ROUND):
            await self._tell_live()

    async def _tell_live(self) -> None:
        for _ in range(0, min(len(self._stale), _LIVE_ROUND), _LIVE_ROWS):
            async with self._outlet.turn(small=len(self._stale) <= SMALL):
                frames = list(self._live_frames())
            for frame in frames:
                await self._outlet.write(frame)

    def _live_frames(self) -> Iterator[bytes]:
        rows: list[bytes] = []
        size = 0
        for agent, live in self._live_figures():
            rows.append(wire.live_text(agent, live))
            size += len(rows[-1])
            if size > wire.BATCH_BYTES:
                yield wire.live_frame(rows)
                rows, size = [], 0
        if rows:
            yield wire.live_frame(rows)

    def _live_figures(self) -> list[tuple[str, Live]]:
        """Take the figures that are due off the list; those of agents unknown to the client stay on it."""
        due: list[str] = []
        with self._service.registry.read() as state:
            for agent in list(self._stale):
                one = state.agents.get(agent)
                if one is not None and one.order > self._cursor:
                    continue
                del self._stale[agent]
                due.append(agent)
                if len(due) >= _LIVE_ROWS:
                    break
        figures = ((agent, self._service.registry.live(agent)) for agent in due)
        return [(agent, live) for agent, live in figures if live != _NOTHING]


_NOTHING = Live()
