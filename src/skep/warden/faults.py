"""What can go wrong with a command, as errors for people."""

from __future__ import annotations

import errno
import os

from skep.errors import SkepError
from skep.warden.spawn import SpawnFault

__all__ = ["SpawnFailed", "SpawnFault", "WardenLost"]


class SpawnFailed(SkepError):
    """A command could not be started; nothing of it runs. `reason` tells which kind of fault it was."""

    def __init__(
        self, what: str, *, where: str | None, why: str | None, mend: str | None, reason: SpawnFault
    ) -> None:
        super().__init__(what, where=where, why=why, mend=mend)
        self.reason = reason


class WardenLost(SkepError):
    """The warden's process died; its guards end every command of it, and no new one can be started."""


def spawn_failed(agent: str, program: str, cwd: str, reason: SpawnFault, number: int) -> SpawnFailed:
    """The error for a command that the system refused with this errno."""
    what, mend = {
        SpawnFault.NO_PROGRAM: (
            f"no such program: {program}",
            "check its name, the PATH, and the interpreter in its first line",
        ),
        SpawnFault.NOT_EXECUTABLE: (
            f"not executable: {program}",
            "chmod +x, and a first line that names an interpreter",
        ),
        SpawnFault.NO_FOLDER: (f"no such folder: {cwd}", "create it, or choose another working folder"),
        SpawnFault.OTHER: (f"could not start {program}", _MENDS.get(number)),
    }[reason]
    return SpawnFailed(what, where=agent, why=_WHYS.get(number) or os.strerror(number), mend=mend, reason=reason)


_WHYS = {errno.EOWNERDEAD: "its guard was killed"}
_MENDS = {
    errno.E2BIG: "hand long input over in a file or on a pipe",
    errno.EMFILE: "raise the limit of open files (ulimit -n)",
    errno.EAGAIN: "raise the limit of processes (ulimit -u), or run fewer commands at once",
    errno.ENOMEM: "run fewer commands at once",
}
