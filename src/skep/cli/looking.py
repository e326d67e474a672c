"""``skep ls``, ``tree``, ``tail``, ``events`` and ``keys``: what the room shows, as text and as JSON."""

from __future__ import annotations

from typing import Annotated

import typer

LS_EXAMPLES = ("skep ls", "skep ls --json | jq -r '.swarms[] | select(.pid) | .id'")
TREE_EXAMPLES = (
    "skep tree",
    "skep tree nightly/docs",
    "skep tree --json | jq -r '.agents[] | select(.state == \"failed\") | .log'",
)
TAIL_EXAMPLES = ("skep tail src/a.py", "skep tail nightly/a17 -n 200", "skep tail nightly/a17 -f")
EVENTS_EXAMPLES = ("skep events", "skep events nightly --json --follow", "skep events --after 1200")
KEYS_EXAMPLES = ("skep keys", "skep keys nightly", "skep keys --json | jq '.providers[] | select(.missing)'")

_Json = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]


def ls(
    json: _Json = False,
    every: Annotated[bool, typer.Option("--all", help="Also the old ones, not only the newest 20.")] = False,
) -> None:
    """List the swarms, live and ended, newest first."""
    from skep.cli.listing import list_swarms

    list_swarms(json=json, every=every)


def tree(
    address: Annotated[
        str | None, typer.Argument(metavar="[ADDRESS]", help="SWARM, or SWARM/AGENT for a branch.")
    ] = None,
    json: _Json = False,
) -> None:
    """Show the agents of a swarm and what each of them does.

    State, time in it, and what it does or waits for, at this moment: the same figures as in the room.
    """
    from skep.cli.listing import show_tree

    show_tree(address, json=json)


def tail(
    address: Annotated[
        str | None, typer.Argument(metavar="[ADDRESS]", help="SWARM/AGENT; of a branch, those that run.")
    ] = None,
    lines: Annotated[
        int, typer.Option("--lines", "-n", min=0, metavar="N", help="So many lines from the end.")
    ] = 20,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until the agent has ended.")] = False,
) -> None:
    """Print the end of an agent's output.

    It is cleaned of whatever could disturb a terminal.
    """
    from skep.cli.tailing import tail_of

    tail_of(address, lines, follow=follow)


def events(
    swarm: Annotated[str | None, typer.Argument(metavar="[SWARM]", help="Without it: the newest.")] = None,
    json: Annotated[bool, typer.Option("--json", help="One event a line, as JSON.")] = False,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until the swarm has ended.")] = False,
    after: Annotated[int, typer.Option(min=0, metavar="N", help="Only events after this number.")] = 0,
) -> None:
    """Print the journal of a swarm.

    It holds every fact that ever changed the swarm, numbered.
    """
    from skep.cli.journaling import print_events

    print_events(swarm, after, json=json, follow=follow)


def keys(
    swarm: Annotated[str | None, typer.Argument(metavar="[SWARM]", help="Only its keys, as it has them.")] = None,
    json: _Json = False,
) -> None:
    """Show which keys there are and how they do.

    Without SWARM: the providers with the keys found here, by label and never a byte of them, and what is missing;
    then those of the newest live swarm, with their load and what came of it.
    """
    from skep.cli.keyring import show_keys

    show_keys(swarm, json=json)
