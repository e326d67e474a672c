"""``skep attach`` and ``skep recover``: back into the room, and a swarm whose engine died taken up again."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TextIO

import typer

from skep.cli.printing import complain, note, say
from skep.errors import Refused
from skep.text import clean_line, duration

if TYPE_CHECKING:
    from skep.cli.links import Outcome
    from skep.control.swarms import SwarmFolder
    from skep.model.swarm import SwarmState

ATTACH_EXAMPLES = ("skep attach", "skep attach k3x9ab --read-only", "skep attach nightly --yes")
RECOVER_EXAMPLES = ("skep recover k3x9ab", "skep recover k3x9ab --go && skep tree k3x9ab")

_Loss = Annotated[bool, typer.Option("--accept-loss", help="Take up what is left of a journal that lost its end.")]


def attach(
    swarm: Annotated[str | None, typer.Argument(metavar="[SWARM]", help="Without it: the newest.")] = None,
    read_only: Annotated[bool, typer.Option("--read-only", help="Look, and be refused to act.")] = False,
    go: Annotated[
        bool, typer.Option("--go", help="Take up a swarm whose engine died, and let it go on at once.")
    ] = False,
    yes: Annotated[
        bool, typer.Option("--yes", "-y", help="Take up one whose engine died without asking.")
    ] = False,
    accept_loss: _Loss = False,
) -> None:
    """Open the room on a swarm.

    Of a swarm whose engine died you are told what is left, and asked: it can be taken up again, held until you
    release it, or only be looked at. One that has ended is shown from its journal.
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
        if outcome.ended_at is None and outcome.damage is not None and outcome.damage.blocks and not accept_loss:
            raise outcome.damage.error
        if _can_be_taken_up(outcome, accept_loss=accept_loss):
            choice = Choice.TAKE_UP if go or yes else _offer(found)
            if choice is Choice.LEAVE:
                return
            # Somebody else may have taken it up while the question stood.
            if choice is Choice.TAKE_UP and engine_pid(found.folder) is None:
                _recover(found, outcome, go=go, accept_loss=accept_loss)
            read_only = choice is Choice.LOOK
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


class Choice(StrEnum):
    """What becomes of a swarm whose engine died, by the letter that chooses it."""

    TAKE_UP = ""
    LOOK = "r"
    LEAVE = "q"


def _offer(found: SwarmFolder) -> Choice:
    """Say what a dead engine has left, and ask what to do with it."""
    import asyncio

    from skep.cli.links import past
    from skep.clock import SystemClock

    async def look() -> list[str]:
        clock = SystemClock()
        async with past(found.folder, clock) as link:
            with link.registry.read() as state:
                return _left_by(state, clock.time())

    words = asyncio.run(look())
    note(f"the engine of {found.id} ({clean_line(found.name, limit=80)}) has died")
    for line in words:
        note(f"  {line}")
    with _keyboard() as keyboard:
        while True:
            sys.stderr.write("enter takes it up again, held   r only looks at it   q leaves it: ")
            sys.stderr.flush()
            answer = keyboard.readline()
            if not answer:
                return Choice.LEAVE
            if answer.strip().lower() in tuple(Choice):
                return Choice(answer.strip().lower())


def _left_by(state: SwarmState, now: float) -> list[str]:
    """What is known of a swarm that an engine has left: how old that is, and what becomes of whom."""
    from skep.model.states import DriverKind, State

    agents = [agent for agent in state.agents.values() if agent.driver is not DriverKind.GROUP]
    ended = [agent for agent in agents if agent.ended]
    unbegun = [agent for agent in agents if agent.driver is DriverKind.COMMAND or not agent.attempt]
    waits = sum(agent.id in state.line for agent in unbegun)
    ran = len(agents) - len(ended) - waits
    lost = sum(agent.state is State.LOST for agent in ended)
    at = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(state.time))
    words = [f"the last that it wrote down is of {at}, {duration(max(now - state.time, 0.0))} ago"]
    if ran:
        words.append(f"{ran:,} ran, and {'are' if ran > 1 else 'is'} lost")
    if waits:
        words.append(f"{waits:,} wait{'' if waits > 1 else 's'}, and will be held")
    if ended:
        before = f", {lost:,} of them lost with an engine before" if lost else ""
        words.append(f"{len(ended):,} {'have' if len(ended) > 1 else 'has'} ended{before}")
    return words


@contextmanager
def _keyboard() -> Iterator[TextIO]:
    """Where the person types; standard input may have been something else."""
    if sys.stdin.isatty():
        yield sys.stdin
    else:
        with open("/dev/tty") as terminal:
            yield terminal


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
