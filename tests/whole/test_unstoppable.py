"""A process that may not be killed: its agent stays `stopping` and names the process, until that is gone."""

from __future__ import annotations

import ctypes
import os
import signal
import sys

import pytest

from skep.cli.acts import NotYet
from tests.whole.fifos import Bell
from tests.whole.places import Place, finished
from tests.whole.processes import Held
from tests.whole.waiting import readable

_PR_CAPBSET_DROP, _CAP_KILL = 24, 5
NOBODY = 65_534
OUT_OF_REACH = f"""
import os, signal
for number in (signal.SIGINT, signal.SIGTERM): signal.signal(number, signal.SIG_IGN)
os.setresuid({NOBODY}, {NOBODY}, {NOBODY})
os.write(bell, b"%d\\n" % os.getpid())
while True: signal.pause()
"""
WITHOUT_KILL = f"""
import ctypes, os, sys
ctypes.CDLL(None).prctl({_PR_CAPBSET_DROP}, {_CAP_KILL}, 0, 0, 0)
os.execv(sys.argv[1], sys.argv[1:])
"""


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give up what it needs for killing")
async def test_an_agent_that_cannot_be_ended_says_which_process_is_left(place: Place) -> None:
    if ctypes.CDLL(None).prctl(23, _CAP_KILL, 0, 0, 0) != 1:
        pytest.skip("the right to kill is not there in the first place")
    script = place.script("it", f"#!{sys.executable} -ISB\nimport os\nbell = os.open('bell', 1)\n{OUT_OF_REACH}")
    with Bell(place.project / "bell") as bell:
        launched = await place.start(
            *("run", "-c", script, "--detach"),
            before=(sys.executable, "-c", WITHOUT_KILL),
            SKEP_GRACE="0.1",
            SKEP_TERM_GRACE="0.1",
        )
        done = await finished(launched)
        assert done.code == 0, done.err
        swarm = done.out.strip()
        pid = int(await bell.rings())
        with Held(pid) as held:
            try:
                refused = await place.skep("interrupt", swarm, "--wait", code=NotYet.exit_code)
                assert f"not stopped: pid {pid} (it) in S state" in refused.err
                agent = (await place.agents(swarm))["./it"]
                assert agent["state"] == "stopping"
                assert held.lives
            finally:
                os.kill(pid, signal.SIGKILL)
                await readable(held.descriptor)
        await place.engine_left(swarm)
    assert set((await place.states(swarm)).values()) == {"interrupted"}
