"""What folders of agents hold that is in no commit: git is asked, and nothing that a repository names is run."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import Awaitable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from skep.clock import Clock
from skep.drivers.program import Programs
from skep.errors import SkepError
from skep.model.permits import Uncommitted, Worktree
from skep.model.states import StopStep
from skep.text import clean_line

LIMIT: Final = 2.0
"""Seconds for all folders together."""

AT_ONCE: Final = 4
"""Programs that run at the same time, whoever asks."""

FOLDERS: Final = 100
"""Distinct folders that are looked at."""

CAP: Final = 1024 * 1024
"""Bytes of the answer about one working tree; what comes after them is not counted."""

NAMES: Final = 20
"""Files of one working tree that are named."""

FILTERS: Final = 100
"""Filters of one repository that are switched off; with more of them it is not looked at."""

MARK: Final = ".git"
"""What the programs are marked with in place of an agent; no agent can be called so."""

TOOK_TOO_LONG: Final = f"git took over {LIMIT:g} s"
NOT_TRUSTED: Final = "git does not trust what is there"
NO_GIT: Final = "there is no git here"

_FAILED = 128
_NO_MATCH = 1  # of ``git config``

_SETTINGS = {
    # Whatever a repository may name as a program, or as a place to fetch from, is put out of force.
    "core.fsmonitor": "false",
    "core.hooksPath": os.devnull,
    "core.pager": "cat",
    "diff.external": "",
    "protocol.allow": "never",
    # A folder that merely looks like a repository of its own is none: a file tool could have made it.
    "safe.bareRepository": "explicit",
}
_TRUSTING = {"safe.directory": "*", "safe.bareRepository": "all"}
"""Of others, and of what only looks like a repository."""
_ENVIRONMENT = {
    "GIT_ALLOW_PROTOCOL": "none",  # stronger than any setting: nothing that is missing is fetched
    "GIT_NO_LAZY_FETCH": "1",
    "GIT_OPTIONAL_LOCKS": "0",
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_PAGER": "cat",
    "LC_ALL": "C",
}
# Only its answer is read: what git says beside it is words, and for people.
_QUIETLY = ("/bin/sh", "-c", 'exec "$@" 2>/dev/null', "sh")


@dataclass(frozen=True, slots=True)
class _Said:
    """What a program wrote, as far as it was read, and its exit code."""

    data: bytes
    code: int | None
    whole: bool = True


@dataclass(slots=True)
class _Found:
    """What is known so far."""

    places: dict[str, Worktree]
    """Folder → the working tree in which it lies; folders in none are taken out."""
    counted: dict[str, Worktree] = field(default_factory=dict)
    """Top folder → what is in no commit there."""

    def worktrees(self) -> tuple[Worktree, ...]:
        """Each once, with all folders that lie in it."""
        inside: dict[str, list[str]] = {}
        first: dict[str, Worktree] = {}
        for folder, place in self.places.items():
            inside.setdefault(place.path, []).append(folder)
            first.setdefault(place.path, place)
        return tuple(
            replace(self.counted.get(path, place), folders=tuple(inside[path])) for path, place in first.items()
        )


class Git:
    """Asks git. It runs under the warden, so that nothing of it outlives its time, or the engine."""

    def __init__(self, programs: Programs, clock: Clock, environment: Mapping[str, str]) -> None:
        self._programs = programs
        self._clock = clock
        self._environment = {**environment, **_ENVIRONMENT}
        self._turns = asyncio.Semaphore(AT_ONCE)

    async def uncommitted(self, folders: Sequence[str]) -> Uncommitted:
        """What these folders hold that is in no commit; each working tree is asked about once."""
        distinct = [folder for folder in dict.fromkeys(folders) if os.path.isabs(folder)]
        asked = distinct[:FOLDERS]
        found = _Found({folder: Worktree(folder, (folder,), unknown=TOOK_TOO_LONG) for folder in asked})
        git = _find(self._environment.get("PATH", ""))
        if git is not None:
            await self._within_limit(self._look(git, found))
        else:
            found.places = {folder: replace(place, unknown=NO_GIT) for folder, place in found.places.items()}
        return Uncommitted(found.worktrees(), len(distinct) - len(asked))

    async def _within_limit(self, work: Awaitable[None]) -> None:
        working = asyncio.ensure_future(work)
        both: set[asyncio.Future[None]] = {working, asyncio.ensure_future(self._clock.sleep(LIMIT))}
        try:
            await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for one in both:
                one.cancel()
            await asyncio.gather(*both, return_exceptions=True)
        if not working.cancelled():
            working.result()

    async def _look(self, git: str, found: _Found) -> None:
        """First where the folders lie, then what is in each working tree; what is known is noted as it comes."""
        async with asyncio.TaskGroup() as tasks:
            for folder in list(found.places):
                tasks.create_task(self._place(git, folder, found))
        async with asyncio.TaskGroup() as tasks:
            for tree in found.worktrees():
                if tree.unknown == TOOK_TOO_LONG:
                    tasks.create_task(self._count(git, tree, found))

    async def _place(self, git: str, folder: str, found: _Found) -> None:
        try:
            said = await self._ask(git, folder, "rev-parse", "--show-toplevel")
            unknown = TOOK_TOO_LONG
            if said.code == _FAILED:
                # The same again as if all could be trusted, to tell a refusal from a folder without git. This
                # reads no more than where the top folder is.
                said = await self._ask(git, folder, "rev-parse", "--show-toplevel", settings=_TRUSTING)
                unknown = NOT_TRUSTED
        except (SkepError, OSError) as error:
            found.places[folder] = Worktree(folder, (folder,), unknown=_in_words(error))
            return
        if said.code == 0 and said.whole:
            top = os.fsdecode(said.data.removesuffix(b"\n"))
            found.places[folder] = Worktree(top, (folder,), unknown=unknown)
        elif said.code == _FAILED:
            del found.places[folder]
        else:
            found.places[folder] = Worktree(folder, (folder,), unknown=_failure(said))

    async def _count(self, git: str, tree: Worktree, found: _Found) -> None:
        folder = tree.folders[0]
        words = ("status", "--porcelain=v1", "-z", "--untracked-files=all", "--no-renames")
        try:
            filters = await self._filters(git, folder)
            if filters is None:
                found.counted[tree.path] = replace(tree, unknown="its filters cannot be switched off")
                return
            # Where a submodule stands is looked at, but not into it: its settings are its own.
            said = await self._ask(git, folder, *words, "--ignore-submodules=dirty", settings=filters)
        except (SkepError, OSError) as error:
            found.counted[tree.path] = replace(tree, unknown=_in_words(error))
            return
        if said.whole and said.code != 0:
            found.counted[tree.path] = replace(tree, unknown=_failure(said))
            return
        entries = said.data.split(b"\0")[:-1]
        names = tuple(os.fsdecode(entry[3:]) for entry in entries[:NAMES])
        found.counted[tree.path] = replace(
            tree, files=len(entries), names=names, at_least=not said.whole, unknown=""
        )

    async def _filters(self, git: str, folder: str) -> dict[str, str] | None:
        """Settings that put the filters of this repository out of force; None if that cannot be.

        A filter is a program that git runs on a file to compare it. Without one a file that only its filter makes
        equal counts as changed, which is no worse than not to know.
        """
        said = await self._ask(git, folder, "config", "--null", "--name-only", "--get-regexp", r"^filter\.")
        if said.code == _NO_MATCH:
            return {}
        keys = said.data.split(b"\0")[:-1]
        names = {os.fsdecode(key).removeprefix("filter.").rpartition(".")[0] for key in keys} - {""}
        # Only the first ``=`` of an argument parts a name from its value.
        if said.code != 0 or not said.whole or len(names) > FILTERS or any("=" in name for name in names):
            return None
        off = {"clean": "", "smudge": "", "process": "", "required": "false"}
        return {f"filter.{name}.{what}": value for name in sorted(names) for what, value in off.items()}

    async def _ask(
        self,
        git: str,
        folder: str,
        *words: str,
        settings: Mapping[str, str] | None = None,
    ) -> _Said:
        """Run git once. Raises SkepError if it cannot be started."""
        put = {**_SETTINGS, **(settings or {})}
        options = [word for name, value in put.items() for word in ("-c", f"{name}={value}")]
        argv = (*_QUIETLY, git, "--no-pager", "--no-optional-locks", *options, "-C", folder, *words)
        kept = bytearray()

        def read(data: bytes) -> None:
            kept.extend(data[: CAP + 1 - len(kept)])
            if len(kept) > CAP:
                program.stop(StopStep.KILL)

        program = self._programs.of(MARK, read)
        async with self._turns:
            exited = await program.run(argv, cwd="/", env=self._environment, begun=lambda pid: None, bare=True)
        return _Said(bytes(kept[:CAP]), exited.code, len(kept) <= CAP)


def _find(path: str) -> str | None:
    """The git of this search path. A folder that is named relative to another is no place for it."""
    absolute = [folder for folder in path.split(os.pathsep) if os.path.isabs(folder)]
    return shutil.which("git", path=os.pathsep.join(absolute)) if absolute else None


def _failure(said: _Said) -> str:
    return f"git failed with exit {said.code}" if said.code is not None else "git was ended"


def _in_words(error: SkepError | OSError) -> str:
    why = error.why or error.what if isinstance(error, SkepError) else error.strerror or str(error)
    return clean_line(f"git could not be started: {why}", limit=200)
