"""One turn of a model: requests until one gives a complete answer, on whichever key is fit for it."""

from __future__ import annotations

import random
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from typing import Protocol

from tenacity import AsyncRetrying, RetryCallState, retry_if_exception

from skep.clock import Clock
from skep.keys import KeyState, Lease, Outcome, OutcomeKind, Pool
from skep.llm.attempt import Answer, Attempt
from skep.llm.client import ModelClient
from skep.llm.failure import Aborted, AttemptFailed
from skep.llm.interruption import Interruption
from skep.llm.messages import Delta, Message, ToolSpec, Turn
from skep.llm.openai import request_body
from skep.llm.prices import cost
from skep.model.states import WaitReason
from skep.providers import Provider

ATTEMPTS = 4
"""Requests of one turn; those that were turned away for the key's sake do not count."""

BACKOFF_MOST = 20.0
"""Seconds; the longest wait of our own between two requests."""


class Hears(Protocol):
    """Who is told how a turn gets on: in the task of the turn, and at once, so it must not block."""

    def attempt(self, key: str) -> None:
        """A request begins on the key of this label; what was heard before it does not count."""

    def delta(self, delta: Delta) -> None:
        """A piece of the answer arrived."""

    def struck(self, failure: AttemptFailed, partial: str, key: str) -> None:
        """A request failed; its text does not count."""


class Seat(Protocol):
    """What an agent has in the swarm: a slot that it can give back while it waits."""

    def waiting(self, reason: WaitReason, detail: str) -> AbstractAsyncContextManager[None]:
        """Be seen waiting for ``detail``, with the slot given back, for as long as the context lasts."""

    async def turn(self) -> None:
        """Wait for as long as somebody holds its model calls."""

    async def held(self) -> str:
        """What holds its next model call, in words; empty if nothing does."""

    async def holds_slot(self) -> bool:
        """False if its slot went to somebody else while it waited."""


class Cutoff:
    """Ends one ``complete`` from outside: the connection closes before ``abort`` returns."""

    def __init__(self) -> None:
        self.interruption = Interruption()
        self._attempt: Attempt | None = None

    def abort(self) -> None:
        """End the turn, whatever it does or waits for; ``complete`` raises Aborted. Once is enough."""
        if self._attempt is not None:
            self._attempt.sever()
        self.interruption.end(Aborted())

    def holds(self, attempt: Attempt | None) -> None:
        """What is to be severed from now on."""
        self._attempt = attempt


async def complete(
    client: ModelClient,
    pool: Pool,
    provider: Provider,
    model: str,
    messages: Sequence[Message],
    tools: Sequence[ToolSpec],
    *,
    agent: str,
    branch: str,
    seat: Seat,
    hears: Hears,
    clock: Clock,
    cutoff: Cutoff | None = None,
) -> Turn:
    """The model's answer to ``messages``; ``model`` is its name at the provider, ``agent`` and ``branch`` are ids.

    Raises AttemptFailed once no further request is worth it, and Aborted if ``cutoff`` ended it. Cancelling
    closes the connection too, as soon as the task runs again.
    """
    cutoff = cutoff or Cutoff()
    turn: Turn | None = None
    async with cutoff.interruption:
        body = request_body(model, messages, tools)
        turn = await _Turning(client, pool, provider, model, body, agent, branch, seat, hears, clock, cutoff).run()
    if cutoff.interruption.reason is not None:
        raise cutoff.interruption.reason
    assert turn is not None
    return turn


class _Turning:
    """The state of one turn between its requests."""

    def __init__(
        self,
        client: ModelClient,
        pool: Pool,
        provider: Provider,
        model: str,
        body: bytes,
        agent: str,
        branch: str,
        seat: Seat,
        hears: Hears,
        clock: Clock,
        cutoff: Cutoff,
    ) -> None:
        self._client = client
        self._pool = pool
        self._provider = provider
        self._model = model
        self._body = body
        self._agent = agent
        self._branch = branch
        self._seat = seat
        self._hears = hears
        self._clock = clock
        self._cutoff = cutoff
        self._requests = 0
        self._counted = 0
        self._seconds = 0.0
        self._last_key: str | None = None
        self._struck: set[str] = set()

    async def run(self) -> Turn:
        """Request until there is an answer, or no sense in asking again."""
        retrying = AsyncRetrying(
            retry=retry_if_exception(self._is_worth_another),
            stop=self._is_enough,
            wait=self._pause,
            sleep=self._clock.sleep,
            reraise=True,
        )
        turn: Turn = await retrying(self._request)
        return turn

    async def _request(self) -> Turn:
        with await self._lease() as lease:
            answer = await self._answer(lease)
            usage = answer.usage
            price = cost(self._provider.prices.get(self._model), usage)
            lease.used(usage.tokens_in, usage.tokens_out, price)
        return Turn(
            answer.message, usage, answer.finish, key=lease.label, attempts=self._requests, seconds=self._seconds
        )

    async def _lease(self) -> Lease:
        ask = (self._model, self._agent, self._branch)
        while True:
            await self._seat.turn()
            lease = self._pool.take(*ask, avoid=self._last_key)
            if lease is not None:
                return lease
            hindrance = self._pool.why(self._model, self._agent)
            reason = WaitReason.GATE if hindrance.held else WaitReason.KEY
            try:
                async with self._seat.waiting(reason, hindrance.words):
                    lease = await self._pool.wait(*ask, avoid=self._last_key)
                    if not await self._seat.holds_slot() or await self._seat.held():
                        # First the slot, then the key: whoever stands in line with a key keeps others, who have
                        # slots, from working, and they keep the slots. And nobody keeps a key while it is held.
                        lease.release()
                        lease = None
            except BaseException:
                # Coming back from the wait may be ended just there.
                if lease is not None:
                    lease.release()
                raise
            if lease is not None:
                return lease

    async def _answer(self, lease: Lease) -> Answer:
        self._requests += 1
        self._hears.attempt(lease.label)
        attempt = self._client.attempt(
            self._provider,
            lease.key,
            self._body,
            agent=self._agent,
            where=f"{self._pool.provider}/{self._model} ({lease.label})",
            hear=self._hears.delta,
            first=lease.first_token,
            limit=self._client.clocks.turn - self._seconds,
        )
        self._cutoff.holds(attempt)
        began = self._clock.monotonic()
        outcome = Outcome.CANCELLED
        try:
            answer = await attempt.run()
            outcome = Outcome.OK
        except AttemptFailed as failure:
            outcome = failure.outcome
            self._strike(failure, lease)
            raise
        finally:
            self._cutoff.holds(None)
            self._seconds += self._clock.monotonic() - began
            lease.report(outcome)
        return answer

    def _strike(self, failure: AttemptFailed, lease: Lease) -> None:
        self._counted += failure.counts
        self._last_key = lease.label
        self._struck.add(lease.label)
        self._hears.struck(failure, failure.partial, lease.label)

    def _is_worth_another(self, error: BaseException) -> bool:
        if not isinstance(error, AttemptFailed) or not error.retryable:
            return False
        # With one good key left there is something to wait for; with none there is not.
        return not (error.outcome.kind is OutcomeKind.UNAUTHORIZED and self._pool.is_refused)

    def _is_enough(self, state: RetryCallState) -> bool:
        return self._counted >= ATTEMPTS or self._seconds >= self._client.clocks.turn

    def _pause(self, state: RetryCallState) -> float:
        """Seconds until the next request: none while a healthy key has not failed us yet."""
        error = state.outcome.exception() if state.outcome else None
        assert isinstance(error, AttemptFailed)
        turned_away = self._requests - self._counted
        keys = self._pool.snapshot().keys
        if not error.counts and turned_away <= len(keys):
            return 0.0  # the pool makes us wait for as long as it takes
        if any(key.state is KeyState.OK and key.label not in self._struck for key in keys):
            return 0.0
        most = min(BACKOFF_MOST, 2.0 ** min(self._requests, 10))
        return max(random.uniform(0, most), error.wait if error.counts else 0.0)
