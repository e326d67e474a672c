"""What an engine has to read from the disk for a client it reads beside its loop, one thing at a time."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from skep.cli.service import EngineService
from skep.engine.ledger import Ledger
from skep.errors import NotFound
from skep.model.logs import READ_BYTES
from skep.model.states import State
from tests.control.test_turns import Rounds
from tests.engine.conftest import MakeHive, make_hive  # noqa: F401
from tests.engine.hive import Hive, patient, shell

LINES = 20_000


class Forgetful(Ledger):
    """Remembers nothing: every event comes from the disk. Knows which threads read it."""

    readers: set[str]

    def recent(self, after: int, limit: int) -> None:
        return None

    def records(self, after: int, limit: int) -> object:  # type: ignore[override]
        self.readers.add(threading.current_thread().name)
        return super().records(after, limit)


@pytest.fixture
async def hive(make_hive: MakeHive) -> Hive:  # noqa: F811
    """One agent has ended with a large log, one runs."""
    hive = make_hive(ledger=Forgetful)
    hive.ledger.readers = set()  # type: ignore[attr-defined]
    # Escapes and bare combining marks, as what takes longest to clean.
    noisy = f"seq -f \"$(printf '\\033]0;title\\007')line %.0f é\u0301\u0301\u0301\u0301 {'x' * 60}\" {LINES}"
    await hive.launch(shell("ended", noisy), patient("runs"))
    await hive.are(State.DONE, "ended")
    await hive.are(State.RUNNING, "runs")
    return hive


@pytest.fixture
async def service(hive: Hive) -> AsyncIterator[EngineService]:
    service = EngineService(hive.engine, hive.clock)
    yield service
    service.close()


async def _rounds_of(work: Callable[[], Awaitable[object]]) -> int:
    """How often the loop went round meanwhile."""
    rounds = Rounds()
    try:
        await work()
        return rounds.count
    finally:
        rounds.close()


async def test_the_loop_goes_on_while_the_log_of_an_ended_agent_is_read(hive: Hive, service: EngineService):
    size = (hive.folder / "output" / "ended.log").stat().st_size
    assert size > READ_BYTES
    assert await _rounds_of(lambda: service.tail("ended", -500, 500)) > 10
    chunk = await service.tail("ended", -2, 5)
    assert [line.partition("line ")[2].split()[0] for line in chunk.lines] == [str(LINES - 1), str(LINES)]
    assert chunk == hive.engine.tail("ended", -2, 5)
    with pytest.raises(NotFound):
        await service.tail("nobody", 0, 1)


async def test_output_of_what_runs_is_at_hand(hive: Hive, service: EngineService):
    assert await _rounds_of(lambda: service.tail("runs", -500, 500)) == 0


async def test_old_events_are_read_beside_the_loop_and_one_at_a_time(hive: Hive, service: EngineService):
    read = await asyncio.gather(*(service.records(after, 3) for after in range(6)))
    assert [[record.seq for record in records] for records in read] == [
        list(range(n + 1, n + 4)) for n in range(6)
    ]
    readers = hive.ledger.readers  # type: ignore[attr-defined]
    assert len(readers) == 1
    assert readers != {threading.current_thread().name}
