"""Finds processes by the marker in their environment: the way back to what a dead engine left behind."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterable

from skep.warden import procfs
from skep.warden.procfs import Process

MARKER = "SKEP_AGENT"
"""Variable that each command and its descendants carry: ``<swarm>/<agent>``."""

_PREFIX = os.fsencode(f"{MARKER}=")

_WARDEN = b"skep.warden.main"
"""What the command line of a warden, and of the guards that it forked, has in it."""


class Census:
    """This user's living processes, as one look at /proc finds them; empty where there is none.

    The environment of a process is the one that it was started with. One that replaced it carries no mark, nor
    does one that the kernel lets nobody look into.
    """

    def __init__(self) -> None:
        user = os.getuid()
        self._processes: dict[int, Process] = {}
        self._marks: dict[int, tuple[bytes, ...]] = {}
        for pid in procfs.everyone():
            process = procfs.read(pid)  # first, so that its start time vouches for the pid later
            if process is not None and process.living and procfs.owner(pid) == user:
                lines = procfs.environment(pid)
                self._processes[pid] = process
                self._marks[pid] = tuple(line[len(_PREFIX) :] for line in lines if line.startswith(_PREFIX))

    def swarms(self) -> set[str]:
        """Every swarm that some process carries the marker of."""
        return {os.fsdecode(mark.partition(b"/")[0]) for marks in self._marks.values() for mark in marks}

    def of(self, swarm: str, agents: Collection[str] | None = None) -> list[Process]:
        """Those that carry the marker of the swarm, or of some agents of it."""
        prefix = os.fsencode(f"{swarm}/")
        wanted = None if agents is None else {prefix + os.fsencode(agent) for agent in agents}
        return self._where(
            lambda marks: any(mark.startswith(prefix) and (wanted is None or mark in wanted) for mark in marks)
        )

    def below(self, pids: Iterable[int], besides: Collection[int] = ()) -> set[int]:
        """These processes and all that they started, as far as the line of parents still shows it.

        Not ``besides``, nor what is below those.
        """
        children: dict[int, list[int]] = {}
        for process in self._processes.values():
            children.setdefault(process.parent, []).append(process.pid)
        found: set[int] = set()
        unseen = list(pids)
        while unseen:
            pid = unseen.pop()
            if pid not in found and pid not in besides:
                found.add(pid)
                unseen.extend(children.get(pid, ()))
        return found

    def guard(self, pid: int) -> Process | None:
        """The nearest guard or warden above a process; None if nobody guards it any more."""
        process = self._processes.get(pid)
        while process is not None and process.pid != process.parent:
            process = self._processes.get(process.parent)
            if process is not None and _WARDEN in procfs.arguments(process.pid):
                return process
        return None

    def processes(self, pids: Iterable[int]) -> list[Process]:
        """Those of the pids that are in the census."""
        return [self._processes[pid] for pid in pids if pid in self._processes]

    def _where(self, wanted: Callable[[tuple[bytes, ...]], bool]) -> list[Process]:
        return [self._processes[pid] for pid, marks in self._marks.items() if marks and wanted(marks)]


def marked(swarm: str, agent: str | None = None) -> tuple[int, ...]:
    """Pids of this user's living processes that carry the marker of the swarm, or of one agent of it."""
    agents = None if agent is None else [agent]
    return tuple(process.pid for process in carriers(swarm, agents))


def marked_swarms() -> set[str]:
    """Every swarm whose marker some living process of this user carries."""
    return Census().swarms()


def carriers(swarm: str, agents: Collection[str] | None) -> list[Process]:
    """This user's living processes with the marker of the swarm, or of some agents of it."""
    return Census().of(swarm, agents)
