"""The command ``skep``: every verb in one list, and what becomes of errors, broken pipes and Ctrl-C."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer
from typer.core import TyperGroup

from skep import __version__
from skep.cli import attaching, demonstrating, housekeeping, looking, running, steering
from skep.cli.printing import complain
from skep.errors import SkepError

BROKEN_PIPE = 141
"""Exit code when the reader of a pipe has gone: 128 + SIGPIPE, as the shell would say."""

INTERRUPTED = 130
"""Exit code after Ctrl-C: 128 + SIGINT."""


class Verbs(TyperGroup):
    """The group of all verbs; turns what a verb raises into one message and an exit code."""

    def invoke(self, ctx: typer.Context) -> object:  # type: ignore[override]  # typer hides its base class
        """Run the verb; a traceback is only for what is a fault of skep itself."""
        try:
            result = super().invoke(ctx)
            sys.stdout.flush()
        except SkepError as error:
            complain(error)
            raise typer.Exit(error.exit_code) from None
        except BrokenPipeError:
            # Nobody reads any more; what is still in the buffer must not raise again at the exit.
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
            raise typer.Exit(BROKEN_PIPE) from None
        except OSError as error:
            # Whatever the system refused and no verb has foreseen: a path too long, a full disk, no such folder.
            from skep.paths import file_error

            complain(file_error(error, Path(str(error.filename or "-")), "the system refused"))
            raise typer.Exit(SkepError.exit_code) from None
        except KeyboardInterrupt:
            raise typer.Exit(INTERRUPTED) from None
        return result


def main() -> None:
    """Entry of the console script."""
    try:
        app(prog_name="skep")
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)


def _examples(*lines: str) -> str:
    # A backspace on a line of its own keeps the lines of the paragraph as they are.
    return "\n\n\b\nExamples:\n" + "\n".join(f"  {line}" for line in lines)


def _version(asked: bool) -> None:
    if asked:
        sys.stdout.write(f"skep {__version__}\n")
        raise typer.Exit


def _overview(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and leave.")
    ] = False,
) -> None:
    """A control room for agent swarms: start agents on goals or run many commands, watch, hold and stop them.

    skep demo shows it all, with simulated models.

    An address is SWARM or SWARM/AGENT; a unique beginning of an id or a name is enough. Without SWARM the newest
    one is meant.
    """


def _help(ctx: typer.Context, verb: Annotated[str | None, typer.Argument(help="A verb of skep.")] = None) -> None:
    """Show the help of skep or of one verb."""
    context = ctx.parent if ctx.parent is not None else ctx
    group = context.command
    command = group.get_command(context, verb) if verb is not None and isinstance(group, Verbs) else group
    if command is None:
        raise typer.BadParameter(f"there is no verb {verb!r}; skep --help lists them")
    with command.make_context(
        verb or "skep", [], parent=context if verb else None, resilient_parsing=True
    ) as made:
        typer.echo(command.get_help(made))


def _build() -> typer.Typer:
    made = typer.Typer(
        name="skep",
        cls=Verbs,
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
        context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    )
    made.callback()(_overview)
    made.command("run", cls=running.RunCommand, epilog=_examples(*running.EXAMPLES))(running.run)
    made.command("demo", epilog=_examples(*demonstrating.DEMO_EXAMPLES))(demonstrating.demo)
    made.command("attach", epilog=_examples(*attaching.ATTACH_EXAMPLES))(attaching.attach)
    made.command("recover", epilog=_examples(*attaching.RECOVER_EXAMPLES))(attaching.recover)
    made.command("ls", epilog=_examples(*looking.LS_EXAMPLES))(looking.ls)
    made.command("tree", epilog=_examples(*looking.TREE_EXAMPLES))(looking.tree)
    made.command("tail", epilog=_examples(*looking.TAIL_EXAMPLES))(looking.tail)
    made.command("events", epilog=_examples(*looking.EVENTS_EXAMPLES))(looking.events)
    made.command("keys", epilog=_examples(*looking.KEYS_EXAMPLES))(looking.keys)
    made.command("pause", epilog=_examples(*steering.PAUSE_EXAMPLES))(steering.pause)
    made.command("unpause", epilog=_examples(*steering.UNPAUSE_EXAMPLES))(steering.unpause)
    made.command("resume", epilog=_examples(*steering.RESUME_EXAMPLES))(steering.resume)
    made.command("interrupt", epilog=_examples(*steering.INTERRUPT_EXAMPLES))(steering.interrupt)
    made.command("kill", epilog=_examples(*steering.KILL_EXAMPLES))(steering.kill)
    made.command("approve", epilog=_examples(*steering.APPROVE_EXAMPLES))(steering.approve)
    made.command("deny", epilog=_examples(*steering.DENY_EXAMPLES))(steering.deny)
    made.command("clean", epilog=_examples(*housekeeping.CLEAN_EXAMPLES))(housekeeping.clean)
    made.command("config", epilog=_examples(*housekeeping.CONFIG_EXAMPLES))(housekeeping.config)
    made.command("trust", epilog=_examples(*housekeeping.TRUST_EXAMPLES))(housekeeping.trust)
    made.command("simulator", epilog=_examples(*demonstrating.SIMULATOR_EXAMPLES))(demonstrating.simulator)
    made.command("help", epilog=_examples("skep help run"))(_help)
    return made


app = _build()
"""The whole command line."""
