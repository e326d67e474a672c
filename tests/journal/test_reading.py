"""Reading: beside a live owner, after its end, in folders that may not be written; and checkpoints."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import pytest

from skep.errors import NotFound
from skep.journal import Checkpoint, JournalReader, Verified, verify
from tests.journal.listening import PATIENCE, crash_copy, everything, opened, rows, write


def test_a_reader_follows_a_live_owner(tmp_path):
    with opened(tmp_path) as journal:
        write(journal, 10)
        with JournalReader(tmp_path) as reader:
            assert reader.read(0) == rows(1, 10)
            assert reader.read(10) == []
            write(journal, 25)
            assert reader.last() == 25
            assert reader.read(10, limit=5) == rows(11, 15)
            assert reader.read(20) == rows(21, 25)
            assert reader.read(3, limit=1) == rows(4, 4)


def test_a_reader_opened_before_the_end_reads_on_after_it(tmp_path):
    with opened(tmp_path) as journal:
        write(journal, 10)
        reader = JournalReader(tmp_path)
        write(journal, 20)
    assert reader.read(0) == rows(1, 20)
    reader.close()
    reader.close()
    assert everything(tmp_path) == rows(1, 20)


def test_a_reader_may_be_made_in_one_thread_and_used_in_another(tmp_path):
    with opened(tmp_path) as journal:
        write(journal, 10)
    found = []
    with JournalReader(tmp_path) as reader:
        thread = threading.Thread(target=lambda: found.extend(reader.read(0)))
        thread.start()
        thread.join(PATIENCE)
    assert found == rows(1, 10)


def test_a_clean_end_leaves_one_database_and_no_log(tmp_path):
    with opened(tmp_path) as journal:
        write(journal, 10)
        assert (tmp_path / "journal.db-wal").exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["head", "journal.db"]


def test_where_no_journal_is_none_is_made(tmp_path):
    with pytest.raises(NotFound):
        JournalReader(tmp_path / "nowhere")
    with pytest.raises(NotFound):
        verify(tmp_path)
    assert list(tmp_path.iterdir()) == []


READ_AS_A_STRANGER = """
import os, sys
from pathlib import Path
from skep.journal import JournalReader, verify
if os.getuid() == 0:
    os.setuid(65534)
folder = Path(sys.argv[1])
assert not os.access(folder, os.W_OK)
with JournalReader(folder) as reader:
    print(reader.last(), len(reader.read(0)), verify(folder).rows)
"""


@pytest.mark.parametrize("state", ["ended", "killed", "killed, index gone"])
def test_a_folder_that_may_not_be_written_can_be_read(state):
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "live"
        with opened(folder) as journal:
            write(journal, 50)
            if state != "ended":
                copy = crash_copy(folder, Path(place) / "killed")
        if state != "ended":
            folder = copy
        if state == "killed":
            (folder / "journal.db-shm").write_bytes(b"")
        for path in (*folder.iterdir(), folder, Path(place)):
            path.chmod(0o555)
        read = subprocess.run(
            [sys.executable, "-c", READ_AS_A_STRANGER, folder], capture_output=True, text=True, check=False
        )
        for path in (Path(place), folder):
            path.chmod(0o755)
        assert (read.stdout, read.stderr) == ("50 50 50\n", "")


def test_checkpoints_are_found_by_number_and_only_two_are_kept(tmp_path):
    with opened(tmp_path) as journal:
        journal.append(rows(1, 30))
        for seq in (10, 20, 30):
            journal.checkpoint(seq, [b"page of %d" % seq, b"", bytes(5000)])
        journal.append(rows(31, 31))
        assert journal.wait(31, PATIENCE)
        with JournalReader(tmp_path) as reader:
            newest = Checkpoint(30, (b"page of 30", b"", bytes(5000)))
            assert reader.checkpoint() == newest
            assert reader.checkpoint(30) == newest
            assert reader.checkpoint(29).seq == 20
            assert reader.checkpoint(19) is None
    assert verify(tmp_path) == Verified(rows=31, checkpoints=2, pages=6)


def test_a_checkpoint_may_be_written_again_and_may_be_empty(tmp_path):
    with opened(tmp_path) as journal:
        journal.append(rows(1, 5))
        journal.checkpoint(5, [b"a", b"b", b"c"])
        journal.checkpoint(5, [])
    with JournalReader(tmp_path) as reader:
        assert reader.checkpoint() == Checkpoint(5, ())


@pytest.mark.parametrize("seq", [0, -1, 6])
def test_a_checkpoint_of_a_row_that_was_never_appended_is_refused(tmp_path, seq):
    with opened(tmp_path) as journal:
        journal.append(rows(1, 5))
        with pytest.raises(ValueError, match="checkpoint"):
            journal.checkpoint(seq, [b"page"])


def test_a_checkpoint_waits_for_the_rows_before_it(tmp_path):
    with opened(tmp_path) as journal:
        for seq in range(1, 200):
            journal.append(rows(seq, seq))
            journal.checkpoint(seq, [b"%d" % seq])
    with JournalReader(tmp_path) as reader:
        assert reader.checkpoint() == Checkpoint(199, (b"199",))
    assert os.path.getsize(tmp_path / "journal.db") < 100_000
