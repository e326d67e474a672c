"""A process that owns one journal after another while the Nth write or sync of each fails, for every N.

Whatever fails: what was acknowledged would survive a power cut at once, nothing else is called durable, and the
journal goes on as soon as the disk does. ``failing.py JOURNAL SIZE STEP`` tells in JSON what it has done.
"""

from __future__ import annotations

import errno
import itertools
import json
import os
import shutil
import sys
import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from skep.errors import NoSpace, NotFound, SkepError
from skep.journal import Journal, Row, verify
from tests.journal import mutants
from tests.journal.disk import DEATH, Call, Disk
from tests.journal.honesty import in_memory
from tests.journal.listening import PATIENCE, everything, rows


@dataclass(frozen=True)
class Plan:
    """What is done to each journal: rows from, to, each waited for; and how many bytes a row has at least."""

    steps: tuple[tuple[int, int] | str, ...]
    width: int = 0

    def rows(self, first: int, last: int) -> list[Row]:
        return [Row(row.seq, row.time, row.body.ljust(self.width)) for row in rows(first, last)]


PLANS = {
    "small": Plan(((1, 3), (4, 6), "checkpoint", (7, 20), (21, 21), "reopen", (22, 24), "checkpoint", (25, 30))),
    # Enough for SQLite to move its log into the database on the way: 1,000 pages.
    "large": Plan(((1, 3), (4, 303), (304, 305), (306, 308)), width=14_000),
}


class Run:
    """One journal on one disk."""

    def __init__(self, place: Path, kind: type[Journal], plan: Plan, tell: Callable[[int], None]) -> None:
        self.folder = place / "swarm"
        self.disk = Disk()
        self.counted: dict[Call, int] = {}
        self._cuts = place / "cuts"
        self._kind = kind
        self._plan = plan
        self._tell = tell
        self._acknowledged = 0
        self._numbers = itertools.count(1)
        self._journal: Journal | None = None
        self._faults: list[BaseException] = []
        shutil.rmtree(place, ignore_errors=True)
        self._cuts.mkdir(parents=True)
        (place / "platter").mkdir()
        self.disk.watch(self.folder, place / "platter")

    def carry_out(self) -> None:
        """Do the whole plan, whatever fails, and look at the end whether all is there."""
        last = 0
        journal = self._open()
        for step in self._plan.steps:
            match step:
                case (first, last):
                    journal.append(self._plan.rows(first, last))
                    assert journal.wait(last, PATIENCE), f"row {last} did not become durable"
                case "checkpoint":
                    journal.checkpoint(last, [b"a page " * 900, b"%d" % last])
                case _:
                    journal.close()
                    journal = self._open()
        journal.close()
        self.counted = {call: self.disk.count(call) for call in Call}
        self.disk.mend()
        assert not self._faults, self._faults[0]
        assert self._acknowledged == last
        self._cut_power()
        self.check_reopened(last)

    def check_reopened(self, acknowledged: int) -> None:
        """A folder in which a process ended, however it ended, proves itself, holds all, and can be written."""
        self._check_whole(self.folder, acknowledged)
        with Journal(self.folder, on_durable=_ignore, on_trouble=_ignore) as journal:
            last = journal.last
            assert last >= acknowledged
            journal.append(self._plan.rows(last + 1, last + 2))
        assert everything(self.folder) == self._plan.rows(1, last + 2)
        assert verify(self.folder).rows == last + 2

    def _open(self) -> Journal:
        self._journal = None
        for _ in range(3):
            try:
                self._journal = self._kind(self.folder, on_durable=self._hear, on_trouble=self._mend, gather=0.0)
            except NoSpace as error:
                self._mend(error)
            else:
                return self._journal
        raise AssertionError("it cannot be opened although the disk works again")

    def _hear(self, seq: int) -> None:
        try:
            assert seq > self._acknowledged, "an acknowledgement came twice"
            self._acknowledged = seq
            self._tell(seq)
            self._cut_power()
        except BaseException as error:  # the journal would only log it
            self._faults.append(error)
            raise

    def _mend(self, trouble: SkepError | None) -> None:
        """The disk works again as soon as somebody was told; the writer need not wait any longer."""
        if trouble is None:
            return
        try:
            assert isinstance(trouble, NoSpace), trouble
            self._cut_power()
        except BaseException as error:
            self._faults.append(error)
            raise
        finally:
            self.disk.mend()
            if self._journal is not None and threading.current_thread() is not threading.main_thread():
                self._journal.allow(None)

    def _cut_power(self) -> None:
        cut = self._cuts / str(next(self._numbers))
        self.disk.cut_power(cut)
        self._check_whole(cut, self._acknowledged)
        shutil.rmtree(cut)

    def _check_whole(self, folder: Path, acknowledged: int) -> None:
        try:
            found = everything(folder)
        except NotFound:
            found = []
        assert len(found) >= acknowledged, f"{acknowledged} rows were acknowledged, and {len(found)} are there"
        assert found == self._plan.rows(1, len(found))


WAYS = [*itertools.product((errno.EIO, errno.ENOSPC), (False, True)), None]
"""How a call fails: with which error, and whether for ever; None: it ends the process."""


def storm(kind: type[Journal], plan: Plan, step: int) -> dict[str, int]:
    """Let the Nth call fail, for every N in every way; or every ``step``-th write and each sync in one of them.

    Returns counts of calls, of runs, and of those in which something failed.
    """
    done: Counter[str] = Counter()
    with in_memory() as place:
        calm = Run(place / "run", kind, plan, _ignore)
        calm.carry_out()
        for call in Call:
            done[f"{call.name.lower()}s"] = calm.counted[call]
            for nth in range(1, calm.counted[call] + 1, step if call is Call.WRITE else 1):
                for way in WAYS if step == 1 else [WAYS[nth % len(WAYS)]]:
                    done["runs"] += 1
                    if way is None:
                        done["failures"] += die(place / "run", kind, plan, call, nth)
                        continue
                    run = Run(place / "run", kind, plan, _ignore)
                    run.disk.fail(call, nth, way[0], for_ever=way[1])
                    run.carry_out()
                    done["failures"] += run.disk.failures > 0
    return dict(done)


def die(place: Path, kind: type[Journal], plan: Plan, call: Call, nth: int) -> bool:
    """Let a process die in the Nth call, half of a write done; true if it did."""
    listens, says = os.pipe()
    run = Run(place, kind, plan, lambda seq: _write(says, seq))
    child = os.fork()
    if child == 0:
        run.disk.fail(call, nth, is_death=True)
        try:
            run.carry_out()
        except BaseException as error:  # noqa: BLE001 - a fork ends here, whatever it was
            os.write(2, f"{error!r}\n".encode())
            os._exit(1)
        os._exit(0)
    os.close(says)
    with open(listens) as told:
        acknowledged = max(map(int, told), default=0)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) in (0, DEATH)
    run.check_reopened(acknowledged)
    return os.waitstatus_to_exitcode(status) == DEATH


def _write(pipe: int, seq: int) -> None:
    os.write(pipe, b"%d\n" % seq)


def _ignore(_: object) -> None:
    """Listen to nothing."""


if __name__ == "__main__":
    name, size, step = sys.argv[1:]
    print(json.dumps(storm(getattr(mutants, name, Journal), PLANS[size], int(step))))
