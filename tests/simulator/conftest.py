from __future__ import annotations

from contextlib import AsyncExitStack

import httpx
import pytest

from skep.simulator import Scenario, Simulator

from .asking import Asker


@pytest.fixture
async def serve():
    """Serve scenarios until the end of the test: `asker = await serve(Scenario(…))`."""
    async with AsyncExitStack() as stack:

        async def enter(scenario: Scenario | None = None) -> Asker:
            simulator = await stack.enter_async_context(Simulator(scenario))
            limits = httpx.Limits(max_connections=None)
            # Loading the certificates of the world takes longer than all the rest, and nothing here speaks TLS.
            client = httpx.AsyncClient(timeout=10, limits=limits, trust_env=False, verify=False)
            await stack.enter_async_context(client)
            return Asker(simulator, client)

        yield enter


@pytest.fixture
async def asker(serve) -> Asker:
    """Somebody who asks a simulator of the plainest kind."""
    return await serve()
