"""How tokens are spread over time: on a schedule, and with fewer, larger writes the more streams there are."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from itertools import islice

from skep.simulator.behaviour import Pace
from skep.simulator.exchange import Exchange

_AT_ONCE = 64
"""Tokens in one write where nothing is paced; between two of them the other streams get their turn."""
_PER_STREAM = 0.0001
"""Seconds that one write of one stream may cost; with a thousand streams each writes ten times a second."""
_LONGEST_STEP = 0.25
"""Seconds; however many streams there are, each writes this often."""


class Pacer:
    """Spreads the tokens of all streams of a simulator."""

    def __init__(self, speed: float) -> None:
        self._speed = speed
        self._streams = 0

    async def sleep(self, seconds: float) -> None:
        """Let so many simulated seconds pass."""
        if seconds > 0:
            await asyncio.sleep(seconds / self._speed)

    async def pour(self, tokens: Iterator[bytes], count: int, pace: Pace, exchange: Exchange) -> None:
        """Write so many of the tokens, the first one at once, the others at the rate of the pace.

        Without a rate the last of them are held until whatever is written next.
        """
        self._streams += 1
        try:
            if pace.rate > 0:
                await self._paced(tokens, count, pace.rate * self._speed, exchange)
            else:
                await self._at_once(tokens, count, exchange)
        finally:
            self._streams -= 1

    async def _at_once(self, tokens: Iterator[bytes], count: int, exchange: Exchange) -> None:
        for start in range(0, count, _AT_ONCE):
            if start:
                await exchange.write()
                await asyncio.sleep(0)
            exchange.hold(b"".join(islice(tokens, min(_AT_ONCE, count - start))))

    async def _paced(self, tokens: Iterator[bytes], count: int, rate: float, exchange: Exchange) -> None:
        loop = asyncio.get_running_loop()
        began = loop.time()
        sent = 0
        while sent < count:
            due = min(count, int((loop.time() - began) * rate) + 1)
            if due > sent:
                await exchange.write(b"".join(islice(tokens, due - sent)))
                sent = due
            # The end is as far from the last token as the tokens are from each other.
            step = min(_LONGEST_STEP, self._streams * _PER_STREAM)
            await asyncio.sleep(max(began + sent / rate - loop.time(), step))
