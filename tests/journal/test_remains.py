"""What is left of a damaged journal: shown up to its last sound row, counted, and given up by accepting it."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing

import pytest

from skep.errors import Damaged, NotFound
from skep.journal import Checkpoint, JournalReader, Row, verify
from tests.journal.listening import crash_copy, everything, opened, rows, write

WRITTEN = 60


@pytest.fixture
def ended(tmp_path):
    """A journal of 60 rows that was closed, without a checkpoint."""
    with opened(tmp_path / "swarm") as journal:
        write(journal, WRITTEN)
    return tmp_path / "swarm"


@pytest.fixture
def checkpointed(tmp_path):
    """A journal of 60 rows that was closed, with checkpoints of rows 20 and 40."""
    with opened(tmp_path / "swarm") as journal:
        write(journal, WRITTEN)
        for seq in (20, 40):
            journal.checkpoint(seq, [b"state of %d" % seq])
    return tmp_path / "swarm"


def spoil(folder, *numbers):
    """Change a bit in the bodies of these rows."""
    path = folder / "journal.db"
    content = path.read_bytes()
    for number in numbers:
        text = b'{"event":%d}' % number
        assert text in content
        content = content.replace(text, b"[" + text[1:], 1)
    path.write_bytes(content)


def change(folder, *statements):
    with closing(sqlite3.connect(folder / "journal.db")) as database, database:
        database.execute("PRAGMA writable_schema = ON")
        for statement in statements:
            database.execute(statement)


def left(folder):
    """Everything that a reader shows of a damaged journal, and what it says of the rest; nothing is changed."""
    before = {path.name: path.read_bytes() for path in folder.iterdir() if not path.name.endswith("-shm")}
    with JournalReader(folder, accept_loss=True) as reader:
        found = []
        while page := reader.read(len(found), 7):
            found += page
        assert reader.last() == (reader.damage.sound if reader.damage else len(found))
    assert {name: (folder / name).read_bytes() for name in before} == before
    return found, reader.damage


def accepted(folder):
    """What is given up by whoever accepts it; the journal then proves itself and can be written."""
    with opened(folder, accept_loss=True) as journal:
        last, lost = journal.last, journal.lost
        write(journal, last + 3)
        journal.checkpoint(last + 3, [b"after the loss"])
    assert verify(folder).rows == last + 3
    return last, lost


def test_a_journal_without_damage_says_nothing(checkpointed):
    assert left(checkpointed) == (rows(1, WRITTEN), None)


def test_where_no_journal_is_nothing_is_left(tmp_path):
    with pytest.raises(NotFound):
        JournalReader(tmp_path, accept_loss=True)


def test_rows_before_a_spoiled_one_are_shown_and_those_after_it_counted(ended):
    spoil(ended, 57)
    found, damage = left(ended)
    assert found == rows(1, 56)
    assert (damage.sound, damage.missing, damage.is_lower_bound, damage.blocks) == (56, 4, False, True)
    assert damage.error.what == "the journal is damaged: 4 acknowledged events are missing, from 57 on"
    assert damage.error.why == "row 57 of the journal is damaged: its hash does not follow from the row before"
    assert "--accept-loss" in damage.error.mend
    assert accepted(ended) == (56, (57, 60))


def test_a_lost_log_leaves_what_the_database_has(tmp_path):
    with opened(tmp_path / "live") as journal:
        write(journal, 40)
    with opened(tmp_path / "live") as journal:
        write(journal, WRITTEN)
        crashed = crash_copy(tmp_path / "live", tmp_path / "crashed")
    (crashed / "journal.db-wal").unlink()
    found, damage = left(crashed)
    assert found == rows(1, 40)
    assert damage.loss == "20 acknowledged events are missing, from 41 on"
    assert "ends before the head mark" in damage.error.why
    assert accepted(crashed) == (40, (41, 60))


@pytest.mark.parametrize("fault", ["gone", "spoiled"])
def test_without_a_head_mark_everything_is_shown_and_nobody_can_tell_what_is_missing(ended, fault):
    if fault == "gone":
        (ended / "head").unlink()
    else:
        (ended / "head").write_bytes(bytes(8192))
    found, damage = left(ended)
    assert found == rows(1, WRITTEN)
    assert (damage.sound, damage.missing, damage.is_lower_bound) == (60, 0, True)
    assert damage.loss == "nobody can tell whether acknowledged events after 60 are missing"
    assert accepted(ended) == (60, None)


def test_without_a_head_mark_a_spoiled_row_costs_at_least_what_comes_after_it(ended):
    (ended / "head").unlink()
    spoil(ended, 57)
    _, damage = left(ended)
    assert damage.loss == "at least 4 acknowledged events are missing, from 57 on"
    assert accepted(ended) == (56, (57, 60))


def test_a_database_that_cannot_be_opened_leaves_nothing(ended):
    (ended / "journal.db").write_bytes(bytes(100) + (ended / "journal.db").read_bytes()[100:])
    found, damage = left(ended)
    assert found == []
    assert (damage.sound, damage.missing) == (0, 60)
    assert accepted(ended) == (0, (1, 60))
    assert (ended / "journal.db.damaged-1").exists()


def test_a_lost_database_leaves_nothing(ended):
    (ended / "journal.db").unlink()
    found, damage = left(ended)
    assert (found, damage.sound, damage.missing) == ([], 0, 60)
    assert accepted(ended) == (0, (1, 60))


def test_a_lost_number_of_the_format_costs_no_row(ended):
    change(ended, "PRAGMA user_version = 0")
    with pytest.raises(Damaged), opened(ended):
        pass
    found, damage = left(ended)
    assert found == rows(1, WRITTEN)
    assert damage.loss == "no acknowledged event is missing"
    assert accepted(ended) == (60, None)


def test_lost_checkpoints_cost_no_row(checkpointed):
    change(checkpointed, "DROP TABLE checkpoint")
    with pytest.raises(Damaged), opened(checkpointed):
        pass
    with JournalReader(checkpointed, accept_loss=True) as reader:
        assert reader.checkpoint() is None
    found, damage = left(checkpointed)
    assert found == rows(1, WRITTEN)
    assert damage.loss == "no acknowledged event is missing"
    assert accepted(checkpointed) == (60, None)


def test_rows_that_were_never_acknowledged_are_not_counted(tmp_path):
    with opened(tmp_path / "live") as journal:
        write(journal, 50)
        head = (tmp_path / "live" / "head").read_bytes()
        write(journal, WRITTEN)
    (tmp_path / "live" / "head").write_bytes(head)
    spoil(tmp_path / "live", 57)
    found, damage = left(tmp_path / "live")
    assert found == rows(1, 56)
    assert (damage.missing, damage.loss) == (0, "no acknowledged event is missing")
    assert accepted(tmp_path / "live") == (56, (57, 60))


def test_another_history_is_not_believed_where_it_is_known_to_differ(ended, tmp_path):
    with opened(tmp_path / "other") as journal:
        journal.append([Row(seq, 1.0, b"{}") for seq in range(1, WRITTEN + 3)])
    shutil.copy(tmp_path / "other" / "journal.db", ended / "journal.db")
    found, damage = left(ended)
    assert len(found) == 59
    assert damage.loss == "1 acknowledged event is missing, from 60 on"
    assert accepted(ended) == (59, (60, 62))


def test_a_checkpoint_stands_for_a_spoiled_row_before_it(checkpointed):
    spoil(checkpointed, 13, 33)
    with JournalReader(checkpointed, accept_loss=True) as reader:
        damage = reader.damage
        assert (damage.sound, damage.missing, damage.unreadable, damage.blocks) == (60, 0, 13, False)
        assert damage.loss == "event 13 cannot be read, but a checkpoint stands for it and the state is whole"
        assert reader.checkpoint() == Checkpoint(40, (b"state of 40",))
        assert reader.read(40) == rows(41, 60)
        assert reader.read(0) == rows(1, 12)
        with pytest.raises(Damaged, match="row 13"):
            reader.read(12)
    with opened(checkpointed) as journal:
        assert journal.last == 60


def test_an_accepted_loss_gives_up_no_more_than_was_said(checkpointed):
    spoil(checkpointed, 13, 57)
    _, damage = left_after_the_checkpoint(checkpointed, 40)
    assert damage.loss == "4 acknowledged events are missing, from 57 on; event 13 cannot be read"
    with opened(checkpointed, accept_loss=True) as journal:
        assert (journal.last, journal.lost) == (56, (57, 60))
    with JournalReader(checkpointed) as reader:
        assert reader.checkpoint() == Checkpoint(40, (b"state of 40",))
        assert reader.read(40) == rows(41, 56)
        assert reader.read(0) == rows(1, 12)


def left_after_the_checkpoint(folder, seq):
    with JournalReader(folder, accept_loss=True) as reader:
        return reader.read(seq), reader.damage


def test_a_checkpoint_of_a_lost_row_is_not_used(checkpointed):
    change(checkpointed, "DELETE FROM row WHERE seq > 30")
    with JournalReader(checkpointed, accept_loss=True) as reader:
        assert reader.damage.loss == "30 acknowledged events are missing, from 31 on"
        assert reader.checkpoint() == Checkpoint(20, (b"state of 20",))
    assert accepted(checkpointed) == (30, (31, 60))


def test_a_row_that_takes_a_whole_page_of_the_file_with_it_costs_no_earlier_one(tmp_path):
    with opened(tmp_path) as journal:
        journal.append([Row(seq, float(seq), bytes(1000)) for seq in range(1, 101)])
    path = tmp_path / "journal.db"
    content = bytearray(path.read_bytes())
    page = 4096 * 15
    content[page : page + 4096] = bytes(4096)
    path.write_bytes(content)
    found, damage = left(tmp_path)
    assert 0 < len(found) < 100
    assert found == [Row(seq, float(seq), bytes(1000)) for seq in range(1, len(found) + 1)]
    assert (damage.sound, damage.missing) == (len(found), 100 - len(found))
    assert accepted(tmp_path) == (len(found), (len(found) + 1, 100))


@pytest.mark.parametrize("place", [18, 35])
def test_a_file_that_can_be_read_but_not_written_is_made_anew_by_accepting(ended, place):
    """The header says how the file is written (18) and where its free pages are (32 to 39)."""
    path = ended / "journal.db"
    content = bytearray(path.read_bytes())
    content[place] ^= 0x10
    path.write_bytes(content)
    assert left(ended)[0] == rows(1, WRITTEN)
    assert accepted(ended) == (60, None)
    assert everything(ended) == rows(1, 63)
