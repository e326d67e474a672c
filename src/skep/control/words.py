"""What an engine tells is put into words once, however many clients it is told to."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Final

from skep.clock import Clock
from skep.control.service import Service
from skep.control.wire import record_frames, record_text
from skep.model.events import Record
from skep.model.registry import page_contents, to_page

AGED: Final = 10_000
"""Events after which a copy of the state is too old to begin with; fewer are made up for one by one."""

KEPT_SECONDS: Final = 2.0
"""So long a copy is kept that nobody is being told: whoever asks and asks gets the same one."""

_KEPT_EVENTS = 2_000
_KEPT_BYTES = 4 * 1024 * 1024


class Snapshot:
    """The state after one event, in pages; each is written out when the first client needs it."""

    def __init__(self, seq: int, contents: list[object], made_at: float) -> None:
        self.seq = seq
        self.made_at = made_at
        self.users = 0
        self._contents = contents
        self._pages: list[bytes | None] = [None] * len(contents)

    def __len__(self) -> int:
        return len(self._pages)

    def page(self, number: int) -> bytes:
        """That page in canonical JSON, counted from 0."""
        page = self._pages[number]
        if page is None:
            self._pages[number] = page = to_page(self._contents[number])
            self._contents[number] = None
        return page


class Words:
    """Keeps what was put into words lately. To be used within a turn: all of it is work."""

    def __init__(self, service: Service, clock: Clock) -> None:
        self._service = service
        self._clock = clock
        self._snapshot: Snapshot | None = None
        self._events: OrderedDict[int, bytes] = OrderedDict()
        self._bytes = 0

    def snapshot(self, beyond: int) -> Snapshot:
        """A copy of the state after event ``beyond`` or a later one, made now or lately."""
        kept = self._snapshot
        if kept is None or kept.seq <= beyond or self._service.durable - kept.seq > AGED:
            with self._service.registry.read() as state:
                kept = Snapshot(state.seq, page_contents(state), self._clock.monotonic())
            self._snapshot = kept
        return kept

    @contextmanager
    def using(self, snapshot: Snapshot) -> Iterator[None]:
        """While a client is told this copy, it stays."""
        snapshot.users += 1
        try:
            yield
        finally:
            snapshot.users -= 1

    def events(self, records: Sequence[Record]) -> tuple[bytes, int] | None:
        """As :func:`skep.control.wire.record_frames`."""
        return record_frames(records, self._text_of)

    def tidy(self, *, alone: bool = False) -> None:
        """Let go of what nobody needs any more; of everything if no client is left."""
        kept = self._snapshot
        if kept is not None and (
            alone or (not kept.users and self._clock.monotonic() - kept.made_at >= KEPT_SECONDS)
        ):
            self._snapshot = None
        if alone:
            self._events.clear()
            self._bytes = 0

    def _text_of(self, record: Record) -> bytes:
        text = self._events.get(record.seq)
        if text is None:
            self._events[record.seq] = text = record_text(record)
            self._bytes += len(text)
            while len(self._events) > _KEPT_EVENTS or self._bytes > _KEPT_BYTES:
                _, old = self._events.popitem(last=False)
                self._bytes -= len(old)
        return text
