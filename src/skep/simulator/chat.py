"""The endpoint for chat completions: the door of the key, the rules of the request, the reply, its delivery."""

from __future__ import annotations

import hashlib
import logging
import time
from collections import OrderedDict
from dataclasses import replace

from skep.simulator import faults
from skep.simulator.behaviour import Conversation, Reply
from skep.simulator.conversation import ChatRequest, parse
from skep.simulator.delivery import Delivery
from skep.simulator.exchange import Exchange
from skep.simulator.keyring import KeyRing
from skep.simulator.ledger import Ledger, Outcome
from skep.simulator.limits import Gate
from skep.simulator.openai import Completion, Usage
from skep.simulator.pacing import Pacer
from skep.simulator.refusals import Refusal
from skep.simulator.scenario import Scenario
from skep.simulator.script import scripted

_REMEMBERED = 100_000
"""Requests of which is known how often they came."""

_log = logging.getLogger(__name__)


class Chat:
    """Answers requests for chat completions as the scenario says."""

    def __init__(self, scenario: Scenario, ledger: Ledger) -> None:
        self._scenario = scenario
        self._ledger = ledger
        self._keys = KeyRing(scenario)
        self._behaviour = scripted(scenario.behaviour)
        self._pacer = Pacer(scenario.speed)
        self._attempts: OrderedDict[bytes, int] = OrderedDict()
        for label in self._keys.labels:
            ledger.account(label)

    def label(self, exchange: Exchange) -> str:
        """Return the label of the key that a request came with.

        Raises: Refusal (401).
        """
        return self._keys.label(exchange.headers.get("authorization"))

    async def answer(self, exchange: Exchange) -> None:
        """Answer one request, and account for it.

        Raises: Refusal (401) for a key that is not known.
        """
        try:
            label = exchange.key = self.label(exchange)
        except Refusal:
            self._ledger.unauthorized += 1
            self._ledger.changed()
            raise
        outcome, usage = Outcome.ABANDONED, None
        self._ledger.began(label)
        try:
            try:
                outcome, usage = await self._admit(exchange, self._keys.gate(label))
            except Refusal as refusal:
                outcome = _outcome(refusal.status)
                await exchange.refuse(refusal)
        finally:
            self._ledger.ended(label, outcome, usage)

    async def _admit(self, exchange: Exchange, gate: Gate) -> tuple[Outcome, Usage | None]:
        request = parse(exchange.body, seed=self._scenario.seed, models=frozenset(self._scenario.models))
        gate.enter(time.monotonic(), request.tokens_in)
        usage: Usage | None = None
        try:
            outcome, usage = await self._reply(exchange, request, gate)
        finally:
            gate.leave(time.monotonic(), usage.tokens_out if usage else 0)
        return outcome, usage

    async def _reply(self, exchange: Exchange, request: ChatRequest, gate: Gate) -> tuple[Outcome, Usage | None]:
        conversation = replace(request.conversation, attempt=self._attempt(exchange.body))
        request = replace(request, conversation=conversation)
        reply = self._behave(conversation)
        completion = Completion(request, reply, created=int(time.time()))
        delivery = Delivery(
            exchange,
            completion,
            stream=request.stream,
            pace=reply.pace or self._scenario.pace,
            pacer=self._pacer,
            headers=gate.headers(time.monotonic()),
        )
        outcome = Outcome.COMPLETED
        if reply.fault is None:
            await delivery.whole()
        else:
            outcome = await faults.play(delivery, reply.fault)
        return outcome, completion.usage if outcome is Outcome.COMPLETED else None

    def _behave(self, conversation: Conversation) -> Reply:
        try:
            return self._behaviour(conversation)
        except Refusal:
            raise
        except Exception as error:
            _log.exception("the behaviour of the scenario failed")
            raise Refusal(500, f"the behaviour of the scenario failed: {error!r}", code="behaviour") from error

    def _attempt(self, body: bytes) -> int:
        digest = hashlib.blake2b(body, digest_size=16).digest()
        attempt = self._attempts.pop(digest, 0) + 1
        self._attempts[digest] = attempt
        if len(self._attempts) > _REMEMBERED:
            self._attempts.popitem(last=False)
        return attempt


def _outcome(status: int) -> Outcome:
    if status == 429:
        return Outcome.RATE_LIMITED
    return Outcome.REFUSED if status < 500 else Outcome.FAILED
