"""How tests and the commands of a swarm wait for each other: a gate that they stand at, a bell that they ring."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Self

from tests.whole.waiting import LIMIT, deadline, readable


class _Fifo:
    """A named pipe that is open at both ends, so that nobody blocks in opening it."""

    def __init__(self, path: Path) -> None:
        os.mkfifo(path)
        self._descriptor = os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._descriptor)


class Gate(_Fifo):
    """Commands that read one byte of it (``dd bs=1 count=1``) stand there until they are let through."""

    def let_through(self, count: int) -> None:
        """Let so many through, those that stand there or come later."""
        os.write(self._descriptor, b"." * count)


class Bell(_Fifo):
    """Commands write lines into it."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._held = b""

    async def rings(self, limit: float = LIMIT) -> str:
        """The next line."""
        async with deadline("a line that a command should have written", limit):
            while b"\n" not in self._held:
                await readable(self._descriptor)
                self._held += os.read(self._descriptor, 65_536)
        line, _, self._held = self._held.partition(b"\n")
        return line.decode()
