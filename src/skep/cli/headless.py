"""Waiting for a swarm without a room: progress, results in order, Ctrl-C, and the exit code at the end."""

from __future__ import annotations

import asyncio
import copy
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path

from skep.cli.links import AnyLink, engine_died, opened, past
from skep.cli.printing import document, note
from skep.cli.progress import Progress, counted
from skep.cli.results import Results
from skep.cli.signals import Signals
from skep.clock import Clock
from skep.control.verbs import Request
from skep.errors import Refused, SkepError, Unreachable
from skep.model.agent import Agent, Face, Spend
from skep.model.events import ROOT
from skep.model.logs import diagnostic_path, log_path
from skep.model.report import run_document, status_of
from skep.model.states import DriverKind, State
from skep.model.swarm import SwarmState
from skep.text import clean_line, duration, money, tokens

RESULTS_EVERY = 0.25
"""Seconds after which finished output is looked for, when it is to be printed."""


_SHOWN_TEXT = 200
_FAILURES = (State.FAILED, State.TIMED_OUT, State.OVER_LIMIT, State.LOST)


class ExitCode(IntEnum):
    """What scripts rely on."""

    DONE = 0
    FAILED = 1
    INTERRUPTED = 130


def exit_code(status: str, *, stopped_here: bool = False) -> ExitCode:
    """0 if all are done, 130 if the swarm was interrupted, 1 for any other end."""
    if status == "done":
        return ExitCode.DONE
    return ExitCode.INTERRUPTED if stopped_here or status == "interrupted" else ExitCode.FAILED


@dataclass(frozen=True, slots=True)
class Order:
    """A request to the engine, and what is said of it on standard error."""

    words: str
    request: Request


StandIn = Callable[[SwarmState], Order | None]
"""Sees the swarm now and then, under its lock, and may ask for something as an operator would."""


async def wait(
    folder: Path,
    clock: Clock,
    *,
    results: bool = False,
    json: bool = False,
    foreground: bool = False,
    early: Sequence[int] = (),
    standin: StandIn | None = None,
) -> ExitCode:
    """Wait for the end of the swarm in this folder, or until the person leaves it to itself.

    ``results`` prints all output in the order asked, ``json`` one document at the end; in the ``foreground``
    the swarm cannot be left. ``early`` are signals that came while it was being started; ``standin`` acts in the
    place of the operator. Raises ``Unreachable`` if the engine dies on the way.
    """
    async with opened(folder, clock, aloud=False) as link:
        waiting = _Wait(link, clock, results=results, json=json, foreground=foreground, standin=standin)
        return await waiting.run(early)


class _Wait:
    """One run that is waited for."""

    def __init__(
        self,
        link: AnyLink,
        clock: Clock,
        *,
        results: bool,
        json: bool,
        foreground: bool,
        standin: StandIn | None,
    ) -> None:
        self._link = link
        self._clock = clock
        self._results = Results(link.folder) if results else None
        self._json = json
        self._foreground = foreground
        self._standin = standin
        self._told: set[str] = set()
        self._trouble: str | None = None
        self._progress = Progress()
        with link.registry.read() as state:
            # Whoever joins later was delegated, and that is never a group.
            self._groups = [agent.id for agent in state.agents.values() if agent.driver is DriverKind.GROUP]
            self._swarm = state.created.swarm if state.created is not None else link.folder.name

    async def run(self, early: Sequence[int]) -> ExitCode:
        with Signals(self._link, self._progress, can_leave=not self._foreground, early=early) as signals:
            try:
                ended = await self._attend(signals.left)
            finally:
                self._progress.close()
            return self._finish(stopped_here=signals.stopping) if ended else self._leave(stopping=signals.stopping)

    async def _attend(self, left: asyncio.Event) -> bool:
        """Show what happens until the swarm has ended (true) or the person has left (false)."""
        watch = self._link.registry.watch()
        with self._link.registry.read() as state:
            changed = set(state.agents)  # also what happened before there was a watch
        leaving = asyncio.ensure_future(left.wait())
        pace = min(self._progress.every, RESULTS_EVERY) if self._results is not None else self._progress.every
        try:
            while not self._look(changed):
                await self._stand_in()
                ending = asyncio.ensure_future(self._link.until(_is_over, pace))
                await asyncio.wait({ending, leaving}, return_when=asyncio.FIRST_COMPLETED)
                if leaving.done():
                    ending.cancel()
                    return False
                try:
                    ending.result()
                except TimeoutError:
                    pass  # nothing but time to look again
                except (Unreachable, Refused) as error:
                    if not await self._ended_meanwhile():
                        raise engine_died(self._swarm) from error
                changed = watch.take().agents
            return True
        finally:
            leaving.cancel()
            watch.close()

    async def _ended_meanwhile(self) -> bool:
        """Ask the journal: the engine has left, and the word of the end may not have come through."""
        async with past(self._link.folder, self._clock) as archive:
            with archive.registry.read() as state:
                over = _is_over(state)
            if over:
                self._link.registry.replace(state)
        return over

    def _look(self, changed: Iterable[str]) -> bool:
        """Say what is new; true once the swarm is over."""
        self._tell_trouble()
        with self._link.registry.read() as state:
            faces = self._faces(state)
            news = [agent for agent in map(state.agents.get, changed) if agent is not None]
            failed = [copy.copy(agent) for agent in news if _has_failed(agent)]
            asking = [copy.copy(agent) for agent in news if agent.question is not None]
            due = [copy.copy(agent) for agent in self._results.due(state)] if self._results is not None else []
            seconds = (state.ended_at or self._clock.time()) - state.created_at
            over = _is_over(state)
        for agent in sorted(failed, key=lambda agent: agent.order):
            if agent.id not in self._told:
                self._told.add(agent.id)
                self._progress.tell(self._verdict(agent))
        for agent in asking:
            self._tell_question(agent)
        if due and self._results is not None:
            self._progress.close()
            for agent in due:
                self._results.write(agent)
        if not over:
            self._progress.show(faces, seconds)
        return over

    async def _stand_in(self) -> None:
        if self._standin is None:
            return
        with self._link.registry.read() as state:
            order = self._standin(state)
        if order is not None:
            self._progress.tell(order.words)
            try:
                await self._link.call(order.request)
            except SkepError as error:
                # The swarm may just have ended by itself, or the engine died: the wait finds out.
                self._progress.tell(str(error))

    def _tell_trouble(self) -> None:
        """Why nothing goes on although nothing is over: the engine cannot write its journal."""
        said = self._link.state
        trouble = said.trouble if said.live and said.connected else self._trouble
        if trouble != self._trouble:
            self._trouble = trouble
            self._progress.tell(f"skep: warning: {trouble}" if trouble else "the journal is written again")

    def _tell_question(self, agent: Agent) -> None:
        question = agent.question or {}
        mark = str(question.get("hash"))
        if mark not in self._told:
            self._told.add(mark)
            address = f"{self._swarm}/{agent.id}"
            what = clean_line(str(question.get("headline", "")), limit=_SHOWN_TEXT)
            self._progress.tell(f"{agent.name} asks: {what}: skep approve {address}, or skep deny {address}")

    def _faces(self, state: SwarmState) -> Counter[Face]:
        """How many agents show which face; groups only hold others."""
        faces: Counter[Face] = Counter(state.composition(ROOT))
        faces.subtract(state.face(state.agents[group]) for group in self._groups if group != ROOT)
        if ROOT in state.agents and ROOT not in self._groups:
            faces[state.face(state.agents[ROOT])] += 1
        return faces

    def _verdict(self, agent: Agent) -> str:
        log = log_path(self._link.folder, agent)
        took = duration(agent.seconds(self._clock.time()))
        why = diagnostic_path(self._link.folder, agent)
        files = "".join(
            f", {name}: {path}" for name, path in (("log", log), ("diagnostic", why)) if path is not None
        )
        return f"{agent.name}: {ending(agent)} after {took}{files}"

    def _finish(self, *, stopped_here: bool) -> ExitCode:
        with self._link.registry.read() as state:
            status = state.status or status_of(state)
            faces = self._faces(state)
            used = copy.copy(state.spend(ROOT))
            seconds = (state.ended_at or self._clock.time()) - state.created_at
            body = (
                run_document(state, self._clock.time(), self._log_of, self._diagnostic_of) if self._json else None
            )
        note(f"{status}: {counted(faces)} in {duration(seconds)}{spent(used)}  (swarm {self._swarm})")
        if body is not None:
            document(body)
        return exit_code(status, stopped_here=stopped_here)

    def _leave(self, *, stopping: bool) -> ExitCode:
        if self._foreground:
            note("left; what still runs is being ended")
        else:
            note(f"left; the {'stop' if stopping else 'swarm'} goes on: skep attach {self._swarm}")
        return ExitCode.INTERRUPTED

    def _log_of(self, agent: Agent) -> str | None:
        path = log_path(self._link.folder, agent)
        return str(path) if path is not None else None

    def _diagnostic_of(self, agent: Agent) -> str | None:
        path = diagnostic_path(self._link.folder, agent)
        return str(path) if path is not None else None


def ending(agent: Agent) -> str:
    """How an agent ended, in a few words: ``exit 1``, ``timed out``, ``no such program``."""
    if agent.state is State.FAILED and agent.exit_code:
        return f"exit {agent.exit_code}"
    words = agent.state.value.replace("_", " ")
    if agent.error is None or agent.error.startswith(words):
        return agent.error or words
    return f"{words}: {agent.error}"


def spent(used: Spend) -> str:
    """What models have cost, to be added to a sentence: ``, $0.12 for 48.1k tokens``; empty without any turn."""
    if not used.turns:
        return ""
    count = f"{tokens(used.tokens_in + used.tokens_out)} tokens"
    if used.unpriced == used.turns:
        return f", {count}"
    return f", {money(used.cost, lower_bound=used.is_lower_bound)} for {count}"


def _is_over(state: SwarmState) -> bool:
    return state.status is not None


def _has_failed(agent: Agent) -> bool:
    return agent.driver is not DriverKind.GROUP and agent.state in _FAILURES
