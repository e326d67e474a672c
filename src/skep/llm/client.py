"""The one client that all agents of an engine share: one set of connections, one TLS context."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable

import anyio.lowlevel
import httpx

from skep.clock import Clock
from skep.keys import Key
from skep.llm.attempt import Attempt, Request
from skep.llm.clocks import Clocks
from skep.llm.messages import Delta
from skep.llm.transport import Connections
from skep.llm.watch import Watch
from skep.providers import Provider

_NOT_IN_HEADERS = re.compile(r"[^\x20-\x7e]+")
_USER_AGENT_LIMIT = 256


class ModelClient:
    """Makes attempts. Used by one event loop; close it there."""

    def __init__(self, *, user_agent: Callable[[str], str], clock: Clock, clocks: Clocks | None = None) -> None:
        """``user_agent`` gives the User-Agent for the id of an agent; ``clock`` is what ``clocks`` go by."""
        self.clocks = clocks or Clocks()
        self._user_agent = user_agent
        self._clock = clock
        self._watch = Watch(clock, min(self.clocks.limits()))
        self._connections = Connections()
        self._http = httpx.AsyncClient(
            transport=self._connections, trust_env=False, follow_redirects=False, timeout=None
        )
        for name in ("httpx", "httpcore"):  # they log addresses at INFO and headers at DEBUG
            logger = logging.getLogger(name)
            logger.setLevel(max(logger.level, logging.WARNING))

    async def warm_up(self) -> None:
        """Load what the first request would have to wait for: some 40 ms of imports."""
        await anyio.lowlevel.checkpoint()

    def attempt(
        self,
        provider: Provider,
        key: Key,
        body: bytes,
        *,
        agent: str,
        where: str,
        hear: Callable[[Delta], None],
        first: Callable[[], None] = lambda: None,
        limit: float | None = None,
    ) -> Attempt:
        """One request with ``body`` for ``agent``; ``first`` is called when the first token arrives.

        ``where`` names it in errors; ``limit`` is in seconds and at most that of the clocks.
        """
        request = Request(
            url=httpx.URL(f"{provider.base_url}/chat/completions"),
            body=body,
            key=key,
            user_agent=_NOT_IN_HEADERS.sub("?", self._user_agent(agent))[:_USER_AGENT_LIMIT].strip(),
            where=where,
            limit=min(limit or self.clocks.attempt, self.clocks.attempt),
        )
        return Attempt(self._http, self._watch, self._clock, self.clocks, request, hear, first)

    def close_idle(self) -> None:
        """Close every connection that no request uses, without waiting for its time."""
        self._connections.close_idle()

    async def aclose(self) -> None:
        """Close all connections that no request uses; end the attempts first."""
        await self._http.aclose()
