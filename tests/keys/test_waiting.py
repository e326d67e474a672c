"""Those who wait for a key: in order, woken when there is one, and lost to nobody when they give up."""

from __future__ import annotations

import asyncio
import sys

import pytest

from skep.clock import VirtualClock
from skep.keys import Outcome
from tests.keys.pools import MODEL, in_flight, key, pool, settled


@pytest.fixture
def clock():
    return VirtualClock()


async def waiting(it, agent="a", *, model=MODEL, avoid=None):
    """A task that waits for a key by now."""
    task = asyncio.create_task(it.wait(model, agent, "root", avoid=avoid))
    await settled()
    return task


async def cancelled(task):
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


def taken(it, count=1):
    leases = [it.take(MODEL, f"holder {number}", "root") for number in range(count)]
    assert None not in leases
    return leases


async def test_a_free_key_is_given_without_a_pause(clock):
    it = pool(1, 1, clock=clock)
    waits = it.wait(MODEL, "a", "root")
    with pytest.raises(StopIteration):
        waits.send(None)


async def test_first_come_first_served(clock):
    it = pool(2, 1, clock=clock)
    held = taken(it, 2)
    tasks = [await waiting(it, f"agent {number}") for number in range(50)]
    for number, task in enumerate(tasks):
        assert it.snapshot().waiters == 50 - number
        held[number % 2].release()
        held[number % 2] = await task
        assert not any(later.done() for later in tasks[number + 1 :])
    for lease in held:
        lease.release()
    assert in_flight(it) == {"sim-1": 0, "sim-2": 0}


async def test_nobody_takes_what_others_wait_for(clock):
    it = pool(1, 1, clock=clock)
    (held,) = taken(it)
    task = await waiting(it)
    held.release()
    assert it.take(MODEL, "quicker", "root") is None, "it is given already, though nobody has run yet"
    (await task).release()
    assert it.take(MODEL, "quicker", "root") is not None


async def test_nobody_takes_after_a_cooldown_what_others_wait_for(clock):
    it = pool(1, 1, clock=clock)
    with taken(it)[0] as lease:
        lease.report(Outcome.rate_limited(5))
    task = await waiting(it)
    clock.advance(5)
    assert it.take(MODEL, "quicker", "root") is None
    assert (await task).label == "sim-1"


async def test_a_waiter_that_gives_up_leaves_the_others_in_their_order(clock):
    it = pool(1, 1, clock=clock)
    (held,) = taken(it)
    tasks = [await waiting(it, f"agent {number}") for number in range(5)]
    for number in (0, 3):
        await cancelled(tasks[number])
    held.release()
    for number in (1, 2, 4):
        (await tasks[number]).release()
    assert it.snapshot().waiters == 0


async def test_a_waiter_that_gives_up_in_the_moment_it_is_served_loses_nothing(clock):
    it = pool(1, 1, clock=clock)
    (held,) = taken(it)
    first, second = await waiting(it, "first"), await waiting(it, "second")
    held.release()
    await cancelled(first)
    (await second).release()
    assert in_flight(it) == {"sim-1": 0}


async def test_every_way_to_give_up_while_keys_come_free_leaks_nothing(clock):
    for ticks in range(12):
        it = pool(2, 1, clock=clock)
        held = taken(it, 2)
        tasks = [await waiting(it, f"agent {number}") for number in range(4)]
        for lease in held:
            lease.release()
        await settled(ticks)
        for task in tasks[:3]:
            task.cancel()
        for result in await asyncio.gather(*tasks[:3], return_exceptions=True):
            if not isinstance(result, BaseException):
                result.release()
        (await tasks[3]).release()
        assert in_flight(it) == {"sim-1": 0, "sim-2": 0}
        assert it.snapshot().waiters == 0


async def test_a_cooldown_that_ends_wakes_as_many_as_there_is_room_for(clock):
    it = pool(1, 3, clock=clock)
    with taken(it)[0] as lease:
        lease.report(Outcome.rate_limited(30))
    tasks = [await waiting(it, f"agent {number}") for number in range(10)]
    clock.advance(29.5)
    await settled()
    assert not any(task.done() for task in tasks)
    clock.advance(0.5)
    await settled()
    assert [task.done() for task in tasks] == [True] * 3 + [False] * 7
    for task in tasks:
        await settled()
        (await task).release()


async def test_only_one_of_all_waiters_looks_at_the_clock(clock):
    it = pool(1, 1, clock=clock)
    with taken(it)[0] as lease:
        lease.report(Outcome.rate_limited(30))
    tasks = [await waiting(it, f"agent {number}") for number in range(20)]
    assert clock.sleepers == 1
    await cancelled(tasks[0])
    await settled()
    assert clock.sleepers == 1, "the next one took over"
    clock.advance(30)
    for task in tasks[1:]:
        (await task).release()
    await settled()
    assert clock.sleepers == 0


async def test_those_who_wait_do_not_spin():
    class Counting(VirtualClock):
        asked = 0

        async def sleep(self, seconds):
            self.asked += 1
            await super().sleep(seconds)

    clock = Counting()
    it = pool(1, 1, clock=clock)
    with taken(it)[0] as lease:
        lease.report(Outcome.rate_limited(30))
    tasks = [await waiting(it, f"agent {number}") for number in range(20)]
    await settled(500)
    assert clock.asked <= 2
    clock.advance(30)
    for task in tasks:
        (await task).release()


async def test_a_cooldown_that_begins_and_ends_while_others_wait_for_room_is_noticed(clock):
    it = pool(2, 1, clock=clock)
    first, second = taken(it, 2)
    task = await waiting(it)
    assert clock.sleepers == 0
    first.report(Outcome.rate_limited(100))
    first.release()
    await settled()
    second.report(Outcome.rate_limited(10))
    second.release()
    await settled()
    assert it.why(MODEL, "a1").words == f"{second.label} cools 0:10"
    clock.advance(10)
    assert (await task).label == second.label


async def test_those_who_wait_for_one_model_do_not_hold_up_another(clock):
    it = pool(1, 1, clock=clock)
    with taken(it)[0] as lease:
        lease.report(Outcome.rate_limited(100))
    stuck = await waiting(it, "stuck")
    quick = it.take("another", "b", "root")
    assert quick is not None
    behind = await waiting(it, "behind", model="another")
    quick.release()
    (await behind).release()
    assert not stuck.done()
    clock.advance(100)
    (await stuck).release()


async def test_one_who_avoids_a_key_does_not_hold_up_those_who_take_it(clock):
    it = pool(2, 1, clock=clock)
    first, second = taken(it, 2)
    picky = await waiting(it, "picky", avoid=first.label)
    plain = await waiting(it, "plain")
    first.release()
    assert (await plain).label == first.label
    assert not picky.done()
    second.release()
    assert (await picky).label == second.label


async def test_one_who_avoids_a_key_gets_it_once_all_others_rest(clock):
    it = pool(2, 1, clock=clock)
    first, second = taken(it, 2)
    picky = await waiting(it, "picky", avoid=first.label)
    first.release()
    await settled()
    assert not picky.done()
    second.report(Outcome.rate_limited(60))
    assert (await picky).label == first.label
    assert key(it, first.label).rotations == 0


async def test_the_panel_shows_who_waits_and_since_when(clock):
    it = pool(1, 1, clock=clock)
    (held,) = taken(it)
    first = await waiting(it, "first")
    clock.advance(3)
    second = await waiting(it, "second")
    clock.advance(4)
    assert (it.snapshot().waiters, it.snapshot().oldest_wait) == (2, 7)
    held.release()
    lease = await first
    assert (it.snapshot().waiters, it.snapshot().oldest_wait) == (1, 4)
    lease.release()
    (await second).release()
    assert (it.snapshot().waiters, it.snapshot().oldest_wait) == (0, None)


async def test_a_clock_that_breaks_is_heard_and_leaves_no_waiter_behind():
    class Broken(VirtualClock):
        async def sleep(self, seconds):
            raise OSError("no clock")

    it = pool(1, 1, clock=Broken())
    with taken(it)[0] as lease:
        lease.report(Outcome.rate_limited(30))
    with pytest.raises(ExceptionGroup) as error:
        await it.wait(MODEL, "a", "root")
    assert error.group_contains(OSError, match="no clock")
    assert it.snapshot().waiters == 0


def test_waiters_of_a_loop_that_is_gone_hold_up_nobody(clock):
    it = pool(1, 1, clock=clock)
    (held,) = taken(it)
    gone = asyncio.new_event_loop()
    abandoned = [it.wait(MODEL, f"gone {number}", "root") for number in range(3)]
    tasks = [gone.create_task(waits) for waits in abandoned]
    gone.run_until_complete(settled())
    gone.close()

    async def live():
        task = await waiting(it, "live")
        held.release()
        (await task).release()

    asyncio.run(live())
    assert in_flight(it) == {"sim-1": 0}
    assert it.snapshot().waiters == 0
    for task, waits in zip(tasks, abandoned, strict=True):
        waits.close()
        task._log_destroy_pending = False  # asyncio's way to let go of a task on purpose


async def test_each_of_many_waiters_costs_what_each_of_few_does(clock):
    async def calls_each(count):
        it = pool(4, 1, clock=clock)
        held = taken(it, 4)
        tasks = [asyncio.create_task(it.wait(MODEL, f"agent {number}", "root")) for number in range(count)]
        await settled(3)
        calls = 0

        def note(frame, event, _):
            nonlocal calls
            calls += event == "call"

        before = sys.getprofile()
        sys.setprofile(note)
        try:
            for lease in held:
                lease.release()
            for task in tasks:
                (await task).release()
        finally:
            sys.setprofile(before)
        return calls / count

    few, many = await calls_each(50), await calls_each(1_000)
    assert few > 1
    assert many < 1.5 * few, "it would be twenty times as many if it were quadratic"
