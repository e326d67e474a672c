"""Waiting for events of commands: their output, their end; no test of the warden sleeps."""

from __future__ import annotations

import asyncio
import json
import os
import select
import signal
import subprocess
import sys
from collections.abc import Callable, Coroutine
from pathlib import Path

from skep.warden.client import Command

LIMIT = 12.0
"""Seconds after which a test that still waits has failed."""


class Output:
    """A pipe for a command's output. Waiting for a line is waiting for an event of the command."""

    def __init__(self) -> None:
        self._reading, self.writing = os.pipe()
        os.set_blocking(self._reading, False)
        self._held = b""

    async def line(self) -> str:
        """The next line; an empty string at the end of the stream, when every holder of the pipe is gone."""
        while b"\n" not in self._held:
            await readable(self._reading)
            chunk = os.read(self._reading, 65_536)
            if not chunk:
                return ""
            self._held += chunk
        line, _, self._held = self._held.partition(b"\n")
        return os.fsdecode(line)

    async def lines_until(self, last: str) -> list[str]:
        """The lines before this one."""
        lines = []
        while (line := await self.line()) != last:
            assert line, f"the output ended before {last!r}, after {lines}"
            lines.append(line)
        return lines

    async def rest(self) -> str:
        """All lines to the end of the stream."""
        lines = []
        while line := await self.line():
            lines.append(line)
        return "\n".join(lines)

    def close_writing(self) -> None:
        if self.writing >= 0:
            os.close(self.writing)
            self.writing = -1

    def close(self) -> None:
        self.close_writing()
        os.close(self._reading)


class Watch:
    """Sees processes end: a pidfd is bound to the process, whatever becomes of the pid."""

    def __init__(self) -> None:
        self._descriptors: dict[int, int] = {}

    def add(self, *pids: int) -> None:
        for pid in pids:
            if pid not in self._descriptors:
                self._descriptors[pid] = os.pidfd_open(pid)

    def living(self) -> set[int]:
        """Those that live at this very moment."""
        return {pid for pid, descriptor in self._descriptors.items() if not _ended(descriptor)}

    async def all_ended(self) -> None:
        for descriptor in self._descriptors.values():
            await readable(descriptor)

    def close(self) -> None:
        for descriptor in self._descriptors.values():
            if not _ended(descriptor):  # the test has failed; leave nothing behind
                signal.pidfd_send_signal(descriptor, signal.SIGKILL)
            os.close(descriptor)


class Doomed:
    """An engine that a test may kill, see ``engine.py``; it and those below it are spoken to by their roles."""

    def __init__(self, swarm: str, *options: str) -> None:
        argv = [sys.executable, str(Path(__file__).parent / "engine.py"), swarm, *options]
        env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
        self.process = subprocess.Popen(argv, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self._roles: dict[str, list[int]] | None = None

    @property
    def roles(self) -> dict[str, list[int]]:
        """Pids of its warden, its guards and its animals; waits until all of them are there."""
        if self._roles is None:
            assert self.process.stdout is not None
            self._roles = json.loads(self.process.stdout.readline())
        return {"engine": [self.process.pid], **self._roles}

    def below(self) -> list[int]:
        return [pid for role in ("warden", "guards", "animals") for pid in self.roles[role]]

    def signal(self, number: int, *roles: str) -> None:
        for role in roles:
            for pid in self.roles[role]:
                os.kill(pid, number)

    async def verified(self) -> None:
        """Wait until it has verified that nothing is left of a warden that it lost."""
        assert self.process.stdout is not None
        await readable(self.process.stdout.fileno())
        assert self.process.stdout.readline() == b"verified\n"

    def __enter__(self) -> Doomed:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.communicate()


Start = Callable[..., Coroutine[None, None, tuple[Command, Output]]]


def _ended(descriptor: int) -> bool:
    return bool(select.select([descriptor], [], [], 0)[0])


async def readable(descriptor: int) -> None:
    loop = asyncio.get_running_loop()
    event = asyncio.Event()
    loop.add_reader(descriptor, event.set)
    try:
        async with asyncio.timeout(LIMIT):
            await event.wait()
    finally:
        loop.remove_reader(descriptor)


def parent_of(pid: int) -> int:
    """For a command that lives: its guard. For a guard: the warden."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
    return int(fields[1])


def python(script: str) -> list[str]:
    return [sys.executable, "-I", "-S", "-c", _PREAMBLE + script]


_PREAMBLE = """
import os, signal, sys, time
def say(text): os.write(1, f"{text}\\n".encode())
def child(work):
    pid = os.fork()
    if pid == 0:
        work()
        os._exit(0)
    return pid
def ready(*pids):
    for pid in pids: say(pid)
    say("ready")
def once_closed(work):
    reading, writing = os.pipe()
    pid = child(lambda: work())
    os.close(writing)
    os.read(reading, 1)
    return pid
"""


async def gone(*commands: Command) -> None:
    async with asyncio.timeout(LIMIT):
        for command in commands:
            await command.gone()
