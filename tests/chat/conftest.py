"""A real engine in virtual time that talks to a real simulator over loopback."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from skep.clock import Clock
from skep.drivers.chat import Models
from skep.keys import Key, Pool, Secret
from skep.llm.client import ModelClient
from skep.model.launch import EngineSettings
from skep.providers import Prices, Provider
from skep.simulator.scenario import Scenario, SimulatedKey
from tests.engine.conftest import hive, make_hive, pipe, watch  # noqa: F401
from tests.engine.hive import Hive
from tests.llm.provider import LoopbackProvider, Script, provider
from tests.simulator.logged import Logged

PRICES = Prices(input=2.0, output=8.0, cached_input=0.5)
KEYS = tuple(f"canary-key-{n}-a8f31c" for n in range(1, 9))


class ChatHive(Hive):
    """An engine whose agents talk to simulators, or to a provider that is played by a test."""

    simulators: dict[str, Logged]
    workspace: Path
    pool: Pool

    @property
    def simulator(self) -> Logged:
        return self.simulators["simulator"]


@dataclass(frozen=True)
class Served:
    """A provider as the agents know it, with the keys that they have for it."""

    provider: Provider
    secrets: Sequence[str]


MakeChatHive = Callable[..., Awaitable[ChatHive]]
MakePlayedHive = Callable[..., Awaitable[tuple[ChatHive, LoopbackProvider]]]


@pytest.fixture
async def chat_stack() -> AsyncIterator[AsyncExitStack]:
    """What the hives of a test need, closed in the right order."""
    async with AsyncExitStack() as stack:
        yield stack


@pytest.fixture
def make_chat_hive(make_hive: Callable[..., Hive], chat_stack: AsyncExitStack, tmp_path: Path) -> MakeChatHive:  # noqa: F811
    async def make(
        *,
        keys: int = 1,
        cap: int | None = None,
        scenario: Scenario | None = None,
        secrets: Sequence[str] | None = None,
        others: Sequence[str] = (),
        **options: object,
    ) -> ChatHive:
        """``secrets``: the keys of the agents, by default those that are accepted; ``others``: more providers."""
        given = scenario or Scenario(keys=[SimulatedKey(key) for key in KEYS[:keys]])
        simulators = {}
        for name in ("simulator", *others):
            simulators[name] = await chat_stack.enter_async_context(Logged(given))
        first, *rest = simulators
        known = secrets or [key.secret for key in given.keys]
        served = {first: Served(_provider(simulators[first].base_url, "sim", cap), known)}
        for name in rest:
            served[name] = Served(_provider(simulators[name].base_url, name, None), known)
        made = _hive(make_hive, chat_stack, tmp_path, served, options)
        made.simulators = simulators
        return made

    return make


@pytest.fixture
def make_played_hive(
    make_hive: Callable[..., Hive],  # noqa: F811
    chat_stack: AsyncExitStack,
    tmp_path: Path,
) -> MakePlayedHive:
    """Makes hives whose provider the test plays itself, byte by byte."""

    async def make(*scripts: Script, keys: int = 1, **options: object) -> tuple[ChatHive, LoopbackProvider]:
        loopback = await chat_stack.enter_async_context(provider(*scripts))
        served = {"simulator": Served(_provider(loopback.url, "sim", None), KEYS[:keys])}
        return _hive(make_hive, chat_stack, tmp_path, served, options), loopback

    return make


def _provider(url: str, label: str, cap: int | None) -> Provider:
    return Provider(base_url=url, keys="SIM", label=label, max_concurrency=cap, prices={"any": PRICES})


def _hive(
    make_hive: Callable[..., Hive],  # noqa: F811
    stack: AsyncExitStack,
    tmp_path: Path,
    served: Mapping[str, Served],
    options: dict[str, object],
) -> ChatHive:
    workspace = tmp_path / "workspace"
    workspace.mkdir(exist_ok=True)
    providers = {name: one.provider for name, one in served.items()}
    wiring = {
        name: options.pop(name) for name in ("folder", "engine", "ledger", "host", "strict") if name in options
    }
    made = make_hive(
        settings=EngineSettings.model_validate({"providers": providers, **options}),
        models_of=lambda clock: models_for(clock, served),
        kind=ChatHive,
        **wiring,
    )
    assert isinstance(made, ChatHive)
    assert made.models is not None
    made.simulators, made.workspace = {}, workspace
    made.pool = made.models.pools["simulator"]
    stack.push_async_callback(made.models.client.aclose)
    stack.push_async_callback(_ended, made)
    return made


async def _ended(made: ChatHive) -> None:
    made.ledger.allow(None)
    await made.close()


def models_for(clock: Clock, served: Mapping[str, Served]) -> Models:
    client = ModelClient(user_agent=lambda agent: f"skep/test (agent: {agent})", clock=clock)
    pools = {}
    for name, one in served.items():
        label, provider = one.provider.label, one.provider
        keys = [Key(f"{label}-{n}", Secret(secret), f"print-{n}") for n, secret in enumerate(one.secrets, 1)]
        pools[name] = Pool(
            name,
            provider.base_url,
            keys or [Key(label, None, "")],
            clock,
            max_concurrency=provider.max_concurrency,
            seed=1,
        )
    return Models(client, {name: one.provider for name, one in served.items()}, pools)


@pytest.fixture
async def chat_hive(make_chat_hive: MakeChatHive) -> ChatHive:
    return await make_chat_hive()
