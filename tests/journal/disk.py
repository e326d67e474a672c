"""A disk that fails when told to: ``failing.c``, built once and loaded before libc into a process of its own."""

from __future__ import annotations

import ctypes
import errno
import functools
import os
import shutil
import subprocess
import sys
import tempfile
from enum import IntEnum
from pathlib import Path

SOURCE = Path(__file__).with_name("failing.c")
DEATH = 77
"""Exit code of a process that the disk has ended."""


class Call(IntEnum):
    """What can be made to fail."""

    WRITE = 0
    SYNC = 1


@functools.cache
def library() -> Path:
    """The built library; OSError with the reason where there can be none."""
    if sys.platform != "linux":
        raise OSError(errno.ENOSYS, "only on Linux can a library stand between SQLite and the system like this")
    compiler = shutil.which("cc")
    if compiler is None:
        raise OSError(errno.ENOENT, "there is no C compiler (cc) to build the failing disk with")
    built = Path(tempfile.mkdtemp(prefix="skep-disk-")) / "failing.so"
    command = [compiler, "-O1", "-shared", "-fPIC", "-o", built, SOURCE, "-ldl"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise OSError(errno.ENOEXEC, f"the failing disk cannot be built: {done.stderr}")
    return built


def under_a_failing_disk(*command: object) -> subprocess.CompletedProcess[str]:
    """Run a program whose disk can be told to fail."""
    return subprocess.run(
        [str(word) for word in command],
        env=os.environ | {"LD_PRELOAD": str(library())},
        capture_output=True,
        text=True,
        check=False,
    )


class Disk:
    """The disk of this very process, which was started by :func:`under_a_failing_disk`."""

    def __init__(self) -> None:
        self._library = ctypes.CDLL(None)
        self._library.disk_count.restype = ctypes.c_long
        self._library.disk_failures.restype = ctypes.c_long

    def watch(self, folder: Path, platter: Path) -> None:
        """Count what is done in this folder from now on; the second folder is for what has reached the disk."""
        self._library.disk_watch(os.fsencode(folder), os.fsencode(platter))

    def fail(
        self, call: Call, nth: int, error: int = 0, *, for_ever: bool = False, is_death: bool = False
    ) -> None:
        """Let the Nth call since the watch began fail, or all from then on; or let it end the process."""
        self._library.disk_fail(int(call), ctypes.c_long(nth), error, int(for_ever), int(is_death))

    def mend(self) -> None:
        """Let everything succeed from now on."""
        self._library.disk_mend()

    def count(self, call: Call) -> int:
        """How many calls there were since the watch began."""
        return int(self._library.disk_count(int(call)))

    @property
    def failures(self) -> int:
        """How many of them failed."""
        return int(self._library.disk_failures())

    def cut_power(self, to: Path) -> None:
        """Make a folder that holds what would be on the disk after a power cut at this moment."""
        to.mkdir()
        error = self._library.disk_cut_power(os.fsencode(to))
        if error:
            raise OSError(error, os.strerror(error), str(to))
