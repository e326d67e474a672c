"""From kill -9 to an engine that has taken over and answers, beside the start of one that has nothing to do."""

from __future__ import annotations

import asyncio
import os
import resource
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from skep.clock import SystemClock
from skep.control.client import SocketLink
from skep.control.swarms import describe
from skep.engine.ledger import Decision, Ledger
from skep.model.events import (
    ROOT,
    AgentAdmitted,
    AgentEnded,
    AgentQueued,
    AgentRunning,
    AttemptStruck,
    EngineStarted,
    Event,
    SwarmCreated,
    ToolEnded,
    TurnCompleted,
)
from skep.model.launch import ChatSpec, CommandSpec, EngineSettings
from skep.model.states import DriverKind, State
from skep.paths import atomic_write
from skep.providers import Provider
from tests.bench.table import table

EVENTS, AGENTS = 10_000, 1_000
QUEUED, LIVE, COMMANDS, TURNS = 100, 30, 200, 3
RUNS = 5
BATCH = 50
SWARM = "bench-recovery"


def run(*, quick: bool = False) -> None:
    """Print the figures: medians of several runs, each over a fresh copy of what the dead engine left."""
    runs = 1 if quick else RUNS
    rows = []
    with tempfile.TemporaryDirectory(prefix="skep-") as scratch:
        for events, agents in ((4, 1), (EVENTS, AGENTS)):
            dead = Path(scratch) / f"dead{events}"
            build(dead, events, agents)
            measured = [recovered(dead, Path(scratch) / "swarm") for _ in range(runs)]
            figures = [statistics.median(column) for column in zip(*measured, strict=True)]
            shown = (f"{figure * 1e3:,.0f}" for figure in figures)
            rows.append((f"{events:,}", f"{agents:,}", *shown, f"{max(one[1] for one in measured) * 1e3:,.0f}"))
    table(
        f"A swarm whose engine was killed, {runs} runs: milliseconds from the start of the next one until it has "
        "taken over and says so, and until a client has the whole picture; its CPU. Aim: 2,000 at most.",
        ("events", "agents", "ready", "answering", "CPU", "slowest"),
        rows,
    )


def build(folder: Path, events: int, agents: int) -> None:
    """Have a process of its own write such a swarm, and die over it as by kill -9."""
    command = [sys.executable, "-m", "tests.bench.recovery", str(folder), str(events), str(agents)]
    code = subprocess.run(command, check=False).returncode
    if code != -signal.SIGKILL:
        raise SystemExit(f"{command} ended with {code}")


def recovered(dead: Path, folder: Path) -> tuple[float, float, float]:
    """Seconds until the engine is ready, until a client is served, and of CPU that the engine had by then."""
    shutil.copytree(dead, folder)
    try:
        begun = time.perf_counter()
        engine = subprocess.Popen(
            [sys.executable, "-m", "skep.cli.engine", str(folder)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            start_new_session=True,
            cwd="/",
            env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2] / "src")},
        )
        assert engine.stdout is not None
        with engine.stdout:
            told = engine.stdout.readline()
        ready = time.perf_counter() - begun
        if b"result" not in told:
            raise SystemExit(f"the engine did not start: {told!r}")
        asyncio.run(_served(folder))
        answering = time.perf_counter() - begun
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        engine.kill()
        engine.wait()
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        return ready, answering, cpu
    finally:
        shutil.rmtree(folder)


async def _served(folder: Path) -> None:
    link = await SocketLink.connect(folder, client="bench", clock=SystemClock())
    await link.close()


# -- the swarm that is left --------------------------------------------------------------------------------------


def _make(folder: Path) -> None:
    folder.mkdir(mode=0o700)
    describe(folder, SWARM, "bench", time.time(), "/")
    provider = Provider(base_url="http://127.0.0.1:9/v1")
    settings = EngineSettings(providers={"local": provider})
    atomic_write(folder / "settings.json", settings.model_dump_json().encode())


async def _write(folder: Path, events: int, agents: int) -> None:
    ledger = Ledger(folder, SystemClock())
    left = events
    story = _story(agents)
    while left:
        with ledger.decide() as decision:
            left -= _tell(decision, story, min(BATCH, left))
        await ledger.settle(decision.seq)
    os.kill(os.getpid(), signal.SIGKILL)


def _tell(decision: Decision, story: Iterator[Event], count: int) -> int:
    for _ in range(count):
        decision.emit(next(story))
    return count


def _story(agents: int) -> Iterator[Event]:
    """Conversations and commands that have ended, some that work, some that wait; then tries that failed."""
    yield SwarmCreated(SWARM, "bench", "/", max_running=64)
    yield EngineStarted(os.getpid())
    yield AgentQueued(ROOT, None, "bench", DriverKind.GROUP, "", {})
    chat = ChatSpec(model="local/large", cwd="/").model_dump(mode="json", exclude_defaults=True)
    program = CommandSpec(argv=("true",), cwd="/").model_dump(mode="json", exclude_defaults=True)
    commands = [f"a{n}" for n in range(min(COMMANDS, agents - 1))]
    for n in range(agents):
        talks = f"a{n}" not in commands
        driver, spec = (DriverKind.CHAT, chat) if talks else (DriverKind.COMMAND, program)
        yield AgentQueued(f"a{n}", ROOT, f"agent {n}", driver, "Find out what is slow. " * 10, spec)
    working = agents - QUEUED if agents > QUEUED else 0
    for n in range(working):
        agent = f"a{n}"
        yield AgentAdmitted(agent)
        yield AgentRunning(agent)
        if agent not in commands:
            yield from _turns(agent, last_open=n >= working - LIVE)
        if n < working - LIVE:
            yield AgentEnded(agent, State.DONE, result="It is the database. " * 10)
    while True:
        yield AttemptStruck(f"a{working - 1}", TURNS, "local", "rate_limited", "429: slow down")


def _turns(agent: str, *, last_open: bool) -> Iterator[Event]:
    for turn in range(1, TURNS + 1):
        calls = {f"call_{turn}_{n}": "$ pytest -q" for n in (1, 2)}
        message = {
            "role": "assistant",
            "content": "I look at the next one. " * 10,
            "tool_calls": [
                {"id": call, "name": "terminal", "arguments": '{"command":"pytest -q"}'} for call in calls
            ],
        }
        yield TurnCompleted(agent, turn, message, "tool_calls", "local", 4_000, 200, 3_000, 9_600, 2.5, calls)
        for call in calls:
            if turn < TURNS or not last_open:
                yield ToolEnded(agent, turn, call, "terminal", True, "and so it went on\n" * 60, 1.5)


if __name__ == "__main__":
    _make(Path(sys.argv[1]))
    asyncio.run(_write(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])))
