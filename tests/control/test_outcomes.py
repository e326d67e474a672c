"""How a swarm ended is noted beside its journal, and believed as long as the journal is the one that was noted."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from skep.control.swarms import DESCRIPTION, Outcome, describe, find, note_outcome
from skep.engine.ledger import Ledger
from skep.journal import FolderLock
from skep.journal.database import DATABASE
from skep.journal.headmark import HEAD
from skep.model.events import EngineStarted
from tests.engine.conftest import MakeHive, make_hive  # noqa: F401
from tests.engine.hive import command


@pytest.fixture
async def ended(make_hive: MakeHive) -> Path:  # noqa: F811
    """The folder of a swarm whose engine has ended with it, and noted it down."""
    hive = make_hive()
    describe(hive.folder, "s-1", "migrate", 5.0, "/work")
    await hive.launch(command("a", "true"), command("b", "false"))
    await hive.over()
    await hive.close()
    note_outcome(hive.folder, "failed", {"done": 1, "failed": 1}, 7.0)
    return hive.folder


async def test_it_is_known_without_the_journal(ended: Path):
    swarm = find(ended)
    assert (swarm.id, swarm.name, swarm.created_at, swarm.cwd) == ("s-1", "migrate", 5.0, "/work")
    outcome = swarm.outcome()
    assert isinstance(outcome, Outcome)
    assert (outcome.status, outcome.states, outcome.ended_at) == ("failed", {"done": 1, "failed": 1}, 7.0)
    assert find(ended).outcome() == outcome  # looking has changed nothing


def _write_more(folder: Path) -> None:
    """An engine takes the swarm up again."""
    ledger = Ledger(folder, _Clock())
    with ledger.decide() as decision:
        decision.emit(EngineStarted(4711))
    ledger.close()


class _Clock:
    def time(self) -> float:
        return 2e9

    def monotonic(self) -> float:
        return 0.0

    async def sleep(self, seconds: float) -> None:
        raise AssertionError


def _flip(name: str) -> Callable[[Path], None]:
    def flip(folder: Path) -> None:
        data = bytearray((folder / name).read_bytes())
        data[len(data) // 2] ^= 1
        (folder / name).write_bytes(data)

    return flip


def _cut(folder: Path) -> None:
    (folder / DATABASE).write_bytes((folder / DATABASE).read_bytes()[:-4096])


def _lose(name: str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).unlink()


def _leave_a_log(folder: Path) -> None:
    (folder / f"{DATABASE}-wal").write_bytes(b"not yet in the database")


def _note(outcome: object) -> Callable[[Path], None]:
    def note(folder: Path) -> None:
        body = json.loads((folder / DESCRIPTION).read_text())
        (folder / DESCRIPTION).write_text(json.dumps(body | {"outcome": outcome}))

    return note


@pytest.mark.parametrize(
    "change",
    [
        _write_more,
        _flip(DATABASE),
        _flip(HEAD),
        _cut,
        _lose(DATABASE),
        _lose(HEAD),
        _leave_a_log,
        _note(None),
        _note("done"),
        _note({"status": "done", "states": {"done": 2}, "ended_at": 7.0}),
        _note({"status": "done", "states": {"done": 2}, "ended_at": 7.0, "stamp": "1.00.4096.1"}),
    ],
    ids=[
        "written on",
        "a byte of the database",
        "a byte of the head mark",
        "cut off",
        "no database",
        "no head mark",
        "a log beside it",
        "no note",
        "a note of a wrong shape",
        "a note without a stamp",
        "a note of another journal",
    ],
)
async def test_it_is_not_believed_of_a_journal_that_is_another_one_now(
    ended: Path, change: Callable[[Path], None]
):
    assert find(ended).outcome() is not None
    change(ended)
    swarm = find(ended)
    assert swarm.id == "s-1"
    assert swarm.outcome() is None


async def test_it_is_not_believed_while_an_engine_is_there(ended: Path):
    swarm = find(ended)
    with FolderLock(ended):
        assert swarm.outcome() is None
    assert swarm.outcome() is not None


async def test_of_a_journal_that_is_not_at_rest_nothing_is_noted(ended: Path):
    before = (ended / DESCRIPTION).read_text()
    _leave_a_log(ended)
    note_outcome(ended, "done", {}, 8.0)
    assert (ended / DESCRIPTION).read_text() == before
