"""What dead engines left behind is ended when another engine starts: theirs, all of it, and nothing else."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator

import pytest

from skep.warden.client import Warden, marked, marked_swarms, sweep_dead, sweep_markers
from skep.warden.ladder import GRACE
from tests.warden import zoo
from tests.warden.support import Output, Watch, python

Leave = Callable[..., "Left"]

STAYS = "ready(os.getpid()); time.sleep(600)"
POLITE = """
def bye(*_):
    say("bye")
    os._exit(0)
signal.signal(signal.SIGTERM, bye)
ready(os.getpid())
while True: time.sleep(600)
"""
RESPAWNS = """
def again(*_):
    if os.fork(): os._exit(0)
    os.setsid()
signal.signal(signal.SIGTERM, again)
ready(os.getpid())
while True: time.sleep(600)
"""


class Left:
    """A program whose engine is gone, as is everything that stood over it."""

    def __init__(self, marker: str, script: str) -> None:
        # Its parent ends at once: nothing leads from it to this test but the marker.
        launcher = "import subprocess, sys; subprocess.Popen(sys.argv[1:], start_new_session=True)"
        self.output = Output()
        subprocess.run(
            [sys.executable, "-I", "-c", launcher, *python(script)],
            env={"SKEP_AGENT": marker, "PATH": os.environ["PATH"]},
            stdout=self.output.writing,
            check=True,
            timeout=10,
        )
        self.output.close_writing()
        self.pids: list[int] = []


@pytest.fixture
def leave(watch: Watch) -> Iterator[Leave]:
    left: list[Left] = []

    async def leave(marker: str, script: str = STAYS) -> Left:
        made = Left(marker, script)
        left.append(made)
        made.pids = [int(pid) for pid in await made.output.lines_until("ready")]
        watch.add(*made.pids)
        return made

    yield leave
    for one in left:
        one.output.close()


class Dead:
    """The swarms whose engine is dead, as whoever keeps their folders knows them; notes what it was asked."""

    def __init__(self, *swarms: str) -> None:
        self.swarms = swarms
        self.asked: list[str] = []

    def __call__(self, swarm: str) -> bool:
        self.asked.append(swarm)
        return swarm in self.swarms


async def test_processes_of_dead_swarms_are_ended_and_those_of_others_are_not(
    swarm: str, leave: Leave, watch: Watch, caplog: pytest.LogCaptureFixture
) -> None:
    dead = [await leave(f"{swarm}/a"), await leave(f"{swarm}/b", zoo.STOPPED), await leave(f"{swarm}x/a")]
    alive = await leave(f"{swarm}y/a")
    gone = Dead(swarm, f"{swarm}x")
    with caplog.at_level(logging.WARNING):
        ended = await sweep_dead(gone)
    assert ended == {swarm: tuple(sorted(dead[0].pids + dead[1].pids)), f"{swarm}x": tuple(dead[2].pids)}
    assert watch.living() == set(alive.pids)
    assert f"{swarm}y" in gone.asked
    (line,) = caplog.messages
    assert all(str(pid) in line for one in dead for pid in one.pids)
    assert (swarm in line, f"{swarm}y" in line) == (True, False)
    assert await sweep_dead(Dead(swarm, f"{swarm}x")) == {}
    assert await sweep_dead(Dead(f"{swarm}y")) == {f"{swarm}y": tuple(alive.pids)}


async def test_they_may_say_goodbye_but_not_stay(swarm: str, leave: Leave, watch: Watch) -> None:
    polite, rude = await leave(f"{swarm}/polite", POLITE), await leave(f"{swarm}/rude", zoo.IGNORES_TERM)
    loop = asyncio.get_running_loop()
    began = loop.time()
    await sweep_dead(Dead(swarm))
    assert await polite.output.rest() == "bye"
    assert watch.living() == set()
    assert loop.time() - began >= GRACE, "the rude one had its time, too"
    assert rude.pids


async def test_who_comes_back_when_it_is_told_to_end_is_killed(swarm: str, leave: Leave) -> None:
    await leave(f"{swarm}/phoenix", RESPAWNS)
    await sweep_dead(Dead(swarm))
    assert marked(swarm) == ()


async def test_what_scrubbed_its_environment_goes_with_its_parents(swarm: str, leave: Leave, watch: Watch) -> None:
    left = await leave(f"{swarm}/a", zoo.SCRUBS_ITS_ENVIRONMENT)
    assert set(marked(swarm)) < set(left.pids)
    ended = await sweep_dead(Dead(swarm))
    assert ended == {swarm: tuple(sorted(left.pids))}
    assert watch.living() == set()


async def test_what_is_guarded_is_left_to_its_guard_which_is_woken(swarm: str, watch: Watch) -> None:
    """An engine that has just died leaves guards that give a grace; nobody is told twice to end."""
    warden = await Warden.start(swarm, dict(os.environ))
    output = Output()
    script = """
told = []
signal.signal(signal.SIGTERM, lambda *_: told.append(1))
ready(os.getpid())
while not told: time.sleep(0.01)
time.sleep(0.3)
say(f"told {len(told)} times")
"""
    command = await warden.run("bee", python(script), cwd="/", env={}, output=output.writing)
    output.close_writing()
    watch.add(*map(int, await output.lines_until("ready")))
    os.kill(command.guard, signal.SIGSTOP)
    sweeping = asyncio.create_task(sweep_dead(Dead(swarm)))
    closing = asyncio.create_task(warden.close())
    assert await output.rest() == "told 1 times"
    await closing
    assert await sweeping in ({}, {swarm: (command.pid,)})
    assert watch.living() == set()
    output.close()


async def test_an_engine_spares_itself_what_is_above_it_and_what_it_has_started(
    swarm: str, leave: Leave, watch: Watch
) -> None:
    """It may have been started from a shell of an agent whose swarm is dead by now."""
    victim = await leave(f"{swarm}/left-over")
    script = f"""
import asyncio, os
from skep.warden.client import Warden, sweep_dead
async def main():
    warden = await Warden.start("{swarm}-new", dict(os.environ))
    reading, writing = os.pipe()
    command = await warden.run("bee", ["sh", "-c", "echo up; exec sleep 600"], cwd="/", env={{}}, output=writing)
    os.read(reading, 3)
    swept = await sweep_dead(lambda name: name.startswith("{swarm}"))
    print(*[pid for pids in swept.values() for pid in pids], await command.alive())
    await warden.close(grace=0)
asyncio.run(main())
"""
    shell = await asyncio.create_subprocess_exec(
        *("sh", "-c", '"$@"; echo "and its shell"', "sh", sys.executable, "-c", script),
        env={**os.environ, "SKEP_AGENT": f"{swarm}/nested", "PYTHONPATH": os.pathsep.join(sys.path)},
        stdout=subprocess.PIPE,
    )
    said, _ = await shell.communicate()
    assert said.decode() == f"{victim.pids[0]} True\nand its shell\n"
    assert watch.living() == set()


@pytest.mark.skipif(os.getuid() != 0, reason="only root can run something as another user")
async def test_another_users_processes_are_never_touched(swarm: str, watch: Watch) -> None:
    theirs = await asyncio.create_subprocess_exec("sleep", "600", env={"SKEP_AGENT": f"{swarm}/a"}, user=65_534)
    watch.add(theirs.pid)
    try:
        assert await sweep_dead(Dead(swarm)) == {}
        assert await sweep_markers(swarm) == ()
        assert marked(swarm) == ()
        assert watch.living() == {theirs.pid}
    finally:
        theirs.kill()
        await theirs.wait()


async def test_without_anything_left_behind_nothing_is_waited_for(swarm: str) -> None:
    nobody = Dead(swarm)
    assert await sweep_dead(nobody) == {}
    assert swarm not in nobody.asked
    assert swarm not in marked_swarms()


async def test_of_two_that_sweep_at_once_neither_is_in_the_others_way(
    swarm: str, leave: Leave, watch: Watch
) -> None:
    for number in range(5):
        await leave(f"{swarm}/{number}", zoo.DAEMON)
    await asyncio.gather(sweep_dead(Dead(swarm)), sweep_dead(Dead(swarm)))
    assert watch.living() == set()
    assert marked(swarm) == ()
