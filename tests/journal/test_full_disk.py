"""A disk that takes no more: said once, waited for, and nothing lost."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from skep.errors import NoSpace
from skep.journal import Journal, Row, verify
from tests.journal.listening import PATIENCE, Listener, everything, opened, rows, write
from tests.journal.mutants import DropsWhatFails, FailsAtTheMark

OWNER = Path(__file__).with_name("owner.py")
BIG = [Row(seq, 1.0, bytes(8000)) for seq in range(11, 31)]


def check_a_full_disk_pauses_and_goes_on(folder, kind):
    listener = Listener()
    with opened(folder, kind, listener, max_pages=12) as journal:
        write(journal, 10)
        journal.append(BIG)
        journal.append(rows(31, 40))
        assert listener.hears(lambda ear: len(ear.troubles) == 1), "nobody was told"
        assert isinstance(listener.troubles[0], NoSpace)
        assert "make room" in listener.troubles[0].mend
        assert journal.durable() == 10
        assert everything(folder) == rows(1, 10)
        journal.allow(None)
        assert journal.wait(40, PATIENCE)
        assert listener.hears(lambda ear: len(ear.troubles) == 2)
        assert listener.troubles[1] is None
    assert everything(folder) == [*rows(1, 10), *BIG, *rows(31, 40)]
    assert listener.acknowledged == sorted(listener.acknowledged)


def test_a_full_disk_pauses_the_journal_which_then_goes_on(tmp_path):
    check_a_full_disk_pauses_and_goes_on(tmp_path, Journal)


def test_the_check_catches_a_journal_that_drops_what_it_cannot_write(tmp_path, monkeypatch):
    monkeypatch.setattr("tests.journal.listening.PATIENCE", 0.5)
    with pytest.raises(AssertionError, match="nobody was told"):
        check_a_full_disk_pauses_and_goes_on(tmp_path, DropsWhatFails)


def test_close_says_which_rows_the_disk_did_not_take(tmp_path):
    listener = Listener()
    journal = Journal(tmp_path, on_durable=listener.on_durable, on_trouble=listener.on_trouble, max_pages=12)
    write(journal, 10)
    journal.append(BIG)
    with pytest.raises(NoSpace, match="20 events could not be written: 11 to 30"):
        journal.close(timeout=0.05)
    with opened(tmp_path) as journal:
        assert journal.last == 10
    assert verify(tmp_path).rows == 10


def test_a_checkpoint_that_finds_no_space_holds_up_no_proof(tmp_path):
    listener = Listener()
    with opened(tmp_path, listener=listener, max_pages=12) as journal:
        write(journal, 10)
        journal.checkpoint(10, [bytes(100_000)])
        journal.append(rows(11, 12))
        assert listener.hears(lambda ear: len(ear.troubles) == 1)
        journal.allow(200)
        assert journal.wait(12, PATIENCE)
    assert verify(tmp_path).checkpoints == 1


def test_a_mark_that_fails_after_its_commit_is_written_again(tmp_path):
    listener = Listener()
    with opened(tmp_path, FailsAtTheMark, listener) as journal:
        write(journal, 10)
    assert [type(error) for error in listener.troubles] == [NoSpace, type(None)]
    assert "see to the disk" in listener.troubles[0].mend
    assert everything(tmp_path) == rows(1, 10)
    assert verify(tmp_path).rows == 10


def test_a_refusal_of_the_file_system_itself_is_survived(tmp_path):
    owner = subprocess.run([sys.executable, OWNER, "fill", tmp_path], capture_output=True, text=True, check=True)
    words = owner.stdout.split()
    assert words[0] == "NoSpace"
    assert "NoneType" in words
    assert words[-1] in {"3010", "NoneType"}
    assert everything(tmp_path) == rows(1, 3010)
