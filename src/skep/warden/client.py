"""The engine's handle on its warden: starts it, has it run commands, and notices when it is lost."""

from __future__ import annotations

import asyncio
import errno
import itertools
import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, ClassVar, Self

from skep.errors import SkepError
from skep.warden import order, wire
from skep.warden.adoption import Adoptions, adopt_orphans
from skep.warden.aftermath import verify
from skep.warden.command import Command, Exit, Leftover
from skep.warden.faults import SpawnFailed, SpawnFault, WardenLost, spawn_failed
from skep.warden.markers import MARKER, marked, marked_swarms
from skep.warden.order import Order
from skep.warden.sweeping import sweep_dead, sweep_markers
from skep.warden.wire import Kind, Link

__all__ = [
    "Command",
    "Exit",
    "Leftover",
    "SpawnFailed",
    "SpawnFault",
    "Warden",
    "WardenLost",
    "adopt_orphans",
    "marked",
    "marked_swarms",
    "sweep_dead",
    "sweep_markers",
]

_BOOT = "import sys; sys.path.insert(0, sys.argv.pop(1)); from skep.warden.main import main; main()"
_SOURCE = str(Path(__file__).parents[2])
_INHERITED = ("LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", MARKER)
"""What the warden keeps of the engine's environment: what its interpreter may need, and an outer swarm's mark. The
rest, secrets perhaps, is not its business."""

_INSIST = 1.0
"""Seconds after which a warden that has to kill is woken again."""

_LARGEST_ORDER = 16 * 1024 * 1024
"""Bytes of arguments and environment that are worth asking the kernel about; it takes less."""


@dataclass(frozen=True, slots=True)
class _Starting:
    agent: str
    program: str
    cwd: str
    future: asyncio.Future[Command]


class Warden:
    """A running warden. Every method belongs to the event loop that `start` was called in."""

    program: ClassVar[str] = _BOOT
    """What its interpreter runs; a test may put a fault there."""

    def __init__(
        self,
        swarm: str,
        process: subprocess.Popen[bytes],
        link: Link,
        log: IO[bytes],
        adoptions: Adoptions | None = None,
    ) -> None:
        self.pid = process.pid
        self._swarm = swarm
        self._process = process
        self._link = link
        self._channel = link.fileno()
        self._log = log
        self._adoptions = adoptions
        self._loop = asyncio.get_running_loop()
        self._numbers = itertools.count(1)
        self._starting: dict[int, _Starting] = {}
        self._commands: dict[int, Command] = {}
        self._callbacks: list[Callable[[], None]] = []
        self._ready = asyncio.Event()
        self._ended = asyncio.Event()
        self._closing = False
        self._verifying: asyncio.Task[None] | None = None
        self._loop.add_reader(self._channel, self._hear)

    @classmethod
    async def start(cls, swarm: str, env: Mapping[str, str], *, adopts: bool = False) -> Self:
        """Start a warden whose commands all get `env` as their base environment. Raises `WardenLost`.

        With `adopts` this process is a child subreaper (see `adopt_orphans`) and starts no process while it has
        this warden: what it finds below itself after the loss of the warden was adopted, and is ended.
        """
        base = {os.fsencode(name): os.fsencode(value) for name, value in env.items()}
        process, link, log = _boot(cls.program)
        warden = cls(swarm, process, link, log, Adoptions(process.pid) if adopts else None)
        warden._send(Kind.BASE, 0, order.pack_environment(base))
        try:
            await warden._ready.wait()
        except asyncio.CancelledError:
            warden._closing = True
            warden._link.close()
            warden._end()
            raise
        if warden._ended.is_set():
            error = warden._lost("the warden did not start")
            await warden.close()
            raise error
        return warden

    async def run(
        self,
        agent: str,
        argv: Sequence[str],
        *,
        cwd: str,
        env: Mapping[str, str],
        output: int,
        bare: bool = False,
    ) -> Command:
        """Start a command in a session of its own, without input and with `output` for all that it prints.

        The caller keeps, and closes, its own copy of `output`. `env` is added to the base environment; if `bare`
        it is the whole of it. A cancelled call kills what it started, and ends when that is gone.

        Raises `SpawnFailed` and `WardenLost`.
        """
        if self._closing or self._ended.is_set():
            raise self._lost("the warden takes no more commands")
        payload = _pack(self._swarm, agent, argv, cwd, env, bare=bare)
        try:
            copy = os.dup(output)
        except OSError as error:
            raise spawn_failed(agent, argv[0], cwd, SpawnFault.OTHER, error.errno or 0) from None
        number = next(self._numbers)
        future: asyncio.Future[Command] = self._loop.create_future()
        self._starting[number] = _Starting(agent, argv[0], cwd, future)
        self._send(Kind.RUN, number, payload, copy)
        try:
            return await asyncio.shield(future)
        except asyncio.CancelledError:
            self._kill(number)
            await _undone(future)
            raise

    def on_lost(self, callback: Callable[[], None]) -> None:
        """Have this called, once, when the warden's process has died without being asked to.

        The guards end all commands by themselves then. Await `close` before starting another warden for the swarm.
        """
        self._callbacks.append(callback)

    async def close(self, grace: float = 2.0) -> None:
        """End every command that still lives: TERM, `grace` seconds, KILL. Returns when all are gone, verified."""
        if not self._closing:
            self._closing = True
            self._send(Kind.CLOSE, 0, wire.GRACE.pack(grace))
        await self._ended.wait()
        if self._verifying is not None:
            await self._verifying
        if await asyncio.to_thread(self._process.wait) and self._verifying is None:
            await verify(self._swarm, [], self._adoptions)
        self._log.close()

    def _send(self, kind: Kind, number: int, payload: bytes = b"", descriptor: int = -1) -> None:
        self._link.send(kind, number, payload, descriptor)
        self._wake()
        self._flush()

    def _wake(self) -> None:
        """Have the warden go on, in case that somebody has stopped it."""
        self._process.send_signal(signal.SIGCONT)

    def _insist(self, number: int) -> None:
        """See to it that the warden hears of a kill, however often it is stopped."""
        if number in self._commands or number in self._starting:
            self._wake()
            self._loop.call_later(_INSIST, self._insist, number)

    def _flush(self) -> None:
        emptied = self._link.flush()
        if self._link.closed:
            self._end()
        elif emptied:
            self._loop.remove_writer(self._channel)
        else:
            self._loop.add_writer(self._channel, self._flush)

    def _hear(self) -> None:
        for kind, number, payload in self._link.receive():
            if kind == Kind.READY:
                self._ready.set()
            elif kind == Kind.BEGUN:
                self._begin(number, payload)
            elif number in self._starting:
                self._refuse(number, *(wire.FAULT.unpack(payload) if kind == Kind.REFUSED else _GUARD_KILLED))
            elif number in self._commands:
                self._commands[number].note(kind, payload)
                if kind == Kind.GONE:
                    del self._commands[number]
        if self._link.closed:
            self._end()

    def _begin(self, number: int, payload: bytes) -> None:
        starting = self._starting.pop(number)
        command = Command(starting.agent, payload, lambda kind: self._tell(kind, number))
        self._commands[number] = command
        starting.future.set_result(command)

    def _refuse(self, number: int, reason: int, code: int) -> None:
        starting = self._starting.pop(number)
        fault = SpawnFault(reason)
        starting.future.set_exception(spawn_failed(starting.agent, starting.program, starting.cwd, fault, code))

    def _tell(self, kind: Kind, number: int) -> None:
        if number in self._commands:
            if kind is Kind.KILL:
                self._kill(number)
            else:
                self._send(kind, number)

    def _kill(self, number: int) -> None:
        self._send(Kind.KILL, number)
        self._loop.call_later(_INSIST, self._insist, number)

    def _end(self) -> None:
        """The link is closed: the warden has done all that it was asked to, or it is lost."""
        if self._ended.is_set():
            return
        self._loop.remove_reader(self._channel)
        self._loop.remove_writer(self._channel)
        self._ended.set()
        self._ready.set()
        for starting in self._starting.values():
            starting.future.set_exception(self._lost("the warden died while it started a command"))
        if self._commands or self._starting or not self._closing:
            self._verifying = self._loop.create_task(
                verify(self._swarm, list(self._commands.values()), self._adoptions)
            )
        self._starting.clear()
        self._commands.clear()
        if not self._closing:
            for callback in self._callbacks:
                callback()

    def _lost(self, what: str) -> WardenLost:
        why = None
        if not self._log.closed:
            self._log.seek(0)
            lines = self._log.read().decode(errors="replace").splitlines()
            why = lines[-1] if lines else None
        return WardenLost(what, where=f"swarm {self._swarm}", why=why)


def _boot(program: str) -> tuple[subprocess.Popen[bytes], Link, IO[bytes]]:
    ours, theirs = socket.socketpair()
    log = tempfile.TemporaryFile()  # noqa: SIM115 - the warden's handle closes it
    with theirs:
        process = subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", program, _SOURCE, str(theirs.fileno()), str(os.getpid())],
            pass_fds=[theirs.fileno()],
            env={name: os.environ[name] for name in _INHERITED if name in os.environ},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=log,
            start_new_session=True,
        )
    return process, Link(ours), log


async def _undone(started: asyncio.Future[Command]) -> None:
    """Wait until what is being started and was told to end is gone, however often that is cancelled."""

    async def gone() -> None:
        with suppress(SkepError):  # it never began
            await (await started).gone()

    waiting = asyncio.ensure_future(gone())
    while not waiting.done():
        with suppress(asyncio.CancelledError):
            await asyncio.wait({waiting})
    waiting.result()


def _pack(swarm: str, agent: str, argv: Sequence[str], cwd: str, env: Mapping[str, str], *, bare: bool) -> bytes:
    try:
        arguments = [os.fsencode(argument) for argument in argv]
        extras = {os.fsencode(name): os.fsencode(value) for name, value in env.items()}
        extras[os.fsencode(MARKER)] = os.fsencode(f"{swarm}/{agent}")
        folder = os.path.abspath(os.fsencode(cwd))
    except UnicodeEncodeError:
        raise spawn_failed(agent, argv[0], cwd, SpawnFault.OTHER, errno.EILSEQ) from None
    parts = [folder, *arguments, *extras, *extras.values()]
    if not argv or any(b"\0" in part for part in parts):
        raise spawn_failed(agent, argv[0] if argv else "nothing", cwd, SpawnFault.OTHER, errno.EINVAL)
    if sum(map(len, parts)) > _LARGEST_ORDER:
        raise spawn_failed(agent, argv[0], cwd, SpawnFault.OTHER, errno.E2BIG)
    return Order(arguments, folder, extras, bare=bare).pack()


_GUARD_KILLED = (SpawnFault.OTHER, errno.EOWNERDEAD)
