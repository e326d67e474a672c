"""A killed owner: whatever was acknowledged is there, and nobody cries wolf."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from skep.errors import Damaged
from skep.journal import verify
from tests.journal.listening import crash_copy, everything, opened, rows, write
from tests.journal.mutants import MarksNothing

OWNER = Path(__file__).with_name("owner.py")


def killed_owner(folder, verb, acknowledgements):
    """Start an owner, kill -9 it after so many acknowledgements; returns the last number that it printed."""
    with subprocess.Popen(
        [sys.executable, OWNER, verb, folder], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as owner:
        printed = [owner.stdout.readline() for _ in range(acknowledgements)]
        owner.send_signal(signal.SIGKILL)
        printed += owner.stdout.readlines()
    return max(int(line) for line in printed if line.endswith(b"\n"))


def check_nothing_acknowledged_is_lost(folder, verb, rounds):
    for acknowledgements in rounds:
        acknowledged = killed_owner(folder, verb, acknowledgements)
        assert verify(folder).rows >= acknowledged
        found = everything(folder)
        assert found == rows(1, len(found))
        with opened(folder) as journal:
            assert journal.last == len(found)


def test_acknowledged_rows_survive_kill_9_again_and_again(tmp_path):
    check_nothing_acknowledged_is_lost(tmp_path, "write", [1, 40, 3, 15])


def test_the_check_catches_an_acknowledgement_before_the_commit(tmp_path):
    with pytest.raises((AssertionError, Damaged)):
        check_nothing_acknowledged_is_lost(tmp_path, "write too early", [1])


def check_a_lost_log_is_noticed(folder, kind):
    with opened(folder / "live", kind) as journal:
        write(journal, 30)
        crashed = crash_copy(folder / "live", folder / "crashed")
    (crashed / "journal.db-wal").unlink()
    with pytest.raises(Damaged, match="30 acknowledged events are missing: 1 to 30"):
        everything(crashed)
    with pytest.raises(Damaged, match="30 acknowledged events are missing: 1 to 30"), opened(crashed):
        pass


def test_a_lost_log_is_noticed_by_reader_and_owner(tmp_path):
    check_a_lost_log_is_noticed(tmp_path, MarksNothing.__base__)


def test_the_check_catches_a_journal_that_skips_the_head_mark(tmp_path):
    with pytest.raises(pytest.fail.Exception):
        check_a_lost_log_is_noticed(tmp_path, MarksNothing)


def test_a_crash_between_commit_and_mark_is_no_damage(tmp_path):
    with opened(tmp_path / "live") as journal:
        write(journal, 10, step=5)
        head = (tmp_path / "live" / "head").read_bytes()
        write(journal, 15, step=5)
        crashed = crash_copy(tmp_path / "live", tmp_path / "crashed")
    (crashed / "head").write_bytes(head)
    with opened(crashed) as journal:
        assert journal.last == 15
    marked_again = (crashed / "head").read_bytes()
    (crashed / "journal.db").unlink()
    assert marked_again != head
    with pytest.raises(Damaged, match="1 to 15"):
        everything(crashed)


def test_a_head_mark_torn_by_the_crash_is_no_damage(tmp_path):
    with opened(tmp_path / "live") as journal:
        write(journal, 10, step=5)
        before = (tmp_path / "live" / "head").read_bytes()
        write(journal, 15, step=5)
        crashed = crash_copy(tmp_path / "live", tmp_path / "crashed")
    after = (crashed / "head").read_bytes()
    torn = next(place for place in range(len(after)) if before[place] != after[place])
    (crashed / "head").write_bytes(after[: torn + 1] + before[torn + 1 :])
    with opened(crashed) as journal:
        assert journal.last == 15


def test_a_journal_whose_birth_was_cut_short_is_born_again(tmp_path):
    with opened(tmp_path / "live"):
        pass
    (tmp_path / "live" / "journal.db").write_bytes(b"")
    with opened(tmp_path / "live") as journal:
        write(journal, 3)
    assert everything(tmp_path / "live") == rows(1, 3)
