"""Starts one command: finds the program, gives it its session and its output, and types what goes wrong."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from enum import IntEnum

from skep.warden.order import Order


class SpawnFault(IntEnum):
    """Why a command could not be started."""

    NO_PROGRAM = 1
    NOT_EXECUTABLE = 2
    NO_FOLDER = 3
    OTHER = 4


class Fault(Exception):
    """A command that was not started; `number` is the errno."""

    def __init__(self, reason: SpawnFault, number: int) -> None:
        super().__init__(reason, number)
        self.reason = reason
        self.number = number


def spawn(order: Order, base: dict[bytes, bytes], output: int) -> int:
    """Start the command and return its pid, which is also its session and its process group.

    Leaves the calling process in `order.cwd`. Raises `Fault`; then there is no new process.
    """
    try:
        os.chdir(order.cwd)
    except OSError as error:
        missing = error.errno in (errno.ENOENT, errno.ENOTDIR)
        raise Fault(SpawnFault.NO_FOLDER if missing else SpawnFault.OTHER, error.errno or 0) from None
    env = order.env if order.bare else {**base, **order.env}
    cause = errno.ENOENT
    for path in _places(order.argv[0], env.get(b"PATH", os.fsencode(os.defpath))):
        if not os.access(path, os.X_OK):
            if os.path.exists(path):
                cause = errno.EACCES
            continue
        try:
            return _execute(path, order.argv, env, output)
        except OSError as error:
            cause = error.errno or 0
            if cause not in _NEXT_PLACE:
                break
    raise Fault(_REASONS.get(cause, SpawnFault.OTHER), cause)


_NEXT_PLACE = (errno.EACCES, errno.ENOENT, errno.ENOTDIR)
_REASONS = {
    errno.ENOENT: SpawnFault.NO_PROGRAM,
    errno.ENOTDIR: SpawnFault.NO_PROGRAM,
    errno.EACCES: SpawnFault.NOT_EXECUTABLE,
    errno.ENOEXEC: SpawnFault.NOT_EXECUTABLE,
}


def _places(program: bytes, path: bytes) -> Iterator[bytes]:
    if b"/" in program:
        yield program
        return
    for folder in path.split(b":"):
        yield os.path.join(folder or b".", program)


def _execute(path: bytes, argv: list[bytes], env: dict[bytes, bytes], output: int) -> int:
    # posix_spawn shares the memory until the exec: several times cheaper than a fork of an interpreter. All other
    # descriptors close on exec; standard input is the caller's, which is /dev/null.
    return os.posix_spawn(
        path,
        argv,
        env,
        file_actions=[(os.POSIX_SPAWN_DUP2, output, 1), (os.POSIX_SPAWN_DUP2, output, 2)],
        setsid=True,
        setsigmask=(),
    )
