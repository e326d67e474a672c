"""Finds and ends processes by the marker in their environment: the way back to what a dead engine left behind."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Collection

from skep.warden import procfs, signalling
from skep.warden.procfs import Process

MARKER = "SKEP_AGENT"
"""Variable that each command and its descendants carry: ``<swarm>/<agent>``."""

_PAUSE = 0.01
_CLEAN_PASSES = 2  # one may miss a process that replaces its program at that very moment


def marked(swarm: str, agent: str | None = None) -> tuple[int, ...]:
    """Pids of this user's living processes that carry the marker of the swarm, or of one agent of it.

    Empty where there is no /proc. A process that replaced its environment is not found.
    """
    agents = None if agent is None else [agent]
    return tuple(process.pid for process in carriers(swarm, agents))


async def sweep_markers(swarm: str, *, timeout: float = 2.0) -> tuple[int, ...]:
    """Kill every process that carries the marker of the swarm, except this one and those that it descends from.

    Returns the pids that were killed, once none is left or `timeout` seconds are over.
    """
    return await sweep(swarm, None, timeout=timeout)


async def sweep(swarm: str, agents: Collection[str] | None, *, timeout: float) -> tuple[int, ...]:
    """`sweep_markers` for a swarm, or for some agents of it."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + timeout
    killed: set[int] = set()
    clean = 0
    while clean < _CLEAN_PASSES and loop.time() < deadline:
        hit = await asyncio.to_thread(_kill, swarm, agents)
        killed |= hit
        clean = 0 if hit else clean + 1
        await asyncio.sleep(_PAUSE if hit else 0)
    return tuple(sorted(killed))


def carriers(swarm: str, agents: Collection[str] | None) -> list[Process]:
    """This user's living processes with the marker of the swarm, or of some agents of it."""
    prefix = os.fsencode(f"{MARKER}={swarm}/")
    wanted = None if agents is None else {prefix + os.fsencode(agent) for agent in agents}
    user = os.getuid()
    found = []
    for pid in procfs.everyone():
        process = procfs.read(pid)  # first, so that its start time vouches for the pid later
        lines = procfs.environment(pid, user)
        if process and any(line.startswith(prefix) and (wanted is None or line in wanted) for line in lines):
            found.append(process)
    return found


def _kill(swarm: str, agents: Collection[str] | None) -> set[int]:
    own = _lineage()
    targets = [process for process in carriers(swarm, agents) if process.pid not in own]
    for number in (signal.SIGSTOP, signal.SIGKILL):  # a stopped process cannot fork away from the second one
        targets = [process for process in targets if signalling.send(process, number)]
    return {process.pid for process in targets}


def _lineage() -> set[int]:
    """This process and all those above it: an engine started from a marked shell must not kill that either."""
    lineage = set()
    process = procfs.read(os.getpid())
    while process is not None:
        lineage.add(process.pid)
        process = procfs.read(process.parent)
    return lineage
