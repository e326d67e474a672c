"""The numbers of a preview in words: the same in the room and on the command line."""

from __future__ import annotations

from collections.abc import Mapping

from skep.control.verbs import Flight, UncommittedShown, WorktreeShown

_FLIGHTS = {
    Flight.PROGRAM: "program",
    Flight.TOOL: "tool",
    Flight.REQUEST: "model request",
}


def counted(count: int, what: str, *, at_least: bool = False) -> str:
    """``1 file``, ``≥1,204 files``."""
    return f"{'≥' if at_least else ''}{count:,} {what}{'s' if count != 1 else ''}"


def in_flight(flights: Mapping[Flight, int]) -> str:
    """``3 tools, 5 model requests``; empty if nothing is."""
    return ", ".join(counted(flights[kind], _FLIGHTS[kind]) for kind in Flight if flights.get(kind))


def uncommitted(found: UncommittedShown) -> str:
    """``9 files in 3 worktrees``, or why nothing is known; empty where no folder is under git."""
    trees = found.worktrees
    if not trees:
        return ""
    if all(tree.unknown is not None for tree in trees):
        return f"unknown: {trees[0].unknown}"
    files = counted(found.files, "file", at_least=found.at_least) if found.files or found.at_least else "nothing"
    return f"{files} in {counted(len(trees), 'worktree')}"


def unknown(found: UncommittedShown) -> str:
    """``1 unknown: git took over 2 s``; empty if all is known, or nothing."""
    why = [tree.unknown for tree in found.worktrees if tree.unknown is not None]
    return f"{len(why):,} unknown: {why[0]}" if 0 < len(why) < len(found.worktrees) else ""


def in_worktree(tree: WorktreeShown) -> str:
    """``4``, ``≥20,000``, ``?``."""
    return "?" if tree.unknown is not None else f"{'≥' if tree.at_least else ''}{tree.files:,}"


def names(tree: WorktreeShown, most: int) -> str:
    """The first files by name: ``src/a.py, src/b.py, +2``."""
    shown = tree.names[:most]
    more = tree.files - len(shown)
    return ", ".join([*shown, *([f"+{more:,}"] if more else [])])
