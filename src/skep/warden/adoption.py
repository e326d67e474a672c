"""An engine that adopts: what a lost warden and its guards leave comes to it, marked or not, and is ended."""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Collection, Iterator
from contextlib import suppress

from skep.warden import ladder, procfs
from skep.warden.procfs import Process

_PR_SET_CHILD_SUBREAPER = 36


def adopt_orphans() -> bool:
    """Have the kernel make orphans below this process its children; False where that is not possible."""
    return sys.platform == "linux" and not ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


class Adoptions:
    """What becomes a child of this process because the warden below it has died.

    Made when the warden is started: children that there are at that moment are none of its.
    """

    def __init__(self, warden: int) -> None:
        self._others = {warden, *procfs.children(os.getpid())}

    def strays(self, guards: Collection[int] = ()) -> Iterator[Process]:
        """Everything that was adopted, but for these guards and what is below them."""
        return procfs.descendants(os.getpid(), besides=self._others.union(guards))

    def end(self, guards: Collection[int] = ()) -> bool:
        """Kill and reap the strays, as far as that goes at once; True if none is left."""
        ladder.sweep(lambda: self.strays(guards))
        for pid in set(procfs.children(os.getpid())) - self._others:
            with suppress(ChildProcessError):
                os.waitpid(pid, os.WNOHANG)
        return not any(self.strays(guards))
