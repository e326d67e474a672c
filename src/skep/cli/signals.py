"""Ctrl-C while a headless run waits: asked once, it leaves, interrupts or kills; a second one leaves at once."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Sequence
from types import TracebackType
from typing import Literal, Self

from skep.cli.early import CAUGHT
from skep.cli.printing import complain
from skep.cli.progress import Progress
from skep.control.link import Link
from skep.control.verbs import Stop
from skep.errors import SkepError
from skep.model.events import ROOT


class Signals:
    """Catches SIGINT and SIGTERM of this process for as long as it is entered."""

    def __init__(self, link: Link, progress: Progress, *, can_leave: bool, early: Sequence[int]) -> None:
        self.left = asyncio.Event()
        """Set when the person wants out, whatever the swarm does."""
        self.stopping = False
        """True once the swarm was told to stop from here."""
        self._link = link
        self._progress = progress
        self._can_leave = can_leave
        self._early = early
        self._asking: int | None = None
        self._stop: asyncio.Task[None] | None = None
        self._leaving = False

    def __enter__(self) -> Self:
        loop = asyncio.get_running_loop()
        for number in CAUGHT:
            loop.add_signal_handler(number, self._caught, number)
        for early in self._early:
            loop.call_soon(self._caught, early)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        loop = asyncio.get_running_loop()
        for number in CAUGHT:
            loop.remove_signal_handler(number)
        self._stop_asking()

    def _caught(self, number: int) -> None:
        if self._stop is not None and not self._stop.done() and not self._leaving:
            # What was said to be asked must have been asked; one more leaves whatever the engine says.
            self._leaving = True
            self._stop.add_done_callback(lambda _: self.left.set())
        elif self.stopping or self._asking is not None:
            self.left.set()
        elif number == signal.SIGINT and sys.stderr.isatty() and self._ask():
            pass
        else:
            self._stop_swarm("interrupt")

    def _ask(self) -> bool:
        """Put the question; false if there is no terminal to answer on."""
        try:
            # Not standard input: that may be where the items came from.
            self._asking = os.open("/dev/tty", os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
        except OSError:
            return False
        asyncio.get_running_loop().add_reader(self._asking, self._answered)
        leave = "[l]eave it running, " if self._can_leave else ""
        again = "; Ctrl-C again leaves" if self._can_leave else ""
        self._progress.ask(f"{leave}[i]nterrupt it, [k]ill it, or go on? (letter and enter{again}) ")
        return True

    def _answered(self) -> None:
        if self._asking is None:
            return
        try:
            answer = os.read(self._asking, 1024).decode(errors="replace").strip().lower()[:1]
        except OSError:
            answer = ""
        self._stop_asking()
        if answer == "l" and self._can_leave:
            self.left.set()
        elif answer in ("i", "k"):
            self._stop_swarm("interrupt" if answer == "i" else "kill")

    def _stop_asking(self) -> None:
        if self._asking is not None:
            asyncio.get_running_loop().remove_reader(self._asking)
            os.close(self._asking)
            self._asking = None
            self._progress.answered()

    def _stop_swarm(self, how: Literal["interrupt", "kill"]) -> None:
        self.stopping = True
        self._progress.tell(f"{how} asked; waiting until nothing is left (Ctrl-C again leaves at once)")
        self._stop = asyncio.get_running_loop().create_task(self._call(Stop(agent=ROOT, branch=True, how=how)))

    async def _call(self, request: Stop) -> None:
        try:
            await self._link.call(request)
        except SkepError as error:
            # It may just have ended by itself; then the run ends here as well.
            if self._link.state.live:
                complain(error)
