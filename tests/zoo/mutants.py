"""Wardens with exactly one fault each, that the zoo must find; they run in the warden's own process."""

from __future__ import annotations

import ctypes
import math
import os
from pathlib import Path

from skep.warden import wire
from skep.warden.guard import Guard
from skep.warden.ladder import Ladder
from skep.warden.main import main
from skep.warden.wire import Kind

_PR_SET_CHILD_SUBREAPER = 36

SOURCE = str(Path(__file__).parents[2])


def program(mutant: type[Guard]) -> str:
    """What the interpreter of a warden with such guards runs."""
    return (
        f"import sys; sys.path[:0] = [sys.argv.pop(1), {SOURCE!r}]; "
        f"from tests.zoo import mutants; mutants.main(mutants.{mutant.__name__})"
    )


class WithoutSubreaper(Guard):
    """Orphans below it become somebody else's."""

    def __init__(self, *parts) -> None:
        super().__init__(*parts)
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0)


class Hasty(Guard):
    """Takes the end of the main process for the end of all."""

    def _reap(self) -> None:
        if self._main and (ended := os.waitpid(self._main, os.WNOHANG))[0]:
            self._main = 0
            self._link.send(Kind.EXITED, self._number, wire.ENDED.pack(ended[1]))
            self._link.send(Kind.GONE, self._number)
            self._ladder.reset()
            self._number = 0


class Once(Ladder):
    """Ends the groups that it finds at the beginning, and looks no more."""

    def climb(self, now: float) -> bool:
        if self._sweeping:
            self.due = math.inf
            return False
        return super().climb(now)


class Sweepless(Guard):
    """Its ladder does not sweep."""

    ladder = Once


__all__ = ["Hasty", "Sweepless", "WithoutSubreaper", "main", "program"]
