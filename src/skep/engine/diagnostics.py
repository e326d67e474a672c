"""The diagnostic of an agent whose model never answered: one file in the swarm's folder, for whoever asks why."""

from __future__ import annotations

import logging
import os
import re
from datetime import UTC, datetime
from pathlib import Path

from skep.errors import SkepError
from skep.model.agent import Agent
from skep.model.permits import Ended
from skep.model.registry import Registry
from skep.model.states import DriverKind, State
from skep.paths import private_dir
from skep.text import clean, clean_line

FOLDER = "diagnostics"
"""Where they are, in the folder of the swarm."""

LIMIT = 32 * 1024
"""Most bytes of one."""

_LINE = 1_000
_FILE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")

_log = logging.getLogger(__name__)


class Diagnostics:
    """Writes them; a file that cannot be written is missing, and nothing else."""

    def __init__(self, folder: Path, registry: Registry) -> None:
        self._folder = folder
        self._registry = registry

    def keep(self, end: Ended) -> str | None:
        """Write what an ended agent was doing; returns the file's place in the folder, None if there is none.

        Only what held a slot and failed or ran out of time without one complete model call is explained.
        """
        one = self._registry.agent(end.agent)
        if one is None or one.ended or not _is_wanted(one, end):
            return None
        place = f"{FOLDER}/{one.id}.txt"
        try:
            private_dir(self._folder / FOLDER)
            _write(self._folder / place, _text(one, end).encode(errors="replace")[:LIMIT])
        except (SkepError, OSError) as error:
            _log.warning("the diagnostic of %s is not kept: %s", one.id, error)
            return None
        return place


def verdict(one: Agent, end: Ended) -> tuple[State, str | None]:
    """The end state, and the error: a stop that is under way decides over what the driver saw."""
    if one.state is State.STOPPING and one.stop_verb is not None:
        return one.stop_verb.end, one.stop_cause or end.error
    return end.state, end.error


def _is_wanted(one: Agent, end: Ended) -> bool:
    chat = one.driver is DriverKind.CHAT and not one.turns and one.attempt > 0
    return chat and verdict(one, end)[0] in (State.FAILED, State.TIMED_OUT) and bool(_FILE_NAME.fullmatch(one.id))


def _text(one: Agent, end: Ended) -> str:
    state, error = verdict(one, end)
    words = state.value.replace("_", " ")
    lines = [
        f"{clean_line(one.name, limit=_LINE)} ({one.id}): {words}, without one complete call of its model",
        "",
        "record",
        f"  error: {clean(error or 'none', limit=_LINE)}",
        f"  was: {one.state}" + (f", {one.reason}: {clean_line(one.detail, limit=_LINE)}" if one.reason else ""),
        f"  admissions: {one.attempt}; {'holds a slot' if one.slot else 'its slot was given back'}",
        f"  asked for: {_moment(one.queued_at)}",
        f"  started: {_moment(one.started_at)}",
        f"  in this state since: {_moment(one.since)}",
        f"  stop asked for: {_moment(one.asked_at)}, delivered: {_moment(one.delivered_at)}",
        f"  model calls that failed: {one.struck}",
        f"  goal: {len(one.goal):,} characters",
        "",
        clean(end.diagnosis) if end.diagnosis else "Its host tells nothing of it: it had not begun.",
        "",
    ]
    return "\n".join(lines)


def _write(path: Path, data: bytes) -> None:
    # Not synced: the engine's loop would wait for the disk, and a crash may take this file with it.
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    with open(descriptor, "wb") as file:
        os.fchmod(descriptor, 0o600)
        file.write(data)


def _moment(epoch: float | None) -> str:
    return datetime.fromtimestamp(epoch, UTC).isoformat(timespec="milliseconds") if epoch is not None else "never"
