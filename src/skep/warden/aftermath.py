"""After the warden was lost: verifies that its guards ended every command, helps where one was lost too."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Sequence

from skep.warden import procfs, signalling
from skep.warden.adoption import Adoptions
from skep.warden.command import LOST, Command, Leftover, living
from skep.warden.ladder import ATTEMPT, GRACE
from skep.warden.markers import carriers
from skep.warden.sweeping import sweep
from skep.warden.wire import Kind

_PAUSE = 0.05
_PATIENCE = GRACE + ATTEMPT
"""Seconds that a guard may take before it is helped."""


async def verify(swarm: str, commands: Sequence[Command], adoptions: Adoptions | None = None) -> None:
    """Mark each command as gone once it is; returns when all are, and nobody carries the swarm's marker any more.

    A guard ends only when its tree is gone. If it was killed as well, its orphans are found among the adopted. In
    a process that adopts none, the marker is all that is left to go by: what scrubbed its environment and left its
    parents is then not found.
    """
    loop = asyncio.get_running_loop()
    patience = loop.time() + _PATIENCE
    pending = list(commands)
    while pending:
        for command in pending:
            if not living(command.pid, command.started):
                command.note_exit(LOST)
        guards = {one.guard: one.agent for one in pending if living(one.guard, one.guard_started)}
        unguarded = {command.agent for command in pending} - set(guards.values())
        overdue = loop.time() > patience
        if overdue:
            _wake_guards(pending)
        adopted = adoptions is not None and not await asyncio.to_thread(adoptions.end, guards)
        if unguarded or overdue:
            agents = unguarded.union(guards.values()) if overdue else unguarded
            await _finish(swarm, pending, agents, set(guards.values()), adopted=adopted)
        pending = [command for command in pending if not command.is_gone]
        if pending:
            await asyncio.sleep(_PAUSE)
    patience = loop.time() + ATTEMPT
    while adoptions is not None and loop.time() < patience:
        if await asyncio.to_thread(adoptions.end):
            break
        await asyncio.sleep(_PAUSE)
    await sweep(swarm, None, timeout=ATTEMPT)


def _wake_guards(commands: Sequence[Command]) -> None:
    """Have guards go on that somebody has stopped."""
    for command in commands:
        guard = procfs.read(command.guard)
        if guard is not None and guard.start == command.guard_started:
            signalling.send(guard, signal.SIGCONT)


async def _finish(
    swarm: str, pending: Sequence[Command], agents: set[str], guarded: set[str], *, adopted: bool
) -> None:
    await sweep(swarm, agents, timeout=ATTEMPT)
    remaining = await asyncio.to_thread(carriers, swarm, agents)
    left = tuple(Leftover(process.pid, process.state.decode(), os.fsdecode(process.name)) for process in remaining)
    for command in pending:
        if command.agent in agents:
            command.left = left
            if not left and not adopted and command.agent not in guarded:
                command.note(Kind.GONE, b"")
