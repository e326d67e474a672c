"""Damage at places that nobody chose: harmless or noticed, never silently fewer rows."""

from __future__ import annotations

import os
import shutil
import sqlite3
from contextlib import closing, suppress

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from skep.errors import Damaged, Refused
from skep.journal import JournalReader, Row, verify
from tests.journal.honesty import in_memory
from tests.journal.listening import crash_copy, everything, opened, rows, write

WRITTEN = 120


@pytest.fixture(scope="module")
def crashed(tmp_path_factory):
    """A journal with rows and checkpoints both in the database file and in the log."""
    folder = tmp_path_factory.mktemp("damage")
    with opened(folder / "live") as journal:
        write(journal, 40)
        journal.checkpoint(30, [b"an old page " * 400])
    with opened(folder / "live") as journal:
        write(journal, 80)
        journal.checkpoint(75, [b"a page " * 700, b"another page"])
        write(journal, WRITTEN)
        return crash_copy(folder / "live", folder / "crashed")


@st.composite
def damages(draw):
    """A file, a place in it (a share of its length, or bytes from its start or end) and what happens there."""
    name = draw(st.sampled_from(["journal.db-wal", "journal.db-wal", "journal.db", "head"]))
    place = draw(st.floats(0, 1, exclude_max=True) | st.integers(0, 120) | st.integers(-120, -1))
    kind = draw(st.sampled_from(["cut", "zero", "flip"]))
    return name, place, kind, draw(st.integers(1, 255))


def harm(folder, name, place, kind, value):
    path = folder / name
    content = bytearray(path.read_bytes())
    start = int(len(content) * place) if isinstance(place, float) else place % len(content)
    match kind:
        case "cut":
            del content[start:]
        case "zero":
            end = start + value * 16
            content[start:end] = bytes(len(content[start:end]))
        case "flip":
            content[start] ^= value
    path.write_bytes(content)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@example(("journal.db-wal", 0.0, "cut", 1))
@example(("journal.db", 0, "cut", 1))
@example(("journal.db", 1, "cut", 1))
@example(("head", 0.0, "cut", 1))
@example(("head", 0.0, "flip", 1))
@example(("head", 0.51, "zero", 255))
@given(damages())
def test_damage_anywhere_is_harmless_or_noticed_and_can_be_accepted(crashed, damage):
    with in_memory() as place:
        folder = place / "swarm"
        shutil.copytree(crashed, folder)
        harm(folder, *damage)
        before = {path.name: path.read_bytes() for path in folder.iterdir() if not path.name.endswith("-shm")}
        with suppress(Damaged, Refused):
            assert everything(folder) == rows(1, WRITTEN)
        try:
            with opened(folder) as journal:
                assert journal.last == WRITTEN
        except Refused:
            return
        except Damaged:
            assert before == {name: (folder / name).read_bytes() for name in before}, "evidence was changed"
            accept(folder)
            return
        try:
            assert everything(folder) == rows(1, WRITTEN)
        except Damaged:
            with pytest.raises(Damaged):
                verify(folder)


def accept(folder):
    with opened(folder, accept_loss=True) as journal:
        kept = journal.last
        assert journal.lost == ((kept + 1, WRITTEN) if kept < WRITTEN else None)
        write(journal, kept + 5)
    assert everything(folder) == rows(1, kept + 5)
    assert verify(folder).rows == kept + 5
    with opened(folder) as journal:
        assert journal.lost is None


def flip(folder, text, count=1):
    path = folder / "journal.db"
    content = path.read_bytes()
    assert text in content
    path.write_bytes(content.replace(text, text[:-1] + bytes([text[-1] ^ 1]), count))


@pytest.fixture
def ended(tmp_path):
    """A journal of 60 rows that was closed, with checkpoints of rows 20, 40 and 50, the first of them replaced."""
    with opened(tmp_path) as journal:
        write(journal, 60)
        for seq in (20, 40, 50):
            journal.checkpoint(seq, [b"pages of %d" % seq, b"", b"last page of %d" % seq])
    return tmp_path


def test_a_changed_row_after_the_checkpoint_is_found_at_opening(ended):
    flip(ended, b'{"event":57}')
    with pytest.raises(Damaged, match="row 57"), opened(ended):
        pass
    with pytest.raises(Damaged, match="row 57"):
        verify(ended)


def test_a_changed_row_before_the_checkpoint_is_found_by_whoever_reads_it(ended):
    flip(ended, b'{"event":13}')
    with opened(ended) as journal:
        assert journal.last == 60
    with JournalReader(ended) as reader:
        assert reader.read(0, 12) == rows(1, 12)
        with pytest.raises(Damaged, match="row 13"):
            reader.read(12)
        assert reader.read(13) == rows(14, 60)
    with pytest.raises(Damaged, match="row 13"):
        verify(ended)


def test_an_accepted_loss_keeps_the_damaged_database_aside(ended):
    flip(ended, b'{"event":57}')
    damaged = (ended / "journal.db").read_bytes()
    with opened(ended, accept_loss=True) as journal:
        assert (journal.last, journal.lost) == (56, (57, 60))
    assert (ended / "journal.db.damaged-1").read_bytes() == damaged
    assert verify(ended).checkpoints == 2


def test_what_is_left_can_be_read_without_a_change(ended):
    os.truncate(ended / "head", 10)
    before = {path.name: path.read_bytes() for path in ended.iterdir()}
    with pytest.raises(Damaged):
        JournalReader(ended)
    with JournalReader(ended, accept_loss=True) as reader:
        assert reader.read(0) == rows(1, 60)
    assert {path.name: path.read_bytes() for path in ended.iterdir()} == before


def test_a_damaged_checkpoint_gives_way_to_the_one_before(ended):
    flip(ended, b"last page of 50")
    with JournalReader(ended) as reader:
        assert reader.checkpoint().seq == 40
    with pytest.raises(Damaged, match="checkpoint of row 50"):
        verify(ended)
    flip(ended, b"pages of 40")
    with JournalReader(ended) as reader:
        assert reader.checkpoint() is None
        assert reader.read(0) == rows(1, 60)
    with opened(ended) as journal:
        assert journal.last == 60


def test_a_row_taken_out_is_named(ended):
    with closing(sqlite3.connect(ended / "journal.db")) as database, database:
        database.execute("DELETE FROM row WHERE seq = 57")
    with pytest.raises(Damaged, match=r"row 57 .* the row is missing; the next one is 58"):
        verify(ended)


def test_another_history_of_the_same_length_is_noticed(ended, tmp_path_factory):
    other = tmp_path_factory.mktemp("other")
    with opened(other) as journal:
        journal.append([Row(seq, 1.0, b"{}") for seq in range(1, 61)])
    shutil.copy(other / "journal.db", ended / "journal.db")
    with pytest.raises(Damaged, match=r"row 60 .* not the one that was acknowledged"), opened(ended):
        pass


def test_a_checkpoint_that_lacks_a_page_gives_way_to_the_one_before(ended):
    with closing(sqlite3.connect(ended / "journal.db")) as database, database:
        database.execute("DELETE FROM page WHERE seq = 50 AND number = 2")
    with JournalReader(ended) as reader:
        assert reader.checkpoint().seq == 40


def test_a_lost_log_is_noticed_even_if_the_mark_that_would_tell_is_lost_too(tmp_path):
    with opened(tmp_path / "live") as journal:
        write(journal, 10)
        crashed = crash_copy(tmp_path / "live", tmp_path / "crashed")
        before = (crashed / "head").read_bytes()
        write(journal, 17)
        after = (tmp_path / "live" / "head").read_bytes()
    newest = next(place for place in range(len(after)) if before[place] != after[place])
    (crashed / "head").write_bytes(after[:newest] + bytes([after[newest] ^ 255]) + after[newest + 1 :])
    with pytest.raises(Damaged, match="the newest head mark is unreadable"), opened(crashed):
        pass
    with opened(crashed, accept_loss=True) as journal:
        assert (journal.last, journal.lost) == (10, None)


def test_a_missing_head_mark_is_noticed(ended):
    (ended / "head").unlink()
    with pytest.raises(Damaged, match="missing"), opened(ended):
        pass
    with opened(ended, accept_loss=True) as journal:
        assert (journal.last, journal.lost) == (60, None)


def test_the_error_says_what_where_why_and_the_mend(ended):
    (ended / "journal.db").unlink()
    with pytest.raises(Damaged) as raised, opened(ended):
        pass
    assert raised.value.what == "60 acknowledged events are missing: 1 to 60"
    assert raised.value.where == str(ended / "journal.db")
    assert raised.value.why
    assert "--accept-loss" in raised.value.mend
