"""Decisions from any thread: one after the other, in the journal as they were folded, effects after them."""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from skep.clock import VirtualClock
from skep.engine.ledger import Decision, Ledger
from skep.errors import Damaged, IllegalTransition, Refused
from skep.journal import Journal, JournalReader, Row
from skep.model.codec import encode
from skep.model.events import AgentAdmitted, AgentEnded, AgentRunning, EngineStarted, Event, LatchClosed, Record
from skep.model.registry import Registry
from skep.model.states import State, Strength
from skep.model.swarm import SwarmState
from tests.model.telling import born, done, queued, rooted

LIMIT = 30.0
Open = Callable[..., Ledger]


@pytest.fixture
async def opened(tmp_path: Path) -> AsyncIterator[Open]:
    made: list[Ledger] = []

    def open_(ledger: type[Ledger] = Ledger, clock: VirtualClock | None = None, **options: object) -> Ledger:
        made.append(ledger(tmp_path / "swarm", clock or VirtualClock(), **options))
        return made[-1]

    yield open_
    for one in made:
        one.close()


@pytest.fixture
def hasty() -> Iterator[None]:
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


def _tell(ledger: Ledger, *events: Event) -> int:
    with ledger.decide() as decision:
        for event in events:
            decision.emit(event)
    return decision.seq


async def _effects(ledger: Ledger) -> asyncio.Task[None]:
    return asyncio.create_task(ledger.run_effects())


# -- threads -----------------------------------------------------------------------------------------------------


async def _race(ledger: Ledger, threads: int, agents: int) -> list[int]:
    """Admit and end agents from many threads; each admission has an effect. Returns the effects in their order."""
    _tell(ledger, born(5), rooted(), *(queued(f"a{n}") for n in range(agents)))
    happened: list[int] = []
    everything = asyncio.Event()
    begin = threading.Barrier(threads)

    def effect(number: int) -> Callable[[], object]:
        async def note() -> None:
            assert ledger.durable >= number
            happened.append(number)
            if len(happened) == agents:
                everything.set()

        return note

    def work() -> None:
        begin.wait(LIMIT)
        while True:
            with ledger.decide() as decision:
                agent = decision.state.line.next()
                if agent is None:
                    return
                if decision.state.slots_free <= 0:
                    continue
                decision.then(effect(decision.emit(AgentAdmitted(agent))))
            with ledger.decide() as decision:
                decision.emit(AgentRunning(agent))
                decision.emit(done(agent))

    running = await _effects(ledger)
    try:
        async with asyncio.timeout(LIMIT):
            await asyncio.gather(*(asyncio.to_thread(work) for _ in range(threads)))
            await everything.wait()
    finally:
        running.cancel()
    return happened


@pytest.mark.usefixtures("hasty")
async def test_threads_decide_one_after_the_other_and_every_effect_happens_once_in_order(opened: Open):
    """More workers than the pool has threads would wait for each other at the barrier."""
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(64))
    ledger = opened()
    happened = await _race(ledger, 64, 300)
    assert happened == sorted(set(happened))
    assert len(happened) == 300
    with ledger.registry.read() as state:
        assert state.slots_used == 0
        assert all(one.attempt == 1 for one in state.agents.values() if one.id != "root")
    pages = ledger.registry.pages()
    ledger.close()
    assert opened().registry.pages() == pages


class ReleasesLate(Ledger):
    """Names its effects only after the writer may have said that their events are durable."""

    def _commit(self, state: SwarmState, decision: Decision) -> None:
        effects, decision.effects = decision.effects, []
        super()._commit(state, decision)
        asyncio.run_coroutine_threadsafe(self.settle(decision.seq), self._loop).result(LIMIT)
        for effect in effects:
            self._pending.append((state.seq, effect))


async def test_an_effect_from_another_thread_is_not_forgotten(opened: Open):
    await _one_effect_from_a_thread(opened())


async def test_a_ledger_that_forgets_it_is_caught(opened: Open):
    with pytest.raises(TimeoutError):
        await _one_effect_from_a_thread(opened(ReleasesLate), patience=0.3)


async def _one_effect_from_a_thread(ledger: Ledger, patience: float = LIMIT) -> None:
    happened = asyncio.Event()

    async def effect() -> None:
        happened.set()

    def work() -> None:
        with ledger.decide() as decision:
            decision.emit(born())
            decision.then(effect)

    running = await _effects(ledger)
    try:
        await asyncio.to_thread(work)
        async with asyncio.timeout(patience):
            await happened.wait()
    finally:
        running.cancel()


# -- decisions ---------------------------------------------------------------------------------------------------


async def test_an_effect_without_an_event_follows_what_was_decided_before(opened: Open):
    ledger = opened()
    seq = _tell(ledger, born(), rooted())
    durable: list[int] = []
    happened = asyncio.Event()

    async def effect() -> None:
        durable.append(ledger.durable)
        happened.set()

    with ledger.decide() as decision:
        decision.then(effect)
    assert decision.seq == 0
    running = await _effects(ledger)
    async with asyncio.timeout(LIMIT):
        await happened.wait()
    running.cancel()
    assert durable[0] >= seq


async def test_what_was_folded_before_a_fault_is_kept_and_its_effects_too(opened: Open):
    ledger = opened()
    happened = asyncio.Event()

    async def effect() -> None:
        happened.set()

    def half_way(decision: Decision) -> None:
        decision.emit(born())
        decision.then(effect)
        decision.emit(done("nobody"))

    with pytest.raises(IllegalTransition), ledger.decide() as decision:
        half_way(decision)
    running = await _effects(ledger)
    async with asyncio.timeout(LIMIT):
        await happened.wait()
    running.cancel()
    ledger.close()
    again = opened()
    assert again.registry.seq == 1


async def test_an_effect_that_fails_does_not_end_the_others(opened: Open):
    ledger = opened()
    happened = asyncio.Event()

    async def fails() -> None:
        raise ValueError("an effect that fails")

    async def effect() -> None:
        happened.set()

    with ledger.decide() as decision:
        decision.emit(born())
        decision.then(fails)
        decision.then(effect)
    running = await _effects(ledger)
    async with asyncio.timeout(LIMIT):
        await happened.wait()
    running.cancel()


async def test_time_never_runs_backwards_in_the_journal(opened: Open):
    clock = VirtualClock()
    ledger = opened(clock=clock)
    await ledger.settle(_tell(ledger, born()))
    ledger.close()
    clock.advance(-1_000)
    again = opened(clock=clock)
    await again.settle(_tell(again, rooted()))
    times = [record.time for record in again.records(0, 10)]
    assert times == sorted(times)


async def test_a_closed_ledger_decides_nothing(opened: Open):
    ledger = opened()
    _tell(ledger, born())
    ledger.close()
    ledger.close()
    with pytest.raises(Refused), ledger.decide() as decision:
        decision.emit(rooted())
    assert ledger.registry.seq == 1


# -- reading -----------------------------------------------------------------------------------------------------


async def test_followers_get_durable_events_from_memory_and_from_the_journal(opened: Open):
    first = opened()
    await first.settle(_tell(first, born(), rooted(), *(queued(f"a{n}") for n in range(40))))
    everything = list(first.records(0, 1_000))
    assert [record.seq for record in everything] == list(range(1, 43))
    first.close()
    ledger = opened()
    assert list(ledger.records(0, 1_000)) == everything
    await ledger.settle(_tell(ledger, EngineStarted(1), EngineStarted(2)))
    assert [record.seq for record in ledger.records(38, 4)] == [39, 40, 41, 42]
    assert [record.seq for record in ledger.records(42, 4)] == [43, 44]
    assert [record.seq for record in ledger.records(43, 4)] == [44]
    assert list(ledger.records(44, 4)) == []


@pytest.mark.usefixtures("hasty")
async def test_followers_get_every_event_in_order_while_threads_decide(opened: Open):
    ledger = opened()
    _tell(ledger, born())
    count = 3_000

    def work() -> None:
        for number in range(count // 3):
            _tell(ledger, EngineStarted(number))

    seen: list[Record] = []
    working = asyncio.gather(*(asyncio.to_thread(work) for _ in range(3)))
    async with asyncio.timeout(LIMIT):
        while len(seen) < count + 1:
            await ledger.published(len(seen))
            seen += ledger.records(len(seen), 100)
        await working
    assert [record.seq for record in seen] == list(range(1, count + 2))


async def test_whoever_waits_for_an_event_is_woken_when_it_is_durable(opened: Open):
    ledger = opened()
    waiting = [asyncio.create_task(ledger.settle(seq)) for seq in (3, 1, 2, 2)]
    given_up = asyncio.create_task(ledger.published(1))
    await asyncio.sleep(0)
    given_up.cancel()
    _tell(ledger, born(), rooted())
    async with asyncio.timeout(LIMIT):
        await asyncio.gather(*waiting[1:])
    assert not waiting[0].done()
    _tell(ledger, queued("a"))
    async with asyncio.timeout(LIMIT):
        await waiting[0]


# -- checkpoints -------------------------------------------------------------------------------------------------


def _journal(folder: Path, events: list[Event], checkpoints: dict[int, list[bytes]]) -> list[Record]:
    records = [Record(seq, 1_700_000_000.0 + seq, event) for seq, event in enumerate(events, 1)]
    with Journal(folder, on_durable=lambda seq: None, on_trouble=lambda trouble: None) as journal:
        journal.append([Row(record.seq, record.time, encode(record.event)) for record in records])
        for seq, pages in checkpoints.items():
            journal.checkpoint(seq, lambda pages=pages: pages)
    return records


def _pages(records: list[Record]) -> list[bytes]:
    registry = Registry()
    registry.fold(records)
    return registry.pages()


EVENTS: list[Event] = [
    born(),
    rooted(),
    *(queued(f"a{n}") for n in range(6)),
    AgentAdmitted("a0"),
    LatchClosed("", Strength.SPAWNS, "lunch", "you"),
    AgentEnded("a0", State.FAILED),
]


@pytest.mark.parametrize("spoiled", [(), (7,), (3, 7)])
async def test_a_checkpoint_that_cannot_be_read_is_passed_over(
    tmp_path: Path, opened: Open, spoiled: tuple[int, ...]
):
    records = [Record(seq, 1_700_000_000.0 + seq, event) for seq, event in enumerate(EVENTS, 1)]
    good = {seq: _pages(records[:seq]) for seq in (3, 7)}
    _journal(tmp_path / "swarm", EVENTS, {seq: [b"{}"] if seq in spoiled else good[seq] for seq in good})
    assert opened().registry.pages() == _pages(records)


async def test_a_journal_that_holds_no_swarm_is_refused_and_let_go(tmp_path: Path, opened: Open):
    folder = tmp_path / "swarm"
    with Journal(folder, on_durable=lambda seq: None, on_trouble=lambda trouble: None) as journal:
        journal.append([Row(1, 1.0, b'{"kind":"from the future"}')])
    threads = threading.active_count()
    with pytest.raises(Damaged):
        opened()
    assert threading.active_count() == threads


async def test_a_checkpoint_is_written_at_the_end_and_on_the_way(tmp_path: Path, opened: Open):
    ledger = opened(checkpoint_every=10)
    for event in EVENTS:
        _tell(ledger, event)
    await ledger.settle(len(EVENTS))
    _tell(ledger, EngineStarted(1))
    pages = ledger.registry.pages()
    ledger.close()
    with JournalReader(tmp_path / "swarm") as reader:
        last = reader.checkpoint()
        before = reader.checkpoint(len(EVENTS))
    assert last is not None
    assert before is not None
    assert (last.seq, list(last.pages)) == (len(EVENTS) + 1, pages)
    assert before.seq == 10
