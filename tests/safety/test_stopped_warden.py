"""A command that stops the warden over it is ended all the same."""

from __future__ import annotations

import os
import signal

from skep.warden.client import Warden
from tests.warden.conftest import start as start
from tests.warden.conftest import swarm as swarm
from tests.warden.conftest import warden as warden
from tests.warden.conftest import watch as watch
from tests.warden.support import Start, Watch, gone


async def test_a_kill_reaches_the_tree_of_a_command_whose_warden_was_stopped(
    warden: Warden, start: Start, watch: Watch
) -> None:
    command, output = await start(["sh", "-c", "sleep 600 & echo ready; wait"])
    await output.lines_until("ready")
    watch.add(command.pid)
    os.kill(warden.pid, signal.SIGSTOP)
    command.kill()
    await gone(command)
    assert watch.living() == set()


async def test_a_stopped_warden_closes(warden: Warden, start: Start, watch: Watch) -> None:
    command, output = await start(["sh", "-c", "echo ready; sleep 600"])
    await output.lines_until("ready")
    watch.add(command.pid)
    os.kill(warden.pid, signal.SIGSTOP)
    await warden.close(grace=0)
    assert watch.living() == set()
