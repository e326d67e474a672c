"""The parts of an engine with a fuse in them: at a named point it kills its own process, as ``kill -9`` would."""

from __future__ import annotations

import os
import signal
import sqlite3
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from skep.cli.engine import Parts
from skep.clock import Clock
from skep.engine.engine import Engine
from skep.engine.ledger import Ledger
from skep.engine.permits import AgentPermits
from skep.hosts.local import LocalHost
from skep.journal import Journal, Row
from skep.model.children import Task
from skep.model.codec import decode
from skep.model.events import (
    AgentEnded,
    AgentQueued,
    AgentStopping,
    EngineStarted,
    Event,
    LatchClosed,
    ToolEnded,
    TurnCompleted,
)
from skep.model.launch import Launch
from skep.model.permits import Assignment, Ended, Note, Report, Started
from skep.model.states import StopStep
from skep.warden.client import Command, Warden
from skep.warden.wire import Kind
from tests.kills.mixed import holds_of

CHECKPOINT_EVERY = 150
"""Events between two checkpoints: few, so that recovery begins at one and crashes fall into their making."""


class Fuse:
    """Counts passages of one point, and lets the process die at a certain one."""

    def __init__(self) -> None:
        self.stage = self.event = ""
        self.left = 0
        self.armed: Path | None = None

    def set(self, point: str, nth: int, armed: Path) -> None:
        """Die at the ``nth`` passage of ``STAGE`` or ``STAGE/EVENT`` once there is a file at ``armed``."""
        self.stage, _, self.event = point.partition("/")
        self.left, self.armed = nth, armed

    @property
    def is_armed(self) -> bool:
        """True once it counts."""
        return self.armed is not None and self.armed.exists()

    def at(self, stage: str, events: Iterable[str] = ()) -> None:
        """The process has come to this stage, with these events."""
        if stage != self.stage or (self.event and self.event not in events):
            return
        if self.is_armed:
            self.left -= 1
            if self.left == 0:
                os.kill(os.getpid(), signal.SIGKILL)

    def watches(self, *stages: str) -> bool:
        """True if it burns at one of these: some are too dear to look for in vain."""
        return self.stage in stages


FUSE = Fuse()


def names_of(event: Event) -> set[str]:
    """What a point may call an event."""
    names = {event.kind}
    match event:
        case AgentQueued(resumes=str(resumes)) if resumes:
            names.add("resumed")
        case AgentQueued(spec=spec) if spec.get("depth"):
            names.add("delegated")
        case EngineStarted(recovered=True):
            names.add("recovered")
        case AgentStopping(step=step):
            names.add(f"rung {step.name.lower()}")
        case AgentEnded(state=state):
            names.add(f"ended {state.value}")
        case LatchClosed(scope=scope) if scope.startswith("account:"):
            names.add("account latch")
    return names


class FusedStore:
    """A journal's store; also between the statements of its transactions there is a point."""

    def __init__(self, store: Any) -> None:
        self._store = store
        self._names: set[str] = set()
        self._doing = ""
        if FUSE.watches("uncommitted", "half a checkpoint", "whole checkpoint", "log folded in"):
            connection: sqlite3.Connection = store._connection
            connection.set_trace_callback(self._executing)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def commit(self, rows: Sequence[Row]) -> None:
        self._names = {name for row in rows for name in names_of(decode(row.body))}
        FUSE.at("unwritten", self._names)
        self._doing = "rows"
        self._store.commit(rows)
        FUSE.at("committed", self._names)

    def mark(self) -> None:
        self._store.mark()
        FUSE.at("marked", self._names)

    def checkpoint(self, seq: int, pages: Sequence[bytes]) -> None:
        self._doing = "checkpoint"
        self._store.checkpoint(seq, pages)

    def close(self) -> None:
        self._doing = "close"
        self._store.close()

    def _executing(self, statement: str) -> None:
        if self._doing == "rows" and statement == "COMMIT":
            FUSE.at("uncommitted", self._names)
        elif self._doing == "checkpoint" and statement.startswith("INSERT OR REPLACE INTO checkpoint"):
            FUSE.at("half a checkpoint")
        elif self._doing == "checkpoint" and statement == "COMMIT":
            FUSE.at("whole checkpoint")
        elif self._doing == "close" and "journal_mode" in statement:
            FUSE.at("log folded in")


class FusedJournal(Journal):
    """Stages of an event: folded, queued, unwritten, uncommitted, committed, marked, acknowledged."""

    def __init__(self, folder: Path, **options: Any) -> None:
        self.names: dict[int, set[str]] = {}
        super().__init__(folder, **options)
        self._store: Any = FusedStore(self._store)

    def append(self, rows: Sequence[Row]) -> None:
        for row in rows:
            self.names[row.seq] = names_of(decode(row.body))
        names = self.names_of(range(rows[0].seq, rows[-1].seq + 1)) if rows else set()
        FUSE.at("folded", names)
        super().append(rows)
        FUSE.at("queued", names)

    def names_of(self, seqs: Iterable[int]) -> set[str]:
        return {name for seq in seqs for name in self.names.get(seq, ())}


class FusedLedger(Ledger):
    """Stages after that: the loop hears of it (acknowledged), replies and effects are due (due)."""

    journal: type[FusedJournal] = FusedJournal

    def __init__(self, folder: Path, clock: Clock, **options: Any) -> None:
        super().__init__(folder, clock, checkpoint_every=CHECKPOINT_EVERY, journal=self.journal, **options)
        FUSE.at("replayed")

    def _on_durable(self, seq: int) -> None:
        journal = self._journal
        assert isinstance(journal, FusedJournal)
        names = journal.names_of(range(self.durable + 1, seq + 1))
        FUSE.at("acknowledged", names)
        super()._on_durable(seq)
        FUSE.at("due", names)

    def close(self) -> None:
        FUSE.at("leaving")
        super().close()


class FusedPermits(AgentPermits):
    """What agents ask, before it is decided and after the answer is true."""

    async def note(self, agent: str, generation: int, note: Note) -> None:
        over = {TurnCompleted: "turn over", ToolEnded: "tool over"}.get(type(note))
        if over is not None:
            FUSE.at(over)
        await super().note(agent, generation, note)
        if isinstance(note, TurnCompleted):
            FUSE.at("turn durable", {"with calls"} if note.calls else ())
        elif isinstance(note, ToolEnded):
            FUSE.at("tool noted", {"settled"} if note.turn == 0 else ())

    async def spawn(self, agent: str, generation: int, tasks: Sequence[Task]) -> list[str]:
        ids = await super().spawn(agent, generation, tasks)
        FUSE.at("children durable")
        return ids

    async def conversation(self, agent: str, generation: int) -> list[Note]:
        notes = await super().conversation(agent, generation)
        FUSE.at("conversation read")
        return notes


class FusedEngine(Engine):
    """Its beginnings: what is durable and nobody knows yet."""

    permits_class: type[AgentPermits] = FusedPermits

    def __init__(self, *given: Any, **options: Any) -> None:
        super().__init__(*given, **options)
        self.permits = self.permits_class(
            self.ledger, self._seats, self._delegation, self._approvals, self._resumption, self._admit
        )

    async def launch(self, launch: Launch) -> None:
        if FUSE.is_armed:
            await super().launch(launch)
            FUSE.at("launched")
        # Nobody is let in before what is to be held is held.
        self._seats.closing = True
        await super().launch(launch)
        for hold in holds_of(launch):
            await self.pause(hold.scope, hold.strength, hold.reason, "the test", hold.seconds)

    async def recover(self, *, go: bool = False) -> None:
        FUSE.at("recovering")
        await super().recover(go=go)
        FUSE.at("recovered")


class FusedHost(LocalHost):
    """Effects, before and after they are carried out; reports, before they are taken in."""

    async def submit(self, assignment: Assignment) -> None:
        FUSE.at("unsubmitted", {assignment.driver.value})
        await super().submit(assignment)
        FUSE.at("submitted", {assignment.driver.value})

    async def control(self, agent: str, generation: int, step: StopStep) -> None:
        FUSE.at("undelivered", {step.name.lower()})
        await super().control(agent, generation, step)
        FUSE.at("delivered", {step.name.lower()})

    async def pull(self, ack: int) -> tuple[int, Sequence[Report]]:
        number, reports = await super().pull(ack)
        kinds = {Started: "started", Ended: "ended"}
        FUSE.at("reported", {kinds.get(type(report), "left") for report in reports})
        return number, reports


class FusedWarden(Warden):
    """A command is asked for, under way to the warden, and runs without that anybody was told."""

    async def run(self, agent: str, argv: Sequence[str], **options: Any) -> Command:
        command = await super().run(agent, argv, **options)
        FUSE.at("spawned")
        return command

    def _send(self, kind: Kind, number: int, payload: bytes = b"", descriptor: int = -1) -> None:
        super()._send(kind, number, payload, descriptor)
        if kind is Kind.RUN:
            FUSE.at("spawn in flight")


FUSED = Parts(FusedLedger, FusedEngine, FusedHost, FusedWarden)
