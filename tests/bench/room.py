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
from dataclasses import dataclass, field
from pathlib import Path

from tests.bench.feeding import RATE, SHAPES
from tests.bench.table import percentile, table
from tests.bench.terminal import COLUMNS, ROWS, NotPainted, Terminal

ROOT = Path(__file__).resolve().parents[2]
PROGRAMS = {"skep": "tests.bench.watched", "stock": "tests.bench.stock"}
MOVES = {"still": "kj", "busy": "kkkj", "wide": "kkkj"}
"""Keys, over and over, from the last row on: where there are rows enough they go up, and the tree scrolls."""
START_SECONDS = 20.0
KEY_SECONDS = 20.0
"""After which a key counts as never painted."""


@dataclass(frozen=True, slots=True)
class Effort:
    """How much is measured. Times are in seconds."""

    keys: int
    pause: tuple[float, float]
    """Between a paint and the next key: at least, at most."""
    warm: float
    watch: float
    """Without any key, for the CPU share of a program that is only looked at."""
    room: float
    """For all keys of the room, if each takes long; with fewer keys the figures say so."""
    peer: float
    """For all keys of a peer, which may get fewer of them."""
    opens: int


FULL = Effort(keys=150, pause=(0.08, 0.15), warm=1.0, watch=3.0, room=26.0, peer=8.0, opens=5)
QUICK = Effort(keys=40, pause=(0.03, 0.05), warm=0.2, watch=0.5, room=3.5, peer=1.0, opens=1)


@dataclass(slots=True)
class Figures:
    """What was measured of one program at one load: seconds, and shares of one core."""

    keys: list[float] = field(default_factory=list)
    opens: list[float] = field(default_factory=list)
    watching: float = 0.0
    typing: float = 0.0
    lines: float = 0.0
    """Lines a second that it took in."""


def run(*, quick: bool = False) -> None:
    """Print the figures. Raises SystemExit if a key was never painted."""
    effort = QUICK if quick else FULL
    with tempfile.TemporaryDirectory(prefix="skep-") as scratch:
        measured = {
            (viewer, shape): _measure(viewer, shape, effort, Path(scratch, f"{viewer}-{shape}"))
            for viewer, shape in (
                ("stock", "still"),
                ("skep", "busy"),
                ("stock", "busy"),
                ("skep", "wide"),
                ("stock", "wide"),
            )
        }
    table(
        f"Key to paint at {COLUMNS}x{ROWS}, ms: from a key's way into a pseudo-terminal to its paint's way out.\n"
        "skep: the real room on the control socket of a scripted engine, which is another process. stock: for\n"
        "each line set_label of Textual's Tree and RichLog.write, in a worker. Aims: p99 below 50, CPU below 25.",
        ("", "keys", "p50", "p99", "worst", "CPU % watched", "CPU % typed at", "lines/s taken"),
        [(_title(*which), *_cells(figures)) for which, figures in measured.items()],
    )
    table(
        f"Opening a tree of {SHAPES['wide'].rows:,} rows that is at hand, ms from key to paint. Aim: under 50 ms.",
        ("", "first", "p50 of the others", "worst"),
        [(viewer, *_open_cells(figures.opens)) for (viewer, _), figures in measured.items() if figures.opens],
    )


def _title(viewer: str, shape: str) -> str:
    if shape == "still":
        return f"{viewer}, {SHAPES[shape].running} agents that write nothing (the floor)"
    return f"{viewer}, {SHAPES[shape].rows:,} rows, {SHAPES[shape].running} agents write {RATE} lines/s"


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


def _open_cells(opens: Sequence[float]) -> tuple[str, ...]:
    return _ms(opens[0]), _ms(percentile(opens[1:] or opens, 50)), _ms(max(opens))


def _ms(seconds: float) -> str:
    return f"{seconds * 1e3:,.1f}"


def _measure(viewer: str, shape: str, effort: Effort, folder: Path) -> Figures:
    figures = Figures()
    folder.mkdir(mode=0o700)
    opening = shape == "wide"
    with _feed(viewer, shape, folder) as engine, _program(viewer, shape, folder, empty=opening) as terminal:
        terminal.settle(0.3, START_SECONDS)
        if opening:
            figures.opens = _open(terminal, effort)
        terminal.press("end", KEY_SECONDS)
        if shape != "still":
            _tell(engine, "go")
        time.sleep(effort.warm)
        lines, begun, used = terminal.lines(KEY_SECONDS), time.monotonic(), terminal.cpu()
        time.sleep(effort.watch)
        figures.watching = (terminal.cpu() - used) / (time.monotonic() - begun)
        begun_keys, used = time.monotonic(), terminal.cpu()
        figures.keys = _type(terminal, MOVES[shape], effort, effort.room if viewer == "skep" else effort.peer)
        figures.typing = (terminal.cpu() - used) / (time.monotonic() - begun_keys)
        figures.lines = (terminal.lines(KEY_SECONDS) - lines) / (time.monotonic() - begun)
    return figures


def _type(terminal: Terminal, moves: str, effort: Effort, most: float) -> list[float]:
    """Press key after key, each once the one before is painted; after ``most`` seconds no more."""
    pauses = random.Random(7)
    begun = time.monotonic()
    keys: list[float] = []
    while len(keys) < effort.keys and time.monotonic() - begun < most:
        keys.append(terminal.press(moves[len(keys) % len(moves)], KEY_SECONDS))
        time.sleep(pauses.uniform(*effort.pause))
    return keys


def _open(terminal: Terminal, effort: Effort) -> list[float]:
    """Open the tree, and close and open it again; it is open at the end."""
    opens: list[float] = []
    while True:
        opens.append(terminal.press("f12", KEY_SECONDS))
        time.sleep(0.2)
        if len(opens) == effort.opens:
            return opens
        terminal.press("f12", KEY_SECONDS)
        time.sleep(0.2)


@contextmanager
def _feed(viewer: str, shape: str, folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    """The engine's side, ready; it begins when it is told ``go``, and ends with this block."""
    command = (sys.executable, "-m", "tests.bench.feeding", viewer, shape, str(folder))
    pipe = subprocess.PIPE
    engine = subprocess.Popen(command, cwd=ROOT, env=_env(folder), stdin=pipe, stdout=pipe)
    try:
        assert engine.stdout is not None
        ready, _, _ = select.select([engine.stdout], [], [], START_SECONDS)
        if not ready or engine.stdout.readline() != b"ready\n":
            raise SystemExit("the scripted engine did not come up")
        yield engine
    finally:
        engine.kill()
        engine.communicate()


def _tell(engine: subprocess.Popen[bytes], word: str) -> None:
    assert engine.stdin is not None
    engine.stdin.write(f"{word}\n".encode())
    engine.stdin.flush()


@contextmanager
def _program(viewer: str, shape: str, folder: Path, *, empty: bool) -> Iterator[Terminal]:
    """The program in its terminal, with an ``empty`` tree or all rows."""
    command = (sys.executable, "-m", PROGRAMS[viewer], str(folder), "--shape", shape)
    try:
        with Terminal((*command, "--empty") if empty else command, _env(folder), ROOT) as terminal:
            yield terminal
    except NotPainted as error:
        raise SystemExit(f"{viewer} with the {shape} swarm did not paint a key: {error}") from error


def _env(folder: Path) -> dict[str, str]:
    return {**os.environ, "SKEP_STATE_DIR": str(folder), "SKEP_CONFIG_DIR": str(folder / "config")}
