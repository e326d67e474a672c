"""Ends processes by their marker: those of a swarm whose warden was lost, and what dead engines left behind."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from collections.abc import Callable, Collection, Sequence

from skep.warden import procfs, signalling
from skep.warden.command import living
from skep.warden.ladder import ATTEMPT, GRACE
from skep.warden.markers import Census
from skep.warden.procfs import Process

_PAUSE = 0.01
_SLOW_PAUSE = 0.05
_CLEAN_PASSES = 2  # one may miss a process that replaces its program at that very moment

_logger = logging.getLogger(__name__)


async def sweep_markers(swarm: str, *, timeout: float = ATTEMPT) -> tuple[int, ...]:
    """Kill every process that carries the marker of the swarm, and all below, except this one and those above it.

    Returns the pids that were killed, once none is left or `timeout` seconds are over.
    """
    return await sweep(swarm, None, timeout=timeout)


async def sweep(swarm: str, agents: Collection[str] | None, *, timeout: float) -> tuple[int, ...]:
    """`sweep_markers` for a swarm, or for some agents of it."""
    lineage = _lineage()

    def targets() -> list[Process]:
        census = Census()
        return _with_what_is_below(census, census.of(swarm, agents), lineage)

    return await _kill_all(targets, timeout)


async def sweep_dead(is_dead: Callable[[str], bool]) -> dict[str, tuple[int, ...]]:
    """End what swarms left behind whose engine is dead, politely: TERM, time to say goodbye, then KILL.

    ``is_dead`` is asked, in a thread, about each swarm that some process carries the marker of, after that process
    was seen: whoever owns the swarm from then on has not started it. What a guard of the dead engine still stands
    over is left to that for as long as it may take. Spared are this process, all above it and all below.

    Returns the pids by swarm; empty, after a single look at /proc, if nothing was left behind.
    """
    lineage = _lineage()
    found, guarded = await asyncio.to_thread(_ask_the_dead, is_dead, lineage)
    if not found:
        return {}
    pids = {swarm: tuple(sorted(process.pid for process in processes)) for swarm, processes in found.items()}
    in_words = "; ".join(f"of swarm {swarm}: {', '.join(map(str, some))}" for swarm, some in pids.items())
    _logger.warning("dead engines left processes behind, which are ended now: %s", in_words)
    everyone = _all_of(found)
    loop = asyncio.get_running_loop()
    deadline = loop.time() + GRACE + (ATTEMPT if guarded else 0.0)
    while loop.time() < deadline:
        if not any(living(process.pid, process.start) for process in everyone):
            break
        await asyncio.sleep(_SLOW_PAUSE)
    await _kill_all(lambda: _all_of(_of_the_dead(Census(), is_dead, lineage)), ATTEMPT)
    left = [process.pid for process in everyone if living(process.pid, process.start)]
    if left:
        _logger.error("these could not be ended: %s", ", ".join(map(str, sorted(left))))
    return pids


def _ask_the_dead(is_dead: Callable[[str], bool], lineage: set[int]) -> tuple[dict[str, list[Process]], bool]:
    """TERM to what dead swarms left, and whether any of it is guarded: that gets its TERM from its guard."""
    census = Census()
    found = _of_the_dead(census, is_dead, lineage)
    guarded = False
    for process in _all_of(found):
        guard = census.guard(process.pid)
        if guard is not None:
            guarded = True
            signalling.send(guard, signal.SIGCONT)  # it ends with its engine, unless somebody has stopped it
        elif signalling.send(process, signal.SIGTERM):
            signalling.send(process, signal.SIGCONT)
    return found, guarded


def _of_the_dead(census: Census, is_dead: Callable[[str], bool], lineage: set[int]) -> dict[str, list[Process]]:
    swarms = census.swarms()
    dead = sorted(swarm for swarm in swarms if is_dead(swarm))
    alive = [process.pid for swarm in swarms.difference(dead) for process in census.of(swarm)]
    spared = lineage.union(alive, census.below([os.getpid()]))
    found = {swarm: _with_what_is_below(census, census.of(swarm), spared) for swarm in dead}
    return {swarm: processes for swarm, processes in found.items() if processes}


def _all_of(found: dict[str, list[Process]]) -> list[Process]:
    return [process for processes in found.values() for process in processes]


async def _kill_all(targets: Callable[[], Sequence[Process]], timeout: float) -> tuple[int, ...]:
    """Kill, again and again, until there is nothing to kill any more or the time is up; the pids that were."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + timeout
    killed: set[int] = set()
    clean = 0
    while clean < _CLEAN_PASSES and loop.time() < deadline:
        hit = await asyncio.to_thread(_kill, targets)
        killed |= hit
        clean = 0 if hit else clean + 1
        await asyncio.sleep(_PAUSE if hit else 0)
    return tuple(sorted(killed))


def _kill(targets: Callable[[], Sequence[Process]]) -> set[int]:
    hit = targets()
    for number in (signal.SIGSTOP, signal.SIGKILL):  # a stopped process cannot fork away from the second one
        hit = [process for process in hit if signalling.send(process, number)]
    return {process.pid for process in hit}


def _with_what_is_below(census: Census, carriers: Sequence[Process], spared: set[int]) -> list[Process]:
    """Also what scrubbed its environment, as long as it has its parents."""
    roots = [process.pid for process in carriers if process.pid not in spared]
    return census.processes(census.below(roots, besides=spared))


def _lineage() -> set[int]:
    """This process and all those above it: an engine started from a marked shell must not kill that either."""
    lineage = set()
    process = procfs.read(os.getpid())
    while process is not None:
        lineage.add(process.pid)
        process = procfs.read(process.parent)
    return lineage
