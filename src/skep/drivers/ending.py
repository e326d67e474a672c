"""Waiting for a task to its very end, however often the one who waits is cancelled."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TypeVar

T = TypeVar("T")


async def ended(work: asyncio.Future[T]) -> None:
    """Return once ``work`` is done, whatever came of it; what it raised counts as seen."""
    while not work.done():
        with suppress(asyncio.CancelledError):
            await asyncio.wait({work})
    if not work.cancelled():
        work.exception()
