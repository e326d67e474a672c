"""Wall and CPU per command agent, beside ``xargs -P`` with the same work in the same run."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from tests.bench.table import table

SLOTS = 8


def run(counts: Sequence[int]) -> None:
    """Print the figures for swarms of so many agents each; the start-up is measured with one agent."""
    rows = []
    with tempfile.TemporaryDirectory() as scratch:
        once = [min(pair) for pair in zip(*(_skep(1, Path(scratch)) for _ in range(3)), strict=True)]
        for count in counts:
            floor_wall, floor_cpu = _xargs(count, Path(scratch))
            wall, cpu = _skep(count, Path(scratch))
            added = (cpu - once[1] - floor_cpu) / count
            rows.append(
                (
                    f"{count:,}",
                    f"{floor_wall / count * 1e3:.2f}",
                    f"{wall / count * 1e3:.2f}",
                    f"{(wall - once[0]) / count * 1e3:.2f}",
                    f"{floor_cpu / count * 1e3:.2f}",
                    f"{(cpu - once[1]) / count * 1e3:.2f}",
                    f"{added * 1e3:.2f}",
                )
            )
    table(
        f"`true` as an agent, {SLOTS} at once; milliseconds per agent. Start-up of skep, taken off where said: "
        f"{once[0]:.2f} s wall, {once[1]:.2f} s CPU. Aim: CPU on top at most 5 ms, flat.",
        ("agents", "xargs wall", "skep wall", "less start", "xargs CPU", "skep CPU less start", "CPU on top"),
        rows,
    )


def _xargs(count: int, scratch: Path) -> tuple[float, float]:
    return _measured(["xargs", "-P", str(SLOTS), "-n", "1", "true"], _items(count), scratch)


def _skep(count: int, scratch: Path) -> tuple[float, float]:
    command = [sys.executable, "-m", "skep", "run", "--each-line", "-", "--command", "true {item}", "--json"]
    # In the foreground the engine, the warden and the commands are all below one process, whose CPU is known.
    return _measured([*command, "--foreground", "-j", str(SLOTS)], _items(count), scratch)


def _items(count: int) -> bytes:
    return "".join(f"item-{n}\n" for n in range(count)).encode()


def _measured(command: Sequence[str], stdin: bytes, scratch: Path) -> tuple[float, float]:
    """Wall and CPU seconds of a command with everything below it."""
    with tempfile.TemporaryFile() as items:
        items.write(stdin)
        items.seek(0)
        begun = time.perf_counter()
        process = subprocess.Popen(
            command,
            stdin=items,
            stdout=subprocess.DEVNULL,
            env=os.environ
            | {"SKEP_STATE_DIR": str(scratch / "state"), "SKEP_CONFIG_DIR": str(scratch / "config")},
        )
        _, status, usage = os.wait4(process.pid, 0)
        wall = time.perf_counter() - begun
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        raise SystemExit(f"{command} ended with {process.returncode}")
    return wall, usage.ru_utime + usage.ru_stime
