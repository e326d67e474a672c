"""``skep pause``, ``unpause``, ``interrupt``, ``kill``, ``approve``, ``deny``: what holds, stops and answers."""

from __future__ import annotations

from typing import Annotated

import typer

from skep.errors import BadInput

PAUSE_EXAMPLES = (
    "skep pause",
    "skep pause nightly --reason 'disk is filling up' --for 30m",
    "skep pause nightly/docs --wait",
)
UNPAUSE_EXAMPLES = ("skep unpause", "skep unpause nightly/docs")
INTERRUPT_EXAMPLES = (
    "skep interrupt nightly/src/a.py --wait",
    "skep interrupt nightly/docs --branch --dry-run",
    "skep interrupt nightly",
)
KILL_EXAMPLES = ("skep kill nightly/a17", "skep kill nightly --wait --timeout 30s")
APPROVE_EXAMPLES = ("skep approve nightly/a17", "skep approve nightly/a17 --yes --json")
DENY_EXAMPLES = ("skep deny nightly/a17", "skep deny")

_Address = Annotated[
    str | None,
    typer.Argument(metavar="[ADDRESS]", help="SWARM, SWARM/AGENT or AGENT; without it the newest swarm."),
]
_Stopped = Annotated[
    str | None,
    typer.Argument(
        metavar="[ADDRESS]",
        help="SWARM (all of it), SWARM/AGENT, or AGENT of the newest swarm; without it all of the newest swarm.",
    ),
]
_Asking = Annotated[
    str | None,
    typer.Argument(
        metavar="[ADDRESS]", help="SWARM/AGENT; SWARM, or nothing for the newest, where only one agent asks."
    ),
]
_Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
_Branch = Annotated[bool, typer.Option("--branch", help="The agent with all below it.")]
_Json = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]
_Wait = Annotated[bool, typer.Option("--wait", help="Return when it is effective and verified.")]
_Timeout = Annotated[str | None, typer.Option(metavar="TIME", help="With --wait: give up after so long (exit 1).")]
_DryRun = Annotated[bool, typer.Option("--dry-run", help="Print what would be stopped; stop nothing.")]


def pause(
    address: _Address = None,
    reason: Annotated[str, typer.Option(metavar="TEXT", help="Shown to everybody who looks.")] = "",
    for_: Annotated[
        str | None, typer.Option("--for", metavar="TIME", help="Release by itself after so long, as 10m.")
    ] = None,
    wait: _Wait = False,
    timeout: _Timeout = None,
    json: _Json = False,
) -> None:
    """Hold new starts in a swarm or a branch.

    What runs goes on, what waits keeps its place.

    With --wait it returns when nothing in there is starting any more.
    """
    from skep.cli.acts import hold

    hold(
        address,
        reason=reason,
        seconds=_seconds(for_),
        patience=_patience(timeout, wait=wait),
        wait=wait,
        json=json,
    )


def unpause(address: _Address = None, wait: _Wait = False, json: _Json = False) -> None:
    """Release what pause held there.

    What waits starts in its order, at once: with and without --wait. It is no error if nothing was held.
    """
    from skep.cli.acts import release

    release(address, json=json)


def interrupt(
    address: _Stopped = None,
    branch: _Branch = False,
    wait: _Wait = False,
    timeout: _Timeout = None,
    dry_run: _DryRun = False,
    json: _Json = False,
) -> None:
    """Stop an agent, a branch or a whole swarm.

    It is asked first, then made to, and nothing is left of it.

    With --wait it returns when every process is gone; exit 1 if something cannot be ended.
    """
    from skep.cli.acts import stop

    patience = _patience(timeout, wait=wait)
    stop(address, "interrupt", branch=branch, wait=wait, patience=patience, dry_run=dry_run, json=json)


def kill(
    address: _Stopped = None,
    branch: _Branch = False,
    wait: _Wait = False,
    timeout: _Timeout = None,
    dry_run: _DryRun = False,
    json: _Json = False,
) -> None:
    """Stop it like interrupt, without time to finish.

    TERM at once, then KILL.
    """
    from skep.cli.acts import stop

    patience = _patience(timeout, wait=wait)
    stop(address, "kill", branch=branch, wait=wait, patience=patience, dry_run=dry_run, json=json)


def approve(address: _Asking = None, yes: _Yes = False, json: _Json = False) -> None:
    """Allow what an agent asks.

    It is shown first, and the answer holds for exactly that, once. skep tree shows who asks.
    """
    from skep.cli.answering import answer

    answer(address, allow=True, yes=yes, json=json)


def deny(address: _Asking = None, yes: _Yes = False, json: _Json = False) -> None:
    """Deny what an agent asks.

    It is told so and goes on without. skep tree shows who asks.
    """
    from skep.cli.answering import answer

    answer(address, allow=False, yes=yes, json=json)


def _seconds(text: str | None) -> float | None:
    if text is None:
        return None
    from skep.config import parse_duration

    seconds = parse_duration(text)
    if seconds <= 0:
        raise BadInput("a hold of no time holds nothing", where=f"--for {text}", mend="write it like 10m")
    return seconds


def _patience(text: str | None, *, wait: bool) -> float | None:
    if text is None:
        return None
    if not wait:
        raise BadInput("--timeout is for --wait", where=f"--timeout {text}", mend="add --wait, or leave it out")
    from skep.config import parse_duration

    return parse_duration(text)
