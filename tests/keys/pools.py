"""Pools for tests: short to make, in virtual time, and awaited without a clock."""

from __future__ import annotations

import asyncio

from skep.clock import VirtualClock
from skep.keys import Key, KeyView, Pool, Secret

MODEL = "m"


def pool(keys: int = 2, cap: int | None = None, *, clock: VirtualClock | None = None, seed: int = 1) -> Pool:
    """A pool of ``sim-1``, ``sim-2``, …"""
    return Pool(
        "simulator",
        "http://127.0.0.1:8399/v1",
        [Key(f"sim-{number}", Secret(f"key-{number}")) for number in range(1, keys + 1)],
        clock or VirtualClock(),
        max_concurrency=cap,
        seed=seed,
    )


def key(pool: Pool, label: str) -> KeyView:
    """One key of a snapshot."""
    return next(view for view in pool.snapshot().keys if view.label == label)


def in_flight(pool: Pool) -> dict[str, int]:
    """Label → attempts in flight."""
    return {view.label: view.in_flight for view in pool.snapshot().keys}


async def settled(rounds: int = 25) -> None:
    """Let everything happen that can happen without a clock."""
    for _ in range(rounds):
        await asyncio.sleep(0)
