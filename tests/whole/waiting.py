"""Every wait has an end: what was waited for in vain is said in words."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

LIMIT = 40.0
"""Seconds after which a wait has failed; far more than a busy machine needs."""


@asynccontextmanager
async def deadline(what: str, seconds: float = LIMIT) -> AsyncIterator[None]:
    """Fail with these words if the block takes longer."""
    try:
        async with asyncio.timeout(seconds):
            yield
    except TimeoutError:
        raise AssertionError(f"waited {seconds:g} s in vain: {what}") from None


async def readable(descriptor: int) -> None:
    """Wait until there is something to read; a pidfd is readable once its process has ended."""
    loop = asyncio.get_running_loop()
    event = asyncio.Event()
    loop.add_reader(descriptor, event.set)
    try:
        await event.wait()
    finally:
        loop.remove_reader(descriptor)
