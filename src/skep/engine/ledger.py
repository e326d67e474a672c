"""Where decisions are made: decided, folded and numbered under one lock; effects wait until they are durable."""

from __future__ import annotations

import asyncio
import heapq
import itertools
import logging
import threading
from collections import deque
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from skep.clock import Clock
from skep.errors import Refused, SkepError
from skep.journal import Journal, JournalReader, Row
from skep.model.codec import encode
from skep.model.events import Event, Record
from skep.model.registry import Registry, page_contents, to_page
from skep.model.swarm import SwarmState
from skep.replay import record_of, replay

Effect = Callable[[], Awaitable[None]]

RECENT = 20_000
"""Events kept in memory for clients that follow; older ones are read from the journal."""
CHECKPOINT_EVERY = 20_000
"""Events between two checkpoints: bounds what attach and recovery have to fold."""

_log = logging.getLogger(__name__)


class Decision:
    """One critical section: look at the state, emit events, name the effects that follow once they are durable."""

    def __init__(self, state: SwarmState, now: float) -> None:
        self.state = state
        self.now = now
        """Epoch seconds of all events of this decision; never before those of the last one."""
        self.records: list[Record] = []
        self.effects: list[Effect] = []
        self.calls: list[Callable[[], None]] = []

    @property
    def seq(self) -> int:
        """Number of the last event of this decision; 0 if there is none."""
        return self.records[-1].seq if self.records else 0

    def emit(self, event: Event) -> int:
        """Fold an event; returns its number. Raises IllegalTransition, and nothing has changed then."""
        record = Record(self.state.seq + 1, self.now, event)
        self.state.fold(record)
        self.records.append(record)
        return record.seq

    def then(self, effect: Effect) -> None:
        """Carry this out once everything emitted so far, and in the rest of this decision, is durable."""
        self.effects.append(effect)

    def soon(self, call: Callable[[], None]) -> None:
        """Have this called in the engine's loop as soon as the lock is free, durable or not."""
        self.calls.append(call)


class Ledger:
    """The registry of a swarm with its journal. ``decide``, ``wait`` and ``records``: any thread.

    The loop in which it is made is the engine's: there effects are carried out and futures are touched.
    ``max_pages`` is a quota for the journal in pages of 4 KiB (None: no limit), ``checkpoint_every`` a number of
    events, ``journal`` the class of its journal.
    """

    def __init__(
        self,
        folder: Path,
        clock: Clock,
        *,
        accept_loss: bool = False,
        max_pages: int | None = None,
        checkpoint_every: int = CHECKPOINT_EVERY,
        journal: type[Journal] = Journal,
    ) -> None:
        self.folder = folder
        self.clock = clock
        self.trouble: SkepError | None = None
        self._loop = asyncio.get_running_loop()
        self._thread = threading.get_ident()
        self._pending: deque[tuple[int, Effect]] = deque()
        self._due: asyncio.Queue[Effect] = asyncio.Queue()
        self._waiters: list[tuple[int, int, asyncio.Future[None]]] = []
        self._order = itertools.count()
        self._impatient: set[asyncio.Future[None]] = set()
        self._closed = False
        self._reading = threading.Lock()
        self._reader: JournalReader | None = None
        self._journal = journal(
            folder,
            on_durable=lambda seq: self._in_loop(lambda: self._on_durable(seq)),
            on_trouble=lambda trouble: self._in_loop(lambda: self._on_trouble(trouble)),
            accept_loss=accept_loss,
            max_pages=max_pages,
        )
        self.lost = self._journal.lost
        """Numbers (from, to) of acknowledged events that are gone, if the operator accepted that."""
        self.durable = self._journal.last
        self._checkpointed = 0
        self._checkpoint_every = checkpoint_every
        self._recent: deque[Record] = deque(maxlen=RECENT)
        try:
            self.registry = Registry(self._replay())
        except BaseException:
            self._journal.close()
            raise

    @contextmanager
    def decide(self) -> Iterator[Decision]:
        """Open the one critical section; at its end the events go to the journal, in order.

        Any thread, and not within another one. Raises Refused once the ledger is closed.
        """
        decision: Decision | None = None
        try:
            with self.registry.deciding() as state:
                if self._closed:
                    raise Refused("the engine has ended", where=str(self.folder))
                decision = Decision(state, max(self.clock.time(), state.time))
                try:
                    yield decision
                finally:
                    # What was folded is true, also if the caller failed half-way: it must reach the journal.
                    self._commit(state, decision)
        finally:
            if decision is not None:
                for call in decision.calls:
                    self._in_loop(call)

    async def settle(self, seq: int, *, patient: bool = True) -> None:
        """Wait until event ``seq`` is durable; unless ``patient``, raises what keeps the journal from it."""
        if self.durable >= seq:
            return
        if not patient and self.trouble is not None:
            raise self.trouble
        waiter: asyncio.Future[None] = self._loop.create_future()
        heapq.heappush(self._waiters, (seq, next(self._order), waiter))
        if not patient:
            self._impatient.add(waiter)
        try:
            await waiter
        finally:
            self._impatient.discard(waiter)

    def wait(self, seq: int, timeout: float | None = None) -> bool:
        """Block this thread, any but the loop's, until event ``seq`` is durable; False after so many seconds."""
        return self._journal.wait(seq, timeout)

    async def published(self, after: int) -> None:
        """Wait until some event after number ``after`` is durable."""
        await self.settle(after + 1)

    def records(self, after: int, limit: int) -> Sequence[Record]:
        """Durable events after ``after``, at most ``limit``; from memory if they are recent."""
        recent = self.recent(after, limit)
        if recent is not None:
            return recent
        end = min(self.durable, after + limit)
        with self._reading:
            if self._reader is None:
                self._reader = JournalReader(self.folder)
            rows = self._reader.read(after, end - after)
        return [record_of(row) for row in rows]

    def recent(self, after: int, limit: int) -> Sequence[Record] | None:
        """The same if that can be had without the disk, else None."""
        end = min(self.durable, after + limit)
        if end <= after:
            return ()
        with self.registry.lock:
            if not self._recent or self._recent[0].seq > after + 1:
                return None
            skip = after + 1 - self._recent[0].seq
            return list(itertools.islice(self._recent, skip, skip + end - after))

    async def run_effects(self) -> None:
        """Carry out effects in their order, until cancelled."""
        while True:
            effect = await self._due.get()
            try:
                await effect()
            except Exception:  # noqa: BLE001
                # One effect that fails must not end the engine and all that runs in it.
                _log.exception("an effect failed: %s", effect)

    def allow(self, max_pages: int | None) -> None:
        """Set another quota for the journal, in pages of 4 KiB, and try at once what waits for space."""
        self._journal.allow(max_pages)

    def close(self) -> None:
        """Write a last checkpoint and let go; again is harmless.

        Raises NoSpace if something could not be written.
        """
        try:
            with self.registry.read() as state:
                if not self._closed and state.seq > self._checkpointed:
                    self._checkpoint(state)
                self._closed = True
            with self._reading:
                if self._reader is not None:
                    self._reader.close()
        finally:
            self._journal.close()

    def _checkpoint(self, state: SwarmState) -> None:
        """Copy the state here, under the lock; the writer's thread puts it into words."""
        self._checkpointed = state.seq
        contents = page_contents(state)
        self._journal.checkpoint(state.seq, lambda: [to_page(content) for content in contents])

    def _commit(self, state: SwarmState, decision: Decision) -> None:
        # The writer may be quicker than this thread: what follows from "durable" must stand ready before.
        self._recent.extend(decision.records)
        for effect in decision.effects:
            self._pending.append((state.seq, effect))
        if decision.records:
            self._journal.append([Row(r.seq, r.time, encode(r.event)) for r in decision.records])
            if state.seq - self._checkpointed >= self._checkpoint_every:
                self._checkpoint(state)
        elif decision.effects:
            decision.soon(lambda: self._on_durable(self.durable))  # no writer will say it

    def _in_loop(self, call: Callable[[], None]) -> None:
        try:
            if threading.get_ident() == self._thread:
                self._loop.call_soon(call)
            else:
                self._loop.call_soon_threadsafe(call)
        except RuntimeError:
            if not self._closed:
                raise

    def _replay(self) -> SwarmState:
        if self._journal.last == 0:
            return SwarmState()
        with JournalReader(self.folder) as reader:
            found = replay(reader)
        self._checkpointed = found.checkpoint
        return found.state

    def _on_durable(self, seq: int) -> None:
        self.durable = max(self.durable, seq)
        while self._pending and self._pending[0][0] <= self.durable:
            self._due.put_nowait(self._pending.popleft()[1])
        while self._waiters and self._waiters[0][0] <= self.durable:
            waiter = heapq.heappop(self._waiters)[2]
            if not waiter.done():
                waiter.set_result(None)

    def _on_trouble(self, trouble: SkepError | None) -> None:
        self.trouble = trouble
        if trouble is None:
            _log.info("the journal is written again")
            return
        _log.error("the journal cannot be written: %s", trouble)
        for waiter in list(self._impatient):
            if not waiter.done():
                waiter.set_exception(trouble)
