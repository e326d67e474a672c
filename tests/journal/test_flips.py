"""Single bits that flip anywhere in a journal: all is there and right, or it is said that it is not."""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

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
    is_refused,
)
from tests.journal.mutants import BelievesCheckpoints, BelievesTheDatabase, CountsNothing, ReadsWhatIsThere

OWNERS = 25
"""One in so many flips is shown to owners, too; theirs are copies that take longer."""


def places(crashed: Crashed, seed: int) -> Iterator[tuple[str, int, str]]:
    """Where to flip a bit, for ever: a file, a bit of it, and what it belongs to."""
    chance = random.Random(seed)
    contents = {name: (crashed.folder / name).read_bytes() for name in ("journal.db", "journal.db-wal", "head")}
    pages = [
        (name, span)
        for name, content in contents.items()
        for span in (match.span() for match in re.finditer(rb"(?:[01] of \d+ )+", content))
    ]
    while True:
        if chance.random() < 0.2:
            name, (start, end) = chance.choice(pages)
            yield name, chance.randrange(start * 8, end * 8), "a checkpoint"
        else:
            (name,) = chance.choices(list(contents), [4, 4 * bool(contents["journal.db-wal"]), 1])
            yield name, chance.randrange(len(contents[name]) * 8), name


def flip(crashed: Crashed, name: str, bit: int) -> None:
    with (crashed.folder / name).open("r+b") as file:
        file.seek(bit // 8)
        (byte,) = file.read(1)
        file.seek(bit // 8)
        file.write(bytes([byte ^ 1 << bit % 8]))


def check_flips(count: int, seed: int = 7, kind: type[JournalReader] = JournalReader) -> Counter[str]:
    """Flip so many bits, one at a time, half of them after a crash and half after a good end.

    Returns what became of them, by what they belong to.
    """
    seen: Counter[str] = Counter()
    with in_memory() as place:
        crashed = crash(place)
        for folder in (closed(crashed.copy(place / "closed")), crashed):
            for number, (name, bit, what) in zip(range(count // 2), places(folder, seed), strict=False):
                flip(folder, name, bit)
                seen[f"{what}: {_becomes(folder, kind, place / 'spare' if number % OWNERS == 0 else None)}"] += 1
                flip(folder, name, bit)
            assert check_honest(folder) is None
    return seen


def _becomes(crashed: Crashed, kind: type[JournalReader], spare: Path | None) -> str:
    if is_refused(crashed):
        return "refused"
    damage = check_honest(crashed, kind)
    if spare is not None:
        check_refused(crashed, damage, spare)
        check_accepted(crashed, damage, spare)
    return "said" if damage is not None else "harmless"


def test_a_flipped_bit_is_harmless_or_said():
    seen = check_flips(1_000)
    assert {what.partition(":")[0] for what in seen} == {"journal.db", "journal.db-wal", "head", "a checkpoint"}
    assert seen["journal.db: said"] > 50
    assert seen["journal.db-wal: said"] > 50


@pytest.mark.full
def test_twenty_thousand_flipped_bits_are_harmless_or_said():
    print(check_flips(20_000, seed=11))


@pytest.mark.parametrize("kind", [BelievesTheDatabase, CountsNothing, ReadsWhatIsThere, BelievesCheckpoints])
def test_a_reader_that_proves_less_is_caught(kind: type[JournalReader]):
    with pytest.raises(AssertionError):
        check_flips(5_000, kind=kind)
