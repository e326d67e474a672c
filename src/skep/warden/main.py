"""The warden's own process: sets itself up as one that survives signals, adopts orphans and is cheap to fork."""

from __future__ import annotations

import ctypes
import gc
import os
import resource
import signal
import socket
import sys

from skep.warden.guard import Guard
from skep.warden.keeper import Keeper
from skep.warden.wire import Link

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_CAUGHT = ("SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT", "SIGPIPE", "SIGUSR1", "SIGUSR2", "SIGALRM", "SIGCHLD")


def main(guard: type[Guard] = Guard) -> None:
    """Run the warden; ``argv`` holds the descriptor of its socket and the pid of its engine."""
    channel, engine = int(sys.argv[1]), int(sys.argv[2])
    os.chdir("/")
    _catch_signals()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    libc = ctypes.CDLL(None, use_errno=True)

    def ask_kernel() -> None:
        """Give this process the orphans below it, and wake it, should it be stopped, when its parent ends."""
        if sys.platform == "linux":
            for option, value in ((_PR_SET_CHILD_SUBREAPER, 1), (_PR_SET_PDEATHSIG, signal.SIGCONT)):
                if libc.prctl(option, value, 0, 0, 0):
                    code = ctypes.get_errno()
                    raise OSError(code, os.strerror(code))

    def enter_guard() -> None:
        # Commands inherit from their guard, and get the limits that the engine was started with.
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        ask_kernel()

    ask_kernel()
    end = socket.socket(fileno=channel)
    end.set_inheritable(False)
    # Nothing that exists now is ever freed: guards then do not copy its pages for the collector's marks.
    gc.collect()
    gc.freeze()
    Keeper(Link(end), engine, enter_guard, guard).serve()


def _catch_signals() -> None:
    """Let no signal but KILL and STOP touch the warden and its guards, and let commands start with none ignored.

    They end with their engine. A handler that does nothing serves both: an ignored signal would stay ignored in
    every command, a caught one is back at its default after the exec.
    """
    for number in signal.valid_signals():
        if signal.getsignal(number) == signal.SIG_IGN:
            signal.signal(number, signal.SIG_DFL)
    for name in _CAUGHT:
        signal.signal(getattr(signal, name), _do_nothing)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


def _do_nothing(number: int, frame: object) -> None:
    pass
