"""The way into the room: a terminal on all sides, a link, and the word at the door when one leaves."""

from __future__ import annotations

import asyncio
import os
import sys
from contextlib import AbstractAsyncContextManager
from pathlib import Path

from skep.cli.headless import ExitCode, exit_code
from skep.cli.links import AnyLink, opened
from skep.cli.printing import note
from skep.clock import Clock
from skep.config import Config
from skep.errors import BadInput

PACE = {"TEXTUAL_FPS": "120"}
"""Environment of the room. Textual lets a paint wait for up to two frames after another: so frames are short."""


def need_terminal(instead: str) -> None:
    """Raise ``BadInput`` unless the room has a terminal to draw on; ``instead`` says how to do without.

    Standard input may have been something else (a list of items); the keyboard is then the terminal itself.
    """
    where = next((name for name in ("stdout", "stderr") if not getattr(sys, name).isatty()), None)
    if where is None and not sys.stdin.isatty():
        where = None if _has_terminal() else "stdin"
    if where is not None:
        names = {"stdout": "standard output", "stderr": "standard error", "stdin": "standard input"}
        raise BadInput("not a terminal", where=names[where], why="the room needs one", mend=instead)


def visit(
    folder: Path,
    clock: Clock,
    config: Config,
    *,
    foreground: bool = False,
    read_only: bool = False,
) -> int:
    """Open the room on the swarm of this folder; returns the exit code once the person has left it."""
    if not sys.stdin.isatty():
        keyboard = os.open("/dev/tty", os.O_RDWR)
        os.dup2(keyboard, 0)
        os.close(keyboard)
    for name, value in PACE.items():
        os.environ.setdefault(name, value)
    opening = opened(folder, clock, read_only=read_only, aloud=False)
    return asyncio.run(_visit(opening, clock, config, foreground=foreground))


async def _visit(
    opening: AbstractAsyncContextManager[AnyLink], clock: Clock, config: Config, *, foreground: bool
) -> int:
    from skep.room.app import RoomApp

    async with opening as link:
        with link.registry.read() as state:
            swarm = state.created.swarm if state.created is not None else link.folder.name
        room = RoomApp(
            link,
            clock,
            config=config.room,
            window=config.window,
            foreground=foreground,
            attach_hint=f"skep attach {swarm}",
        )
        await room.run_async()
        farewell = room.farewell  # while the link stands: a closed one knows of no engine
        with link.registry.read() as state:
            status = state.status
    if farewell:
        note(farewell)
    if room.return_code:
        return ExitCode.FAILED  # it broke, and Textual has printed how; the swarm has nothing to do with it
    return exit_code(status) if status is not None else ExitCode.DONE


def _has_terminal() -> bool:
    try:
        os.close(os.open("/dev/tty", os.O_RDWR))
    except OSError:
        return False
    return True
