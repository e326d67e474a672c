"""The control socket of an engine: who may connect, how many, and when nobody is left."""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import socket
import stat
import time
from contextlib import suppress
from pathlib import Path
from typing import Final, Self

from skep import paths
from skep.clock import Clock, SystemClock
from skep.control.channel import Channel, peer_uid
from skep.control.connection import Connection
from skep.control.outlet import Common
from skep.control.service import Service
from skep.control.turns import Turns
from skep.control.wire import error_frame
from skep.control.words import Words
from skep.errors import Refused

MAX_CONNECTIONS: Final = 64
"""Connections that are served at the same time, those included that have not said hello yet."""

PATIENCE_SECONDS: Final = 10.0
"""A client that does not take a frame for so long is cut off."""

LOG_SECONDS: Final = 60.0
"""Between two lines in the log that say that clients were refused."""

_FEW_RESOURCES = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})

logger = logging.getLogger(__name__)


class ControlServer:
    """Serves an engine to the clients of its own user. Start it with :meth:`start`, end it with :meth:`close`."""

    def __init__(
        self, service: Service, path: Path, end: socket.socket, clock: Clock, turns: Turns, uid: int
    ) -> None:
        self._common = Common(service, clock, turns, Words(service, clock))
        self._path = path
        self._end = end
        self._clock = clock
        self._uid = uid
        self._inode = path.lstat().st_ino
        self._connections = 0
        self._silent: dict[Connection, asyncio.Task[None]] = {}
        """Those that have not said hello, the oldest first."""
        self._inside: set[Connection] = set()
        """Those that have."""
        self._refused = 0
        """How many were turned away since that was logged last."""
        self._logged_at = float("-inf")
        self._idle_since: float | None = clock.monotonic()
        self._empty = asyncio.Event()
        self._empty.set()
        self._occupied = asyncio.Event()
        self._main = asyncio.create_task(self._run(), name="control server")

    @classmethod
    async def start(
        cls, service: Service, path: Path, *, clock: Clock | None = None, uid: int | None = None
    ) -> Self:
        """Listen at ``path`` (0600, its folder 0700), taking the place of a dead engine's socket.

        What clients use of the event loop is counted in seconds of this clock, by default in those of the thread.
        Only processes of the user ``uid`` are served, by default this process's own. The caller owns the lock of
        the swarm's folder. Raises BadInput if the path or its folder cannot be used.
        """
        turns = Turns(clock, clock.monotonic) if clock is not None else Turns(SystemClock(), time.thread_time)
        end = _listen(path)
        return cls(service, path, end, clock or SystemClock(), turns, os.geteuid() if uid is None else uid)

    @property
    def clients(self) -> int:
        """How many clients have said hello and are still there."""
        return len(self._inside)

    @property
    def idle_since(self) -> float | None:
        """Since when nobody is connected, in seconds of the monotonic clock; None while somebody is."""
        return self._idle_since

    async def occupied(self) -> None:
        """Wait until a client is connected; returns at once if one is."""
        await self._occupied.wait()

    async def empty(self) -> None:
        """Wait until no client is connected; returns at once if none is."""
        await self._empty.wait()

    async def close(self) -> None:
        """Take no more clients, let go of those that are there, and remove the socket; again is harmless."""
        self._main.cancel()
        await asyncio.gather(self._main, return_exceptions=True)
        self._common.turns.close()
        self._end.close()
        with suppress(FileNotFoundError):
            if self._path.lstat().st_ino == self._inode:
                self._path.unlink()

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        door = self._common.turns.strangers
        async with asyncio.TaskGroup() as tasks:
            while True:
                try:
                    end, _ = await loop.sock_accept(self._end)
                except OSError as error:
                    logger.warning("a client could not be taken: %s", error)
                    if error.errno in _FEW_RESOURCES:
                        await self._clock.sleep(1.0)
                    continue
                try:
                    async with self._common.turns.turn(door):
                        self._take(end, tasks)
                except OSError as error:
                    logger.warning("a client was lost at the door: %s", error)
                    end.close()
                except BaseException:
                    end.close()
                    raise

    def _take(self, end: socket.socket, tasks: asyncio.TaskGroup) -> None:
        """Serve whoever is at the other end, or turn it away; who has said nothing yet gives way to the next."""
        stranger = self._stranger(end)
        full = self._connections >= MAX_CONNECTIONS
        if stranger is not None or (full and not self._silent):
            self._turn_away(end, stranger or self._no_room())
            return
        if full:
            refusal, oldest = self._no_room(), next(iter(self._silent))
            oldest.last_word(refusal)
            self._silent.pop(oldest).cancel()
            self._note(refusal)
        channel = Channel(end, self._clock, PATIENCE_SECONDS, whole=True)
        connection = Connection(self._common, channel, self._greet)
        self._connections += 1
        self._silent[connection] = task = tasks.create_task(self._serve(connection), name="control client")
        task.add_done_callback(lambda _: self._leave(connection, channel))

    def _stranger(self, end: socket.socket) -> Refused | None:
        uid = peer_uid(end)
        if uid == self._uid:
            return None
        return Refused(
            "this swarm belongs to another user",
            where=str(self._path),
            why="the platform does not tell who connects" if uid is None else f"you are uid {uid}",
        )

    def _no_room(self) -> Refused:
        return Refused(
            "this engine has no room for one more client",
            where=str(self._path),
            why=f"{MAX_CONNECTIONS} are connected",
            mend="close one of them, or try again",
        )

    def _turn_away(self, end: socket.socket, refusal: Refused) -> None:
        with end, suppress(OSError):
            end.setblocking(False)
            end.send(error_frame(None, refusal))
        self._note(refusal)

    def _note(self, refusal: Refused) -> None:
        """Whoever knocks a thousand times a second must not fill the disk with it."""
        self._refused += 1
        if self._clock.monotonic() - self._logged_at >= LOG_SECONDS:
            logger.warning("%d clients were refused, the last one: %s", self._refused, refusal)
            self._logged_at, self._refused = self._clock.monotonic(), 0

    def _greet(self, connection: Connection) -> None:
        self._silent.pop(connection, None)
        self._inside.add(connection)
        self._idle_since = None
        self._empty.clear()
        self._occupied.set()

    def _leave(self, connection: Connection, channel: Channel) -> None:
        """It is over, also if it was ended before it began."""
        channel.close()
        self._connections -= 1
        self._silent.pop(connection, None)
        if connection in self._inside:
            self._inside.remove(connection)
            if not self._inside:
                self._common.words.tidy(alone=True)
                self._idle_since = self._clock.monotonic()
                self._empty.set()
                self._occupied.clear()

    async def _serve(self, connection: Connection) -> None:
        try:
            await connection.serve()
        except Exception:
            # One client's trouble is not that of the others, nor of the swarm.
            logger.exception("a client was lost to a fault")


def _listen(path: Path) -> socket.socket:
    paths.check_socket_path(path)
    folder = paths.private_dir(path.parent)
    try:
        folder.chmod(0o700)
        if stat.S_ISSOCK(path.lstat().st_mode):
            path.unlink()
    except FileNotFoundError:
        pass  # no engine was here before
    except OSError as error:
        raise paths.file_error(error, folder, "cannot prepare the control socket") from error
    end = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        end.setblocking(False)
        end.bind(os.fspath(path))
        # Until it listens nobody can connect, so there is no moment in which the mode is too wide; and unlike a
        # change of the umask this does not reach into other threads.
        path.chmod(0o600)
        end.listen(MAX_CONNECTIONS)
    except OSError as error:
        end.close()
        raise paths.file_error(error, path, "cannot open the control socket") from error
    except BaseException:
        end.close()
        raise
    return end
