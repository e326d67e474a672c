"""An engine as it is, with one thing added: a task that writes down how late the event loop wakes it."""

from __future__ import annotations

import argparse
import asyncio
import os
import struct
import sys
import time
from contextlib import suppress
from pathlib import Path

from skep.cli.engine import collect_seldom, serve
from skep.clock import SystemClock
from skep.model.launch import Launch

EVERY = 0.01
"""Seconds that the task asks to sleep."""
SAMPLE = struct.Struct("=dd")
"""When it woke (monotonic clock), and how late that was; both in seconds."""


async def _probe(to: int) -> None:
    while True:
        due = time.monotonic() + EVERY
        await asyncio.sleep(EVERY)
        woke = time.monotonic()
        os.write(to, SAMPLE.pack(woke, woke - due))


async def _run(folder: Path, samples: Path, launch: Launch) -> None:
    to = os.open(samples, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    probing = asyncio.create_task(_probe(to))
    serving = asyncio.create_task(serve(folder, launch, go=False, clock=SystemClock(), ready=_ready))
    await asyncio.to_thread(sys.stdin.readline)  # whoever started this process has gone, or has seen enough
    for task in (serving, probing):
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


def _ready() -> None:
    collect_seldom()
    print("ready", flush=True)


def read_samples(path: Path, begun: float, ended: float) -> list[float]:
    """How late the loop was each time between two moments, in seconds."""
    return [late for woke, late in SAMPLE.iter_unpack(path.read_bytes()) if begun <= woke <= ended]


def main() -> None:
    """Run the swarm whose launch document is the first line of standard input, until the next line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("samples", type=Path)
    asked = parser.parse_args()
    asyncio.run(_run(asked.folder, asked.samples, Launch.model_validate_json(sys.stdin.readline())))


if __name__ == "__main__":
    main()
