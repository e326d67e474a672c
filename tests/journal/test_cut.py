"""A journal that was cut short, at every byte of its tail: what is gone is counted, and what is left is true."""

from __future__ import annotations

import os

import pytest

from skep.journal import JournalReader
from tests.journal.honesty import (
    Crashed,
    check_accepted,
    check_honest,
    check_refused,
    closed,
    crash,
    in_memory,
)
from tests.journal.mutants import BelievesTheDatabase, CountsNothing, MarksNothing

TAIL = 32 * 1024
OWNERS = 500
"""One in so many cuts is shown to owners, too; theirs are copies that take longer."""


def check_cuts(crashed: Crashed, name: str, step: int, kind: type[JournalReader] = JournalReader) -> int:
    """Cut a file by one byte (or ``step``) more again and again; returns how many cuts cost something."""
    path = crashed.folder / name
    whole = path.stat().st_size
    shortest = max(0, whole - TAIL)
    costly = 0
    for count, size in enumerate(range(whole - 1, shortest - 1, -step)):
        os.truncate(path, size)
        damage = check_honest(crashed, kind)
        costly += damage is not None
        if count % max(1, OWNERS // step) == 0:
            check_refused(crashed, damage, crashed.folder / "spare")
            check_accepted(crashed, damage, crashed.folder / "spare")
    return costly


def check_every_file(step: int) -> None:
    with in_memory() as place:
        crashed = crash(place)
        everywhere = TAIL // step
        assert check_cuts(crashed.copy(place / "cut"), "journal.db-wal", step) >= everywhere
        assert check_cuts(crashed.copy(place / "cut"), "journal.db", step) > 0
        assert check_cuts(crashed.copy(place / "cut"), "head", step) >= 1  # one slot is enough while it is whole
        assert check_cuts(closed(crashed.copy(place / "cut")), "journal.db", step) >= everywhere - 4096 // step


def test_a_journal_that_is_cut_short_says_so():
    check_every_file(step=101)


@pytest.mark.full
def test_a_journal_that_is_cut_at_any_byte_of_its_tail_says_so():
    check_every_file(step=1)


@pytest.mark.parametrize("kind", [BelievesTheDatabase, CountsNothing])
def test_a_reader_that_does_not_look_at_the_end_is_caught(kind: type[JournalReader]):
    with in_memory() as place, pytest.raises(AssertionError):
        check_cuts(crash(place), "journal.db-wal", 997, kind)


def test_an_owner_that_does_not_mark_the_end_is_caught():
    with in_memory() as place, pytest.raises(AssertionError, match="nobody says so"):
        check_cuts(crash(place, MarksNothing), "journal.db-wal", 997)
