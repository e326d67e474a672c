"""A real engine in virtual time that talks to a real simulator over loopback."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from skep.drivers.chat import Models
from skep.keys import Key, Pool, Secret
from skep.llm.client import ModelClient
from skep.model.launch import EngineSettings
from skep.providers import Prices, Provider
from skep.simulator.scenario import Scenario, SimulatedKey
from skep.simulator.server import Simulator
from tests.engine.conftest import hive, make_hive, pipe, watch  # noqa: F401
from tests.engine.hive import Hive

PRICES = Prices(input=2.0, output=8.0, cached_input=0.5)
KEYS = tuple(f"canary-key-{n}-a8f31c" for n in range(1, 5))


class ChatHive(Hive):
    """An engine whose agents talk to a simulator."""

    simulator: Simulator
    workspace: Path
    pool: Pool


MakeChatHive = Callable[..., Awaitable[ChatHive]]


@pytest.fixture
async def make_chat_hive(make_hive: Callable[..., Hive], tmp_path: Path) -> AsyncIterator[MakeChatHive]:  # noqa: F811
    async with AsyncExitStack() as stack:

        async def make(
            *, keys: int = 1, cap: int | None = None, scenario: Scenario | None = None, **settings: object
        ) -> ChatHive:
            given = scenario or Scenario(keys=[SimulatedKey(key) for key in KEYS[:keys]])
            simulator = await stack.enter_async_context(Simulator(given))
            provider = Provider(
                base_url=simulator.base_url, keys="SIM", label="sim", max_concurrency=cap, prices={"any": PRICES}
            )
            workspace = tmp_path / "workspace"
            workspace.mkdir(exist_ok=True)
            hive = make_hive(
                settings=EngineSettings.model_validate({"providers": {"simulator": provider}, **settings}),
                models_of=lambda clock: models_for(clock, provider, [key.secret for key in given.keys]),
                kind=ChatHive,
            )
            hive.simulator, hive.workspace = simulator, workspace
            hive.pool = hive.models.pools["simulator"]
            stack.push_async_callback(hive.models.client.aclose)
            stack.push_async_callback(hive.close)
            return hive

        yield make


def models_for(clock: object, provider: Provider, secrets: list[str]) -> Models:
    keys = [Key(f"sim-{n}", Secret(secret), f"print-{n}") for n, secret in enumerate(secrets, 1)]
    keys = keys or [Key("sim", None, "")]
    pool = Pool("simulator", provider.base_url, keys, clock, max_concurrency=provider.max_concurrency, seed=1)
    client = ModelClient(user_agent=lambda agent: f"skep/test (agent: {agent})", clock=clock)
    return Models(client, {"simulator": provider}, {"simulator": pool})


@pytest.fixture
async def chat_hive(make_chat_hive: MakeChatHive) -> ChatHive:
    return await make_chat_hive()
