"""``skep run``: a command fanned out over items, each of them an agent, and a room to watch them from."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence
from enum import Enum, auto
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from skep.cli.early import Early
from skep.cli.printing import complain, note, say
from skep.errors import BadInput
from skep.text import clean_line

if TYPE_CHECKING:
    from skep.config import Config
    from skep.model.launch import Launch

EXAMPLES = (
    "skep run --each 'src/**/*.py' --command 'python -m py_compile {item}'",
    "skep run --each 'packages/*' -c 'make -C {item} test' --retries 1 --timeout 20m",
    "git ls-files '*.sh' | skep run --each-line - -c 'shellcheck {item}' --headless",
    "skep run --each 'data/*.csv' -c 'wc -l {item} | sort > {stem}.txt' --shell",
    "skep run -c 'npm test' -c 'cargo test' --detach",
)

_SHOWN = 10
_MENDS_OF_MODES = "choose one way to wait: the room, --headless, --json, --print or --detach"


class Mode(Enum):
    """How a run is waited for."""

    ROOM = auto()
    HEADLESS = auto()
    DETACHED = auto()


def run(
    argv: Annotated[
        list[str] | None,
        typer.Argument(metavar="-- PROGRAM", help="The command as words, instead of --command."),
    ] = None,
    each: Annotated[
        list[str] | None,
        typer.Option("--each", metavar="GLOB", help="One agent for each file or folder that matches; repeatable."),
    ] = None,
    each_line: Annotated[
        list[str] | None,
        typer.Option(
            "--each-line", metavar="FILE", help="One agent for each line of a file; - is standard input."
        ),
    ] = None,
    command: Annotated[
        list[str] | None,
        typer.Option(
            "--command",
            "-c",
            metavar="TEMPLATE",
            help="What to run: {item}, {name}, {stem}, {ext}, {dir}, {n} are filled in, {{ is a brace. Split once "
            "by shell rules, no shell involved. Repeatable.",
        ),
    ] = None,
    shell: Annotated[
        bool, typer.Option("--shell", help="Run each command as one line of /bin/sh, with the items quoted.")
    ] = False,
    group: Annotated[
        str | None,
        typer.Option(metavar="TEMPLATE", help="Put items alike in this, as '{dir}', under one branch each."),
    ] = None,
    max_running: Annotated[
        int | None, typer.Option("--max-running", "-j", metavar="N", help="Run at most N agents at once.")
    ] = None,
    retries: Annotated[int | None, typer.Option(metavar="N", help="Try a failed agent N times more.")] = None,
    timeout: Annotated[
        str | None, typer.Option(metavar="TIME", help="Most time for one agent, as 90s, 10m, 1h30m.")
    ] = None,
    fail_fast: Annotated[
        bool, typer.Option("--fail-fast", help="Start nothing more once one has failed.")
    ] = False,
    name: Annotated[str | None, typer.Option(metavar="NAME", help="Name of the swarm.")] = None,
    cwd: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Folder to run in; globs are relative to it.")
    ] = None,
    log_dir: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Keep one log for each agent there, named after its item.")
    ] = None,
    headless: Annotated[bool, typer.Option("--headless", help="Wait without a room, with progress.")] = False,
    print_results: Annotated[
        bool, typer.Option("--print", help="Headless; print the output of all agents in the order asked.")
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="Headless; print one JSON document at the end.")] = False,
    detach: Annotated[bool, typer.Option("--detach", help="Print the id of the swarm and return.")] = False,
    foreground: Annotated[
        bool, typer.Option("--foreground", help="Keep engine and room in this one process.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print what would be run; start nothing.")] = False,
) -> None:
    """Run a command for each of many items and watch it.

    Each item is an agent with its own tail, exit code and time; what is over the slots waits in line. q leaves the
    room and the swarm goes on: skep attach comes back.
    """
    from skep.cli import planning
    from skep.config import load

    mode = _mode(headless=headless, results=print_results, json=json, detach=detach, foreground=foreground)
    folder = Path(os.path.abspath(cwd)) if cwd is not None else Path.cwd()
    planning.check_folder(folder)
    loaded = load(folder, {"max_running": max_running, "retries": retries, "timeout": timeout}, os.environ)
    for warning in loaded.warnings:
        complain(warning, prefix="skep: warning")
    wish = planning.Wish(
        cwd=folder,
        globs=tuple(each or ()),
        line_files=tuple(each_line or ()),
        commands=tuple(command or ()),
        argv=tuple(argv or ()),
        shell=shell,
        group=group,
        name=name,
        fail_fast=fail_fast,
        log_dir=Path(os.path.abspath(os.path.expanduser(log_dir))) if log_dir is not None else None,
    )
    if mode is Mode.ROOM and not dry_run:
        _need_terminal()
    launch = planning.plan(wish, loaded.config, os.environ)
    if dry_run:
        _show(launch)
        return
    with contextlib.ExitStack() as stack:
        with Early() as early:
            place = _begin(stack, launch, wish.log_dir, foreground=foreground)
            if mode is Mode.HEADLESS:
                code = _wait(place, results=print_results, json=json, foreground=foreground, early=early.noted)
                raise typer.Exit(code)
        if mode is Mode.ROOM:
            raise typer.Exit(_visit(place, loaded.config, foreground=foreground))
    say(launch.swarm)


def _begin(stack: contextlib.ExitStack, launch: Launch, log_dir: Path | None, *, foreground: bool) -> Path:
    """Start the engine, here or in a process of its own, and return the swarm's folder."""
    from skep.cli import engine
    from skep.cli.places import made_for
    from skep.clock import SystemClock

    with made_for(launch, log_dir, os.environ, SystemClock().time()) as place:
        if foreground:
            stack.enter_context(engine.foreground(place, launch))
        else:
            engine.start(place, launch)
    return place


def _visit(place: Path, config: Config, *, foreground: bool) -> int:
    from skep.cli.roomdoor import visit
    from skep.clock import SystemClock

    return visit(place, SystemClock(), config, foreground=foreground)


def _wait(place: Path, *, results: bool, json: bool, foreground: bool, early: Sequence[int]) -> int:
    import asyncio

    from skep.cli.headless import wait
    from skep.clock import SystemClock

    if not foreground:
        note(f"swarm {place.name}; skep attach {place.name} opens the room on it")
    return asyncio.run(wait(place, SystemClock(), results=results, json=json, foreground=foreground, early=early))


def _mode(*, headless: bool, results: bool, json: bool, detach: bool, foreground: bool) -> Mode:
    if results and json:
        raise BadInput(
            "--print and --json both want standard output",
            where="skep run",
            mend="with --json each agent names its log",
        )
    waits = headless or results or json
    if detach and (waits or foreground):
        raise BadInput("--detach does not wait", where="skep run", mend=_MENDS_OF_MODES)
    return Mode.DETACHED if detach else Mode.HEADLESS if waits else Mode.ROOM


def _need_terminal() -> None:
    from skep.cli.roomdoor import need_terminal

    need_terminal("add --headless (or --json, --print, --detach)")


def _show(launch: Launch) -> None:
    """What would be run: how many, where, and the first few."""
    agents = [agent for agent in launch.agents if agent.command is not None]
    groups = len(launch.agents) - len(agents)
    count = f"{len(agents)} agent{'s' if len(agents) != 1 else ''}"
    branches = f" under {groups} group{'s' if groups != 1 else ''}" if groups else ""
    say(f"would run {count}{branches}, {launch.max_running} at once, in {clean_line(launch.cwd)}")
    for agent in agents[:_SHOWN]:
        say(f"  {clean_line(agent.goal)}")
    if len(agents) > _SHOWN:
        say(f"  … and {len(agents) - _SHOWN} more")
