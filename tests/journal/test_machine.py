"""A journal and what is recovered from it, against a plain list, over any history of crashes and full disks."""

from __future__ import annotations

import itertools
import os
import shutil
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.errors import Flaky
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test

from skep.errors import Damaged, NoSpace
from skep.journal import Journal, JournalReader, Row
from skep.model.codec import decode, encode
from skep.model.events import Event, LatchClosed, Record
from skep.model.registry import to_pages
from skep.model.states import Strength
from skep.model.swarm import SwarmState
from skep.replay import replay
from tests.journal.listening import PATIENCE, Listener, crash_copy
from tests.journal.mutants import AcceptsInSilence, AdoptsNothing, DropsWhatFails, MarksNothing
from tests.model.telling import born, rooted

BIG = "no room for this " * 280
MEMORY = Path("/dev/shm")


class Histories(RuleBasedStateMachine):
    """Does to a journal what engines, operators and fate may do, in any order.

    ``rows`` is the list that it is compared with, ``acknowledged`` how many of them must be there.
    """

    kind: type[Journal] = Journal
    steps = 0
    """Of all machines of this class."""

    def __init__(self) -> None:
        super().__init__()
        self.place = Path(tempfile.mkdtemp(prefix="skep-", dir=MEMORY if os.access(MEMORY, os.W_OK) else None))
        self.numbers = itertools.count(1)
        self.teller = itertools.count()
        self.journal: Journal | None = None
        self.known: dict[bytes, list[bytes]] = {}

    @initialize()
    def begin(self) -> None:
        self.rows: list[Row] = []
        self.acknowledged = 0
        self.full = False
        self.open(self.place / f"swarm {next(self.numbers)}")
        self.add(born(4), rooted())
        self.settle()

    # -- what engines do -----------------------------------------------------------------------------------------

    @rule(counts=st.lists(st.integers(1, 2), min_size=16, max_size=48), patient=st.booleans())
    def append(self, counts: list[int], patient: bool) -> None:
        for count in counts:
            type(self).steps += 1
            self.add(*self.events(count))
            if patient and not self.full:
                self.settle()
        if not self.full:
            self.settle()

    @precondition(lambda self: self.rows)
    @rule()
    def checkpoint(self) -> None:
        type(self).steps += 1
        self.journal.checkpoint(len(self.rows), self.pages_of(self.rows))

    # -- what disks do -------------------------------------------------------------------------------------------

    @precondition(lambda self: not self.full)
    @rule()
    def fill(self) -> None:
        type(self).steps += 1
        self.journal.allow(1)
        for _ in range(16):
            # Old checkpoints leave free pages behind, which are used up first.
            self.add(LatchClosed("", Strength.SPAWNS, f"{BIG}{next(self.teller)}", "you"))
            assert self.ear.hears(lambda ear: is_troubled(ear) or self.journal.durable() == len(self.rows))
            self.full = is_troubled(self.ear)
            self.acknowledged = len(self.rows) - self.full
            if self.full:
                break
        assert self.full, "nobody is told that the disk is full"
        assert self.journal.durable() == self.acknowledged

    @precondition(lambda self: self.full)
    @rule()
    def make_room(self) -> None:
        type(self).steps += 1
        self.full = False
        self.journal.allow(None)
        self.settle()

    # -- what fate does ------------------------------------------------------------------------------------------

    @rule(in_order=st.booleans())
    def end_or_crash(self, in_order: bool) -> None:
        type(self).steps += 1
        folder = self.folder if in_order else self.copy()
        self.leave()
        self.recover(folder)

    @precondition(lambda self: not self.full)
    @rule(count=st.integers(1, 4), torn=st.none() | st.floats(0, 1), goes_on=st.booleans())
    def crash_between_commit_and_mark(self, count: int, torn: float | None, goes_on: bool) -> None:
        type(self).steps += 1
        before = (self.folder / "head").read_bytes()
        acknowledged = self.acknowledged
        self.add(*self.events(count))
        self.settle()
        copy = self.copy()
        after = (copy / "head").read_bytes()
        cut = int(torn * len(after)) if torn is not None else 0
        (copy / "head").write_bytes(after[:cut] + before[cut:])
        if goes_on:
            self.look(copy, self.rows, acknowledged)
            return
        self.leave()
        self.acknowledged = acknowledged
        self.recover(copy)

    @rule(share=st.floats(0, 1, exclude_max=True))
    def lose_the_end(self, share: float) -> None:
        """A crash after which a part of the log is gone; whoever goes on has to accept that."""
        type(self).steps += 1
        copy = self.copy()
        self.leave()
        log = copy / "journal.db-wal"
        if log.exists():
            os.truncate(log, int(share * log.stat().st_size))
        with JournalReader(copy, accept_loss=True) as reader:
            sound = reader.last()
            damage = reader.damage
            assert read(reader) == self.rows[:sound]
        if sound >= self.acknowledged:
            assert damage is None
        else:
            assert damage is not None
            assert damage.missing == self.acknowledged - sound
            with pytest.raises(Damaged):
                self.open(copy)
        self.open(copy, accept_loss=True)
        assert self.journal.lost == ((sound + 1, self.acknowledged) if damage is not None else None)
        del self.rows[sound:]
        self.acknowledged = self.journal.last
        assert self.acknowledged == sound
        self.look(copy, self.rows, sound)
        if sound < 2:
            self.leave()  # nothing is left of the swarm, and nothing could follow
            self.begin()

    # -- how ------------------------------------------------------------------------------------------------------

    def teardown(self) -> None:
        if self.journal is not None:
            self.leave()
        shutil.rmtree(self.place, ignore_errors=True)

    def add(self, *events: Event) -> None:
        first = len(self.rows) + 1
        more = [Row(seq, 1_700_000_000.0 + seq, encode(event)) for seq, event in enumerate(events, first)]
        self.rows += more
        self.journal.append(more)

    def settle(self) -> None:
        assert self.journal.wait(len(self.rows), PATIENCE)
        self.acknowledged = len(self.rows)

    def copy(self) -> Path:
        return crash_copy(self.folder, self.place / f"swarm {next(self.numbers)}")

    def leave(self) -> None:
        with suppress(NoSpace):
            self.journal.close(timeout=0.0 if self.full else 10.0)
        self.full = False

    def events(self, count: int) -> list[Event]:
        """Events to follow: no two of one history are alike, nor those of two histories that parted."""
        first = len(self.rows) + 1
        return [
            LatchClosed("", Strength.TURNS if number % 3 else Strength.SPAWNS, f"{next(self.teller)}", "you")
            for number in range(first, first + count)
        ]

    def pages_of(self, rows: list[Row]) -> list[bytes]:
        """The state folded from the first event on; the last row is like no other, and so names all before it."""
        key = rows[-1].body if rows else b""
        if key not in self.known:
            self.known[key] = to_pages(state_of(rows))
        return self.known[key]

    def open(self, folder: Path, *, accept_loss: bool = False) -> None:
        self.folder = folder
        self.ear = Listener()
        self.journal = self.kind(
            folder,
            on_durable=self.ear.on_durable,
            on_trouble=self.ear.on_trouble,
            gather=0.0,
            accept_loss=accept_loss,
        )

    def recover(self, folder: Path) -> None:
        """Take up a folder; what was not acknowledged may be there or not."""
        found = self.look(folder, self.rows, self.acknowledged)
        self.open(folder)
        assert self.journal.lost is None
        assert self.journal.last == found
        del self.rows[found:]
        self.acknowledged = found

    def look(self, folder: Path, rows: list[Row], acknowledged: int) -> int:
        """What a client finds in this folder is a beginning of the list, with all that was acknowledged."""
        with JournalReader(folder) as reader:
            found = read(reader)
            assert acknowledged <= len(found)
            assert found == rows[: len(found)]
            assert to_pages(replay(reader).state) == self.pages_of(found)
        return len(found)


def is_troubled(ear: Listener) -> bool:
    return bool(ear.troubles) and ear.troubles[-1] is not None


def read(reader: JournalReader) -> list[Row]:
    found: list[Row] = []
    while page := reader.read(len(found), 40):
        found += page
    return found


def state_of(rows: Sequence[Row]) -> SwarmState:
    """The state folded from the first event on, as nothing but the list gives it."""
    state = SwarmState()
    for row in rows:
        state.fold(Record(row.seq, row.time, decode(row.body)))
    return state


def run(machine: type[Histories], steps: int, phases: Sequence[Phase] = tuple(Phase)) -> None:
    """Let machines live until there were so many steps."""
    machine.steps = 0
    while machine.steps < steps:
        run_state_machine_as_test(
            machine,
            settings=settings(
                max_examples=max(4, (steps - machine.steps) // 110),
                stateful_step_count=24,
                deadline=None,
                database=None,
                print_blob=False,
                report_multiple_bugs=False,
                phases=phases,
            ),
        )


def test_whatever_happens_to_a_journal_it_is_the_list_that_was_acknowledged():
    run(Histories, 10_000)


@pytest.mark.full
def test_whatever_happens_to_a_journal_for_long_it_is_the_list_that_was_acknowledged():
    run(Histories, 50_000)


@pytest.mark.parametrize("mutant", [MarksNothing, DropsWhatFails, AdoptsNothing, AcceptsInSilence])
def test_the_comparison_catches(mutant: type[Journal]):
    machine = type(f"Histories{mutant.__name__}", (Histories,), {"kind": mutant})
    with pytest.raises((AssertionError, pytest.fail.Exception, Damaged, Flaky)):
        run(machine, 10_000, [Phase.generate])
