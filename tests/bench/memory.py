"""Memory of an engine and of a room at 10,000 agents, beside the same with one agent."""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from multiprocessing.connection import Connection
from pathlib import Path

from skep.clock import SystemClock
from skep.config import load
from skep.control.client import SocketLink
from skep.room.app import RoomApp
from tests.bench.table import table

SIZE = (160, 48)


def run(counts: Sequence[int]) -> None:
    """Print the figures for swarms of so many agents, of which eight run and the rest wait in line."""
    rows = []
    with tempfile.TemporaryDirectory(prefix="skep-") as scratch:
        env = os.environ | {"SKEP_STATE_DIR": f"{scratch}/state", "SKEP_CONFIG_DIR": f"{scratch}/config"}
        for count in counts:
            engine, room = _measure(count, env)
            rows.append((f"{count:,}", f"{engine / 2**20:.1f}", f"{room / 2**20:.1f}"))
            if len(rows) > 1:
                first = [float(cell) for cell in rows[0][1:]]
                grown = [
                    (float(cell) - base) * 1024 / (count - counts[0])
                    for cell, base in zip(rows[-1][1:], first, strict=True)
                ]
                rows.append(("  per agent, KiB", *(f"{kib:.2f}" for kib in grown)))
    table(
        "Private memory, MiB (engine process; room process on a swarm of so many rows)",
        ("agents", "engine", "room"),
        rows,
    )


def _measure(count: int, env: dict[str, str]) -> tuple[int, int]:
    skep = [sys.executable, "-m", "skep"]
    items = "".join(f"item-{n}\n" for n in range(count))
    launch = [*skep, "run", "--each-line", "-", "--command", "sleep {n}000", "--detach"]
    subprocess.run(launch, input=items.encode(), env=env, check=True, stdout=subprocess.DEVNULL)
    listed = json.loads(subprocess.run([*skep, "ls", "--json"], env=env, check=True, capture_output=True).stdout)
    swarm = listed["swarms"][0]
    folder = Path(env["SKEP_STATE_DIR"]) / "swarms" / swarm["id"]
    try:
        here, there = multiprocessing.get_context("spawn").Pipe()
        room = multiprocessing.get_context("spawn").Process(target=_room, args=(folder, there))
        room.start()
        of_room = here.recv()
        room.join()
        return _private(swarm["pid"]), of_room
    finally:
        subprocess.run([*skep, "kill", swarm["id"], "--wait"], env=env, check=True, stdout=subprocess.DEVNULL)


def _room(folder: Path, told: Connection) -> None:
    async def look() -> None:
        link = await SocketLink.connect(folder, client="bench", clock=SystemClock())
        app = RoomApp(link, SystemClock(), config=load(Path.cwd(), {}, {}).config.room)
        async with app.run_test(size=SIZE) as pilot:
            await pilot.press("j", "G", "g")
            told.send(_private(os.getpid()))
        await link.close()

    asyncio.run(look())


def _private(pid: int) -> int:
    """Bytes that only this process has."""
    rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
    return sum(int(line.split()[1]) * 1024 for line in rollup.splitlines() if line.startswith("Private_"))
