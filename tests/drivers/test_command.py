"""The command driver alone, with a real warden: what it reports, how it stops, when it tries again."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from pydantic import ValidationError

from skep.clock import VirtualClock
from skep.drivers.command import CommandDriver, output_for
from skep.drivers.program import Programs
from skep.model.events import Json
from skep.model.permits import Assignment, Ended
from skep.model.states import DriverKind, State, StopStep
from skep.warden.client import Warden
from tests.drivers.conftest import Permits

LIMIT = 12.0
MakeDriver = Callable[..., CommandDriver]


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock()


@pytest.fixture
def make_driver(warden: Warden, tmp_path: Path, clock: VirtualClock) -> MakeDriver:
    async def a_warden() -> Warden:
        return warden

    def make(*argv: str, **spec: Json) -> CommandDriver:
        body: dict[str, Json] = {"argv": list(argv), "cwd": "/", **spec}
        assignment = Assignment("a", 1, DriverKind.COMMAND, body, str(tmp_path / "a.log"))
        output = output_for(assignment, ring_lines=100, cap_bytes=100_000)
        return CommandDriver(assignment, output, Programs(a_warden), clock, lambda agent: None)

    return make


class Told:
    """What a driver said when it was running."""

    def __init__(self) -> None:
        self.runs: list[tuple[int, tuple[int, ...]]] = []
        self.is_running = asyncio.Event()

    def __call__(self, generation: int, pids: tuple[int, ...]) -> None:
        self.runs.append((generation, pids))
        self.is_running.set()


async def _run(driver: CommandDriver, permits: Permits, told: Told | None = None) -> Ended:
    async with asyncio.timeout(LIMIT):
        return await driver.run(permits, told or Told())


async def test_a_program_that_is_done_says_its_last_line_and_its_size(make_driver: MakeDriver, permits: Permits):
    told = Told()
    end = await _run(make_driver("printf", "one\ntwo"), permits, told)
    assert (end.state, end.exit_code, end.result, end.error) == (State.DONE, 0, "two", None)
    assert end.live is not None
    assert (end.live.lines, end.live.size) == (2, 7)
    assert [generation for generation, _ in told.runs] == [1]


async def test_words_are_passed_on_as_they_are_and_no_shell_is_asked(make_driver: MakeDriver, permits: Permits):
    end = await _run(make_driver("printf", "%s", "$HOME `id` * 'x' \n; exit 3"), permits)
    assert end.result == "; exit 3"
    assert end.exit_code == 0


async def test_a_line_for_the_shell_is_one(make_driver: MakeDriver, permits: Permits):
    end = await _run(make_driver("echo a | tr a b; exit 3", shell=True), permits)
    assert (end.result, end.exit_code, end.state) == ("b", 3, State.FAILED)


async def test_a_program_runs_in_its_folder_and_without_input(
    make_driver: MakeDriver, permits: Permits, tmp_path: Path
):
    end = await _run(make_driver("pwd; cat; echo $?", shell=True, cwd=str(tmp_path)), permits)
    assert end.live is not None
    assert end.live.lines == 2
    assert (tmp_path / "a.log").read_text() == f"{tmp_path}\n0\n"


async def test_tries_are_asked_for_one_by_one_and_numbered(make_driver: MakeDriver, permits: Permits):
    permits.slots = 2
    told = Told()
    end = await _run(make_driver("false", retries=5), permits, told)
    assert permits.asked == [f"try {number} of 6 after exit 1" for number in (2, 3, 4)]
    assert [generation for generation, _ in told.runs] == [1, 2, 3]
    assert (end.generation, end.state) == (3, State.FAILED)


async def test_no_try_is_asked_for_without_need(make_driver: MakeDriver, permits: Permits):
    await _run(make_driver("true", retries=5), permits)
    await _run(make_driver("false"), permits)
    await _run(make_driver("no-such-program-anywhere", retries=5), permits)
    assert permits.asked == []


async def test_a_driver_that_was_stopped_before_it_ran_starts_nothing(
    make_driver: MakeDriver, permits: Permits, tmp_path: Path
):
    driver = make_driver("touch", str(tmp_path / "ran"), retries=3)
    driver.stop(StopStep.SOFT)
    told = Told()
    end = await _run(driver, permits, told)
    assert end.state is State.FAILED
    assert (told.runs, permits.asked) == ([], [])
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(("step", "number"), [(StopStep.SOFT, 2), (StopStep.CANCEL, 15), (StopStep.KILL, 9)])
async def test_each_rung_is_a_stronger_signal(
    make_driver: MakeDriver, permits: Permits, step: StopStep, number: int
):
    driver, told = make_driver("sleep", "600", retries=3), Told()
    running = asyncio.create_task(_run(driver, permits, told))
    await told.is_running.wait()
    driver.stop(step)
    end = await running
    assert end.signal == number
    assert permits.asked == [], "what was told to stop is not tried again"


async def test_output_is_progress_and_silence_is_counted(
    make_driver: MakeDriver, permits: Permits, clock: VirtualClock, tmp_path: Path
):
    os.mkfifo(tmp_path / "gate")
    gate = os.open(tmp_path / "gate", os.O_RDWR)
    driver, told = make_driver(f"read x < {tmp_path}/gate; echo hello; sleep 600", shell=True), Told()
    running = asyncio.create_task(_run(driver, permits, told))
    await told.is_running.wait()
    assert (await driver.pulse()).idle == 0
    assert (await driver.pulse()).alive
    clock.advance(30)
    assert (await driver.pulse()).idle == 30
    os.write(gate, b"\n")
    async with asyncio.timeout(LIMIT):
        while driver.live().lines == 0:
            await asyncio.to_thread(os.stat, tmp_path)
    assert (await driver.pulse()).idle == 0
    assert driver.live().progress_at == clock.time()
    driver.stop(StopStep.KILL)
    await running
    os.close(gate)


async def test_waiting_in_line_for_another_try_is_no_silence(warden: Warden, clock: VirtualClock, tmp_path: Path):
    """The agent counts as running from its admission on, a moment before the program runs."""
    silence: list[float] = []

    class Slow(Permits):
        async def slot(self, agent: str, generation: int, why: str) -> int:
            clock.advance(5_000)
            return generation + 1

    async def a_warden() -> Warden:
        silence.append((await driver.pulse()).idle)
        return warden

    body: dict[str, Json] = {"argv": ["false"], "cwd": "/", "retries": 2}
    assignment = Assignment("a", 1, DriverKind.COMMAND, body, str(tmp_path / "a.log"))
    output = output_for(assignment, ring_lines=1, cap_bytes=1)
    driver = CommandDriver(assignment, output, Programs(a_warden), clock, lambda agent: None)
    await _run(driver, Slow())
    assert silence == [0, 0, 0]


async def test_nothing_of_the_output_is_lost_when_its_program_ends_in_the_middle_of_a_flood(
    make_driver: MakeDriver, permits: Permits
):
    for size in (300_000, 262_145, 1_000):
        end = await _run(make_driver("head", "-c", str(size), "/dev/zero"), permits)
        assert end.live is not None
        assert end.live.size == size


async def test_a_cancelled_driver_leaves_no_process(make_driver: MakeDriver, permits: Permits):
    driver, told = make_driver("sleep", "600"), Told()
    running = asyncio.create_task(driver.run(permits, told))
    await told.is_running.wait()
    (pid,) = told.runs[0][1]
    end = os.pidfd_open(pid)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    ended = asyncio.Event()
    asyncio.get_running_loop().add_reader(end, ended.set)
    async with asyncio.timeout(LIMIT):
        await ended.wait()
    asyncio.get_running_loop().remove_reader(end)
    os.close(end)


async def test_a_program_that_closes_its_output_is_still_waited_for(make_driver: MakeDriver, permits: Permits):
    script = "import os; os.write(1, b'bye'); os.close(1); os.close(2); os._exit(5)"
    end = await _run(make_driver(sys.executable, "-I", "-S", "-c", script), permits)
    assert (end.exit_code, end.result) == (5, "bye")


@pytest.mark.parametrize("spec", [{"argv": []}, {"argv": ["true"], "cheese": 1}, {"argv": "true"}, {}])
def test_a_spec_that_is_none_is_refused_before_anything_is_made(tmp_path: Path, spec: dict[str, Json]):
    assignment = Assignment("a", 1, DriverKind.COMMAND, {"cwd": "/", **spec}, str(tmp_path / "a.log"))
    output = output_for(assignment, ring_lines=1, cap_bytes=1)
    try:
        with pytest.raises(ValidationError):
            CommandDriver(assignment, output, None, VirtualClock(), lambda agent: None)  # type: ignore[arg-type]
    finally:
        output.close()
