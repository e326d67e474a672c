"""Finding swarms in the state folder, and what an address of the command line means."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Final

from pydantic import TypeAdapter, ValidationError

from skep import paths
from skep.errors import Ambiguous, Damaged, NotFound, SkepError
from skep.journal import holder, is_owned
from skep.journal.stamp import stamp
from skep.model.agent import Agent
from skep.model.swarm import SwarmState
from skep.text import clean_line

DESCRIPTION: Final = "swarm.json"
"""The file in a swarm's folder that says which swarm it is, readable without its journal."""

_SHOWN = 5
_SHOWN_TEXT = 80
_MAX_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a swarm ended, and the stamp of the journal that says so: true as long as that is still the same."""

    status: str
    states: dict[str, int]
    """How many agents are in which state."""
    ended_at: float
    """Epoch seconds."""
    stamp: str


@dataclass(frozen=True, slots=True)
class SwarmFolder:
    """One swarm on this machine, live or past; ``created_at`` in epoch seconds."""

    id: str
    name: str
    folder: Path
    created_at: float
    cwd: str = ""
    noted: Outcome | None = None
    """What its last engine noted down; see :meth:`outcome`."""

    def outcome(self) -> Outcome | None:
        """How it ended, without a look into its journal; None if only the journal can tell."""
        if self.noted is None or engine_pid(self.folder) is not None or stamp(self.folder) != self.noted.stamp:
            return None
        return self.noted


@dataclass(frozen=True, slots=True)
class Target:
    """What an address names: a swarm, and within it an agent by its text as it was given (None: the swarm)."""

    swarm: SwarmFolder
    agent: str | None = None


@dataclass(frozen=True, slots=True)
class _Description:
    id: str
    name: str
    created_at: float
    cwd: str = ""
    outcome: object = None


_DESCRIPTION = TypeAdapter(_Description)
_OUTCOME = TypeAdapter(Outcome)


def describe(
    folder: Path, id: str, name: str, created_at: float, cwd: str, outcome: Outcome | None = None
) -> None:
    """Write which swarm this folder holds. Raises BadInput or NoSpace as :func:`skep.paths.atomic_write` does."""
    body: dict[str, object] = {"id": id, "name": name, "created_at": created_at, "cwd": cwd}
    if outcome is not None:
        body["outcome"] = asdict(outcome)
    paths.atomic_write(folder / DESCRIPTION, json.dumps(body, indent=2).encode() + b"\n")


def note_outcome(folder: Path, status: str, states: Mapping[str, int], ended_at: float) -> None:
    """Note down how a swarm ended, beside its journal, which is closed. Raises as ``describe`` does."""
    word = stamp(folder)
    if word is not None:
        found = find(folder)
        ended = Outcome(status, dict(states), ended_at, word)
        describe(folder, found.id, found.name, found.created_at, found.cwd, ended)


def find(folder: Path) -> SwarmFolder:
    """The swarm in this folder. Raises NotFound if there is none, Damaged if its description cannot be read."""
    path = folder / DESCRIPTION
    try:
        read = _DESCRIPTION.validate_json(paths.read_plain(path, _MAX_BYTES))
    except (FileNotFoundError, NotADirectoryError):
        raise NotFound("there is no swarm here", where=str(folder)) from None
    except OSError as error:
        raise paths.file_error(error, path, "cannot read which swarm this is") from error
    except ValidationError as error:
        raise Damaged(
            "the description of a swarm cannot be read",
            where=str(path),
            why=error.errors(include_url=False)[0]["msg"],
            mend=f"mend the file, or skep clean --force {folder.name} removes the swarm",
        ) from error
    return SwarmFolder(read.id, read.name, folder, read.created_at, read.cwd, _outcome(read.outcome))


def _outcome(noted: object) -> Outcome | None:
    """What was noted down; what cannot be read is as good as nothing, for the journal knows it."""
    try:
        return _OUTCOME.validate_python(noted) if noted is not None else None
    except ValidationError:
        return None


def all_swarms(warnings: list[str] | None = None) -> list[SwarmFolder]:
    """Every swarm in the state folder, newest first; what cannot be read is left out and told in ``warnings``."""
    try:
        folders = sorted(paths.swarms_dir().iterdir())
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise paths.file_error(error, paths.swarms_dir(), "cannot list the swarms") from error
    swarms = []
    for folder in folders:
        try:
            if folder.is_dir():
                swarms.append(find(folder))
        except SkepError as error:
            if warnings is not None:
                warnings.append(str(error))
    return sorted(swarms, key=lambda swarm: (swarm.created_at, swarm.id), reverse=True)


def engine_pid(folder: Path) -> int | None:
    """The process that runs the swarm in this folder; None if none does."""
    return holder(folder)


def is_dead(folder: Path) -> bool:
    """Whether a swarm is kept here and no engine runs it, whether it has ended or its engine was killed.

    False in doubt, and for a folder that is gone: nothing then tells a swarm that was removed from one that lives
    in another state folder.
    """
    try:
        return (folder / DESCRIPTION).is_file() and holder(folder) is None and not is_owned(folder)
    except OSError:
        return False


def resolve(address: str | None) -> Target:
    """What ``SWARM``, ``SWARM/AGENT``, ``AGENT`` or ``/AGENT`` names; without a swarm it is the newest.

    A swarm is named by its id, a unique beginning of it, or its name. Of several swarms with one name the only
    live one is meant, and if none lives the newest. A text that names no swarm is an agent of the newest swarm,
    which :func:`find_agent` then looks for.

    Raises NotFound if there is no swarm at all, Ambiguous if the text names several.
    """
    swarms = all_swarms()
    if not swarms:
        raise NotFound("there is no swarm yet", where=str(paths.swarms_dir()), mend="skep run starts one")
    newest = swarms[0]
    if not address:
        return Target(newest)
    if address.startswith("/"):
        return Target(newest, address[1:] or None)
    whole = _named(swarms, address)
    if whole is not None:
        return Target(whole)
    first, slash, rest = address.partition("/")
    swarm = _named(swarms, first) if slash else None
    if swarm is not None:
        return Target(swarm, rest or None)
    return Target(newest, address)


def find_agent(state: SwarmState, text: str) -> str:
    """The id of the agent that a text names: by id, by name, or by a unique beginning or ending of them.

    Raises NotFound, with the nearest names, or Ambiguous, with the first few that it could be.
    """
    if text in state.agents:
        return text
    everyone = state.agents.values()
    for found in (
        [agent for agent in everyone if agent.name == text],
        [agent for agent in everyone if agent.id.startswith(text) or agent.name.startswith(text)],
        [agent for agent in everyone if agent.name.endswith(text)],
    ):
        if len(found) == 1:
            return found[0].id
        if found and text:
            raise _several("agents", text, (f"{agent.id} {agent.name}" for agent in found), len(found))
    raise _no_agent(state, everyone, text)


def _named(swarms: Sequence[SwarmFolder], text: str) -> SwarmFolder | None:
    for swarm in swarms:
        if swarm.id == text:
            return swarm
    named = [swarm for swarm in swarms if swarm.name == text]
    if len(named) > 1:
        live = [swarm for swarm in named if engine_pid(swarm.folder) is not None]
        if len(live) > 1:
            raise _several("live swarms", text, (swarm.id for swarm in live), len(live))
        named = live or named[:1]
    if named:
        return named[0]
    begun = [swarm for swarm in swarms if text and swarm.id.startswith(text)]
    if len(begun) > 1:
        raise _several("swarms", text, (f"{swarm.id} {swarm.name}" for swarm in begun), len(begun))
    return begun[0] if begun else None


def _several(what: str, text: str, candidates: Iterable[str], count: int) -> Ambiguous:
    shown = [clean_line(one, limit=_SHOWN_TEXT) for _, one in zip(range(_SHOWN), candidates, strict=False)]
    more = f" and {count - _SHOWN} more" if count > _SHOWN else ""
    return Ambiguous(
        f"{clean_line(text, limit=_SHOWN_TEXT)} names {count} {what}",
        why=f"{', '.join(shown)}{more}",
        mend="give more of the name, or the id",
    )


def _no_agent(state: SwarmState, everyone: Iterable[Agent], text: str) -> NotFound:
    names = {name for agent in everyone for name in (agent.name, agent.id)}
    near = get_close_matches(text, names, n=3)
    swarm = state.created.name if state.created is not None else "this swarm"
    guess = f"did you mean {', '.join(clean_line(one, limit=_SHOWN_TEXT) for one in near)}?" if near else None
    return NotFound(
        f"no swarm, and no agent of {clean_line(swarm, limit=_SHOWN_TEXT)}, is called "
        f"{clean_line(text, limit=_SHOWN_TEXT)}",
        mend=guess or "skep ls lists the swarms, skep tree the agents",
    )
