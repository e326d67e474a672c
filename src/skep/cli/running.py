"""``skep run``: goals for agents that think, or a command fanned out over items; and a room to watch them from."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from typer.core import TyperCommand

from skep.cli.launching import Mode, Wait, launched, mode_of, need_terminal
from skep.cli.printing import complain, say
from skep.errors import BadInput
from skep.model.children import Role
from skep.model.states import OnStale
from skep.text import clean_line, cut_end

if TYPE_CHECKING:
    from skep.model.launch import AgentAsk, Launch

EXAMPLES = (
    "skep run 'Find out why the tests are slow, and write it into SLOW.md' --model openai/gpt-4.1-mini",
    "skep run 'Review src/a.py' 'Review src/b.py' -m moonshot/kimi-k2 --role leaf --json",
    "skep run - -m ollama/qwen3 --allow-commands --print < goal.md",
    "skep run --each 'src/**/*.py' --command 'python -m py_compile {item}'",
    "skep run --each 'packages/*' -c 'make -C {item} test' --retries 1 --timeout 20m",
    "git ls-files '*.sh' | skep run --each-line - -c 'shellcheck {item}' --headless",
    "skep run --each 'data/*.csv' -c 'wc -l {item} | sort > {stem}.txt' --shell",
    "skep run -c 'npm test' -c 'cargo test' --detach",
    "skep run --each '*.log' -- grep -c ERROR {item}",
)

PROGRAM = "skep.program"
"""Where the context of the command keeps the words after ``--``."""

_SHOWN = 10
_GOAL_CELLS = 100


class RunCommand(TyperCommand):
    """Keeps the words after ``--``, a program, apart from those before it, which are goals."""

    def parse_args(self, ctx: typer.Context, args: list[str]) -> list[str]:  # type: ignore[override]  # as in app
        """Take the program away before the options are read."""
        if "--" in args:
            at = args.index("--")
            ctx.meta[PROGRAM] = tuple(args[at + 1 :])
            args = args[:at]
        return super().parse_args(ctx, args)

    def collect_usage_pieces(self, ctx: typer.Context) -> list[str]:  # type: ignore[override]  # as in app
        """Show that a program may follow."""
        return [*super().collect_usage_pieces(ctx), "[-- PROGRAM]"]


def run(
    ctx: typer.Context,
    goals: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="GOAL",
            help="What is to be done, one agent for each; - reads one goal from standard input. After --: a "
            "command as words, instead of --command.",
        ),
    ] = None,
    model: Annotated[
        str | None, typer.Option("--model", "-m", metavar="PROVIDER/MODEL", help="What the agents think with.")
    ] = None,
    allow_commands: Annotated[
        bool, typer.Option("--allow-commands", help="Let agents run commands; else you are asked in the room.")
    ] = False,
    max_depth: Annotated[
        int | None, typer.Option("--max-depth", metavar="N", help="Levels of agents below those of the goals.")
    ] = None,
    max_turns: Annotated[
        int | None, typer.Option("--max-turns", metavar="N", help="Most model calls of one agent.")
    ] = None,
    role: Annotated[
        Role | None, typer.Option(help="What the goals' agents are; an orchestrator may delegate (the default).")
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
    on_stale: Annotated[
        OnStale | None,
        typer.Option(
            "--on-stale",
            help="What to do with an agent that shows no progress for too long, besides marking it; steer puts a "
            "note before its model.",
        ),
    ] = None,
    fail_fast: Annotated[
        bool, typer.Option("--fail-fast", help="Start nothing more once one has failed.")
    ] = False,
    name: Annotated[str | None, typer.Option(metavar="NAME", help="Name of the swarm.")] = None,
    cwd: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Folder to work in; globs are relative to it.")
    ] = None,
    log_dir: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Keep one log for each agent there, named after its item.")
    ] = None,
    headless: Annotated[bool, typer.Option("--headless", help="Wait without a room, with progress.")] = False,
    print_results: Annotated[
        bool,
        typer.Option("--print", help="Headless; print answers, or the output of commands, in the order asked."),
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="Headless; print one JSON document at the end.")] = False,
    detach: Annotated[bool, typer.Option("--detach", help="Print the id of the swarm and return.")] = False,
    foreground: Annotated[
        bool, typer.Option("--foreground", help="Keep engine and room in this one process.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print what would be run; start nothing.")] = False,
) -> None:
    """Start agents on goals, or commands on items, and watch them.

    A goal gets an agent that thinks with --model, uses tools below the folder and delegates to agents of its own.
    A command is an agent for each item, with its own exit code. Each has its own tail, state and time; what is
    over the slots waits in line. q leaves the room and the swarm goes on: skep attach comes back.
    """
    from skep.cli import goals as of_goals
    from skep.cli import planning
    from skep.config import load

    program: tuple[str, ...] = ctx.meta.get(PROGRAM, ())
    has_goals = _has_goals(goals or (), commands=bool(command or program or each or each_line))
    if has_goals:
        commands_only = {"--shell": shell, "--group": group, "--retries": retries, "--fail-fast": fail_fast}
        _refuse(commands_only | {"--log-dir": log_dir}, "goals", "it is for commands")
    else:
        if model is not None and not (command or program or each or each_line):
            raise BadInput("there is no goal", where="skep run", mend='say what is to be done: skep run "GOAL"')
        goals_only = {"--model": model, "--max-depth": max_depth, "--max-turns": max_turns, "--role": role}
        _refuse(goals_only | {"--allow-commands": allow_commands}, "commands", "it is for goals")
        _refuse_steering(on_stale)
    mode = mode_of(headless=headless, results=print_results, json=json, detach=detach, foreground=foreground)
    folder = Path(os.path.abspath(cwd)) if cwd is not None else Path.cwd()
    planning.check_folder(folder)
    flags = {
        "max_running": max_running,
        "retries": retries,
        "timeout": timeout,
        "on_stale": on_stale.value if on_stale is not None else None,
        "model": model,
        "max_depth": max_depth,
        "max_turns": max_turns,
        "commands": "allow" if allow_commands else None,
    }
    loaded = load(folder, flags, os.environ)
    for warning in loaded.warnings:
        complain(warning, prefix="skep: warning")
    if mode is Mode.ROOM and not dry_run:
        need_terminal("add --headless (or --json, --print, --detach)")
    logs = Path(os.path.abspath(os.path.expanduser(log_dir))) if log_dir is not None else None
    if has_goals:
        asked = of_goals.Goals(
            cwd=folder,
            goals=tuple(goals or ()),
            role=role or Role.ORCHESTRATOR,
            name=name,
            room=mode is Mode.ROOM,
        )
        launch = of_goals.plan_goals(asked, loaded, os.environ)
    else:
        wish = planning.Wish(
            cwd=folder,
            globs=tuple(each or ()),
            line_files=tuple(each_line or ()),
            commands=tuple(command or ()),
            argv=program,
            shell=shell,
            group=group,
            name=name,
            fail_fast=fail_fast,
            log_dir=logs,
        )
        launch = planning.plan(wish, loaded.config, os.environ)
    if dry_run:
        (_show_goals if has_goals else _show)(launch)
        return

    wait = _waiter(results=print_results, json=json, foreground=foreground)
    raise typer.Exit(launched(launch, mode, loaded.config, wait, foreground=foreground, log_dir=logs))


def _waiter(*, results: bool, json: bool, foreground: bool) -> Wait:
    def wait(place: Path, early: Sequence[int]) -> int:
        import asyncio

        from skep.cli import headless
        from skep.clock import SystemClock

        clock = SystemClock()
        waiting = headless.wait(place, clock, results=results, json=json, foreground=foreground, early=early)
        return asyncio.run(waiting)

    return wait


def _has_goals(goals: Sequence[str], *, commands: bool) -> bool:
    if goals and commands:
        raise BadInput(
            "both goals and commands were given",
            where=clean_line(" ".join(goals), limit=60),
            mend="give one of them; and quote a glob, so that the shell leaves it alone: --each '*.py'",
        )
    return bool(goals)


def _refuse(options: Mapping[str, object], what: str, why: str) -> None:
    """Raise ``BadInput`` for the first option that was given and means nothing here."""
    for option, value in options.items():
        if value is not None and value is not False:
            raise BadInput(f"{option} means nothing for {what}", where=option, why=why, mend="leave it out")


def _refuse_steering(on_stale: OnStale | None) -> None:
    if on_stale is OnStale.STEER:
        raise BadInput(
            "commands cannot be steered",
            where="--on-stale steer",
            why="there is no model that could read a note",
            mend="say mark, interrupt or kill",
        )


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


def _show_goals(launch: Launch) -> None:
    """What would be started: who, with which model, and what they may do."""
    asks = [launch.root] if launch.root is not None else list(launch.agents)
    chat = asks[0].chat
    assert chat is not None
    settings = launch.settings
    count = f"{len(asks)} agent{'s' if len(asks) != 1 else ''}"
    say(f"would start {count} ({chat.role.value}) with {clean_line(chat.model)}, in {clean_line(launch.cwd)}")
    for ask in asks[:_SHOWN]:
        say(f"  {_goal_line(ask)}")
    if len(asks) > _SHOWN:
        say(f"  … and {len(asks) - _SHOWN} more")
    if chat.asked_role is not None:
        why = "max_depth is 0" if settings.max_depth < 1 else "allow_orchestrators is false"
        say(f"  no {chat.asked_role.value}: {why}")
    say(f"  commands: {chat.commands.value}; at most {chat.max_turns} turns, {launch.max_running} agents at once")
    say(f"  providers with keys: {', '.join(sorted(settings.providers))}")


def _goal_line(ask: AgentAsk) -> str:
    return f"{clean_line(ask.name)}: {cut_end(clean_line(ask.goal), _GOAL_CELLS)}"
