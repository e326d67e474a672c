"""The models of a swarm, put together: its providers, their keys from where the operator keeps them, a client."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import secrets
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager

from skep import __version__
from skep.cli.providing import find_keys
from skep.cli.searchpath import search_path
from skep.clock import Clock
from skep.drivers.chat import Models
from skep.errors import SkepError, Unreachable
from skep.hosts.environment import for_tools
from skep.keys import Key, Pool, Secret, variable_names
from skep.llm.client import ModelClient
from skep.model.launch import EngineSettings, Simulated
from skep.model.states import Strength
from skep.providers import READY, SIMULATOR, Provider

SIMULATED_KEYS = 4
_ENDS_WITHIN = 5.0

_log = logging.getLogger(__name__)


@asynccontextmanager
async def models_of(
    settings: EngineSettings,
    env: Mapping[str, str],
    clock: Clock,
    role_of: Callable[[str], str],
    swarm: str,
    *,
    strict: bool,
) -> AsyncIterator[Models | None]:
    """What the chat agents of a swarm talk to, for as long as the context lasts; None for one without providers.

    A provider without keys raises BadInput if ``strict``, else it is left out: its agents say so when they start.
    """
    if not settings.providers:
        yield None
        return
    async with AsyncExitStack() as stack:
        providers = dict(settings.providers)
        keys: dict[str, tuple[Key, ...]] = {}
        if settings.simulated is not None:
            base_url, keys[SIMULATOR] = await stack.enter_async_context(_simulator(settings.simulated, env))
            providers[SIMULATOR] = providers[SIMULATOR].model_copy(update={"base_url": base_url})
        for name, provider in providers.items():
            if name in keys:
                continue
            try:
                keys[name] = find_keys(name, provider, env)
            except SkepError as error:
                if strict:
                    raise
                _log.warning("provider %s is left out: %s", name, error)
        client = ModelClient(
            user_agent=lambda agent: f"skep/{__version__} (agent: {role_of(agent)}; swarm: {swarm})", clock=clock
        )
        stack.push_async_callback(client.aclose)
        await client.warm_up()
        yield Models(client, providers, _pools(providers, keys, clock))


def _pools(
    providers: Mapping[str, Provider], keys: Mapping[str, tuple[Key, ...]], clock: Clock
) -> dict[str, Pool]:
    """A pool for each endpoint and its keys: providers with both in common share one, at their lowest limit."""
    sharing: dict[tuple[str, frozenset[Secret | None]], list[str]] = {}
    for name, found in keys.items():
        place = providers[name].base_url, frozenset(key.secret for key in found)
        sharing.setdefault(place, []).append(name)
    pools: dict[str, Pool] = {}
    for (endpoint, _), names in sharing.items():
        limits = [limit for name in names if (limit := providers[name].max_concurrency) is not None]
        first = names[0]
        pool = Pool(first, endpoint, keys[first], clock, max_concurrency=min(limits, default=None))
        pools |= dict.fromkeys(names, pool)
    return pools


def secret_names(settings: EngineSettings, env: Mapping[str, str]) -> frozenset[str]:
    """The variables that hold keys of models: no program gets to see them."""
    known = {provider.keys for provider in (*READY.values(), *settings.providers.values())}
    prefixes = known.union(settings.key_prefixes) - {""}
    return frozenset(name for prefix in prefixes for name in variable_names(prefix, env))


class PoolAccounts:
    """The key accounts of a swarm as the gate sees them (see :class:`skep.engine.gate.Accounts`)."""

    def __init__(self, pools: Mapping[str, Pool]) -> None:
        self._pools = pools

    def known(self) -> dict[str, tuple[str, ...]]:
        """Provider → the accounts whose keys its agents may use, as ``PROVIDER/ACCOUNT``.

        Providers that share a pool share its accounts, under the name of the first of them.
        """
        return {
            name: tuple(f"{pool.provider}/{account}" for account in pool.accounts)
            for name, pool in self._pools.items()
        }

    def hold(self, account: str, strength: Strength | None) -> None:
        """Keep agents from the keys of an account, as a latch says; nobody from one that is not there any more."""
        provider, _, name = account.partition("/")
        pool = self._pools.get(provider)
        if pool is not None:
            pool.hold(name, strength)


def caps_of(models: Models | None) -> dict[str, int]:
    """Provider → how many of its agents may run at once, where that is known (row C5)."""
    pools = models.pools if models is not None else {}
    return {name: pool.agents_cap for name, pool in pools.items() if pool.agents_cap is not None}


@asynccontextmanager
async def _simulator(simulated: Simulated, env: Mapping[str, str]) -> AsyncIterator[tuple[str, tuple[Key, ...]]]:
    """A simulator in a process of its own, with fresh keys; it ends with this one, however that ends."""
    tokens = [f"sim-{secrets.token_urlsafe(24)}" for _ in range(SIMULATED_KEYS)]
    process = _start_simulator(simulated, env)
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        process.stdin.write("".join(f"{token}\n" for token in (*tokens, "")).encode())
        process.stdin.flush()
        line = await asyncio.to_thread(process.stdout.readline)
        if not line:
            raise Unreachable("the simulator did not start", mend="its last words are in the log of the engine")
        keys = tuple(Key(f"sim-{n}", Secret(token), "simulated") for n, token in enumerate(tokens, 1))
        yield str(json.loads(line)["base_url"]), keys
    finally:
        with contextlib.suppress(OSError):
            process.stdin.close()
        process.stdout.close()
        await asyncio.to_thread(_ended, process)


def _start_simulator(simulated: Simulated, env: Mapping[str, str]) -> subprocess.Popen[bytes]:
    """It needs no key of the operator's, and other programs may look into its environment: it gets none."""
    words = ["--port", "0", "--demo", "--keys-from-stdin", "--lifeline"]
    scenario = ["--seed", str(simulated.seed), "--speed", str(simulated.speed)]
    return subprocess.Popen(
        [sys.executable, "-m", "skep.simulator", *words, *scenario],
        env=for_tools(env) | search_path(env),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,
        cwd="/",
    )


def _ended(process: subprocess.Popen[bytes]) -> None:
    try:
        process.wait(_ENDS_WITHIN)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
