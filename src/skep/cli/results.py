"""What commands put out and agents answer on one standard output: whole, and in the order asked, as they end."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Final

from skep.cli.printing import note
from skep.model.agent import Agent
from skep.model.logs import log_path
from skep.model.report import is_delegated
from skep.model.states import DriverKind
from skep.model.swarm import SwarmState
from skep.paths import open_plain
from skep.text import StreamCleaner, clean, clean_line

_CHUNK: Final = 64 * 1024


class Results:
    """Prints in order what the operator asked for; what ended early waits for those asked before it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._order: list[str] = []
        self._next = 0

    def due(self, state: SwarmState) -> list[Agent]:
        """The agents whose turn it is now, oldest first; each once."""
        if not self._order:
            self._order = [
                agent.id
                for agent in state.agents.values()
                if agent.driver is not DriverKind.GROUP and not is_delegated(agent)
            ]
        ready = []
        while self._next < len(self._order) and (agent := state.agents[self._order[self._next]]).ended:
            ready.append(agent)
            self._next += 1
        return ready

    def write(self, agent: Agent) -> None:
        """Print the answer of a chat agent or the log of a command: cleaned for a terminal, else as it is."""
        if agent.driver is DriverKind.CHAT:
            self._answer(agent)
            return
        path = log_path(self._folder, agent)
        if path is None:
            return
        try:
            with open_plain(path) as log:
                if sys.stdout.isatty():
                    sys.stdout.writelines(f"{line}\n" for line in _cleaned(log))
                else:
                    sys.stdout.flush()
                    shutil.copyfileobj(log, sys.stdout.buffer)
        except FileNotFoundError:
            return  # it ended before it wrote anything
        except BrokenPipeError:
            raise
        except OSError as error:
            note(f"cannot read {clean_line(str(path))}: {error.strerror}")
            return
        sys.stdout.flush()

    def _answer(self, agent: Agent) -> None:
        if agent.result is None:
            return  # it came to none, and standard error says why
        text = clean(agent.result) if sys.stdout.isatty() else agent.result
        sys.stdout.flush()
        sys.stdout.buffer.write(f"{text.rstrip()}\n".encode(errors="replace"))
        sys.stdout.flush()


def _cleaned(log: BinaryIO) -> Iterator[str]:
    """The lines of a log; an endless one costs no more memory than another."""
    cleaner = StreamCleaner()
    while data := log.read(_CHUNK):
        yield from cleaner.feed(data)
    yield from cleaner.close()
