"""Where the parts are put together: an engine with its lock, ledger, warden and socket; a process or a thread."""

from __future__ import annotations

import asyncio
import ctypes
import gc
import logging
import os
import signal
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from skep.cli.models import PoolAccounts, caps_of, models_of, secret_names
from skep.cli.searchpath import search_path
from skep.cli.service import EngineService
from skep.clock import Clock, SystemClock
from skep.control.server import ControlServer
from skep.control.swarms import is_dead, note_outcome
from skep.control.wire import Answer, error_frame, read_frame, result_frame
from skep.drivers.chat import Models
from skep.drivers.ending import ended
from skep.engine.engine import Engine
from skep.engine.ledger import Ledger
from skep.errors import BadInput, NotFound, SkepError, Unreachable
from skep.hosts.environment import for_commands, for_tools
from skep.hosts.local import LocalHost
from skep.journal import FolderLock
from skep.model.children import Role
from skep.model.launch import EngineSettings, Launch
from skep.model.permits import Permits
from skep.model.registry import Registry
from skep.model.report import states_count
from skep.paths import atomic_write, check_socket_path, read_plain, socket_path
from skep.warden.client import Warden, adopt_orphans, sweep_dead, sweep_markers

LINGER = 2.0
"""Seconds that an engine whose swarm has ended waits for somebody who still wants to look."""

EXPECT = 30.0
"""Seconds that it waits for whoever started it to go on with an agent of such a swarm."""

COLLECT_AFTER = (5_000, 5, 20)
"""Objects, and rounds, between two collections: one of everything stops all agents of a large swarm for 0.1 s."""

_SETTINGS_LIMIT = 1024 * 1024
_PR_SET_DUMPABLE = 4

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Parts:
    """The classes that an engine is put together from; who embeds or tests it may put others in their places."""

    ledger: type[Ledger] = Ledger
    engine: type[Engine] = Engine
    host: type[LocalHost] = LocalHost
    warden: type[Warden] = Warden


OURS = Parts()


async def serve(
    folder: Path,
    launch: Launch | None,
    *,
    go: bool,
    accept_loss: bool = False,
    expects_client: bool = False,
    adopts: bool = False,
    clock: Clock,
    ready: Callable[[], None],
    parts: Parts = OURS,
) -> None:
    """Run the swarm of a folder to its end: a new one as ``launch`` says, else the one that is there.

    ``expects_client``: somebody will come who wants something of it, even if it has ended.
    ``ready`` is called once its agents (or its recovery) are durable and the socket answers; from then on, what
    dead engines of the same state folder left behind is ended. ``adopts``: as for the warden. Raises SkepError
    when it cannot start; nothing of the swarm has been written then.
    """
    with FolderLock(folder):
        settings = _settings(folder, launch)
        if settings.providers or secret_names(settings, os.environ):
            _close_to_others()
        ledger = parts.ledger(folder, clock, accept_loss=accept_loss)
        if ledger.lost is not None:
            _log.warning("events %d to %d were lost, and the operator has accepted that", *ledger.lost)
        try:
            if launch is None and ledger.durable == 0:
                raise NotFound("no swarm was ever begun in this folder", where=str(folder))
            swarm = launch.swarm if launch is not None else _swarm_of(ledger)
            if launch is None:
                await sweep_markers(swarm)
            role_of = _RoleOf(ledger.registry)
            async with models_of(settings, os.environ, clock, role_of, swarm, strict=launch is not None) as models:
                engine = _engine(parts, ledger, clock, settings, swarm, models, adopts=adopts)
                await _serve(
                    engine, launch, models, go=go, expects_client=expects_client, clock=clock, ready=ready
                )
        finally:
            ledger.close()
        _note_end(ledger)


def _note_end(ledger: Ledger) -> None:
    """Leave a note of how the swarm ended, for whoever lists many of them."""
    with ledger.registry.read() as state:
        status, ended_at = state.status, state.ended_at
        states = {name: count for name, count in states_count(state).items() if isinstance(count, int)}
    if status is None or ended_at is None:
        return
    try:
        note_outcome(ledger.folder, status, states, ended_at)
    except (SkepError, OSError) as error:
        _log.warning("how the swarm ended could not be noted: %s", error)


def _engine(
    parts: Parts,
    ledger: Ledger,
    clock: Clock,
    settings: EngineSettings,
    swarm: str,
    models: Models | None,
    *,
    adopts: bool,
) -> Engine:
    """An engine with a local host: what runs where, and what of the operator's environment it sees."""
    commands = for_commands(os.environ, secret_names(settings, os.environ))
    tools = for_tools(os.environ)
    if settings.simulated is not None:
        # The demo's agents run Python: the one that runs skep is there in any case.
        tools["PATH"] = os.pathsep.join([os.path.dirname(sys.executable), tools.get("PATH", os.defpath)])

    def make_host(tasks: asyncio.TaskGroup, permits: Permits) -> LocalHost:
        return parts.host(
            tasks,
            permits,
            clock,
            settings,
            lambda: parts.warden.start(swarm, commands, adopts=adopts),
            models=models,
            environment=tools,
        )

    accounts = PoolAccounts(models.pools if models is not None else {})
    caps = caps_of(models)
    return parts.engine(ledger, clock, settings, make_host, caps=caps, accounts=accounts.known(), pools=accounts)


async def _serve(
    engine: Engine,
    launch: Launch | None,
    models: Models | None,
    *,
    go: bool,
    expects_client: bool,
    clock: Clock,
    ready: Callable[[], None],
) -> None:
    service = EngineService(engine, clock, models.pools if models is not None else None)
    server = await ControlServer.start(service, socket_path(engine.folder))
    try:
        if launch is not None:
            await engine.launch(launch)
        else:
            await engine.recover(go=go)
        ready()
        patience = EXPECT if expects_client else LINGER
        async with _sweeping(engine.folder.parent):
            while not engine.has_ended() or await _is_reopened(engine, server, clock, patience):
                await engine.run()
                patience = LINGER
    finally:
        await server.close()
        service.close()


async def _is_reopened(engine: Engine, server: ControlServer, clock: Clock, patience: float) -> bool:
    """Wait for those who look at a swarm that has ended, and for whoever may come within so many seconds.

    Returns whether one of them has had an agent go on in it.
    """
    reopened = asyncio.ensure_future(engine.reopened())
    gone = asyncio.ensure_future(_all_gone(server, clock, patience))
    try:
        await asyncio.wait({reopened, gone}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        reopened.cancel()
        gone.cancel()
    return not engine.has_ended()


async def _all_gone(server: ControlServer, clock: Clock, patience: float) -> None:
    came = asyncio.ensure_future(server.occupied())
    timer = asyncio.ensure_future(clock.sleep(patience))
    try:
        await asyncio.wait({came, timer}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        came.cancel()
        timer.cancel()
    await server.empty()


@asynccontextmanager
async def _sweeping(swarms: Path) -> AsyncIterator[None]:
    """Meanwhile end the processes of swarms beside this one whose engine is dead, if there are any."""

    async def sweep() -> None:
        try:
            await sweep_dead(lambda swarm: Path(swarm).name == swarm and is_dead(swarms / swarm))
        except OSError:
            _log.exception("what dead engines left behind could not be looked for")

    task = asyncio.create_task(sweep(), name="sweep of dead swarms")
    try:
        yield
        await task
    finally:
        task.cancel()
        await ended(task)


class _RoleOf:
    """What an agent is, for providers that want to know who calls (row A18)."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry

    def __call__(self, agent: str) -> str:
        one = self._registry.agent(agent)
        return str(one.spec.get("role", Role.LEAF.value)) if one is not None else agent


def start(
    folder: Path,
    launch: Launch | None,
    *,
    go: bool = False,
    accept_loss: bool = False,
    expects_client: bool = False,
) -> int:
    """Start an engine process in the background; returns its pid once its agents are durable.

    The options are those of :func:`serve`.

    Raises:
        SkepError: as :func:`serve` does, carried over from the new process.
    """
    check_socket_path(socket_path(folder))
    options = ["--go"] * go + ["--accept-loss"] * accept_loss + ["--expects-client"] * expects_client
    document = launch.model_dump_json().encode() if launch is not None else b""
    with (folder / "engine.log").open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "skep.cli.engine", str(folder), *options],
            env={**os.environ, **search_path(os.environ)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            start_new_session=True,
            cwd="/",
        )
    assert process.stdin is not None
    assert process.stdout is not None
    with process.stdout, suppress(BrokenPipeError):
        with process.stdin as stdin:
            stdin.write(document)
        answer = process.stdout.readline()
    if not answer:
        process.wait()
        raise Unreachable(
            "the engine ended before it was ready",
            where=str(folder),
            why=f"exit {process.returncode}",
            mend=f"its last words are in {folder / 'engine.log'}",
        )
    told = read_frame(answer)
    if isinstance(told, Answer) and told.error is not None:
        process.wait()
        raise told.error
    # It outlives this process; the returned pid is all that is kept of it.
    process.returncode = 0
    return process.pid


@contextmanager
def foreground(folder: Path, launch: Launch | None, *, go: bool = False) -> Iterator[None]:
    """Run the engine in a thread of this process; at the end what still runs is ended and waited for."""
    check_socket_path(socket_path(folder))
    begun = threading.Event()
    failed: list[BaseException] = []
    running: list[tuple[asyncio.AbstractEventLoop, asyncio.Task[None]]] = []

    async def work() -> None:
        task = asyncio.current_task()
        assert task is not None
        running.append((asyncio.get_running_loop(), task))
        await serve(folder, launch, go=go, clock=SystemClock(), ready=begun.set)

    def run() -> None:
        try:
            with suppress(asyncio.CancelledError):
                asyncio.run(work())
        except BaseException as error:  # noqa: BLE001
            # Told where somebody waits for it; this thread has nobody to tell.
            failed.append(error)
        finally:
            begun.set()

    thread = threading.Thread(target=run, name="skep engine")
    thread.start()
    begun.wait()
    try:
        if failed:
            raise failed[0]
        yield
    finally:
        if thread.is_alive() and running:
            loop, task = running[0]
            with suppress(RuntimeError):
                loop.call_soon_threadsafe(task.cancel)
        thread.join()


def main(arguments: list[str], parts: Parts = OURS) -> int:
    """The engine process: the launch document on stdin, one line of JSON on stdout when it is ready."""
    folder = Path(arguments[0])
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    _close_to_others()
    adopts = adopt_orphans()
    try:
        launch = _read_launch(sys.stdin.buffer.read())
        asyncio.run(_until_ended(folder, launch, arguments[1:], parts, adopts=adopts))
    except SkepError as error:
        _log.error("%s", error)
        _tell(error_frame(None, error))
        return error.exit_code
    return 0


async def _until_ended(
    folder: Path, launch: Launch | None, options: list[str], parts: Parts, *, adopts: bool
) -> None:
    task = asyncio.current_task()
    assert task is not None
    # A polite end of the engine ends its processes and leaves the swarm to be recovered.
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    with suppress(asyncio.CancelledError):
        await serve(
            folder,
            launch,
            go="--go" in options,
            accept_loss="--accept-loss" in options,
            expects_client="--expects-client" in options,
            adopts=adopts,
            clock=SystemClock(),
            ready=_ready,
            parts=parts,
        )


def _ready() -> None:
    collect_seldom()
    _tell(result_frame(None, {"pid": os.getpid()}))


def collect_seldom() -> None:
    """What this process is made of stays: no collection of garbage has to walk it again, and most need not be."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*COLLECT_AFTER)


def _close_to_others() -> None:
    """Programs of the same user, as those that agents run, may not read this process: it holds keys."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)


def _read_launch(document: bytes) -> Launch | None:
    if not document:
        return None
    try:
        return Launch.model_validate_json(document)
    except ValidationError as error:
        first = error.errors()[0]
        raise BadInput(
            "the launch document is not right",
            where=".".join(str(part) for part in first["loc"]),
            why=first["msg"],
        ) from error


def _settings(folder: Path, launch: Launch | None) -> EngineSettings:
    """The settings the swarm was launched with; they stay with it over a restart."""
    kept = folder / "settings.json"
    if launch is not None:
        atomic_write(kept, launch.settings.model_dump_json().encode())
        return launch.settings
    try:
        return EngineSettings.model_validate_json(read_plain(kept, _SETTINGS_LIMIT))
    except (OSError, ValidationError):
        _log.warning("no usable settings in %s: the defaults hold", kept)
        return EngineSettings()


def _swarm_of(ledger: Ledger) -> str:
    with ledger.registry.read() as state:
        return state.created.swarm if state.created is not None else ledger.folder.name


def _tell(frame: bytes) -> None:
    """One line to whoever started this process; after it nobody needs to listen."""
    with suppress(BrokenPipeError):
        os.write(1, frame)
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)
    os.close(null)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
