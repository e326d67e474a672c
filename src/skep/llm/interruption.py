"""A task that can be ended from outside, at once and with a reason."""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Self


class Interruption:
    """Cancels what runs inside of it, and swallows that cancellation; whoever opened it asks for the ``reason``.

    The way of ``asyncio.timeout``: a cancellation by anybody else goes through, also one that comes at the
    same time.
    """

    def __init__(self) -> None:
        self.reason: Exception | None = None
        """Why it was ended; None while it was not."""
        self._task: asyncio.Task[object] | None = None
        self._cancelling = 0

    def end(self, reason: Exception) -> bool:
        """End what runs inside, now or as soon as it is entered; False if another reason came first."""
        if self.reason is not None:
            return False
        self.reason = reason
        if self._task is not None:
            self._task.cancel()
        return True

    async def __aenter__(self) -> Self:
        task = asyncio.current_task()
        if task is None:
            raise RuntimeError("only a task can be interrupted")
        self._task = task
        self._cancelling = task.cancelling()
        if self.reason is not None:
            task.cancel()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        task, self._task = self._task, None
        if self.reason is None or task is None:
            return False
        arrived = isinstance(error, asyncio.CancelledError)
        if not arrived:
            # The cancellation is still on its way; it must not hit whatever comes next.
            try:
                await asyncio.sleep(0)
            except asyncio.CancelledError:
                arrived = True
        if task.uncancel() <= self._cancelling:
            return True
        if not isinstance(error, asyncio.CancelledError) and arrived:
            raise asyncio.CancelledError
        return False
