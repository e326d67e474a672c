"""What a dead engine left behind is found by its marker, and nothing else is."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator

import pytest

from skep.warden.client import marked, sweep_markers
from tests.warden.support import Watch, python

Leave = Callable[[str], "subprocess.Popen[bytes]"]


@pytest.fixture
def leave(watch: Watch) -> Iterator[Leave]:
    """Leaves a process behind that carries this marker, as an engine that was killed would."""
    left = []

    def leave(marker: str) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(
            python("signal.signal(signal.SIGTERM, signal.SIG_IGN); say('ready'); time.sleep(600)"),
            env={"SKEP_AGENT": marker, "PATH": os.environ["PATH"]},
            stdout=subprocess.PIPE,
            start_new_session=True,
        )
        left.append(process)
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        watch.add(process.pid)
        return process

    yield leave
    for process in left:
        process.kill()
        process.communicate()


async def test_marked_finds_a_swarm_or_one_agent_of_it_by_the_whole_name(swarm: str, leave: Leave) -> None:
    one, two, stranger = leave(f"{swarm}/one"), leave(f"{swarm}/one-b"), leave(f"{swarm}b/one")
    assert set(marked(swarm)) == {one.pid, two.pid}
    assert marked(swarm, "one") == (one.pid,)
    assert marked(f"{swarm}b") == (stranger.pid,)
    assert marked(swarm, "on") == ()


async def test_a_sweep_kills_the_swarm_and_nobody_else(swarm: str, leave: Leave, watch: Watch) -> None:
    victims = [leave(f"{swarm}/{n}") for n in range(3)]
    stranger = leave(f"{swarm}b/one")
    os.kill(victims[0].pid, signal.SIGSTOP)
    assert await sweep_markers(swarm) == tuple(sorted(victim.pid for victim in victims))
    assert watch.living() == {stranger.pid}
    assert marked(swarm) == ()
    assert await sweep_markers(swarm) == ()


def test_an_engine_that_carries_the_marker_sweeps_neither_itself_nor_those_above_it(
    swarm: str, leave: Leave, watch: Watch
) -> None:
    victim = leave(f"{swarm}/left-over")
    script = f"""
import asyncio, os
from skep.warden.client import sweep_markers
print(*asyncio.run(sweep_markers({swarm!r})))
"""
    shell = subprocess.run(
        ["sh", "-c", '"$@"; echo "and its shell"', "sh", sys.executable, "-c", script],
        env={**os.environ, "SKEP_AGENT": f"{swarm}/nested", "PYTHONPATH": os.pathsep.join(sys.path)},
        stdout=subprocess.PIPE,
        check=True,
        timeout=10,
    )
    assert shell.stdout.decode() == f"{victim.pid}\nand its shell\n"
    assert victim.pid not in watch.living()
