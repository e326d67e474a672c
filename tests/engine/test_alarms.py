"""Alarms ring in order, at their moment, inside of decisions; one that fails keeps no other from ringing."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import AsyncIterator
from contextlib import AbstractContextManager, suppress
from functools import partial
from pathlib import Path

import pytest

from skep.clock import VirtualClock
from skep.engine.alarms import Alarm, Alarms, Ring
from skep.engine.ledger import Decision, Ledger
from tests.engine.hive import turns

LIMIT = 20.0


class SaysWhoAsks(Ledger):
    """Says when its own loop is about to decide something."""

    def __init__(self, *parts: object) -> None:
        super().__init__(*parts)  # type: ignore[arg-type]
        self.asked = threading.Event()
        self._ours = threading.get_ident()

    def decide(self) -> AbstractContextManager[Decision]:
        if threading.get_ident() == self._ours:
            self.asked.set()
        return super().decide()


class Ringing:
    """Alarms at work, and what has rung."""

    def __init__(self, folder: Path, kind: type[Alarms] = Alarms, *, strict: bool = True) -> None:
        self.clock = VirtualClock()
        self.ledger = SaysWhoAsks(folder, self.clock)
        self.alarms = kind(self.ledger, self.clock, strict=strict)
        self.rung: list[object] = []
        self.running = asyncio.create_task(self.alarms.run())

    def after(self, seconds: float, what: object) -> Alarm:
        return self.set(seconds, partial(self.ring, what))

    def set(self, seconds: float, ring: Ring) -> Alarm:
        with self.ledger.decide() as decision:
            return self.alarms.after(decision, seconds, ring)

    def ring(self, what: object, decision: Decision) -> None:
        assert self.ledger.registry.lock.locked(), "it rings outside of a decision"
        self.rung.append(what)

    async def passes(self, seconds: float) -> None:
        await turns(5)
        self.clock.advance(seconds)
        await turns(10)


@pytest.fixture
async def make(tmp_path: Path) -> AsyncIterator[object]:
    made: list[Ringing] = []

    def make(kind: type[Alarms] = Alarms, *, strict: bool = True) -> Ringing:
        made.append(Ringing(tmp_path / "swarm", kind, strict=strict))
        return made[-1]

    yield make
    for one in made:
        one.running.cancel()
        with suppress(asyncio.CancelledError, KeyError):
            await one.running
        one.ledger.close()


async def test_alarms_ring_in_the_order_of_their_moments(make):
    ringing = make()
    for due in (30, 10, 20, 10):
        ringing.after(due, due)
    await ringing.passes(9)
    assert ringing.rung == []
    await ringing.passes(1)
    assert ringing.rung == [10, 10]
    ringing.after(1, "earlier than those that wait")
    await ringing.passes(1)
    assert ringing.rung == [10, 10, "earlier than those that wait"]
    await ringing.passes(8.9)
    assert len(ringing.rung) == 3
    await ringing.passes(0.2)
    assert ringing.rung[3:] == [20]
    await ringing.passes(10)
    assert ringing.rung[3:] == [20, 30]


async def test_a_cancelled_alarm_never_rings_and_one_that_has_rung_may_be_cancelled(make):
    ringing = make()
    first = ringing.after(5, "first")
    second = ringing.after(10, "second")
    first.cancel()
    await ringing.passes(20)
    second.cancel()
    assert ringing.rung == ["second"]
    assert first.cancelled
    assert second.cancelled


async def test_an_alarm_may_set_and_cancel_others_as_it_rings(make):
    ringing = make()
    late = ringing.after(2, "late")

    def first(decision: Decision) -> None:
        late.cancel()
        for seconds, what in ((0, "at once"), (-5, "before now is now")):
            ringing.alarms.after(decision, seconds, partial(ringing.ring, what))

    ringing.set(1, first)
    await ringing.passes(3)
    assert ringing.rung == ["at once", "before now is now"]


@pytest.mark.parametrize("strict", [False, True])
async def test_an_alarm_that_fails_is_logged_and_the_others_ring(
    make, caplog: pytest.LogCaptureFixture, strict: bool
):
    ringing = make(strict=strict)

    def fails(decision: Decision) -> None:
        raise KeyError("an agent that is not there")

    for due in (1, 3):
        ringing.set(due, fails)
        ringing.after(due, due)
    with caplog.at_level(logging.ERROR):
        await ringing.passes(2)
        await ringing.passes(2)
    if strict:
        with pytest.raises(KeyError):
            await ringing.running
        return
    assert ringing.rung == [1, 3]
    assert caplog.text.count("an alarm failed") == 2


async def test_what_is_due_together_rings_in_one_decision(make):
    ringing = make()
    decisions = set()
    for _ in range(100):
        ringing.set(1, decisions.add)
    await ringing.passes(2)
    assert len(decisions) == 1


# -- threads -----------------------------------------------------------------------------------------------------


async def test_an_alarm_that_another_thread_sets_wakes_the_loop_that_sleeps(make):
    """It sleeps for nothing at all, then for a later alarm; both times it has to be told."""
    ringing = make()
    for due in (50, 10):
        await turns()
        await asyncio.to_thread(ringing.after, due, due)
    await ringing.passes(11)
    assert ringing.rung == [10]


class LooksBefore(Alarms):
    """Looks what is due, and was not cancelled, before it opens the decision in which it rings."""

    def _ring_all(self) -> float | None:
        due = [alarm.ring for when, _, alarm in sorted(self._heap) if when <= self._clock.monotonic()]
        self._heap = [one for one in self._heap if one[0] > self._clock.monotonic()]
        if due:
            with self._ledger.decide() as decision:
                for ring in due:
                    if ring is not None:
                        ring(decision)
        return min(self._heap)[0] if self._heap else None


async def _cancelled_in_a_decision_of_another_thread(ringing: Ringing) -> list[object]:
    """Another thread has the lock, the loop waits for it to ring what is due, and then that is cancelled."""
    ringing.after(5, "the other")
    alarm = ringing.after(5, "cancelled")
    await turns()
    has_lock, loop = threading.Event(), asyncio.get_running_loop()

    def cancels() -> None:
        with ringing.ledger.decide():
            ringing.ledger.asked.clear()
            loop.call_soon_threadsafe(ringing.clock.advance, 6)
            has_lock.set()
            assert ringing.ledger.asked.wait(LIMIT)
            alarm.cancel()

    thread = threading.Thread(target=cancels)
    thread.start()
    has_lock.wait(LIMIT)
    await turns()  # in here the loop's thread waits for the lock
    thread.join(LIMIT)
    return ringing.rung


async def test_an_alarm_that_was_cancelled_in_a_decision_never_overtakes_it(make):
    assert await _cancelled_in_a_decision_of_another_thread(make()) == ["the other"]


async def test_alarms_that_look_too_early_are_caught(make):
    assert await _cancelled_in_a_decision_of_another_thread(make(LooksBefore)) == ["the other", "cancelled"]
