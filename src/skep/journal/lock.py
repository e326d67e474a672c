"""The lock of a swarm's folder: one owner, whose process can be named."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Self

from skep.errors import Refused
from skep.paths import MOUNTS, read_plain, refuse_network_filesystem

LOCK = "lock"
"""The lock's file name in a swarm's folder."""

_RECORD_SIZE = 64
_ENDED = "ended"


class FolderLock:
    """The right to own a folder; the kernel takes it back when the process ends, however it ends."""

    def __init__(self, folder: Path, *, mounts: Path = MOUNTS) -> None:
        self._folder = folder
        self._mounts = mounts
        self._fd: int | None = None
        self._folder_fd = -1

    def acquire(self) -> None:
        """Take the lock or raise Refused, with the pid of the owner in its text; never waits.

        Raises BadInput on a network file system (by ``mounts``, Linux's table of them): such a lock may be worth
        nothing there.
        """
        if self._fd is not None:
            raise Refused("this lock is already held", where=str(self._folder))
        refuse_network_filesystem(self._folder, mounts=self._mounts)
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            # The folder itself is locked, too: somebody may remove the file while its owner lives.
            folder = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            raise self._refusal(error) from error
        try:
            fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._fd = self._own_file()
        except OSError as error:
            os.close(folder)
            raise self._refusal(error) from error
        self._folder_fd = folder

    def _own_file(self) -> int:
        fd = os.open(self._folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            _write(fd, f"{os.getpid()} {_started(os.getpid())}")
        except OSError:
            os.close(fd)
            raise
        return fd

    def release(self) -> None:
        """Give the lock back; harmless if it is not held."""
        if self._fd is not None:
            # The file stays: removing it would let two owners lock two files of one name.
            _write(self._fd, "")
            for fd in (self._fd, self._folder_fd):
                fcntl.flock(fd, fcntl.LOCK_UN)  # closing is not enough if a fork has inherited the lock
                os.close(fd)
            self._fd = None

    def _refusal(self, error: OSError) -> Refused:
        if not isinstance(error, BlockingIOError):
            return Refused("the swarm's folder cannot be locked", where=str(self._folder), why=str(error))
        owner = holder(self._folder)
        return Refused(
            f"the swarm is owned by process {owner}" if owner else "the swarm is owned by another process",
            where=str(self._folder),
            why="one process at a time may write a swarm's journal",
            mend="attach to it, or end that process",
        )

    def __enter__(self) -> Self:
        self.acquire()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()


def holder(folder: Path) -> int | None:
    """The pid of the live owner of a folder, None if nobody owns it; takes no lock and so disturbs nobody."""
    try:
        pid, started = read_plain(folder / LOCK, _RECORD_SIZE).decode().split(" ", 1)
        return int(pid) if started.strip() == _started(int(pid)) else None
    except (OSError, ValueError):
        return None  # what cannot be read, or is no plain file, was written by no owner


def is_owned(folder: Path) -> bool:
    """Whether somebody owns a folder, by the kernel's word and not by what is written in the lock's file.

    For that the folder is locked for a moment, shared: others who ask at the same time are not in the way, but
    somebody who takes the lock in this very moment is refused. So ask only where it matters. Raises OSError if the
    folder cannot be opened.
    """
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(fd)
    return False


def _write(fd: int, owner: str) -> None:
    """Name the owner in place: on a full disk nothing that takes new space would succeed."""
    os.pwrite(fd, owner.ljust(_RECORD_SIZE - 1).encode() + b"\n", 0)


def _started(pid: int) -> str:
    """When a live process was started, in words of the system: with the pid it names one process for good."""
    if sys.platform == "linux":
        return _started_by_proc(pid)
    else:  # noqa: RET505 - the type checker takes what follows a return for unreachable, but not a branch
        return _started_by_ps(pid)


def _started_by_proc(pid: int) -> str:
    try:
        status = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return _ENDED
    fields = status.rpartition(")")[2].split()
    return _ENDED if fields[0] in "ZX" else fields[19]


def _started_by_ps(pid: int) -> str:
    listed = subprocess.run(
        ["ps", "-o", "lstart=", "-p", str(pid)], capture_output=True, text=True, check=False, env={"LC_ALL": "C"}
    )
    return listed.stdout.strip() or _ENDED
