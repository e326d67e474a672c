"""Key to paint and CPU of the room under load, beside a stock Textual app with the same load in the same run."""

from __future__ import annotations

import os
import random
import select
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.bench.feeding import RATE, SHAPES
from tests.bench.table import percentile, table
from tests.bench.terminal import COLUMNS, ROWS, NotPainted, Terminal

ROOT = Path(__file__).resolve().parents[2]
PROGRAMS = {"skep": "tests.bench.watched", "stock": "tests.bench.stock"}
MOVES = "kkkj"
OPEN_SECONDS = 20.0


@dataclass(frozen=True, slots=True)
class Effort:
    """How much is measured. Times are in seconds."""

    keys: int
    pause: tuple[float, float]
    watch: float
    """Without any key, for the CPU share of a room that is looked at."""
    warm: float
    most: float
    """For all keys of one program; a peer that is slower gets fewer keys."""
    opens: int


FULL = Effort(keys=150, pause=(0.08, 0.15), watch=4.0, warm=2.0, most=22.0, opens=5)
QUICK = Effort(keys=40, pause=(0.04, 0.07), watch=1.0, warm=0.5, most=3.0, opens=2)


@dataclass(frozen=True, slots=True)
class Figures:
    """What was measured of one program at one load; seconds, and shares of one core."""

    keys: list[float]
    watching: float
    typing: float
    lines: float
    """Lines a second that it took in."""


def run(*, quick: bool = False) -> None:
    """Print the figures; raises SystemExit if skep left a key unpainted."""
    effort = QUICK if quick else FULL
    loaded, opened = [], []
    with tempfile.TemporaryDirectory(prefix="skep-") as scratch:
        for name, shape in SHAPES.items():
            for viewer in PROGRAMS:
                figures = _loaded(viewer, name, effort, Path(scratch, f"{viewer}-{name}"))
                title = f"{shape.rows:,} rows, {shape.running} agents x {RATE} lines/s"
                loaded.append((f"{title}: {viewer}", *_cells(figures)))
        for viewer in PROGRAMS:
            times = _opened(viewer, effort, Path(scratch, f"{viewer}-open"))
            first, *again = times
            opened.append((viewer, _ms(first), _ms(percentile(again or times, 50)), _ms(max(times))))
    table(
        f"Room at {COLUMNS}x{ROWS} in a real terminal: from the key to its paint coming out, ms. skep: the real "
        "room over the control\nsocket of a scripted engine in another process; stock: Tree.set_label and "
        "RichLog.write for each line, from a worker.\nAims: p99 under 50 ms, CPU under 25 % of a core.",
        ("load", "keys", "p50", "p99", "worst", "CPU %, watching", "CPU %, typing", "lines/s taken"),
        loaded,
    )
    wide = SHAPES["wide"].rows
    table(
        f"Opening a tree of {wide:,} rows that is at hand, from the key to its paint, ms. Aim: under 50 ms.",
        ("", "first", "p50 of the others", "worst"),
        opened,
    )


def _cells(figures: Figures) -> tuple[str, ...]:
    keys = figures.keys
    return (
        str(len(keys)),
        *(_ms(percentile(keys, percent)) for percent in (50, 99)),
        _ms(max(keys)),
        f"{figures.watching * 100:.0f}",
        f"{figures.typing * 100:.0f}",
        f"{figures.lines:,.0f}",
    )


def _ms(seconds: float) -> str:
    return f"{seconds * 1e3:,.1f}"


def _loaded(viewer: str, shape: str, effort: Effort, folder: Path) -> Figures:
    pauses = random.Random(shape)
    with _feed(viewer, shape, folder) as engine, _program(viewer, shape, folder) as terminal:
        terminal.settle(0.5, OPEN_SECONDS)
        terminal.press("end", OPEN_SECONDS)
        assert engine.stdin is not None
        engine.stdin.write(b"go\n")
        engine.stdin.flush()
        time.sleep(effort.warm)
        begun, used, lines = time.monotonic(), terminal.cpu(), terminal.lines(OPEN_SECONDS)
        time.sleep(effort.watch)
        middle, used_then = time.monotonic(), terminal.cpu()
        keys: list[float] = []
        while len(keys) < effort.keys and time.monotonic() - middle < effort.most:
            keys.append(_pressed(terminal, viewer, MOVES[len(keys) % len(MOVES)]))
            time.sleep(pauses.uniform(*effort.pause))
        ended, used_at_last = time.monotonic(), terminal.cpu()
        return Figures(
            keys=keys,
            watching=(used_then - used) / (middle - begun),
            typing=(used_at_last - used_then) / (ended - middle),
            lines=(terminal.lines(OPEN_SECONDS) - lines) / (time.monotonic() - begun),
        )


def _opened(viewer: str, effort: Effort, folder: Path) -> list[float]:
    with _feed(viewer, "wide", folder), _program(viewer, "wide", folder, "--empty") as terminal:
        terminal.settle(0.5, OPEN_SECONDS)
        times = []
        for _ in range(effort.opens):
            times.append(_pressed(terminal, viewer, "f12"))
            time.sleep(0.2)
            terminal.press("f12", OPEN_SECONDS)
            time.sleep(0.2)
        return times


def _pressed(terminal: Terminal, viewer: str, key: str) -> float:
    try:
        return terminal.press(key, OPEN_SECONDS)
    except NotPainted as error:
        raise SystemExit(f"{viewer} did not paint the key {key}: {error}") from error


@contextmanager
def _feed(viewer: str, shape: str, folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    """The engine's side, ready; it begins when it is told ``go``, and ends with this block."""
    folder.mkdir(mode=0o700)
    command = _python("tests.bench.feeding", viewer, shape, str(folder))
    engine = subprocess.Popen(command, cwd=ROOT, env=_env(folder), stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        assert engine.stdout is not None
        if not select.select([engine.stdout], [], [], OPEN_SECONDS)[0] or engine.stdout.readline() != b"ready\n":
            raise SystemExit("the scripted engine did not come up")
        yield engine
    finally:
        engine.kill()
        engine.communicate()


def _program(viewer: str, shape: str, folder: Path, *more: str) -> Terminal:
    return Terminal(_python(PROGRAMS[viewer], str(folder), "--shape", shape, *more), _env(folder), ROOT)


def _python(module: str, *arguments: str) -> Sequence[str]:
    return (sys.executable, "-m", module, *arguments)


def _env(folder: Path) -> dict[str, str]:
    return {**os.environ, "SKEP_STATE_DIR": str(folder), "SKEP_CONFIG_DIR": str(folder / "config")}
