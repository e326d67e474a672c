"""Calls that may hang, made so that a hang fails the test instead of stopping all of them; and a terminal."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar

import pytest

T = TypeVar("T")

PATIENCE = 10.0
"""Seconds after which a call counts as hanging; what is tried takes milliseconds."""


def attempt(call: Callable[[], T]) -> T:
    """What the call gives or raises; a failure if it never comes back."""
    given: list[T] = []
    raised: list[BaseException] = []

    def run() -> None:
        try:
            given.append(call())
        except BaseException as error:  # noqa: BLE001 - it is raised again by the caller's thread
            raised.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(PATIENCE)
    if thread.is_alive():
        pytest.fail("it hangs")
    if raised:
        raise raised[0]
    return given[0]


def put_pipe(path: Path) -> None:
    path.unlink(missing_ok=True)
    os.mkfifo(path)


def put_folder(path: Path) -> None:
    path.unlink(missing_ok=True)
    path.mkdir()


def put_loop(path: Path) -> None:
    path.unlink(missing_ok=True)
    path.symlink_to(path)


NO_FILES = pytest.mark.parametrize("put", [put_pipe, put_folder, put_loop])
"""What may stand where a file was."""


def on_a_terminal(*words: str, cwd: Path, env: Mapping[str, str]) -> bytes:
    """Everything that skep writes to its terminal."""
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "skep", *words]
    with subprocess.Popen(
        command, cwd=cwd, env=env, stdin=subprocess.DEVNULL, stdout=theirs, stderr=theirs
    ) as process:
        os.close(theirs)
        written = b""
        try:
            while data := os.read(ours, 65536):
                written += data
        except OSError:
            pass  # how Linux says that nobody has the terminal open any more
        finally:
            os.close(ours)
        process.wait(PATIENCE)
    return written
