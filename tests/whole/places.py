"""A place of its own for each test: state, configuration and project folders, and skep as a program in them."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import tempfile
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from shutil import rmtree
from typing import Any

from skep.clock import SystemClock
from skep.control.client import SocketLink
from skep.control.swarms import engine_pid
from skep.model.states import State
from skep.model.swarm import SwarmState
from tests.whole.processes import end_all, ended
from tests.whole.waiting import LIMIT, deadline

SKEP = (sys.executable, "-m", "skep")


@dataclass(frozen=True)
class Done:
    """What became of a program."""

    code: int
    out: str
    err: str


class Place:
    """An empty state folder, an empty configuration and an empty project."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.state, self.project, config = home / "s", home / "p", home / "c"
        for folder in (self.state, self.project, config):
            folder.mkdir(mode=0o700)
        dropped = ("SKEP_", "LC_", "COLUMNS", "LINES", "NO_COLOR")
        self.env = {name: value for name, value in os.environ.items() if not name.startswith(dropped)}
        source = str(Path(__file__).parents[2] / "src")
        self.env |= {
            "HOME": str(home),
            "LC_ALL": "C.UTF-8",
            "TERM": "xterm-256color",
            "PYTHONPATH": os.pathsep.join(filter(None, (source, os.environ.get("PYTHONPATH")))),
            "SKEP_CONFIG_DIR": str(config),
            "SKEP_STATE_DIR": str(self.state),
        }

    @classmethod
    @asynccontextmanager
    async def of_its_own(cls) -> AsyncIterator[Place]:
        """A new one; whatever was started in it is ended in the end."""
        # Not pytest's own folder: its name is too long for the path of a socket.
        home = Path(tempfile.mkdtemp(prefix="skep-"))
        place = cls(home)
        try:
            yield place
        finally:
            await end_all(f"SKEP_STATE_DIR={place.state}")
            rmtree(home, ignore_errors=True)

    # -- files -------------------------------------------------------------------------------------------------

    def script(self, name: str, text: str) -> str:
        """A program of the project; returns the word to call it with."""
        path = self.project / name
        path.write_text(text)
        path.chmod(0o700)
        return f"./{name}"

    def read(self, name: str) -> str:
        """A file of the project, or one by its whole path; an absent one is empty."""
        path = self.project / name
        return path.read_text() if path.exists() else ""

    def folder(self, swarm: str) -> Path:
        """Where a swarm is kept."""
        return self.state / "swarms" / swarm

    # -- skep as a program -------------------------------------------------------------------------------------

    async def start(self, *words: str, feed: bool = False, before: Sequence[str] = (), **env: str) -> Process:
        """Skep in the background; with ``feed`` it has a standard input, ``before``: who runs it."""
        return await asyncio.create_subprocess_exec(
            *before,
            *SKEP,
            *words,
            cwd=self.project,
            env=self.env | env,
            stdin=PIPE if feed else DEVNULL,
            stdout=PIPE,
            stderr=PIPE,
        )

    async def skep(
        self, *words: str, stdin: str | None = None, code: int = 0, limit: float = LIMIT, **env: str
    ) -> Done:
        """Skep to its end, which is this exit code."""
        process = await self.start(*words, feed=stdin is not None, **env)
        done = await finished(process, stdin, limit)
        assert done.code == code, f"{words}: exit {done.code}\n{done.out}{done.err}"
        return done

    async def json(self, *words: str) -> dict[str, Any]:
        """The one document that such a command prints."""
        done = await self.skep(*words, "--json")
        assert done.out.count("\n") == 1
        document: dict[str, Any] = json.loads(done.out)
        return document

    async def launch(self, *words: str, items: list[str] | None = None, **env: str) -> str:
        """A swarm in the background, over these items; returns its id."""
        each = ["--each-line", "-"] if items is not None else []
        stdin = "".join(f"{item}\n" for item in items) if items is not None else None
        process = await self.start("run", *each, *words, "--detach", feed=items is not None, **env)
        done = await finished(process, stdin)
        assert done.code == 0, done.err
        return done.out.strip()

    async def agents(self, swarm: str) -> dict[str, dict[str, Any]]:
        """What ``skep tree --json`` says of each agent, by its name."""
        return {agent["name"]: agent for agent in (await self.json("tree", swarm))["agents"]}

    async def states(self, swarm: str) -> dict[str, str]:
        """The state of each agent, by its name."""
        return {name: agent["state"] for name, agent in (await self.agents(swarm)).items()}

    async def events(self, swarm: str) -> list[dict[str, Any]]:
        """All of ``skep events --json``."""
        return [json.loads(line) for line in (await self.skep("events", swarm, "--json")).out.splitlines()]

    # -- the engine --------------------------------------------------------------------------------------------

    def engine(self, swarm: str) -> int:
        """The process that runs a swarm."""
        pid = engine_pid(self.folder(swarm))
        assert pid is not None, f"no engine runs {swarm}"
        return pid

    async def kill_engine(self, swarm: str) -> None:
        """kill -9, and its end."""
        pid = self.engine(swarm)
        os.kill(pid, signal.SIGKILL)
        await ended([pid])

    async def engine_left(self, swarm: str) -> None:
        """Wait until no engine runs this swarm."""
        pid = engine_pid(self.folder(swarm))
        if pid is not None:
            await ended([pid])

    @asynccontextmanager
    async def link(
        self, swarm: str, client: str = "test", *, read_only: bool = False
    ) -> AsyncIterator[SocketLink]:
        """A client of the engine of this swarm."""
        link = await SocketLink.connect(
            self.folder(swarm), client=client, read_only=read_only, clock=SystemClock()
        )
        try:
            yield link
        finally:
            await link.close()

    async def until(self, link: SocketLink, what: str, predicate: Callable[[SwarmState], bool]) -> None:
        """Wait until the state of the swarm is so; ``what`` says it in words."""
        async with deadline(what):
            await link.until(predicate)

    async def until_over(self, swarm: str) -> None:
        """Wait for the end of a swarm and of its engine."""
        async with self.link(swarm) as link:
            await self.until(link, "the end of the swarm", is_over)
        await self.engine_left(swarm)


async def finished(process: Process, stdin: str | None = None, limit: float = LIMIT) -> Done:
    """Wait for the end of a program that was started."""
    try:
        async with deadline("the end of a program", limit):
            out, err = await process.communicate(stdin.encode() if stdin is not None else None)
    except AssertionError:
        process.kill()
        await process.communicate()
        raise
    assert process.returncode is not None
    return Done(process.returncode, out.decode(), err.decode())


def is_over(state: SwarmState) -> bool:
    return state.status is not None


def running(state: SwarmState) -> list[str]:
    """The names of those that run."""
    return [agent.name for agent in state.agents.values() if agent.slot and agent.state is State.RUNNING]
