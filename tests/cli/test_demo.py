"""The demo without a person: the branch that hangs is interrupted in the end, and what came of all is compared."""

from __future__ import annotations

import asyncio
import io
import signal
from collections.abc import Iterable
from contextlib import redirect_stderr
from pathlib import Path

import httpx
import pytest

from skep.cli.rehearsal import Interrupter, differences, make_shop, plan_demo, rehearse
from skep.clock import SystemClock
from skep.config import Config
from skep.control.verbs import Stop
from skep.model.events import ROOT, AgentMarked, AgentStopping, AgentWaiting, Event, Record
from skep.model.states import Mark, State, StopStep, StopVerb, WaitReason
from skep.model.swarm import SwarmState
from skep.simulator import demo
from tests.cli.shells import Shell
from tests.cli.test_bad_input import is_one_message
from tests.cli.told import born, chat, ended, running, served

SEED = 3
EXPECTED = demo.expected(SEED)


def ids() -> dict[str, str]:
    others = (name for name in EXPECTED if name != demo.CAPTAIN)
    return {demo.CAPTAIN: ROOT} | {name: f"a{n}" for n, name in enumerate(others, 1)}


def all_started() -> list[Event]:
    """Everybody was asked for and runs, parents wait for their children."""
    names = ids()
    events = born(slots=200)
    for name, outcome in EXPECTED.items():
        parent = names[outcome.parent] if outcome.parent is not None else None
        depth = 0 if parent is None else 1 if parent == ROOT else 2
        events.append(chat(names[name], parent, depth=depth, name=name, goal=outcome.goal))
    for agent in names.values():
        events += running(agent)
    parents = {outcome.parent for outcome in EXPECTED.values()}
    events += [AgentWaiting(agent, WaitReason.CHILD, "") for name, agent in names.items() if name in parents]
    return events


def ends(names: Iterable[str]) -> list[Event]:
    return [ended(ids()[name], State(EXPECTED[name].state)) for name in names]


def hanging() -> list[str]:
    return [name for name, outcome in EXPECTED.items() if outcome.state == "interrupted"]


def others() -> list[str]:
    """All but the hanging branch and the captain, children before their parents."""
    return [name for name in reversed(EXPECTED) if name not in hanging() and name != demo.CAPTAIN]


def quiet() -> list[Event]:
    return [
        AgentMarked(ids()[name], Mark.QUIET, "no token for 15 s") for name in hanging() if name != demo.HANGING
    ]


def told(*events: Event) -> SwarmState:
    state = SwarmState()
    for event in events:
        state.fold(Record(state.seq + 1, 1_700_000_000.0 + state.seq, event))
    return state


def test_the_launch_is_the_same_for_a_seed_and_stands_on_the_simulator_alone() -> None:
    env = {"SKEP_STATE_DIR": "/state", "HOME": "/"}
    one, other = plan_demo(7, 10.0, Config(), env), plan_demo(7, 10.0, Config(max_depth=7), env)
    assert one.root is not None
    assert other.root is not None
    assert (one.root.name, one.root.goal) == (other.root.name, other.root.goal) == (demo.CAPTAIN, demo.GOAL)
    assert one.settings == other.settings
    assert list(one.settings.providers) == ["simulator"]
    assert one.settings.simulated is not None
    assert (one.settings.simulated.seed, one.settings.simulated.speed) == (7, 10.0)
    assert one.settings.quiet_after == 2
    assert one.cwd == f"/state/swarms/{one.swarm}/workspace"
    assert one.root.chat is not None
    assert one.root.chat.cwd == one.cwd


def test_the_shop_is_written_into_the_folder_of_the_swarm(tmp_path: Path) -> None:
    make_shop(tmp_path, SEED)
    assert (tmp_path / "workspace" / "docs" / "release.md").is_file()


def test_the_hanging_branch_is_interrupted_only_when_it_alone_is_left_and_does_nothing() -> None:
    interrupter = Interrupter(EXPECTED)
    rest = others()
    assert interrupter(told(*all_started())) is None
    assert interrupter(told(*all_started(), *quiet())) is None  # others still work
    assert interrupter(told(*all_started(), *ends(rest[:-1]), *quiet())) is None
    assert interrupter(told(*all_started(), *ends(rest), *quiet()[:-1])) is None  # one of it still moves
    stuck = told(*all_started(), *ends(rest), *quiet())
    order = interrupter(stuck)
    assert order is not None
    assert order.request == Stop(agent=ids()[demo.HANGING], branch=True, how="interrupt")
    assert interrupter(stuck) is None  # once is enough


def test_every_difference_is_named() -> None:
    rest, stopped = others(), [name for name in reversed(EXPECTED) if name in hanging()]
    over = told(*all_started(), *ends(rest), *_interrupted(stopped), ended(ROOT))
    assert differences(over, EXPECTED) == []
    first, second = "tests-cart", "tests-checkout"
    wrong = {name: outcome for name, outcome in EXPECTED.items() if name != first}
    wrong[second] = demo.Outcome("docs", "Something else.", "failed")
    wrong["nobody"] = demo.Outcome(None, "x", "done")
    found = differences(over, wrong)
    assert any(line.startswith(f"{second}: parent tests instead of docs, goal ") for line in found)
    assert any("state done instead of failed" in line for line in found)
    assert "nobody is missing" in found
    assert f"{first} should not be there" in found
    assert len(found) == 3


def _interrupted(names: list[str]) -> list[Event]:
    events: list[Event] = []
    for name in names:
        agent = ids()[name]
        events.append(AgentStopping(agent, StopStep.SOFT, StopVerb.INTERRUPT, "you", "interrupted by you"))
        events.append(ended(agent, State.INTERRUPTED))
    return events


@pytest.mark.parametrize("seed", [SEED, SEED + 1])
def test_a_rehearsal_ends_with_0_when_all_came_as_it_must_and_else_with_1(shell: Shell, seed: int) -> None:
    with served(shell, *all_started(), *ends(others()), *quiet()) as engine:
        said = io.StringIO()
        with redirect_stderr(said):
            code = asyncio.run(
                rehearse(engine.folder, SystemClock(), seed, json=False, foreground=False, early=())
            )
    words = said.getvalue()
    assert f"{demo.HANGING} hangs" in words
    assert code == (0 if seed == SEED else 1), words
    assert ("not as it must be" in words) == (seed != SEED)


@pytest.mark.parametrize("speed", ["0", "-1", "nan", "inf", "1e9"])
@pytest.mark.parametrize("verb", ["demo", "simulator"])
def test_a_speed_that_nobody_can_keep_is_refused(shell: Shell, verb: str, speed: str) -> None:
    words = ["--headless"] if verb == "demo" else []
    done = shell.skep(verb, *words, "--speed", speed)
    assert (done.returncode, done.stdout) == (2, "")
    assert "--speed" in done.stderr
    assert shell.left_in_state() == []


def test_the_demo_wants_a_terminal_or_a_word_how_to_do_without(shell: Shell) -> None:
    done = shell.skep("demo")
    assert done.returncode == 2
    assert "--headless" in done.stderr
    assert shell.skep("demo", "--json", "--detach").returncode == 2
    assert shell.left_in_state() == []


def test_the_simulator_prints_what_another_shell_needs_and_serves_until_it_is_told_to_end(shell: Shell) -> None:
    process = shell.start("simulator", "--port", "0", "--keys", "2", "--speed", "100")
    assert process.stdout is not None
    lines = [process.stdout.readline() for _ in range(5)]
    words = dict(line.removeprefix("export ").strip().split("=", 1) for line in lines if line.startswith("export"))
    assert sorted(words) == [
        "SIMULATOR_API_KEY_1",
        "SIMULATOR_API_KEY_2",
        "SKEP_PROVIDERS__SIMULATOR__BASE_URL",
    ]
    url = words["SKEP_PROVIDERS__SIMULATOR__BASE_URL"]
    bearer = {"Authorization": f"Bearer {words['SIMULATOR_API_KEY_2']}"}
    assert httpx.get(f"{url}/models", headers=bearer).status_code == 200
    assert httpx.get(f"{url}/models", headers={"Authorization": "Bearer nope"}).status_code == 401
    dry = shell.skep("run", "x", "-m", "simulator/any", "--headless", "--dry-run", **words)
    assert dry.returncode == 0, dry.stderr
    taken = shell.run("simulator", "--port", url.rpartition(":")[2].partition("/")[0])
    assert taken.returncode == 2
    assert "cannot serve there" in taken.stderr
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 0, err


@pytest.mark.parametrize("words", [["--port", "70000"], ["--keys", "100"], ["--keys", "-1"]], ids=" ".join)
def test_a_simulator_that_cannot_be_is_refused(shell: Shell, words: list[str]) -> None:
    done = shell.skep("simulator", *words)
    assert (done.returncode, done.stdout) == (2, "")
    assert is_one_message(done.stderr), done.stderr
