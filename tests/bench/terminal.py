"""A pseudo-terminal with somebody in front of it who presses keys and sees when their effect is painted."""

from __future__ import annotations

import fcntl
import os
import pty
import struct
import subprocess
import termios
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.bench.marks import FORM, LINES, PAINTED, marks_in

COLUMNS, ROWS = 160, 48
READ_BYTES = 256 * 1024
LONGEST_MARK = 40
LAST_WORDS = 2_000
ENV = {"TERM": "xterm-256color", "COLORTERM": "truecolor", "LANG": "C.UTF-8"}
KEYS = {"end": b"\x1b[F", "f11": b"\x1b[23~", "f12": b"\x1b[24~"}


class NotPainted(Exception):
    """A key had no effect on the screen in the time that was given."""


class Terminal:
    """Runs a program in a terminal; the screen is read all the time, by a thread of its own."""

    def __init__(self, command: Sequence[str], env: Mapping[str, str], cwd: Path) -> None:
        self._end, there = pty.openpty()
        fcntl.ioctl(there, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
        try:
            self._program = subprocess.Popen(
                command,
                stdin=there,
                stdout=there,
                stderr=there,
                cwd=cwd,
                env={**env, **ENV},
                start_new_session=True,
            )
        finally:
            os.close(there)
        self._news = threading.Condition()
        self._seen: dict[str, tuple[int, float]] = {PAINTED: (0, 0.0), LINES: (-1, 0.0)}
        self._awaited = 0
        """Number of the last paint that was waited for."""
        self._last = b""
        self._gone = False
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        try:
            self._end_program()
        finally:
            self._reader.join(5)
            os.close(self._end)

    @property
    def pid(self) -> int:
        """The program's process."""
        return self._program.pid

    def cpu(self) -> float:
        """Seconds of CPU that the program has used, its threads included."""
        with open(f"/proc/{self.pid}/stat") as stat:
            fields = stat.read().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def settle(self, seconds: float, most: float) -> None:
        """Wait for the first paint, and then so long. Raises NotPainted if there is none in ``most`` seconds."""
        self._await(PAINTED, 0, most)
        time.sleep(seconds)
        with self._news:
            self._awaited, _ = self._seen[PAINTED]

    def press(self, key: str, most: float) -> float:
        """Press a key that moves the cursor; seconds until its paint came out of the terminal.

        Raises NotPainted if it did not within ``most`` seconds, or if the cursor moves without a key.
        """
        with self._news:
            before, _ = self._seen[PAINTED]
        if before != self._awaited:
            raise NotPainted(f"the cursor moved by itself: {before - self._awaited} times")
        pressed = time.monotonic()
        os.write(self._end, KEYS.get(key, key.encode()))
        return self._await(PAINTED, before, most) - pressed

    def lines(self, most: float) -> int:
        """How many lines the program has heard of."""
        with self._news:
            self._seen[LINES] = (-1, 0.0)
        os.write(self._end, KEYS["f11"])
        self._await(LINES, -1, most)
        return self._seen[LINES][0]

    def _await(self, word: str, before: int, most: float) -> float:
        with self._news:
            if not self._news.wait_for(lambda: self._seen[word][0] > before or self._gone, most):
                raise NotPainted(f"nothing for {most:g} s")
            number, at = self._seen[word]
            if number <= before:
                raise NotPainted(f"the program has ended: {self._last.decode(errors='replace')}")
            if word == PAINTED:
                self._awaited = number
            return at

    def _read(self) -> None:
        rest = b""
        while True:
            try:
                data = os.read(self._end, READ_BYTES)
            except OSError:  # how Linux says that the other end is closed
                data = b""
            at = time.monotonic()
            if not data:
                break
            rest += data
            marks = marks_in(rest)
            last = max((found.end() for found in FORM.finditer(rest)), default=0)
            with self._news:
                self._last = (self._last + data)[-LAST_WORDS:]
                for mark in marks:
                    self._seen[mark.word] = (mark.number, at)
                if marks:
                    self._news.notify_all()
            rest = rest[max(last, len(rest) - LONGEST_MARK) :]
        with self._news:
            self._gone = True
            self._news.notify_all()

    def _end_program(self) -> None:
        for leave in (lambda: os.write(self._end, b"q"), self._program.terminate, self._program.kill):
            if self._program.poll() is not None:
                return
            leave()
            try:
                self._program.wait(3)
            except subprocess.TimeoutExpired:
                continue
