"""Work on files runs in a thread, and nothing of it is left when its agent has been stopped."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import TypeVar

from skep.tools.faults import ToolFault

Result = TypeVar("Result")


class Halt:
    """Asked by long work between its steps whether to go on: not after ``seconds``, nor once it was stopped."""

    def __init__(self, seconds: float) -> None:
        self._deadline = time.monotonic() + seconds
        self._stopped = threading.Event()
        self.steps = 0
        """How many the work has made, which shows that its thread lives; 0: it has not begun."""

    def stop(self) -> None:
        """Have the work end at its next step."""
        self._stopped.set()

    def step(self) -> None:
        """The work has made a step, and its thread lives."""
        self.steps += 1

    @property
    def due(self) -> bool:
        """Whether to end now; asked at each step."""
        self.step()
        return self._stopped.is_set() or time.monotonic() > self._deadline


class Threads:
    """The threads that work for one agent, and whether they answer."""

    def __init__(self) -> None:
        self._seen: dict[Halt, int] = {}

    @contextlib.contextmanager
    def watched(self) -> Iterator[None]:
        """What is begun in here, also by tasks that begin in here, has its threads counted among these."""
        token = _threads.set(self)
        try:
            yield
        finally:
            _threads.reset(token)

    @contextlib.contextmanager
    def counted(self, halt: Halt) -> Iterator[None]:
        """One of them, as long as the context lasts."""
        self._seen[halt] = -1
        try:
            yield
        finally:
            del self._seen[halt]

    def __len__(self) -> int:
        return len(self._seen)

    def answer(self) -> bool:
        """Whether each one has made a step since this was last asked. Who has not begun waits for its turn."""
        silent = False
        for halt, before in self._seen.items():
            silent |= halt.steps > 0 and halt.steps == before
            self._seen[halt] = halt.steps
        return not silent


_threads: ContextVar[Threads | None] = ContextVar("threads", default=None)


async def in_thread(work: Callable[[Halt], Result], seconds: float = 10.0) -> Result:
    """What ``work`` returns. A cancelled call returns only when the thread is out of it.

    Raises:
        ToolFault: the file system refused, in words.
    """
    halt = Halt(seconds)

    def begin() -> Result:
        halt.step()
        return work(halt)

    threads = _threads.get()
    with threads.counted(halt) if threads is not None else contextlib.nullcontext():
        return await _to_the_end(halt, asyncio.ensure_future(asyncio.to_thread(begin)))


async def _to_the_end(halt: Halt, running: asyncio.Future[Result]) -> Result:
    try:
        return await asyncio.shield(running)
    except asyncio.CancelledError:
        halt.stop()
        while not running.done():
            with contextlib.suppress(asyncio.CancelledError):  # raised again below, as soon as that is true
                await asyncio.wait([running])
        if not running.cancelled():
            running.exception()
        raise
    except OSError as error:
        raise ToolFault("the file system refuses", why=error.strerror or str(error)) from error
