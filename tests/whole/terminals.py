"""A terminal with skep at its other end: what it shows, and what is typed into it."""

from __future__ import annotations

import asyncio
import fcntl
import os
import pty
import re
import struct
import sys
import termios
from asyncio.subprocess import Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from tests.whole.places import SKEP, Place
from tests.whole.waiting import LIMIT, deadline

CTRL_C = "\x03"
ENTER = "\r"
RIGHT = "\x1b[C"

_CONTROL = re.compile(
    r"\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)"  # titles
    r"|\x1b[P_^][^\x1b]*\x1b\\"
    r"|\x1b\[[0-?]*[ -/]*[@-~]"
    r"|\x1b[ -/]*[0-Z\\^-~]"
    r"|\x1b[^\x07]*$"  # its end has not come yet
)
_TAKE_TERMINAL = (
    "import fcntl, os, sys, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); os.execv(sys.argv[1], sys.argv[1:])"
)


class Terminal:
    """Reads all the time, as a terminal does: a program that draws never has to wait for the test."""

    def __init__(self, process: Process, descriptor: int) -> None:
        self._process = process
        self._descriptor = descriptor
        self._raw = b""
        self._seen = 0
        self._news = asyncio.Event()
        self._closed = False
        asyncio.get_running_loop().add_reader(descriptor, self._read)

    @classmethod
    @asynccontextmanager
    async def of(
        cls, place: Place, *words: str, columns: int = 100, rows: int = 30, **env: str
    ) -> AsyncIterator[Terminal]:
        """Run skep in a new terminal of this size."""
        ours, theirs = pty.openpty()
        fcntl.ioctl(ours, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        os.set_blocking(ours, False)
        try:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-I", "-S", "-c", _TAKE_TERMINAL),
                *(*SKEP, *words),
                cwd=place.project,
                env=place.env | env,
                stdin=theirs,
                stdout=theirs,
                stderr=theirs,
                start_new_session=True,
            )
        finally:
            os.close(theirs)
        terminal = cls(process, ours)
        try:
            yield terminal
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
            terminal._close()

    @property
    def text(self) -> str:
        """Everything that was written so far, without what only moves or colours."""
        return _CONTROL.sub("", self._raw.decode(errors="ignore"))

    async def shows(self, text: str) -> None:
        """Wait until this is written, after what was waited for before."""
        try:
            async with deadline(f"{text!r} on the terminal"):
                while (at := self.text.find(text, self._seen)) < 0:
                    assert not self._closed, f"the program ended before it wrote {text!r}"
                    self._news.clear()
                    await self._news.wait()
        except AssertionError as error:
            raise AssertionError(f"{error}\nwritten since: {self.text[self._seen :]!r}") from None
        self._seen = at + len(text)

    def type(self, keys: str) -> None:
        """Type these keys, as the terminal would send them."""
        os.write(self._descriptor, keys.encode())

    async def ends(self, limit: float = LIMIT) -> int:
        """Wait until the program has ended; returns its exit code."""
        async with deadline("the end of the program", limit):
            code = await self._process.wait()
            while not self._closed:  # its last words
                self._news.clear()
                await self._news.wait()
        return code

    def _read(self) -> None:
        try:
            data = os.read(self._descriptor, 65_536)
        except BlockingIOError:
            return
        except OSError:  # nobody holds the other end any more
            data = b""
        self._raw += data
        if not data:
            self._close()
        self._news.set()

    def _close(self) -> None:
        if not self._closed:
            self._closed = True
            asyncio.get_running_loop().remove_reader(self._descriptor)
            os.close(self._descriptor)
