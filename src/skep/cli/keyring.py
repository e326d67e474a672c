"""What is known of keys: those that can be found here, and how those of a live swarm stand."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from skep.cli.addresses import whole_swarm
from skep.cli.links import opened
from skep.cli.printing import complain, document, note, say, table
from skep.cli.providing import find_keys, keys_file
from skep.clock import SystemClock
from skep.config import Config, load
from skep.control.swarms import SwarmFolder, all_swarms, engine_pid
from skep.control.verbs import Keys, KeyShown, KeysShown, PoolShown
from skep.errors import SkepError
from skep.keys import Key
from skep.model.events import Json
from skep.providers import Provider
from skep.text import UNKNOWN, clean_line, duration, money, tokens

HEADS = ("KEY", "STATE", "IN FLIGHT", "REQ/MIN", "TOK/MIN", "429", "OK", "FAILED", "TTFT", "COST", "USED BY")
_RIGHT = frozenset({3, 4, 5, 6, 7, 8, 9})
_SHOWN = 3


@dataclass(frozen=True, slots=True)
class _Found:
    """A provider and the keys that were found for it, or why there is none that can be used."""

    name: str
    provider: Provider
    keys: tuple[Key, ...] = ()
    missing: SkepError | None = None


@dataclass(frozen=True, slots=True)
class _Pools:
    """The pools of a live swarm, and the names of the branches that use their keys."""

    swarm: SwarmFolder
    pools: list[PoolShown]
    branches: Mapping[str, str]


def show_keys(address: str | None, *, json: bool) -> None:
    """Print the pools of a swarm; without one the keys found here, then the pools of the newest live swarm."""
    if address is not None:
        pools = asyncio.run(_pools(whole_swarm(address)))
        if json:
            document(_pools_document(pools))
        else:
            _print_pools(pools)
        return
    loaded = load(Path.cwd(), {}, os.environ)
    for warning in loaded.warnings:
        complain(warning, prefix="skep: warning")
    found = _found(loaded.config, os.environ)
    live = _newest_live()
    if json:
        body: dict[str, Json] = {"providers": [_found_document(one) for one in found]}
        document(body | (_pools_document(live) if live is not None else {"swarm": None, "pools": []}))
        return
    table([row for one in found for row in _found_rows(one)], heads=("PROVIDER", "KEY", "FINGERPRINT", "ENDPOINT"))
    note(f"keys are read from the variables and from {clean_line(str(keys_file(os.environ)))}")
    if live is not None and live.pools:
        say()
        say(f"swarm {live.swarm.id} ({clean_line(live.swarm.name)})")
        _print_pools(live)


def _found(config: Config, env: Mapping[str, str]) -> list[_Found]:
    found = []
    for name, provider in config.providers.items():
        try:
            found.append(_Found(name, provider, find_keys(name, provider, env)))
        except SkepError as error:
            found.append(_Found(name, provider, missing=error))
    return found


def _found_rows(one: _Found) -> list[tuple[str, ...]]:
    url = one.provider.base_url
    if one.missing is not None:
        where = f" ({one.missing.where})" if one.missing.where else ""
        return [(one.name, f"{UNKNOWN} {one.missing.what}{where}", "", url)]
    if not one.provider.keys:
        return [(one.name, "needs none", "", url)]
    return [(one.name, key.label, key.fingerprint, url) for key in one.keys]


def _found_document(one: _Found) -> dict[str, Json]:
    keys: list[Json] = [{"label": key.label, "fingerprint": key.fingerprint} for key in one.keys if key.secret]
    return {
        "name": one.name,
        "endpoint": one.provider.base_url,
        "variables": one.provider.keys or None,
        "keys": keys,
        "missing": str(one.missing) if one.missing is not None else None,
    }


def _newest_live() -> _Pools | None:
    """The pools of the newest live swarm; None if none lives or its engine does not answer, which is said."""
    newest = next((swarm for swarm in all_swarms() if engine_pid(swarm.folder) is not None), None)
    if newest is None:
        return None
    try:
        return asyncio.run(_pools(newest))
    except SkepError as error:
        complain(error, prefix="skep: warning")
        return None


async def _pools(swarm: SwarmFolder) -> _Pools:
    async with opened(swarm.folder, SystemClock(), once=True) as link:
        reply = await link.call(Keys())
        pools = reply.pools if isinstance(reply, KeysShown) else []
        branches = {holder for pool in pools for key in pool.keys for holder in key.holders}
        with link.registry.read() as state:
            names = {one: state.agents[one].name for one in branches if one in state.agents}
    return _Pools(swarm, pools, names)


def _pools_document(pools: _Pools) -> dict[str, Json]:
    return {"swarm": pools.swarm.id, "pools": [pool.model_dump(mode="json") for pool in pools.pools]}


def _print_pools(pools: _Pools) -> None:
    if not pools.pools:
        note(f"swarm {pools.swarm.id} uses no keys")
        return
    rows = [_row(key, pool.at, pools.branches) for pool in pools.pools for key in pool.keys]
    table(rows, heads=HEADS, right=_RIGHT)
    for pool in pools.pools:
        if pool.waiters:
            agents = f"{pool.waiters} agent{'s wait' if pool.waiters > 1 else ' waits'}"
            note(f"{agents} for a key of {clean_line(pool.provider)}, oldest {duration(pool.oldest_wait)}")


def _row(key: KeyShown, now: float, branches: Mapping[str, str]) -> tuple[str, ...]:
    users = [branches.get(holder, holder) for holder, count in key.holders.items() if count]
    more = f" +{len(users) - _SHOWN}" if len(users) > _SHOWN else ""
    return (
        key.label,
        _state(key, now),
        f"{key.in_flight}/{key.cap if key.cap is not None else UNKNOWN}",
        str(key.requests_minute),
        tokens(key.tokens_minute),
        str(key.rate_limited),
        str(key.successes),
        str(key.failures),
        f"{key.first_token_seconds:.1f}s" if key.first_token_seconds is not None else UNKNOWN,
        money(round(key.cost_usd * 1_000_000), lower_bound=key.cost_is_lower_bound),
        ", ".join(users[:_SHOWN]) + more,
    )


def _state(key: KeyShown, now: float) -> str:
    words = key.state
    if key.until is not None:
        words += f" {duration(max(0.0, key.until - now))}"
    if key.model is not None:
        words += f" ({key.model})"
    return f"{words}: {key.reason}" if key.reason else words
