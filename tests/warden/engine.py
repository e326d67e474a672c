"""An engine to be killed: starts a warden and animals of the zoo, prints all their pids, and stays.

Run with the swarm's name; with ``leak`` after it, a child of the engine inherits the warden's socket and stays.
"""

from __future__ import annotations

import asyncio
import os
import sys

from skep.warden.client import Warden
from tests.warden import zoo
from tests.warden.support import Output, parent_of, python


async def main(swarm: str, *, leak: bool) -> None:
    warden = await Warden.start(swarm, dict(os.environ))
    pids = {warden.pid}
    for script in (zoo.IGNORES_TERM, zoo.DAEMON, zoo.STOPPED, zoo.SCRUBS_ITS_ENVIRONMENT):
        output = Output()
        command = await warden.run("bee", python(script), cwd="/", env={}, output=output.writing)
        pids |= {command.pid, parent_of(command.pid), *map(int, await output.lines_until("ready"))}
    heir = os.fork() if leak else 0
    if leak and heir == 0:
        os.read(sys.stdin.fileno(), 1)  # until the test is over
        os._exit(0)
    print(*pids, flush=True)
    await asyncio.Event().wait()


asyncio.run(main(sys.argv[1], leak="leak" in sys.argv[2:]))
