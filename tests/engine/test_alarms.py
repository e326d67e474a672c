"""Alarms ring in order, at their moment, and one that fails keeps no other from ringing."""

from __future__ import annotations

import asyncio
import logging

import pytest

from skep.clock import VirtualClock
from skep.engine.alarms import Alarms
from tests.engine.hive import turns


async def _passes(clock: VirtualClock, seconds: float) -> None:
    await turns(5)
    clock.advance(seconds)
    await turns(10)


async def test_alarms_ring_in_the_order_of_their_moments():
    clock = VirtualClock()
    alarms, rung = Alarms(clock, strict=True), []
    running = asyncio.create_task(alarms.run())
    for due in (30, 10, 20, 10):
        alarms.after(due, lambda due=due: rung.append(due))
    await _passes(clock, 9)
    assert rung == []
    await _passes(clock, 1)
    assert rung == [10, 10]
    alarms.after(1, lambda: rung.append("earlier than those that wait"))
    await _passes(clock, 1)
    assert rung == [10, 10, "earlier than those that wait"]
    await _passes(clock, 8.9)
    assert len(rung) == 3
    await _passes(clock, 0.2)
    assert rung[3:] == [20]
    await _passes(clock, 10)
    assert rung[3:] == [20, 30]
    running.cancel()


async def test_a_cancelled_alarm_never_rings_and_one_that_has_rung_may_be_cancelled():
    clock = VirtualClock()
    alarms, rung = Alarms(clock, strict=True), []
    running = asyncio.create_task(alarms.run())
    first = alarms.after(5, lambda: rung.append("first"))
    second = alarms.after(10, lambda: rung.append("second"))
    first.cancel()
    await _passes(clock, 20)
    second.cancel()
    assert rung == ["second"]
    assert first.cancelled
    assert second.cancelled
    running.cancel()


async def test_an_alarm_may_set_and_cancel_others_as_it_rings():
    clock = VirtualClock()
    alarms, rung = Alarms(clock, strict=True), []
    running = asyncio.create_task(alarms.run())
    late = alarms.after(2, lambda: rung.append("late"))

    def first() -> None:
        late.cancel()
        alarms.after(0, lambda: rung.append("at once"))
        alarms.after(-5, lambda: rung.append("before now is now"))

    alarms.after(1, first)
    await _passes(clock, 3)
    assert rung == ["at once", "before now is now"]
    running.cancel()


@pytest.mark.parametrize("strict", [False, True])
async def test_an_alarm_that_fails_is_logged_and_the_others_ring(caplog: pytest.LogCaptureFixture, strict: bool):
    clock = VirtualClock()
    alarms, rung = Alarms(clock, strict=strict), []
    running = asyncio.create_task(alarms.run())

    def fails() -> None:
        raise KeyError("an agent that is not there")

    alarms.after(1, fails)
    alarms.after(2, lambda: rung.append("on time"))
    with caplog.at_level(logging.ERROR):
        await _passes(clock, 3)
    if strict:
        with pytest.raises(KeyError):
            await running
        return
    assert rung == ["on time"]
    assert "an alarm failed" in caplog.text
    running.cancel()
