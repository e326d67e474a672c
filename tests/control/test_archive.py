"""A past swarm seen from its journal is the swarm that was."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from skep.clock import VirtualClock
from skep.control.archive import ArchiveLink, NothingLeft
from skep.control.server import ControlServer
from skep.control.verbs import Pause, Preview
from skep.errors import Damaged, NotFound, Refused, SkepError
from skep.journal import Journal, Row
from skep.model.codec import encode
from skep.model.events import ROOT, AgentQueued, Event, Record
from skep.model.registry import Registry
from skep.model.states import DriverKind, State
from tests.control.conftest import Connect
from tests.control.listed import ListService, born, ends, holds, over, runs


@pytest.fixture
def journal(folder: Path) -> Iterator[Journal]:
    folder.mkdir(mode=0o700, exist_ok=True)
    with Journal(folder, on_durable=lambda seq: None, on_trouble=_fail) as journal:
        yield journal


def _fail(trouble: SkepError | None) -> None:
    if trouble is not None:
        raise trouble


def _write(journal: Journal, records: Sequence[Record]) -> None:
    journal.append([Row(record.seq, record.time, encode(record.event)) for record in records])
    assert journal.wait(records[-1].seq, 10)


def _swarm(*events: Event) -> list[Record]:
    return [Record(number, 1_700_000_000.0 + number, event) for number, event in enumerate(events, 1)]


def _registry(records: Sequence[Record]) -> Registry:
    registry = Registry()
    registry.fold(records)
    return registry


def _open(folder: Path) -> ArchiveLink:
    return ArchiveLink.open(folder, VirtualClock())


async def test_the_archive_shows_what_the_engine_and_its_clients_showed(
    service: ListService, server: ControlServer, connect: Connect, journal: Journal, folder: Path
):
    service.happens(*born(4), *runs("a1"), *holds(3), *ends("a1", State.FAILED))
    link = await connect()
    _write(journal, service.all_records())
    archive = _open(folder)
    assert archive.registry.pages() == link.registry.pages() == service.registry.pages()
    assert await archive.records() == await link.records() == service.all_records()
    await archive.close()


@pytest.mark.parametrize("checkpoint_at", [None, 1, 8, 15])
async def test_with_or_without_a_checkpoint_the_state_is_the_same(
    journal: Journal, folder: Path, checkpoint_at: int | None
):
    records = _swarm(*born(4), *runs("a1"), *runs("a2"), *holds(3), *ends("a1"), *ends("a2", State.FAILED))
    if checkpoint_at is not None:
        _write(journal, records[:checkpoint_at])
        journal.checkpoint(checkpoint_at, _registry(records[:checkpoint_at]).pages())
        records_left = records[checkpoint_at:]
    else:
        records_left = records
    if records_left:
        _write(journal, records_left)
    archive = _open(folder)
    assert archive.registry.pages() == _registry(records).pages()
    await archive.close()


async def test_a_checkpoint_that_cannot_be_read_costs_time_and_nothing_else(journal: Journal, folder: Path):
    records = _swarm(*born(4), *runs("a1"), *ends("a1"))
    _write(journal, records)
    journal.checkpoint(4, _registry(records[:4]).pages())
    journal.checkpoint(7, [b'{"from":"another version"}'])
    journal.close()
    archive = _open(folder)
    assert archive.registry.pages() == _registry(records).pages()
    await archive.close()


async def test_no_verb_works_and_the_reason_is_said(journal: Journal, folder: Path):
    _write(journal, _swarm(*born(1), *runs("a1")))
    died = _open(folder)
    assert not died.state.live
    assert died.state.read_only
    assert "skep attach" in str(died.state.trouble)
    for request in (Pause(), Preview(agent="a1")):
        with pytest.raises(Refused, match="no engine"):
            await died.call(request)
    with pytest.raises(Refused):
        await died.until(lambda state: state.status is not None)
    await died.close()


async def test_a_swarm_that_came_to_its_end_has_no_trouble(journal: Journal, folder: Path):
    _write(journal, _swarm(*born(1), *runs("a1"), *ends("a1"), *over()))
    ended = _open(folder)
    assert ended.state.trouble is None
    await ended.until(lambda state: state.status == "done")
    with pytest.raises(Refused, match="has ended"):
        await ended.call(Pause())
    await ended.close()


async def test_output_is_read_from_the_log_cleaned(journal: Journal, folder: Path, tmp_path: Path):
    elsewhere = tmp_path / "own.log"
    asked = AgentQueued("own", ROOT, "own", DriverKind.COMMAND, "", {"argv": ["true"], "log": str(elsewhere)})
    _write(journal, _swarm(*born(2), asked, *runs("a1"), *ends("a1")))
    (folder / "output").mkdir()
    (folder / "output" / "a1.log").write_bytes(b"one\n\x1b[31mtwo\x1b[0m\nthree \x1b[2J\n")
    elsewhere.write_bytes(b"elsewhere\n")
    archive = _open(folder)
    chunk = await archive.tail("a1")
    assert (chunk.first, chunk.total) == (0, 3)
    assert chunk.lines[:2] == ("one", "two")
    assert "\x1b" not in chunk.lines[2]
    assert (await archive.tail("a1", -1, 10)).lines == chunk.lines[2:]
    assert (await archive.tail("own")).lines == ("elsewhere",)
    assert (await archive.tail("a2")).lines == ()
    assert (await archive.tail(ROOT)).lines == ()
    with pytest.raises(NotFound):
        await archive.tail("nobody")
    archive.follow("a1")
    assert archive.take_output() == []
    await archive.close()


async def test_all_events_can_be_read_through(journal: Journal, folder: Path):
    records = _swarm(*born(1), *holds(12_000))
    _write(journal, records)
    archive = _open(folder)
    assert [record async for record in archive.events()] == records
    assert [record.seq async for record in archive.events(after=12_000)] == [12_001, 12_002, 12_003]
    assert list(await archive.records(after=5, limit=2)) == records[5:7]
    await archive.close()
    await archive.close()


async def test_a_damaged_journal_is_shown_up_to_its_last_sound_event_and_says_so_for_good(
    journal: Journal, folder: Path
):
    records = _swarm(*born(4), *runs("a1"), *holds(6), *ends("a1"))
    _write(journal, records)
    journal.checkpoint(8, _registry(records[:8]).pages())
    journal.close()
    _spoil(folder, records[11])
    archive = _open(folder)
    assert archive.registry.pages() == _registry(records[:11]).pages()
    assert archive.state.damage is not None
    assert (archive.state.damage.sound, archive.state.damage.missing) == (11, 4)
    assert "4 acknowledged events are missing, from 12 on" in str(archive.state.trouble)
    assert f"skep recover {folder.name} --accept-loss" in str(archive.state.trouble)
    assert [record async for record in archive.events()] == records[:11]
    assert list(await archive.records(after=12)) == [], "what comes after it hangs in the air"
    with pytest.raises(Refused, match="no engine") as refused:
        await archive.call(Pause())
    assert "--accept-loss" in str(refused.value)
    await archive.close()


async def test_an_event_that_a_checkpoint_stands_for_is_missed_only_in_the_list(journal: Journal, folder: Path):
    records = _swarm(*born(4), *runs("a1"), *holds(6), *ends("a1"))
    _write(journal, records)
    journal.checkpoint(8, _registry(records[:8]).pages())
    journal.close()
    _spoil(folder, records[5])
    archive = _open(folder)
    assert archive.registry.pages() == _registry(records).pages()
    assert "event 6 cannot be read" in str(archive.state.trouble)
    assert list(await archive.records()) == records[:5]
    assert list(await archive.records(after=6)) == records[6:]
    with pytest.raises(Damaged, match="row 6"):
        await archive.records(after=5)
    await archive.close()


def test_where_no_event_is_sound_there_is_nothing_to_look_at(journal: Journal, folder: Path):
    records = _swarm(*born(4))
    _write(journal, records)
    journal.close()
    _spoil(folder, records[0])
    with pytest.raises(NothingLeft, match="6 acknowledged events are missing, from 1 on") as nothing:
        _open(folder)
    assert nothing.value.damage.missing == 6


def _spoil(folder: Path, record: Record) -> None:
    path = folder / "journal.db"
    body = encode(record.event)
    path.write_bytes(path.read_bytes().replace(body, body[:-2] + b"?" + body[-1:], 1))


def test_a_folder_without_a_journal_is_no_archive(folder: Path):
    with pytest.raises(NotFound):
        _open(folder)
