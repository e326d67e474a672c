"""Removing swarms that nobody needs any more, and nothing else."""

from __future__ import annotations

import asyncio
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

from skep.cli.addresses import whole_swarm
from skep.cli.links import Outcome, outcome_of
from skep.cli.printing import complain, note, say
from skep.clock import Clock, SystemClock
from skep.control.swarms import DESCRIPTION, SwarmFolder, all_swarms, engine_pid, find
from skep.errors import BadInput, Damaged, Refused, SkepError
from skep.journal import FolderLock
from skep.paths import file_error, swarms_dir
from skep.text import clean_line, duration, size
from skep.warden.client import marked_swarms, sweep_markers


@dataclass(frozen=True, slots=True)
class _Old:
    """A swarm to be removed: when it ended (epoch seconds; None if it never did) and its bytes on disk."""

    swarm: SwarmFolder
    ended_at: float | None
    bytes: int


def clean_up(names: tuple[str, ...], age: float | None, *, dry_run: bool, yes: bool, force: bool) -> None:
    """Remove ended swarms: those named, else all; only those that ended ``age`` seconds ago or earlier."""
    if force and not names:
        raise BadInput("--force is for swarms that are named", where="skep clean", mend="name them: skep ls")
    clock = SystemClock()
    chosen = [_named(name, clock, force=force) for name in dict.fromkeys(names)] if names else _all_ended(clock)
    if age is not None:
        chosen = [old for old in chosen if old.ended_at is not None and clock.time() - old.ended_at >= age]
    if not chosen:
        note("there is nothing to remove")
        return
    if not dry_run and not yes:
        _confirm(chosen)
    haunted = marked_swarms() if not dry_run else ()
    for old in chosen:
        if not dry_run:
            _remove(old.swarm, sweep=old.swarm.id in haunted)
        when = f"ended {duration(clock.time() - old.ended_at)} ago" if old.ended_at is not None else "not ended"
        verb = "would remove" if dry_run else "removed"
        say(f"{verb} {old.swarm.id}  {clean_line(old.swarm.name)}  {when}, {size(old.bytes)}")


def _all_ended(clock: Clock) -> list[_Old]:
    found = []
    warnings: list[str] = []
    for swarm in all_swarms(warnings):
        if engine_pid(swarm.folder) is not None:
            continue
        try:
            ended = _ended_at(swarm, clock)
        except SkepError as error:
            complain(error, prefix="skep: warning")  # a damaged journal may be all that is left of the work
            continue
        if ended is not None:
            found.append(_Old(swarm, ended, _size(swarm.folder)))
    for warning in warnings:
        note(f"skep: warning: {clean_line(warning)}")
    return found


def _named(name: str, clock: Clock, *, force: bool) -> _Old:
    swarm = (_undescribed(name) if force else None) or whole_swarm(name)
    pid = engine_pid(swarm.folder)
    if pid is not None:
        raise Refused(
            "its engine lives",
            where=swarm.id,
            why=f"process {pid}",
            mend=f"skep interrupt {swarm.id} ends it first",
        )
    try:
        ended = _ended_at(swarm, clock)
    except SkepError:
        if not force:
            raise
        ended = None
    if ended is None and not force:
        raise Refused(
            "the swarm has not ended",
            where=swarm.id,
            why="its engine died, and it can be taken up again",
            mend=f"skep recover {swarm.id}, or skep clean --force {swarm.id} to give it up",
        )
    return _Old(swarm, ended, _size(swarm.folder))


def _undescribed(name: str) -> SwarmFolder | None:
    """The swarm in the folder of this name, if nothing but its name says which swarm it is."""
    folder = swarms_dir() / Path(name).name
    if folder.name != name or not folder.is_dir():
        return None
    try:
        find(folder)
    except Damaged:
        return SwarmFolder(name, name, folder, folder.stat().st_ctime)
    except SkepError:
        return None
    return None


def _ended_at(swarm: SwarmFolder, clock: Clock) -> float | None:
    """When it ended; raises Damaged if what is left of its journal cannot tell for certain."""
    outcome: Outcome = asyncio.run(outcome_of(swarm.folder, clock))
    if outcome.damage is not None and outcome.damage.blocks:
        raise outcome.damage.error
    return outcome.ended_at


def _confirm(chosen: list[_Old]) -> None:
    count = f"{len(chosen)} swarm{'s' if len(chosen) != 1 else ''}, {size(sum(old.bytes for old in chosen))}"
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise BadInput(f"not asked whether to remove {count}", where="skep clean", mend="add --yes, or --dry-run")
    sys.stderr.write(f"remove {count}? [y/N] ")
    sys.stderr.flush()
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise Refused("nothing was removed", where="skep clean")


def _remove(swarm: SwarmFolder, *, sweep: bool) -> None:
    # The lock keeps an engine from taking the swarm up while its journal goes away.
    with FolderLock(swarm.folder):
        if sweep:
            asyncio.run(sweep_markers(swarm.id))  # without the folder nobody could tell whose these are
        try:
            (swarm.folder / DESCRIPTION).unlink(missing_ok=True)  # from here on it is no swarm any more
            shutil.rmtree(swarm.folder)
        except OSError as error:
            raise file_error(error, swarm.folder, "cannot remove the swarm") from error


def _size(folder: Path) -> int:
    return sum(file.lstat().st_size for file in folder.rglob("*") if not file.is_dir())
