"""A disk whose Nth write or sync fails, below SQLite, for every N: nothing that was acknowledged is lost by it."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from tests.journal.disk import library, under_a_failing_disk

STORM = Path(__file__).with_name("failing.py")


@pytest.fixture(autouse=True)
def disk():
    try:
        library()
    except OSError as error:
        pytest.skip(error.strerror)


def storm(kind: str, size: str, step: int) -> dict[str, int]:
    done = under_a_failing_disk(sys.executable, STORM, kind, size, step)
    assert done.returncode == 0, done.stderr
    counts: dict[str, int] = json.loads(done.stdout)
    return counts


def check_storm(size: str, step: int, runs: int) -> None:
    counts = storm("Journal", size, step)
    assert counts["writes"] > 80, "the disk does not see what is written"
    assert counts["syncs"] > 30, "the disk does not see what is synced"
    assert counts["failures"] == counts["runs"] >= runs


def test_whatever_write_or_sync_fails_nothing_acknowledged_is_lost():
    check_storm("small", step=4, runs=70)


@pytest.mark.full
def test_every_write_and_every_sync_may_fail():
    check_storm("small", step=1, runs=800)


@pytest.mark.full
def test_a_log_that_moves_into_the_database_may_fail_on_the_way():
    check_storm("large", step=23, runs=150)


@pytest.mark.parametrize("kind", ["ForgetsToSync", "MarksWithoutSync", "DropsWhatFails", "GivesUp"])
def test_a_journal_that_is_careless_with_its_disk_is_caught(kind: str):
    done = under_a_failing_disk(sys.executable, STORM, kind, "small", 7)
    assert done.returncode == 1
    assert "AssertionError" in done.stderr
