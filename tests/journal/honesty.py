"""What may become of a journal that somebody damaged: it shows a true beginning, and says what is not there."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from skep.errors import Damaged, Refused
from skep.journal import Damage, Journal, JournalReader, Row
from tests.journal.listening import crash_copy, everything, opened, rows, write

FILES = ("journal.db", "journal.db-wal", "head")


@dataclass(frozen=True)
class Crashed:
    """A folder as a crash left it, and what was acknowledged before: rows, and checkpoints by their number."""

    folder: Path
    written: list[Row]
    checkpoints: dict[int, tuple[bytes, ...]]

    def copy(self, to: Path) -> Crashed:
        """The same in another place; one that stands there is replaced."""
        shutil.rmtree(to, ignore_errors=True)
        to.mkdir(parents=True)
        for name in FILES:
            shutil.copy(self.folder / name, to / name)
        return Crashed(to, self.written, self.checkpoints)


@contextmanager
def in_memory() -> Iterator[Path]:
    """A folder in memory where the system has such: a storm of thousands of copies should not wait for a disk."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(prefix="skep-", dir=memory if os.access(memory, os.W_OK) else None) as place:
        yield Path(place)


def crash(place: Path, kind: type[Journal] = Journal) -> Crashed:
    """A journal with rows and checkpoints both in the database file and in the log, each of 40 KiB and more."""
    pages = {seq: tuple(b"%d of %d " % (page, seq) * 300 for page in range(2)) for seq in (90, 130, 155)}
    with opened(place / "live", kind) as journal:
        journal.append(_wide(1, 140))
        for seq in (90, 130):
            journal.checkpoint(seq, pages[seq])
    with opened(place / "live", kind) as journal:
        write(journal, 150, step=5)
        journal.append(_wide(151, 170))
        assert journal.wait(170, 20)
        journal.checkpoint(155, pages[155])
        write(journal, 190, step=4)
        crashed = crash_copy(place / "live", place / "crashed")
    return Crashed(crashed, [*_wide(1, 140), *rows(141, 150), *_wide(151, 170), *rows(171, 190)], pages)


def closed(crashed: Crashed) -> Crashed:
    """The same once its owner has taken it up and ended in good order: nothing but a database and its mark."""
    with opened(crashed.folder):
        pass
    (crashed.folder / "journal.db-wal").write_bytes(b"")
    return crashed


def check_honest(crashed: Crashed, kind: type[JournalReader] = JournalReader) -> Damage | None:
    """Look at a damaged copy as a client does; returns what it says (None: everything is there and right)."""
    written = crashed.written
    with kind(crashed.folder, accept_loss=True) as reader:
        damage = reader.damage
        found, unreadable = _read(reader)
        checkpoint = reader.checkpoint()
        older = reader.checkpoint(checkpoint.seq - 1) if checkpoint is not None else None
    assert found == written[: len(found)], "what is shown is not what was written"
    for one in filter(None, (checkpoint, older)):
        assert one.pages == crashed.checkpoints[one.seq], "a checkpoint is not what was written"
    if len(found) < len(written):
        assert damage is not None, f"{len(written) - len(found)} rows are missing and nobody says so"
        if unreadable is not None:
            assert damage.unreadable == unreadable == len(found) + 1
            assert checkpoint is not None
            assert checkpoint.seq >= unreadable
        else:
            assert damage.sound == len(found)
            missing = len(written) - len(found)
            assert damage.missing == missing or (damage.is_lower_bound and damage.missing <= missing)
    return damage


def check_refused(crashed: Crashed, damage: Damage | None, spare: Path) -> None:
    """An owner takes up all that was acknowledged, or refuses and changes nothing."""
    copy = crashed.copy(spare).folder
    before = {name: (copy / name).read_bytes() for name in FILES}
    try:
        with opened(copy) as journal:
            assert damage is None or not damage.blocks, "an owner took up what a client calls damaged"
            assert journal.last == len(crashed.written)
    except Damaged:
        assert damage is not None
        assert damage.blocks, "an owner refuses what a client does not call damaged"
        assert before == {name: (copy / name).read_bytes() for name in FILES}, "evidence was changed"


def check_accepted(crashed: Crashed, damage: Damage | None, spare: Path) -> None:
    """Whoever accepts the loss gives up what was said and no more, and has a journal that works again."""
    copy = crashed.copy(spare).folder
    sound = damage.sound if damage is not None else len(crashed.written)
    with opened(copy, accept_loss=True) as journal:
        assert journal.last == sound
        assert journal.lost is None or journal.lost[0] == sound + 1
        write(journal, sound + 9, step=3)
        journal.checkpoint(sound + 9, [b"a state"])
    with JournalReader(copy) as reader:
        assert reader.read(sound) == rows(sound + 1, sound + 9)
        assert reader.checkpoint() is not None
    if damage is None or damage.unreadable is None:
        assert everything(copy) == [*crashed.written[:sound], *rows(sound + 1, sound + 9)]


def is_refused(crashed: Crashed) -> bool:
    """Whether a client is told that a newer skep wrote it or its header is damaged, and so sees nothing at all."""
    try:
        JournalReader(crashed.folder, accept_loss=True).close()
    except Refused as error:
        return "header is damaged" in str(error)
    return False


def _wide(first: int, last: int) -> list[Row]:
    return [
        Row(seq, 1_700_000_000 + seq / 8, b'{"event":%d,"text":"%s"}' % (seq, b"x" * 200))
        for seq in range(first, last + 1)
    ]


def _read(reader: JournalReader) -> tuple[list[Row], int | None]:
    """Every row up to the end or to one that cannot be read, which is named."""
    found: list[Row] = []
    try:
        while page := reader.read(len(found), 1_000):
            found += page
    except Damaged:
        return found, len(found) + 1
    return found, None
