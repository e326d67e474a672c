"""``skep pause``, ``unpause``, ``interrupt``, ``kill``, ``approve``, ``deny``: what holds, stops and answers."""

from __future__ import annotations

from typing import Annotated

import typer

from skep.errors import BadInput

PAUSE_EXAMPLES = (
    "skep pause",
    "skep pause nightly --reason 'disk is filling up' --for 30m",
    "skep pause nightly/docs --turns --wait",
    "skep pause nightly --account kimi-2 --turns",
)
UNPAUSE_EXAMPLES = ("skep unpause", "skep unpause nightly/docs", "skep unpause nightly --account kimi-2")
RESUME_EXAMPLES = ("skep resume nightly/a17", "skep resume nightly/a17 'leave the CSV importer alone' --go")
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
_Turns = Annotated[bool, typer.Option("--turns", help="Also before the next model call of those that run.")]
_Model = Annotated[
    str | None, typer.Option(metavar="PROVIDER/MODEL", help="Only agents that think with this model.")
]
_Account = Annotated[
    str | None, typer.Option(metavar="ACCOUNT", help="Only the keys of this account; skep keys lists them.")
]
_Json = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]
_Wait = Annotated[bool, typer.Option("--wait", help="Return when it is effective and verified.")]
_Timeout = Annotated[str | None, typer.Option(metavar="TIME", help="With --wait: give up after so long (exit 1).")]
_DryRun = Annotated[bool, typer.Option("--dry-run", help="Print what would be stopped; stop nothing.")]


def pause(
    address: _Address = None,
    turns: _Turns = False,
    model: _Model = None,
    account: _Account = None,
    reason: Annotated[str, typer.Option(metavar="TEXT", help="Shown to everybody who looks.")] = "",
    for_: Annotated[
        str | None, typer.Option("--for", metavar="TIME", help="Release by itself after so long, as 10m.")
    ] = None,
    wait: _Wait = False,
    timeout: _Timeout = None,
    json: _Json = False,
) -> None:
    """Hold new starts in a swarm, a branch, a model or a key account.

    What runs goes on, what waits keeps its place. With --turns agents that run hold too, before their next call of
    a model; a turn that is under way comes to its end.

    With --wait it returns when everything in there really holds.
    """
    from skep.cli.holding import What, hold

    hold(
        address,
        What(turns, model, account),
        reason=reason,
        seconds=_seconds(for_),
        patience=_patience(timeout, wait=wait),
        wait=wait,
        json=json,
    )


def unpause(
    address: _Address = None,
    turns: Annotated[bool, typer.Option("--turns", help="Turns only; new starts stay held.")] = False,
    model: _Model = None,
    account: _Account = None,
    wait: _Wait = False,
    json: _Json = False,
) -> None:
    """Release what pause held there.

    What waits starts in its order, at once: with and without --wait. It is no error if nothing was held.
    """
    from skep.cli.holding import What, release

    release(address, What(turns, model, account), json=json)


def resume(
    address: Annotated[str, typer.Argument(metavar="ADDRESS", help="SWARM/AGENT, or AGENT of the newest swarm.")],
    message: Annotated[str, typer.Argument(metavar="[MESSAGE]", help="What to tell it besides.")] = "",
    go: Annotated[
        bool, typer.Option("--go", help="Let a swarm whose engine died go on at once, instead of held.")
    ] = False,
    json: _Json = False,
) -> None:
    """Go on with an ended conversation.

    A new agent takes it up after the last complete turn, with the old one's model, tools and limits. Tool calls
    whose outcome nobody knows are told to it as unknown; only those that change nothing are made again.
    """
    from skep.cli.resuming import resume as go_on

    go_on(address, message, go=go, json=json)


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
