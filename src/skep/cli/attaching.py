"""``skep attach`` and ``skep recover``: back into the room, and a swarm whose engine died taken up again."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from skep.cli.printing import complain, note, say
from skep.errors import Refused
from skep.text import clean_line

if TYPE_CHECKING:
    from skep.cli.links import Outcome
    from skep.control.swarms import SwarmFolder

ATTACH_EXAMPLES = ("skep attach", "skep attach k3x9ab --read-only", "skep attach nightly --go")
RECOVER_EXAMPLES = ("skep recover k3x9ab", "skep recover k3x9ab --go && skep tree k3x9ab")

_Loss = Annotated[bool, typer.Option("--accept-loss", help="Take up what is left of a journal that lost its end.")]


def attach(
    swarm: Annotated[str | None, typer.Argument(metavar="[SWARM]", help="Without it: the newest.")] = None,
    read_only: Annotated[bool, typer.Option("--read-only", help="Look, and be refused to act.")] = False,
    go: Annotated[bool, typer.Option("--go", help="Let a recovered swarm go on at once.")] = False,
    accept_loss: _Loss = False,
) -> None:
    """Open the room on a swarm.

    A swarm whose engine died is taken up again, held until you release it (or with --go). One that has ended is
    shown from its journal.
    """
    from skep.cli.roomdoor import need_terminal, visit
    from skep.clock import SystemClock
    from skep.config import load
    from skep.control.swarms import engine_pid

    found = _swarm(swarm)
    need_terminal("skep tree and skep tail show the same as text")
    loaded = load(_folder(found), {}, os.environ)
    for warning in loaded.warnings:
        complain(warning, prefix="skep: warning")
    if not read_only and engine_pid(found.folder) is None:
        outcome = _outcome(found.folder)
        if _can_be_taken_up(outcome, accept_loss=accept_loss):
            _recover(found, outcome, go=go, accept_loss=accept_loss)
    visit(found.folder, SystemClock(), loaded.config, read_only=read_only)


def recover(
    swarm: Annotated[str, typer.Argument(metavar="SWARM", help="Id or name.")],
    go: Annotated[bool, typer.Option("--go", help="Let it go on at once instead of held.")] = False,
    accept_loss: _Loss = False,
) -> None:
    """Take up a swarm whose engine died, without the room.

    Prints its id. What ran when the engine died is lost and says so; what waited still waits, held until
    skep unpause.
    """
    from skep.control.swarms import engine_pid

    found = _swarm(swarm)
    pid = engine_pid(found.folder)
    if pid is not None:
        raise Refused(
            "its engine is alive", where=found.id, why=f"process {pid}", mend=f"skep attach {found.id} opens it"
        )
    outcome = _outcome(found.folder)
    if not _can_be_taken_up(outcome, accept_loss=accept_loss):
        raise Refused("the swarm has ended", where=found.id, mend=f"skep tree {found.id} shows what became of it")
    _recover(found, outcome, go=go, accept_loss=accept_loss)
    say(found.id)


def _can_be_taken_up(outcome: Outcome, *, accept_loss: bool) -> bool:
    """It has not ended; or its journal is damaged, and accepting that mends it whatever became of the swarm."""
    return outcome.ended_at is None or (outcome.damage is not None and outcome.damage.blocks and accept_loss)


def _recover(found: SwarmFolder, outcome: Outcome, *, go: bool, accept_loss: bool) -> None:
    from skep.cli import engine

    engine.start(found.folder, None, go=go, accept_loss=accept_loss)
    if outcome.damage is not None and outcome.damage.blocks:
        note(f"accepted: {outcome.damage.loss}; what was damaged is kept in {clean_line(str(found.folder))}")
    if outcome.ended_at is not None:
        return
    if _outcome(found.folder).ended_at is not None:
        note(f"the engine of {found.id} had died; what ran is lost, and nothing is left that could go on")
        return
    held = "it goes on" if go else f"it is held: skep unpause {found.id} lets it go on"
    note(f"the engine of {found.id} had died; a new one has taken it up, and {held}")


def _outcome(folder: Path) -> Outcome:
    import asyncio

    from skep.cli.links import outcome_of
    from skep.clock import SystemClock

    return asyncio.run(outcome_of(folder, SystemClock()))


def _swarm(address: str | None) -> SwarmFolder:
    """The swarm that is meant; an address with an agent in it is refused."""
    from skep.cli.addresses import whole_swarm

    return whole_swarm(address)


def _folder(found: SwarmFolder) -> Path:
    """Where the swarm runs, for the project's settings; it may be gone."""
    folder = Path(found.cwd) if found.cwd else Path.cwd()
    return folder if folder.is_dir() else Path.cwd()
