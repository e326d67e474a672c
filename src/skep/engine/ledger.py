"""Where decisions are made: decided, folded and numbered under one lock; effects wait until they are durable."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from skep.clock import Clock
from skep.errors import SkepError
from skep.journal import Journal, JournalReader, Row
from skep.model.events import Event, Record, decode, encode
from skep.model.registry import Registry, from_pages, to_pages
from skep.model.swarm import SwarmState

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

    def emit(self, event: Event) -> int:
        """Fold an event; returns its number. Raises IllegalTransition, and nothing has changed then."""
        record = Record(self.state.seq + 1, self.now, event)
        self.state.fold(record)
        self.records.append(record)
        return record.seq

    def then(self, effect: Effect) -> None:
        """Carry this out once everything emitted so far, and in the rest of this decision, is durable."""
        self.effects.append(effect)


class Ledger:
    """The registry of a swarm with its journal. ``decide`` may be called from any thread."""

    def __init__(self, folder: Path, clock: Clock, *, accept_loss: bool = False) -> None:
        self.folder = folder
        self.clock = clock
        self.trouble: SkepError | None = None
        self._loop = asyncio.get_running_loop()
        self._pending: deque[tuple[int, Effect]] = deque()
        self._due: asyncio.Queue[Effect] = asyncio.Queue()
        self._waiters: list[tuple[int, asyncio.Future[None]]] = []
        self._closing = False
        self._reader: JournalReader | None = None
        self._journal = Journal(
            folder,
            on_durable=lambda seq: self._in_loop(lambda: self._on_durable(seq)),
            on_trouble=lambda trouble: self._in_loop(lambda: self._on_trouble(trouble)),
            accept_loss=accept_loss,
        )
        self.lost = self._journal.lost
        """Numbers (from, to) of acknowledged events that are gone, if the operator accepted that."""
        self.durable = self._journal.last
        self._checkpointed = 0
        self.registry = Registry(self._replay())
        self._recent: deque[Record] = deque(maxlen=RECENT)

    @contextmanager
    def decide(self) -> Iterator[Decision]:
        """Open the one critical section; at its end the events go to the journal, in order."""
        with self.registry.deciding() as state:
            decision = Decision(state, max(self.clock.time(), state.time))
            try:
                yield decision
            finally:
                # What was folded is true, also if the caller failed half-way: it must reach the journal.
                self._commit(state, decision)

    async def settle(self, seq: int) -> None:
        """Wait until event ``seq`` is durable."""
        if self.durable >= seq:
            return
        waiter = self._loop.create_future()
        self._waiters.append((seq, waiter))
        await waiter

    async def published(self, after: int) -> None:
        """Wait until some event after number ``after`` is durable."""
        await self.settle(after + 1)

    def records(self, after: int, limit: int) -> Sequence[Record]:
        """Durable events after ``after``, at most ``limit``; from memory if they are recent."""
        end = min(self.durable, after + limit)
        if end <= after:
            return ()
        if self._recent and self._recent[0].seq <= after + 1:
            skip = after + 1 - self._recent[0].seq
            return [self._recent[i] for i in range(skip, skip + end - after)]
        if self._reader is None:
            self._reader = JournalReader(self.folder)
        return [Record(row.seq, row.time, decode(row.body)) for row in self._reader.read(after, end - after)]

    async def run_effects(self) -> None:
        """Carry out effects in their order, until cancelled."""
        while True:
            effect = await self._due.get()
            await effect()

    def close(self) -> None:
        """Write a last checkpoint and let go. Raises NoSpace if something could not be written."""
        self._closing = True
        with self.registry.read() as state:
            if state.seq > self._checkpointed:
                self._journal.checkpoint(state.seq, to_pages(state))
        if self._reader is not None:
            self._reader.close()
        self._journal.close()

    def _commit(self, state: SwarmState, decision: Decision) -> None:
        if decision.records:
            self._journal.append([Row(r.seq, r.time, encode(r.event)) for r in decision.records])
            self._recent.extend(decision.records)
            if state.seq - self._checkpointed >= CHECKPOINT_EVERY:
                self._checkpointed = state.seq
                self._journal.checkpoint(state.seq, to_pages(state))
        for effect in decision.effects:
            self._pending.append((state.seq, effect))
        if decision.effects and not decision.records:
            self._in_loop(lambda: self._on_durable(self.durable))

    def _replay(self) -> SwarmState:
        state = SwarmState()
        if self._journal.last == 0:
            return state
        with JournalReader(self.folder) as reader:
            checkpoint = reader.checkpoint()
            if checkpoint is not None:
                state = from_pages(checkpoint.pages)
                self._checkpointed = checkpoint.seq
            while rows := reader.read(state.seq, 5_000):
                for row in rows:
                    state.fold(Record(row.seq, row.time, decode(row.body)))
        state.touched.clear()
        return state

    def _in_loop(self, call: Callable[[], None]) -> None:
        """Called from the writer's thread (or any other): do it in the engine's loop."""
        try:
            self._loop.call_soon_threadsafe(call)
        except RuntimeError:
            if not self._closing:
                raise

    def _on_durable(self, seq: int) -> None:
        self.durable = max(self.durable, seq)
        while self._pending and self._pending[0][0] <= self.durable:
            self._due.put_nowait(self._pending.popleft()[1])
        for waiter in [w for w in self._waiters if w[0] <= self.durable]:
            self._waiters.remove(waiter)
            if not waiter[1].done():
                waiter[1].set_result(None)

    def _on_trouble(self, trouble: SkepError | None) -> None:
        if trouble is not None:
            _log.error("the journal cannot be written: %s", trouble)
        self.trouble = trouble
