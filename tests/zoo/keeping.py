"""Keeps a zoo: its trees are the agents of a real engine, which takes them down; then looks for survivors."""

from __future__ import annotations

import asyncio
import os
import shlex
import signal
import sys
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from skep.model.events import AgentEnded, AgentStopping
from skep.model.launch import AgentAsk
from skep.model.states import StopStep, StopVerb
from tests.engine.hive import Hive, Pipe, command
from tests.zoo.trees import Tree

ANIMAL = str(Path(__file__).with_name("animal.py"))


@dataclass(frozen=True, slots=True)
class Taken:
    """How one tree was taken down. Moments in epoch seconds."""

    tree: str
    verb: StopVerb
    step: StopStep
    """The rung on which it ended."""
    asked: float
    stepped: float
    """When it was on that rung."""
    ended: float
    allowed: float
    """Seconds of all graces that its verb gives."""

    @property
    def over(self) -> float:
        """Seconds from the asking to the end, less the graces that there are."""
        return self.ended - self.asked - self.allowed

    @property
    def took(self) -> float:
        """Seconds from the rung to the end."""
        return self.ended - self.stepped


class Zoo:
    """The trees of one run; each agent has the name of its tree."""

    def __init__(self, trees: Sequence[Tree], fifo: Pipe) -> None:
        self.trees = {tree.name: tree for tree in trees}
        self._fifo = fifo
        self._run = f"{os.getpid()}-{id(self):x}"
        self._pids: dict[str, set[int]] = {name: set() for name in self.trees}

    def tag(self, name: str) -> str:
        """What all processes of a tree have in their command lines."""
        return f"zoo-{self._run}-{name}"

    def ask(self, name: str) -> AgentAsk:
        """The agent that runs this tree as its command."""
        return command(name, *self.argv(name))

    def line(self, name: str) -> str:
        """The tree as a line for a shell."""
        return f"exec {shlex.join(self.argv(name))}"

    def argv(self, name: str) -> tuple[str, ...]:
        """The words of this tree."""
        tree = self.trees[name]
        return (sys.executable, "-I", "-S", ANIMAL, self.tag(name), str(self._fifo.path), tree.json())

    async def complete(self) -> None:
        """Wait until every process of every tree is what it should be."""
        names = {self.tag(name): name for name in self.trees}
        for _ in range(sum(tree.size for tree in self.trees.values())):
            tag, pid = (await self._fifo.line()).split()
            self._pids[names[tag]].add(int(pid))

    def standing(self, names: Collection[str]) -> dict[str, list[int]]:
        """The processes of these trees that have said that they were ready, and live; quicker than `survivors`."""
        found = {
            name: [pid for pid in self._pids[name] if self.tag(name).encode() in _words(pid)] for name in names
        }
        return {name: pids for name, pids in found.items() if pids}

    def survivors(self, names: Collection[str]) -> dict[str, list[int]]:
        """The living processes of these trees, as /proc has them; nothing of skep is asked."""
        tags = {self.tag(name).encode(): name for name in names}
        found: dict[str, list[int]] = {}
        for pid in map(int, filter(str.isdecimal, os.listdir("/proc"))):
            for word in tags.keys() & _words(pid):
                found.setdefault(tags[word], []).append(pid)
        return found

    def release(self) -> None:
        """Kill whatever is left, until nothing is."""
        while found := self.survivors(self.trees):
            for pid in (pid for pids in found.values() for pid in pids):
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)


def _words(pid: int) -> set[bytes]:
    """The arguments of a process; none of a zombie."""
    try:
        return set(Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0"))
    except OSError:
        return set()


async def take_down(hive: Hive, zoo: Zoo, verb_of: Callable[[str], StopVerb], *, limit: float) -> list[Taken]:
    """Stop every tree, and look for survivors of each when its agent has ended. AssertionError if there is one.

    The swarm has another agent besides, which lives on. ``limit``: real seconds until all have to be over.
    """
    asked: dict[str, float] = {}

    async def stop_all() -> None:
        for name in zoo.trees:
            asked[name] = hive.clock.time()
            await (hive.interrupt(name) if verb_of(name) is StopVerb.INTERRUPT else hive.kill(name))

    stopping = asyncio.create_task(stop_all())
    open_ = set(zoo.trees)
    try:
        async with asyncio.timeout(limit):
            while open_:
                with hive.registry.read() as state:
                    ended = {name for name in open_ if state.agents[name].ended}
                    seq = state.seq
                if not ended:
                    await hive.ledger.published(seq)
                    continue
                assert not (left := zoo.standing(ended)), f"their agents have ended, and they live: {left}"
                open_ -= ended
        await stopping
    except TimeoutError:
        raise AssertionError(f"not ended in {limit:g} s: {sorted(open_)}") from None
    finally:
        stopping.cancel()
    # The engine still runs, so nothing has been ended for the reason that everything is over.
    assert not (left := zoo.survivors(zoo.trees)), f"their agents have ended, and they live: {left}"
    return _taken(hive, asked, verb_of)


def _taken(hive: Hive, asked: dict[str, float], verb_of: Callable[[str], StopVerb]) -> list[Taken]:
    steps: dict[str, tuple[StopStep, float]] = {}
    found = []
    for record in hive.records():
        event = record.event
        if isinstance(event, AgentStopping) and event.agent in asked:
            steps[event.agent] = (event.step, record.time)
        elif isinstance(event, AgentEnded) and event.agent in asked:
            step, stepped = steps[event.agent]
            verb = verb_of(event.agent)
            soft = hive.settings.grace if verb is StopVerb.INTERRUPT else 0.0
            allowed = soft + hive.settings.term_grace
            found.append(Taken(event.agent, verb, step, asked[event.agent], stepped, record.time, allowed))
    return found
