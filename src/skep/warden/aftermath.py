"""After the warden was lost: verifies that its guards ended every command, helps where one was lost too."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Sequence

from skep.warden import procfs, signalling
from skep.warden.command import LOST, Command, Leftover, living
from skep.warden.ladder import ATTEMPT, GRACE
from skep.warden.markers import carriers, sweep
from skep.warden.wire import Kind

_PAUSE = 0.05
_PATIENCE = GRACE + ATTEMPT
"""Seconds that a guard may take before it is helped."""


async def verify(swarm: str, commands: Sequence[Command]) -> None:
    """Mark each command as gone once it is; returns when all are, and nobody carries the swarm's marker any more.

    A guard ends only when its tree is gone. If it was killed as well, the marker is all that is left to go by: a
    process that scrubbed its environment is then not found.
    """
    loop = asyncio.get_running_loop()
    patience = loop.time() + _PATIENCE
    pending = list(commands)
    while pending:
        for command in pending:
            if not living(command.pid, command.started):
                command.note_exit(LOST)
        guarded = {command.agent for command in pending if living(command.guard, command.guard_started)}
        unguarded = {command.agent for command in pending} - guarded
        overdue = loop.time() > patience
        if overdue:
            _wake_guards(pending)
        if unguarded or overdue:
            await _finish(swarm, pending, unguarded | guarded if overdue else unguarded, guarded)
        pending = [command for command in pending if not command.is_gone]
        if pending:
            await asyncio.sleep(_PAUSE)
    await sweep(swarm, None, timeout=ATTEMPT)


def _wake_guards(commands: Sequence[Command]) -> None:
    """Have guards go on that somebody has stopped."""
    for command in commands:
        guard = procfs.read(command.guard)
        if guard is not None and guard.start == command.guard_started:
            signalling.send(guard, signal.SIGCONT)


async def _finish(swarm: str, pending: Sequence[Command], agents: set[str], guarded: set[str]) -> None:
    await sweep(swarm, agents, timeout=ATTEMPT)
    remaining = await asyncio.to_thread(carriers, swarm, agents)
    left = tuple(Leftover(process.pid, process.state.decode(), os.fsdecode(process.name)) for process in remaining)
    for command in pending:
        if command.agent in agents:
            command.left = left
            if not left and command.agent not in guarded:
                command.note(Kind.GONE, b"")
