"""A planned swarm begun, and waited for: in the room, without one, or not at all."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from enum import Enum, auto
from pathlib import Path
from typing import TYPE_CHECKING

from skep.cli.early import Early
from skep.cli.printing import note, say
from skep.errors import BadInput

if TYPE_CHECKING:
    from skep.config import Config
    from skep.model.launch import Launch

_MENDS_OF_MODES = "choose one way to wait: the room, --headless, --json, --print or --detach"


class Mode(Enum):
    """How a run is waited for."""

    ROOM = auto()
    HEADLESS = auto()
    DETACHED = auto()


Wait = Callable[[Path, Sequence[int]], int]
"""Waits headless for the swarm of a folder, given the signals that came while it began; returns the exit code."""


def mode_of(
    *, headless: bool, json: bool, detach: bool, foreground: bool, results: bool = False, verb: str = "skep run"
) -> Mode:
    """The way to wait that these options mean. Raises ``BadInput`` where they exclude each other."""
    if results and json:
        raise BadInput(
            "--print and --json both want standard output", where=verb, mend="with --json each agent names its log"
        )
    waits = headless or results or json
    if detach and (waits or foreground):
        raise BadInput("--detach does not wait", where=verb, mend=_MENDS_OF_MODES)
    return Mode.DETACHED if detach else Mode.HEADLESS if waits else Mode.ROOM


def need_terminal(instead: str) -> None:
    """Raise ``BadInput`` unless the room has a terminal to draw on."""
    from skep.cli.roomdoor import need_terminal

    need_terminal(instead)


def launched(
    launch: Launch,
    mode: Mode,
    config: Config,
    wait: Wait,
    *,
    foreground: bool,
    log_dir: Path | None = None,
    prepare: Callable[[Path], None] | None = None,
) -> int:
    """Start the swarm and stay with it as ``mode`` says; returns the exit code.

    ``prepare`` is given the swarm's new folder before its engine starts, and the folder goes away again if that
    raises a SkepError.
    """
    with contextlib.ExitStack() as stack:
        with Early() as early:
            place = _begin(stack, launch, log_dir, prepare, foreground=foreground)
            if mode is Mode.HEADLESS:
                if not foreground:
                    note(f"swarm {place.name}; skep attach {place.name} opens the room on it")
                return wait(place, early.noted)
        if mode is Mode.ROOM:
            return _visit(place, config, foreground=foreground)
    say(launch.swarm)
    return 0


def _begin(
    stack: contextlib.ExitStack,
    launch: Launch,
    log_dir: Path | None,
    prepare: Callable[[Path], None] | None,
    *,
    foreground: bool,
) -> Path:
    """Start the engine, here or in a process of its own, and return the swarm's folder."""
    import os

    from skep.cli import engine
    from skep.cli.places import made_for
    from skep.clock import SystemClock

    with made_for(launch, log_dir, os.environ, SystemClock().time()) as place:
        if prepare is not None:
            prepare(place)
        if foreground:
            stack.enter_context(engine.foreground(place, launch))
        else:
            engine.start(place, launch)
    return place


def _visit(place: Path, config: Config, *, foreground: bool) -> int:
    from skep.cli.roomdoor import visit
    from skep.clock import SystemClock

    return visit(place, SystemClock(), config, foreground=foreground)
