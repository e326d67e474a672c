"""A reply on its way to the client, in the parts that it can be broken between."""

from __future__ import annotations

import json
from collections.abc import Mapping

from skep.simulator.behaviour import Pace
from skep.simulator.exchange import EVENTS_TYPE, JSON_TYPE, Exchange
from skep.simulator.openai import Completion
from skep.simulator.pacing import Pacer
from skep.simulator.tokens import CHARACTERS


class Delivery:
    """One reply to one request; a request without a stream gets it as one document, when the last token is due."""

    def __init__(
        self,
        exchange: Exchange,
        completion: Completion,
        *,
        stream: bool,
        pace: Pace,
        pacer: Pacer,
        headers: Mapping[str, str],
    ) -> None:
        self.exchange = exchange
        self.completion = completion
        self.stream = stream
        self.pace = pace
        self.pacer = pacer
        self._headers = headers
        self._tokens = completion.events()
        self._left = completion.tokens

    async def whole(self) -> None:
        """Deliver all of it."""
        if self.stream:
            await self.begin()
            await self.pour()
            await self.exchange.finish(self.ending())
            return
        await self.pacer.sleep(self.pace.first_token)
        if self.pace.rate > 0:
            await self.pacer.sleep(self.completion.tokens / self.pace.rate)
        await self.exchange.respond(200, self.ending(), headers=self._headers)

    async def begin(self, *, framed: bool = True) -> None:
        """Send the headers and, with the first token when that is due, the event before it."""
        self.exchange.start(EVENTS_TYPE if self.stream else JSON_TYPE, self._headers, framed=framed)
        if self.pace.first_token > 0:
            await self.exchange.write()
            await self.pacer.sleep(self.pace.first_token)
        if self.stream:
            self.exchange.hold(self.completion.opening())

    async def pour(self, characters: int | None = None) -> None:
        """Send the tokens of the next so many characters, or all that are left."""
        if not self.stream:
            return
        tokens = self._left if characters is None else min(self._left, characters // CHARACTERS)
        self._left -= tokens
        await self.pacer.pour(self._tokens, tokens, self.pace, self.exchange)

    def upcoming(self) -> bytes:
        """Return what would come next: an event, or the document."""
        return (next(self._tokens, None) or self.completion.finishing()) if self.stream else self.ending()

    def ending(self) -> bytes:
        """Return what makes the answer complete: the end of the stream, or the document."""
        return self.completion.ending() if self.stream else json.dumps(self.completion.document()).encode()
