"""Appending: order, acknowledgement, gathering and the end."""

from __future__ import annotations

import sys
import threading

import pytest

from skep.errors import Refused
from skep.journal import JournalReader, Row, verify
from tests.journal.listening import PATIENCE, Listener, everything, opened, rows, write


def test_rows_come_back_as_they_were_written(tmp_path):
    written = [Row(1, 0.0, b""), Row(2, -0.0, b"{}"), Row(3, 1e300, '{"ü":"\x00"}'.encode()), *rows(4, 3000)]
    with opened(tmp_path / "new" / "swarm") as journal:
        assert journal.last == 0
        journal.append(written)
        assert journal.wait(3000, PATIENCE)
    assert everything(tmp_path / "new" / "swarm") == written


def test_a_reopened_journal_goes_on_where_it_ended(tmp_path):
    with opened(tmp_path) as journal:
        write(journal, 10)
    with opened(tmp_path) as journal:
        assert (journal.last, journal.durable(), journal.lost) == (10, 10, None)
        write(journal, 20)
    assert everything(tmp_path) == rows(1, 20)


def test_acknowledged_numbers_rise_and_reach_the_end(tmp_path):
    listener = Listener()
    with opened(tmp_path, listener=listener) as journal:
        write(journal, 50, step=3)
    assert listener.acknowledged == sorted(set(listener.acknowledged))
    assert listener.acknowledged[-1] == 50
    assert listener.troubles == []


@pytest.mark.parametrize("numbers", [[2], [0], [1, 3], [1, 1], [1, 2, 4]])
def test_a_gap_or_a_repeat_is_refused_and_leaves_no_trace(tmp_path, numbers):
    with opened(tmp_path) as journal:
        with pytest.raises(ValueError, match="was due"):
            journal.append([Row(number, 1.0, b"{}") for number in numbers])
        write(journal, 5)
    assert everything(tmp_path) == rows(1, 5)


def test_a_time_that_is_no_number_is_refused(tmp_path):
    with opened(tmp_path) as journal, pytest.raises(ValueError, match="not a number"):
        journal.append([Row(1, float("nan"), b"{}")])


def test_appending_nothing_is_nothing(tmp_path):
    with opened(tmp_path) as journal:
        journal.append([])
    assert everything_or_none(tmp_path) == []


def everything_or_none(folder):
    with JournalReader(folder) as reader:
        assert reader.last() == 0
        return reader.read(0)


def test_after_close_rows_are_refused_and_close_may_be_repeated(tmp_path):
    with opened(tmp_path) as journal:
        write(journal, 3)
        journal.close()
        journal.close()
        with pytest.raises(Refused):
            journal.append(rows(4, 4))
        with pytest.raises(Refused):
            journal.checkpoint(3, [b"page"])


def test_waiting_for_a_row_that_does_not_come_ends_in_time(tmp_path):
    with opened(tmp_path) as journal:
        assert journal.wait(0)
        assert not journal.wait(1, timeout=0.0)


def test_an_idle_journal_commits_at_once(tmp_path):
    with opened(tmp_path, gather=3600.0) as journal:
        for seq in range(1, 4):
            journal.append(rows(seq, seq))
            assert journal.wait(seq, PATIENCE)


class Busy(Listener):
    """Keeps the writer busy with the first row until told otherwise."""

    def __init__(self) -> None:
        super().__init__()
        self.go_on = threading.Event()

    def on_durable(self, seq: int) -> None:
        super().on_durable(seq)
        self.go_on.wait(PATIENCE)


def test_a_busy_journal_gathers_what_comes_into_one_commit(tmp_path):
    listener = Busy()
    with opened(tmp_path, listener=listener, gather=3600.0) as journal:
        journal.append(rows(1, 1))
        assert listener.hears(lambda ear: ear.acknowledged == [1])
        journal.append(rows(2, 2))
        listener.go_on.set()
        assert not journal.wait(2, timeout=0.1)
        for first in range(3, 1001, 100):
            journal.append(rows(first, min(first + 99, 1001)))
        # The call that makes the batch full is the last one: whenever the writer wakes, all is there.
        journal.append(rows(1002, 6001))
        assert journal.wait(6001, PATIENCE)
    assert listener.acknowledged == [1, 6001]


def test_close_does_not_wait_for_the_gathering(tmp_path):
    listener = Busy()
    with opened(tmp_path, listener=listener, gather=3600.0) as journal:
        journal.append(rows(1, 1))
        assert listener.hears(lambda ear: ear.acknowledged == [1])
        journal.append(rows(2, 5))
        listener.go_on.set()
    assert listener.acknowledged == [1, 5]


def test_a_listener_that_fails_keeps_no_row_from_the_disk(tmp_path, caplog):
    class Broken(Listener):
        def on_durable(self, seq: int) -> None:
            raise RuntimeError("the loop is closed")

    with opened(tmp_path, listener=Broken()) as journal:
        write(journal, 20)
    assert everything(tmp_path) == rows(1, 20)
    assert "the loop is closed" in caplog.text


def test_eight_threads_append_under_one_lock(tmp_path):
    lock = threading.Lock()
    numbers = iter(range(1, 100_000))
    start = threading.Barrier(8)

    def append(journal, times):
        start.wait(PATIENCE)
        for _ in range(times):
            with lock:
                batch = [next(numbers) for _ in range(3)]
                journal.append(rows(batch[0], batch[-1]))

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with opened(tmp_path) as journal:
            threads = [threading.Thread(target=append, args=(journal, 100)) for _ in range(8)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
    finally:
        sys.setswitchinterval(interval)
    assert everything(tmp_path) == rows(1, 2400)
    assert verify(tmp_path).rows == 2400
