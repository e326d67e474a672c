"""Waiting for something to its very end, however often the one who waits is cancelled."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
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


async def to_the_end(work: Coroutine[None, None, None]) -> None:
    """Do this whole, also if the task is cancelled meanwhile; it is cancelled afterwards then."""
    task = asyncio.ensure_future(work)
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.wait({task})
        except asyncio.CancelledError as error:
            cancelled = error
    task.result()
    if cancelled is not None:
        raise cancelled
