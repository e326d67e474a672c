"""Work on files runs in a thread, and nothing of it is left when its agent has been stopped."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import Callable
from typing import TypeVar

from skep.tools.faults import ToolFault

Result = TypeVar("Result")


class Halt:
    """Asked by long work between its steps whether to go on: not after ``seconds``, nor once it was stopped."""

    def __init__(self, seconds: float) -> None:
        self._deadline = time.monotonic() + seconds
        self._stopped = threading.Event()

    def stop(self) -> None:
        """Have the work end at its next step."""
        self._stopped.set()

    @property
    def due(self) -> bool:
        """Whether to end now."""
        return self._stopped.is_set() or time.monotonic() > self._deadline


async def in_thread(work: Callable[[Halt], Result], seconds: float = 10.0) -> Result:
    """What ``work`` returns. A cancelled call returns only when the thread is out of it.

    Raises:
        ToolFault: the file system refused, in words.
    """
    halt = Halt(seconds)
    running = asyncio.ensure_future(asyncio.to_thread(work, halt))
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
