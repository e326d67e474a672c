"""An engine to be killed: starts a warden and animals of the zoo, prints who is who as JSON, and stays.

Run with the swarm's name. With ``leak`` after it, a child of the engine inherits the warden's socket and stays;
with ``adopt`` the engine adopts orphans.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys

from skep.warden.client import Warden, adopt_orphans
from tests.warden import zoo
from tests.warden.support import Output, python

ANIMALS = (zoo.IGNORES_TERM, zoo.DAEMON, zoo.STOPPED, zoo.SCRUBBED_DAEMON)


async def main(swarm: str, *, leak: bool, adopt: bool) -> None:
    warden = await Warden.start(swarm, dict(os.environ), adopts=adopt and adopt_orphans())
    guards: set[int] = set()
    animals: set[int] = set()
    for script in ANIMALS:
        output = Output()
        command = await warden.run("bee", python(script), cwd="/", env={}, output=output.writing)
        guards.add(command.guard)
        animals |= {command.pid, *map(int, await output.lines_until("ready"))}
        # From here on nobody reads it: what the animals say is not of interest.
    heir = os.fork() if leak else 0
    if leak and heir == 0:
        os.read(sys.stdin.fileno(), 1)  # until the test is over
        os._exit(0)
    print(json.dumps({"warden": [warden.pid], "guards": [*guards], "animals": [*animals]}), flush=True)
    lost = asyncio.Event()
    warden.on_lost(lost.set)
    await lost.wait()
    await warden.close()
    print("verified", flush=True)
    await asyncio.Event().wait()


asyncio.run(main(sys.argv[1], leak="leak" in sys.argv[2:], adopt="adopt" in sys.argv[2:]))
