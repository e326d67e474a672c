"""The keys of one endpoint: which one the next attempt gets, who waits, and who is to blame for a failure."""

from __future__ import annotations

import asyncio
import math
import re
import threading
from collections.abc import Sequence

from skep.clock import Clock
from skep.keys.choice import Chooser, Hindrance
from skep.keys.desk import Desk
from skep.keys.lease import Lease
from skep.keys.outcome import Outcome, OutcomeKind
from skep.keys.secret import Key
from skep.keys.view import PoolView
from skep.keys.waiting import Waiter, WaitingLine
from skep.model.states import Strength
from skep.text import MARK

TOGETHER = 10.0
"""Seconds; when every key is refused (401) within them, the fault is not with the keys."""


class Pool:
    """Hands out leases, one for each HTTP attempt. Everything public may be called from any thread.

    One plain lock guards all of it, and is never held across an await or while a waiter is woken. A waiter that
    waits for the end of a cooldown needs somebody to look at the clock: one of the waiters, the *watch*, does so
    for all of them, and hands that on when it leaves.
    """

    def __init__(
        self,
        provider: str,
        endpoint: str,
        keys: Sequence[Key],
        clock: Clock,
        *,
        max_concurrency: int | None = None,
        seed: int | None = None,
    ) -> None:
        """``max_concurrency``: requests at once per key, None where nobody knows. ``seed``: for breaking ties.

        Raises ``ValueError`` without a key, or with two keys of one label.
        """
        self._desks = {key.label: Desk(key, max_concurrency) for key in keys}
        if not keys or len(self._desks) != len(keys):
            raise ValueError("a pool needs keys with a label each")
        self._provider = provider
        self._endpoint = endpoint
        self._clock = clock
        self._cap = max_concurrency
        self._lock = threading.Lock()
        self._chooser = Chooser(self._desks, seed)
        self._line = WaitingLine()
        self._granted = 0
        self._watch: Waiter | None = None
        self._watch_until = math.inf  # when the watch looks at the clock next

    @property
    def provider(self) -> str:
        """The name of the provider."""
        return self._provider

    @property
    def endpoint(self) -> str:
        """Where its API begins; agents of another endpoint never get keys of this pool."""
        return self._endpoint

    @property
    def agents_cap(self) -> int | None:
        """How many agents may run on this endpoint: four fifths of all its keys' caps, None where unknown."""
        return None if self._cap is None else max(1, self._cap * len(self._desks) * 4 // 5)

    @property
    def accounts(self) -> tuple[str, ...]:
        """The accounts that its keys belong to."""
        return tuple(dict.fromkeys(desk.key.account for desk in self._desks.values()))

    @property
    def is_refused(self) -> bool:
        """Whether the provider takes none of the keys: each one rests after a 401, or is not tried again."""
        with self._lock:
            now = self._clock.monotonic()
            standings = (desk.standing for desk in self._desks.values())
            return all(standing.quarantined or standing.until > now for standing in standings)

    def take(self, model: str, agent: str, branch: str, *, avoid: str | None = None) -> Lease | None:
        """A lease at once, or None if there is none without waiting, or only one that somebody waits for.

        The agent's last key if that may be used, for the sake of the provider's cache; else the one with the
        fewest attempts in flight. ``avoid`` is the label of the key that just failed: it is given again only
        while every other key rests.
        """
        with self._lock:
            now = self._clock.monotonic()
            woken = self._admit(now)
            lease = self._grant(model, agent, branch, avoid, now)
        self._wake(woken)
        return lease

    async def wait(self, model: str, agent: str, branch: str, *, avoid: str | None = None) -> Lease:
        """A lease as soon as one is free: first come, first served.

        Safe to cancel at any point: a lease that was granted in the same moment goes to the next one.
        """
        lease = self.take(model, agent, branch, avoid=avoid)
        if lease is not None:
            return lease
        waiter = Waiter(model, agent, branch, avoid, self._clock.monotonic())
        try:
            return await self._wait(waiter)
        except BaseException:
            self._wake(self._abandon([waiter]))
            raise

    def why(self, model: str, agent: str) -> Hindrance:
        """What an attempt of this agent with this model would wait for; no words if for nothing."""
        with self._lock:
            return self._chooser.why(model, agent, self._clock.monotonic())

    def hold(self, account: str, strength: Strength | None) -> None:
        """Give its keys to nobody (turns), to nobody who did not use them last (spawns), or as usual (None).

        Leases that are out stay out until they are released.
        """
        with self._lock:
            for desk in self._desks.values():
                if desk.key.account == account:
                    desk.hold = strength
            woken = self._admit(self._clock.monotonic())
        self._wake(woken)

    def hide(self, text: str) -> str:
        """The text without any of its keys, for what is written down of a failure.

        A key is found as well where something was cleaned out of it, and a mark stands there.
        """
        for desk in self._desks.values():
            if desk.key.secret is not None:
                spelt = f"{MARK}?".join(map(re.escape, desk.key.secret.reveal()))
                text = re.sub(spelt, "[key]", text)
        return text

    def snapshot(self) -> PoolView:
        """All of it as it is now."""
        with self._lock:
            now, time = self._clock.monotonic(), self._clock.time()
            first = self._line.first()
            return PoolView(
                provider=self._provider,
                endpoint=self._endpoint,
                at=time,
                keys=tuple(desk.view(now, time - now) for desk in self._desks.values()),
                waiters=len(self._line),
                oldest_wait=None if first is None else now - first.since,
            )

    def reported(self, lease: Lease, outcome: Outcome) -> None:
        """What ``Lease.report`` calls."""
        with self._lock:
            if lease.is_reported:
                return
            lease.is_reported = True
            now = self._clock.monotonic()
            rests = self._desks[lease.label].judge(lease, outcome, self._granted, now)
            if outcome.kind is OutcomeKind.UNAUTHORIZED:
                self._pardon_all(now)
            # A key that rests may leave the one that somebody avoids as the only one.
            woken = self._admit(now) + self._recall(now) if rests else []
        self._wake(woken)

    def released(self, lease: Lease) -> None:
        """What ``Lease.release`` calls."""
        with self._lock:
            woken = self._give_back(lease)
        self._wake(woken)

    def heard(self, lease: Lease) -> None:
        """What ``Lease.first_token`` calls."""
        with self._lock:
            if not lease.has_heard:
                lease.has_heard = True
                self._desks[lease.label].hear(self._clock.monotonic() - lease.granted_at)

    def spent(self, lease: Lease, tokens_in: int, tokens_out: int, cost: int | None) -> None:
        """What ``Lease.used`` calls."""
        with self._lock:
            self._desks[lease.label].spend(tokens_in + tokens_out, cost, self._clock.monotonic())

    async def _wait(self, waiter: Waiter) -> Lease:
        with self._lock:
            waiter.own = self._chooser.last(waiter.agent)
            self._line.join(waiter)
            woken = self._relieve()
        self._wake(woken)
        while True:
            with self._lock:
                now = self._clock.monotonic()
                woken = self._admit(now)
                pause = self._pause(waiter, now)
            self._wake(woken)
            if waiter.lease is not None:
                return waiter.lease
            await self._nudged(waiter, pause)

    async def _nudged(self, waiter: Waiter, pause: float | None) -> None:
        if pause is None:
            await waiter.nudged()
            return
        async with asyncio.TaskGroup() as group:
            alarm = group.create_task(self._ring(waiter, pause))
            await waiter.nudged()
            alarm.cancel()

    async def _ring(self, waiter: Waiter, pause: float) -> None:
        await self._clock.sleep(pause)
        waiter.nudge()

    # What follows is called with the lock held, but for the last two. What returns waiters has changed something
    # for them; they are woken once the lock is free. One act has one ``now``: a cooldown that ended between two
    # looks at the clock would be missed by both.

    def _grant(self, model: str, agent: str, branch: str, avoid: str | None, now: float) -> Lease | None:
        desk = self._chooser.choose(model, agent, avoid, now)
        if desk is None:
            return None
        self._granted += 1
        lease = Lease(self, desk.key, model, agent, branch, granted_at=now, number=self._granted)
        desk.grant(lease)
        if avoid is not None and avoid != lease.label and avoid in self._desks:
            self._desks[avoid].rotations += 1
        return lease

    def _admit(self, now: float) -> list[Waiter]:
        """Give what is free to those who wait for it. What is free afterwards is of use to none of them."""
        admitted: list[Waiter] = []
        while (waiter := self._serve_next(now)) is not None:
            admitted.append(waiter)
        return admitted + self._relieve() if admitted else []

    def _serve_next(self, now: float) -> Waiter | None:
        for waiter in self._line.firsts():
            waiter.lease = self._grant(waiter.model, waiter.agent, waiter.branch, waiter.avoid, now)
            if waiter.lease is not None:
                self._line.leave(waiter)
                if waiter is self._watch:
                    self._watch = None
                return waiter
        return None

    def _give_back(self, lease: Lease) -> list[Waiter]:
        if lease.is_released:
            return []
        lease.is_released = True
        self._desks[lease.label].release(lease)
        return self._admit(self._clock.monotonic())

    def _relieve(self) -> list[Waiter]:
        """Choose who looks at the clock, unless somebody does."""
        before = self._watch
        while (watch := self._watch) is None or not watch.is_reachable:
            if watch is not None:
                self._line.leave(watch)
            self._watch, self._watch_until = self._line.first(), math.inf
            if self._watch is None:
                return []
        return [] if watch is before else [watch]

    def _recall(self, now: float) -> list[Waiter]:
        """Have the watch look again if a cooldown now ends before the moment that it sleeps until."""
        if self._watch is not None and self._next_end(now) < self._watch_until:
            return [self._watch]
        return []

    def _pause(self, waiter: Waiter, now: float) -> float | None:
        """How long this waiter may sleep: None if not by the clock."""
        if waiter is not self._watch:
            return None
        self._watch_until = self._next_end(now)
        if self._watch_until == math.inf:
            return None
        pause = self._watch_until - now
        # Rounding must not wake it a moment before the end.
        return pause if now + pause >= self._watch_until else math.nextafter(pause, math.inf)

    def _next_end(self, now: float) -> float:
        return min(desk.next_end(now) for desk in self._desks.values())

    def _pardon_all(self, now: float) -> None:
        """Hold no 401 against a key if all that are still tried got one together; so one is always left to try."""
        recent = [desk for desk in self._desks.values() if now - desk.standing.refused_at <= TOGETHER]
        others = [desk for desk in self._desks.values() if now - desk.standing.refused_at > TOGETHER]
        if all(desk.standing.quarantined for desk in others):
            for desk in recent:
                desk.standing.pardon()

    def _abandon(self, waiters: list[Waiter]) -> list[Waiter]:
        """Take waiters out that nobody awaits any more; what they were given goes to the next ones."""
        woken: list[Waiter] = []
        with self._lock:
            for waiter in waiters:
                self._line.leave(waiter)
                if waiter is self._watch:
                    self._watch = None
                if waiter.lease is not None:
                    woken += self._give_back(waiter.lease)
            return woken + self._relieve()

    def _wake(self, waiters: list[Waiter]) -> None:
        while gone := [waiter for waiter in waiters if not waiter.wake()]:
            waiters = self._abandon(gone)
