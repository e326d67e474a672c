"""The simulator as a server on loopback: `async with Simulator(scenario) as simulator: simulator.base_url`."""

from __future__ import annotations

import asyncio
from types import TracebackType

from skep.simulator.chat import Chat
from skep.simulator.connection import Connection
from skep.simulator.exchange import Exchange
from skep.simulator.ledger import Ledger
from skep.simulator.refusals import Refusal
from skep.simulator.scenario import Scenario

HOST = "127.0.0.1"
_BACKLOG = 4096


class Simulator:
    """Serves one scenario while it is entered. Port 0 takes any that is free."""

    def __init__(self, scenario: Scenario | None = None, *, port: int = 0) -> None:
        self.scenario = scenario or Scenario()
        self.ledger = Ledger()
        self._port = port
        self._chat = Chat(self.scenario, self.ledger)
        self._connections: set[Connection] = set()
        self._server: asyncio.Server | None = None

    @property
    def base_url(self) -> str:
        """Where its API begins."""
        return f"http://{HOST}:{self._port}/v1"

    async def __aenter__(self) -> Simulator:
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(
            lambda: Connection(self._answer, self.ledger, self._connections), HOST, self._port, backlog=_BACKLOG
        )
        self._port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._server is None:
            return
        self._server.close()
        tasks = [connection.task for connection in self._connections if connection.task is not None]
        for connection in list(self._connections):
            connection.abort()
        await self.ledger.until(lambda ledger: ledger.connections == 0)
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._server.wait_closed()

    def reset(self) -> None:
        """Forget what happened: counts, limits that were used up, and how often which request came."""
        self._chat = Chat(self.scenario, self.ledger)
        self.ledger.reset()

    async def _answer(self, exchange: Exchange) -> None:
        try:
            await self._route(exchange)
        except Refusal as refusal:
            await exchange.refuse(refusal)

    async def _route(self, exchange: Exchange) -> None:
        path = exchange.path.partition("?")[0]
        match exchange.method, path:
            case "POST", "/v1/chat/completions":
                await self._chat.answer(exchange)
            case "GET", "/v1/models":
                self._chat.label(exchange)
                await exchange.respond_json(200, {"object": "list", "data": self._models()})
            case "GET", "/simulator/ledger":
                await exchange.respond_json(200, self.ledger.document())
            case "POST", "/simulator/reset":
                self.reset()
                await exchange.respond_json(200, {"reset": True})
            case _, "/v1/chat/completions" | "/v1/models" | "/simulator/ledger" | "/simulator/reset":
                raise Refusal(405, f"{path} does not take {exchange.method}", code="method_not_allowed")
            case _:
                raise Refusal(404, f"there is nothing at {path}", code="unknown_url")

    def _models(self) -> list[dict[str, str]]:
        return [
            {"id": model, "object": "model", "owned_by": "simulator"} for model in self.scenario.models or ("sim",)
        ]
