"""``skep demo`` and ``skep simulator``: a swarm to try things on, and models that cost nothing."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from skep.cli.launching import Mode, launched, mode_of, need_terminal
from skep.cli.printing import complain

DEMO_EXAMPLES = ("skep demo", "skep demo --speed 3 --seed 7", "skep demo --headless && echo it works")
SIMULATOR_EXAMPLES = ("skep simulator", "skep simulator --keys 4 --speed 10 --port 0")

SPEED = 1.0
"""How fast the models of the demo answer where somebody watches: as real ones do."""

HEADLESS_SPEED = 10.0


def demo(
    seed: Annotated[int, typer.Option(metavar="N", help="The same number gives the same agents.")] = 0,
    speed: Annotated[
        float | None,
        typer.Option(metavar="X", help="How fast the simulated models are: 1 as real ones, headless 10."),
    ] = None,
    headless: Annotated[
        bool, typer.Option("--headless", help="Without a room; stops the branch that hangs, and checks the end.")
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="Headless; print one JSON document at the end.")] = False,
    detach: Annotated[bool, typer.Option("--detach", help="Print the id of the swarm and return.")] = False,
    foreground: Annotated[
        bool, typer.Option("--foreground", help="Keep engine and room in this one process.")
    ] = False,
) -> None:
    """Watch a swarm at work, with simulated models.

    Over sixty chat agents get a small web shop ready for a release. They read, write and run its tests in a
    folder of their own; the models are simulated on this machine, so it takes no key, no network and no money. One
    branch hangs: find it, and interrupt it (X).
    """
    from skep.cli import rehearsal
    from skep.cli.simulating import check_speed
    from skep.clock import SystemClock
    from skep.config import load

    mode = mode_of(headless=headless, json=json, detach=detach, foreground=foreground, verb="skep demo")
    speed = speed if speed is not None else HEADLESS_SPEED if mode is Mode.HEADLESS else SPEED
    check_speed(speed)
    loaded = load(Path.cwd(), {}, os.environ)
    for warning in loaded.warnings:
        complain(warning, prefix="skep: warning")
    if mode is Mode.ROOM:
        need_terminal("add --headless (or --json, --detach)")

    def wait(place: Path, early: Sequence[int]) -> int:
        import asyncio

        rehearsing = rehearsal.rehearse(place, SystemClock(), seed, json=json, foreground=foreground, early=early)
        return asyncio.run(rehearsing)

    launch = rehearsal.plan_demo(seed, speed, loaded.config, os.environ)
    raise typer.Exit(
        launched(
            launch,
            mode,
            loaded.config,
            wait,
            foreground=foreground,
            prepare=lambda place: rehearsal.make_shop(place, seed),
        )
    )


def simulator(
    port: Annotated[int, typer.Option(metavar="P", help="Where to serve; 0 takes any port that is free.")] = 8399,
    keys: Annotated[int, typer.Option(metavar="N", help="Fresh keys to make; 0: any key is taken.")] = 2,
    speed: Annotated[float, typer.Option(metavar="X", help="Divides every delay; 1 is as real models are.")] = 1.0,
    seed: Annotated[int, typer.Option(metavar="N", help="The dice of the models.")] = 0,
) -> None:
    """Serve simulated models until Ctrl-C.

    Prints what another shell needs, so that skep run --model simulator/any works there. A goal with a line [[sim]]
    and a list of steps after it says itself how it is answered.
    """
    from skep.cli.simulating import serve

    serve(port=port, keys=keys, speed=speed, seed=seed)
