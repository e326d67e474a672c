"""What ``--dry-run`` says of a stop: who would go, what is in flight, what it has cost, what is in no commit."""

from __future__ import annotations

from skep.cli.printing import say
from skep.control import losses
from skep.control.verbs import Previewed, Standing, UncommittedShown, WorktreeShown
from skep.model.events import Json
from skep.text import duration, money, tokens

_SHOWN = 10
_NAMED = 3


def losses_document(preview: Previewed, files: UncommittedShown) -> dict[str, Json]:
    """The fields of the document."""
    return {**preview.model_dump(mode="json"), "uncommitted": files.model_dump(mode="json")}


def show_losses(preview: Previewed, files: UncommittedShown, how: str, title: str) -> None:
    """The same for people; all texts in it are clean already."""
    standing = ", ".join(f"{preview.standing[one]:,} {one}" for one in Standing if one in preview.standing)
    say(f"would {how} {losses.counted(preview.count, 'agent')} in {title}" + (f": {standing}" if standing else ""))
    if preview.turns:
        cost = round(preview.cost_usd * 1_000_000) if preview.cost_usd is not None else None
        spent = money(cost, lower_bound=preview.cost_is_lower_bound)
        say(f"  spent so far: {spent} in {losses.counted(preview.turns, 'turn')}, {tokens(preview.tokens)} tokens")
    say(f"  in flight: {losses.in_flight(preview.flights) or 'nothing'}")
    for flight in preview.in_flight[:_SHOWN]:
        say(f"    {flight.name}  {duration(flight.seconds)}  {flight.doing}".rstrip())
    _say_rest(sum(preview.flights.values()) - len(preview.in_flight[:_SHOWN]), "more")
    if files.worktrees:
        say(f"  uncommitted: {losses.uncommitted(files)}{'; a stop keeps them' if files.files else ''}")
        for tree in files.worktrees[:_SHOWN]:
            say(f"    {tree.path}  {_of_tree(tree)}")
        _say_rest(len(files.worktrees) - _SHOWN, "more")
        _say_rest(files.left_out, "folders that were not looked at")


def _of_tree(tree: WorktreeShown) -> str:
    if tree.unknown is not None:
        return f"unknown: {tree.unknown}"
    if not tree.files:
        return "all is committed"
    return f"{losses.in_worktree(tree)}: {losses.names(tree, _NAMED)}"


def _say_rest(count: int, what: str) -> None:
    if count > 0:
        say(f"    … and {count:,} {what}")
