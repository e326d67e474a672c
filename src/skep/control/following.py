"""New output of the one agent that a client follows, told ten times a second and never more than can be read."""

from __future__ import annotations

import asyncio
import logging
from functools import partial
from typing import Final

from skep.control import wire
from skep.control.outlet import Common, Outlet
from skep.control.service import TailChunk
from skep.errors import SkepError

OUTPUT_SECONDS: Final = 0.1
"""Between two looks at the output."""

LINES: Final = 2_000
"""Lines a second that are told in the long run, and at once after a silence; of more only the last ones, and their
numbers show it."""

SMALL: Final = 50
"""Lines that are put into words in well under a millisecond."""

logger = logging.getLogger(__name__)


class Following:
    """Tells output from the line on at which :meth:`follow` began."""

    def __init__(self, common: Common, outlet: Outlet) -> None:
        self._common = common
        self._outlet = outlet
        self._agent: str | None = None
        self._wanted = asyncio.Event()
        self._line = 0
        self._rest = ""
        self._allowed = float(LINES)
        self._looked_at = common.clock.monotonic()

    async def follow(self, agent: str | None, after: int | None) -> int | None:
        """Turn to another agent, from line ``after`` on (None: from now on); returns the number of that line."""
        self._agent = None
        self._wanted.clear()
        if agent is None:
            return None
        total = (await self._common.service.tail(agent, -1, 1)).total
        self._line = after if after is not None else total
        self._rest = ""
        self._agent = agent
        self._wanted.set()
        return self._line

    async def run(self) -> None:
        """Tell what is new, for ever."""
        while True:
            await self._wanted.wait()
            if self._agent is not None:
                await self._tell(self._agent)
            if self._agent is not None:
                await self._common.clock.sleep(OUTPUT_SECONDS)

    async def _tell(self, agent: str) -> None:
        one = self._common.service.registry.agent(agent)
        chunk = await self._look(agent)
        if agent != self._agent:
            return
        if chunk is not None and (chunk.lines or chunk.rest != self._rest):
            await self._outlet.tell(partial(self._words, agent, chunk), small=len(chunk.lines) <= SMALL)
        elif one is None or one.ended:
            self._agent = None
            self._wanted.clear()

    def _words(self, agent: str, chunk: TailChunk) -> bytes:
        body = wire.chunk_json(chunk)
        self._allowed -= len(chunk.lines)
        if agent == self._agent:
            self._line = chunk.first + len(body["lines"])  # type: ignore[arg-type]
            self._rest = str(body["rest"])
        return wire.call_frame("output", {"agent": agent, "chunk": body})

    async def _look(self, agent: str) -> TailChunk | None:
        service, now = self._common.service, self._common.clock.monotonic()
        self._allowed = min(LINES, self._allowed + LINES * (now - self._looked_at))
        self._looked_at = now
        most = max(1, int(self._allowed))
        try:
            chunk = await service.tail(agent, self._line, most)
            if chunk.first + len(chunk.lines) < chunk.total:
                chunk = await service.tail(agent, -most, most)
        except SkepError as error:
            logger.info("no output of %s: %s", agent, error)
            return None
        return chunk
