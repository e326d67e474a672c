"""Ten thousand agents cost ten thousand times what one costs: counted in lines of Python, not in seconds."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from skep.clock import VirtualClock
from skep.engine.engine import Engine
from skep.engine.ledger import Ledger
from skep.model.events import ROOT
from skep.model.launch import AgentAsk, EngineSettings, Launch
from skep.model.permits import Host
from skep.model.states import State, StopVerb, Strength
from tests.engine.hive import command, group

FEW, MANY = 120, 720
LINEAR = 1.35
"""Four times the agents may cost so much more than four times the lines: the logarithm, and what is fixed."""

Make = Callable[[str], Engine]


class Count:
    """How many lines of Python run in a block, in this thread."""

    def __init__(self) -> None:
        self.lines = 0

    def __enter__(self) -> Count:
        self._before = sys.gettrace()
        sys.settrace(self._trace)
        return self

    def __exit__(self, *_: object) -> None:
        sys.settrace(self._before)

    def _trace(self, frame: object, event: str, argument: object) -> object:
        self.lines += event == "line"
        return self._trace


def _no_host(tasks: object, permits: object) -> Host:
    raise AssertionError("nothing is run here")


@pytest.fixture
async def make(tmp_path: Path) -> AsyncIterator[Make]:
    ledgers: list[Ledger] = []

    def make(name: str) -> Engine:
        ledgers.append(Ledger(tmp_path / name, VirtualClock()))
        return Engine(ledgers[-1], VirtualClock(), EngineSettings(), _no_host, strict=True)

    yield make
    for ledger in ledgers:
        ledger.close()


def _flat(count: int) -> list[AgentAsk]:
    return [command(f"a{n}", "true") for n in range(count)]


def _branches(count: int) -> list[AgentAsk]:
    groups = count // 30
    return [
        *(group(f"g{n}") for n in range(groups)),
        *(command(f"a{n}", "true", parent=f"g{n % groups}") for n in range(count)),
    ]


def _launch(agents: list[AgentAsk]) -> Launch:
    return Launch(swarm="s", name="s", cwd="/", max_running=8, agents=tuple(agents))


async def _pause_and_unpause(engine: Engine) -> None:
    for scope in ("", ROOT):
        await engine.pause(scope, Strength.SPAWNS, "lunch", "you", None)
        await engine.unpause(scope, Strength.SPAWNS, "you")


async def _stop_and_take_back(engine: Engine) -> None:
    await engine.stop(ROOT, branch=True, verb=StopVerb.INTERRUPT, who="you", window=5)
    await engine.take_back(ROOT, "you")


async def _stop(engine: Engine) -> None:
    await engine.stop(ROOT, branch=True, verb=StopVerb.INTERRUPT, who="you")


async def _stop_one_by_one(engine: Engine) -> None:
    with engine.registry.read() as state:
        agents = list(state.line)
    for agent in agents:
        await engine.stop(agent, branch=False, verb=StopVerb.KILL, who="you")


async def _show(engine: Engine) -> None:
    engine.registry.pages()
    with engine.registry.read() as state:
        assert len(state.line.positions()) + len(state.line.held()) == len(state.line)


WORK: dict[str, Callable[[Engine], Awaitable[None]]] = {
    "pause": _pause_and_unpause,
    "take back": _stop_and_take_back,
    "stop": _stop,
    "show": _show,
}


async def _lines(make: Make, name: str, agents: list[AgentAsk], work: Callable[[Engine], Awaitable[None]]) -> int:
    engine = make(name)
    await engine.launch(_launch(agents))
    with Count() as count:
        await work(engine)
    return count.lines


@pytest.mark.parametrize("shape", [_flat, _branches])
@pytest.mark.parametrize("work", WORK.values(), ids=WORK)
async def test_work_grows_with_the_agents_and_not_with_their_square(
    make: Make, shape: Callable[[int], list[AgentAsk]], work: Callable[[Engine], Awaitable[None]]
):
    few = await _lines(make, "few", shape(FEW), work)
    many = await _lines(make, "many", shape(MANY), work)
    assert many / few < LINEAR * MANY / FEW
    assert few > 3 * FEW


@pytest.mark.parametrize("shape", [_flat, _branches])
async def test_a_launch_grows_with_the_agents(make: Make, shape: Callable[[int], list[AgentAsk]]):
    lines = []
    for count in (FEW, MANY):
        engine = make(str(count))
        launch = _launch(shape(count))
        with Count() as counted:
            await engine.launch(launch)
        lines.append(counted.lines)
    assert lines[1] / lines[0] < LINEAR * MANY / FEW


async def test_stopping_everybody_one_by_one_costs_each_the_same(make: Make):
    few = await _lines(make, "few", _flat(FEW // 3), _stop_one_by_one)
    many = await _lines(make, "many", _flat(MANY // 3), _stop_one_by_one)
    assert many / few < LINEAR * MANY / FEW


async def test_the_counting_catches_work_that_is_square(make: Make):
    async def square(engine: Engine) -> None:
        with engine.registry.read() as state:
            for agent in state.agents:
                assert any(other == agent for other in state.agents)

    few = await _lines(make, "few", _flat(FEW), square)
    many = await _lines(make, "many", _flat(MANY), square)
    assert many / few > LINEAR * MANY / FEW


async def test_ten_thousand_agents_are_launched_held_released_and_stopped(make: Make):
    engine = make("ten thousand")
    await engine.launch(_launch(_flat(10_000)))
    await engine.pause("", Strength.SPAWNS, "lunch", "you", None)
    with engine.registry.read() as state:
        assert len(state.line.held()) == 10_000 - 8
    await engine.unpause("", Strength.SPAWNS, "you")
    with engine.registry.read() as state:
        assert state.line.positions() == [f"a{n}" for n in range(8, 10_000)]
    _, agents = await engine.stop(ROOT, branch=True, verb=StopVerb.INTERRUPT, who="you")
    assert len(agents) == 10_001
    with engine.registry.read() as state:
        assert sum(one.state is State.INTERRUPTED for one in state.agents.values()) == 10_000 - 8
        assert sum(one.state is State.STOPPING for one in state.agents.values()) == 8 + 1
