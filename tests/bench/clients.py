"""What clients without manners cost an engine and those that have some: none of them and many, in one run."""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from skep import paths
from skep.clock import SystemClock
from skep.control.client import SocketLink
from skep.control.verbs import Pause, Unpause
from skep.model.launch import AgentAsk, CommandSpec, Launch
from tests.bench.crowd import FLOODED
from tests.bench.probed import read_samples
from tests.bench.table import percentile, table
from tests.bench.terminal import Terminal

ROOT = Path(__file__).resolve().parents[2]
WRITERS = 200
RATE = 20
"""Lines a second that each of them writes."""
WAITING = 800
"""Agents in line, so that the state is worth some frames."""
KEPT = 2_000
"""Lines that each writes at once, first: what an engine keeps of each does not grow any more after that."""

WRITER = f"""exec 3<> "$0"; n=0
while :; do
    echo "tests/test_total.py::test_rounding[$n] PASSED  [ 50%] in 3.03s"
    n=$((n + 1)); [ $n -lt {KEPT} ] || read -t {1 / RATE} -u 3
done"""
"""Reads from a pipe that stays empty, which takes its time and no process."""

STOPPED = "stopped"
"""Not a kind of its own: those that follow the flood, and are then stopped by a signal."""

CROWDS: dict[str, dict[str, int]] = {
    "nobody else": {},
    "20 deaf, 20 at a byte a second, 20 stopped": {"deaf": 20, "trickling": 20, STOPPED: 20},
    "100 half-open, 20 die in mid-frame": {"half-open": 100, "torn": 20},
    "30 send garbage, 30 costly frames": {"garbage": 30, "brackets": 30},
    "60 ask and read no answer": {"unread": 60},
    "60 ask for all they can get": {"greedy": 60},
    "60 follow the flood": {"following": 60},
    "some of each at once": {
        "half-open": 60,
        "deaf": 7,
        "trickling": 7,
        STOPPED: 7,
        "torn": 4,
        "garbage": 4,
        "brackets": 4,
        "unread": 7,
        "greedy": 7,
        "following": 7,
    },
    "nobody else, again": {},
}
QUICK = ("nobody else", "some of each at once")
NAMES = ("lag", "verb", "join", "live", "key")
SECONDS = {True: 4.0, False: 12.0}
SETTLE = 1.5
KEY_SECONDS = 20.0


@dataclass(slots=True)
class Figures:
    """What was measured while a crowd was there; seconds, and bytes."""

    lag: list[float] = field(default_factory=list)
    verbs: list[float] = field(default_factory=list)
    joins: list[float] = field(default_factory=list)
    gaps: list[float] = field(default_factory=list)
    keys: list[float] = field(default_factory=list)
    cpu: float = 0.0
    """Share of one core that the engine used."""
    grown: int = 0
    did: dict[str, dict[str, int]] = field(default_factory=dict)


def run(*, quick: bool = False) -> None:
    """Print the figures; with ``quick`` of two crowds."""
    with tempfile.TemporaryDirectory(prefix="skep-") as scratch:
        measured = asyncio.run(_measure_all(Path(scratch), quick=quick))
    table(
        f"An engine with {WRITERS} agents that write {RATE} lines/s each and one that floods, {WAITING} wait; a\n"
        "room and a client with manners beside some without, whose processes run at the lowest priority. ms.\n"
        "lag: how late the engine's loop wakes a task. verb: a hold, durable and answered. joins: in, the whole\n"
        "picture, out. live: between two rounds of live figures (aim: 250). key: from a key of the room to its\n"
        "paint. grown: the engine's memory in that time, MiB. Aims: lag p99 below 50, verb p99 below 500, grown\n"
        "below 64, and no more in the long run.",
        (
            "",
            *(f"{name} {at}" for name in ("lag", "verb", "join", "live", "key") for at in ("p50", "p99")),
            "CPU %",
            "grown",
        ),
        [(title, *_cells(figures)) for title, figures in measured.items()],
    )
    table(
        "What the clients without manners did meanwhile.",
        ("", "connections", "cut off", "calls", "MiB taken"),
        [
            (
                f"{title}: {kind}",
                *(f"{did.get(name, 0):,}" for name in ("connections", "cut", "calls")),
                f"{did.get('bytes', 0) / 2**20:,.1f}",
            )
            for title, figures in measured.items()
            for kind, did in figures.did.items()
        ],
    )


def _cells(figures: Figures) -> Iterator[str]:
    for values in (figures.lag, figures.verbs, figures.joins, figures.gaps, figures.keys):
        for percent in (50, 99):
            yield f"{percentile(values, percent) * 1e3:,.1f}" if values else "-"
    yield f"{figures.cpu * 100:.0f}"
    yield f"{figures.grown / 2**20:+.1f}"


async def _measure_all(scratch: Path, *, quick: bool) -> dict[str, Figures]:
    env = os.environ | {"SKEP_STATE_DIR": str(scratch), "SKEP_CONFIG_DIR": str(scratch / "config")}
    folder = scratch / "swarm"
    folder.mkdir(mode=0o700)
    chosen = {
        title: kinds
        for title, kinds in CROWDS.items()
        if not quick or title in list(CROWDS)[:1] + list(CROWDS)[-2:-1]
    }
    with _engine(scratch, folder, env) as engine:
        link = await SocketLink.connect(folder, client="bench", clock=SystemClock())
        with Terminal((sys.executable, "-m", "tests.bench.watched", str(folder)), env, ROOT) as room:
            await asyncio.to_thread(room.settle, 4.0, KEY_SECONDS)  # the writers fill what is kept of them
            measured = {}
            for title, kinds in chosen.items():
                async with _crowd(folder, kinds, env) as crowd:
                    await asyncio.sleep(SETTLE)
                    measured[title] = await _measure(scratch, folder, engine.pid, link, room, SECONDS[quick])
                    measured[title].did = await asyncio.to_thread(crowd)
        await link.close()
    return measured


async def _measure(
    scratch: Path, folder: Path, engine: int, link: SocketLink, room: Terminal, seconds: float
) -> Figures:
    figures = Figures()
    begun, used, held = time.monotonic(), _cpu(engine), _resident(engine)
    tasks = [
        asyncio.create_task(_watch(link, figures.gaps)),
        asyncio.create_task(asyncio.to_thread(_type, room, figures.keys, begun + seconds)),
    ]
    while time.monotonic() < begun + seconds:
        for number in range(10):
            verb = Pause(scope="q1") if number % 2 == 0 else Unpause(scope="q1")
            figures.verbs.append(await _timed(lambda: link.call(verb)))  # noqa: B023
            await asyncio.sleep(0.05)
        figures.joins.append(await _timed(lambda: _join(folder)))
    ended = time.monotonic()
    figures.cpu = (_cpu(engine) - used) / (ended - begun)
    figures.grown = _resident(engine) - held
    figures.lag = read_samples(scratch / "lag", begun, ended)
    await tasks[1]
    tasks[0].cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    return figures


async def _timed(work: Callable[[], object]) -> float:
    begun = time.monotonic()
    await work()  # type: ignore[misc]
    return time.monotonic() - begun


async def _join(folder: Path) -> None:
    link = await SocketLink.connect(folder, client="bench", once=True, clock=SystemClock())
    await link.close()


async def _watch(link: SocketLink, gaps: list[float]) -> None:
    watch = link.registry.watch()
    last = time.monotonic()
    try:
        while True:
            await asyncio.sleep(0.005)
            if watch.take().live:
                now = time.monotonic()
                gaps.append(now - last)
                last = now
    finally:
        watch.close()


def _type(room: Terminal, keys: list[float], until: float) -> None:
    pauses = random.Random(7)
    while time.monotonic() < until:
        keys.append(room.press("jk"[len(keys) % 2], KEY_SECONDS))
        time.sleep(pauses.uniform(0.08, 0.15))


@contextmanager
def _engine(scratch: Path, folder: Path, env: dict[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    """A real engine whose loop is probed, at work."""
    pipe = scratch / "pipe"
    os.mkfifo(pipe)
    flood = ("yes", "the same line of output, over and over again, as quickly as it is taken")
    agents = [
        _agent(FLOODED, scratch, *flood),
        *(_agent(f"w{number}", scratch, "bash", "-c", WRITER, str(pipe)) for number in range(WRITERS)),
        *(_agent(f"q{number}", scratch, "true") for number in range(WAITING)),
    ]
    launch = Launch(swarm="bench", name="bench", cwd=str(scratch), max_running=WRITERS + 1, agents=tuple(agents))
    command = (sys.executable, "-m", "tests.bench.probed", str(folder), str(scratch / "lag"))
    with (scratch / "engine.log").open("wb") as log:
        engine = subprocess.Popen(
            command, cwd=ROOT, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log
        )
    try:
        assert engine.stdin is not None
        assert engine.stdout is not None
        engine.stdin.write(launch.model_dump_json().encode() + b"\n")
        engine.stdin.flush()
        if engine.stdout.readline() != b"ready\n":
            raise SystemExit(f"the engine did not come up: {(scratch / 'engine.log').read_text()}")
        yield engine
        engine.communicate(b"\n", timeout=60)
    finally:
        engine.kill()
        engine.communicate()


def _agent(id: str, cwd: Path, *argv: str) -> AgentAsk:
    return AgentAsk(id=id, name=id, command=CommandSpec(argv=argv, cwd=str(cwd)))


@asynccontextmanager
async def _crowd(
    folder: Path, kinds: dict[str, int], env: dict[str, str]
) -> AsyncIterator[Callable[[], dict[str, dict[str, int]]]]:
    """So many of each kind; what is given tells what they did."""
    others = [f"{kind}:{count}" for kind, count in kinds.items() if kind != STOPPED]
    processes = [_people(folder, others, env)] if others else []
    stopped = kinds.get(STOPPED)
    if stopped:
        processes.append(_people(folder, [f"following:{stopped}"], env))
        await asyncio.sleep(SETTLE)
        processes[-1].send_signal(signal.SIGSTOP)

    def did() -> dict[str, dict[str, int]]:
        told: dict[str, dict[str, int]] = {}
        for process in processes:
            process.send_signal(signal.SIGCONT)
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.write(b"\n")
            process.stdin.flush()
            counts = json.loads(process.stdout.readline())
            told |= {STOPPED: counts["following"]} if process is processes[-1] and stopped else counts
        return told

    try:
        yield did
    finally:
        for process in processes:
            process.send_signal(signal.SIGCONT)
            process.kill()
            process.communicate()


def _people(folder: Path, kinds: Sequence[str], env: dict[str, str]) -> subprocess.Popen[bytes]:
    command = (
        "nice",
        "-n",
        "19",
        sys.executable,
        "-m",
        "tests.bench.crowd",
        str(paths.socket_path(folder)),
        *kinds,
    )
    return subprocess.Popen(command, cwd=ROOT, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE)


def _cpu(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _resident(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
