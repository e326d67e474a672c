"""A simulator in a process of its own, and a place that is set up for it."""

from __future__ import annotations

import asyncio
import json
import sys
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx

from tests.chat.asking import goal
from tests.simulator.logged import Asked
from tests.whole.places import Place
from tests.whole.waiting import deadline

KEYS = tuple(f"canary-{n}-Zq7Xw9Lp2Vt4" for n in range(1, 4))

__all__ = ["KEYS", "Models", "goal", "serving"]


class Models:
    """A simulator that listens, and what it has seen."""

    def __init__(self, base_url: str, http: httpx.AsyncClient) -> None:
        self.base_url = base_url
        self._http = http

    async def ledger(self) -> dict[str, Any]:
        """What happened so far."""
        document: dict[str, Any] = await self._get("ledger")
        return document

    async def log(self) -> list[Asked]:
        """Every request so far, if it is the simulator that keeps a log."""
        return [Asked(**asked) for asked in await self._get("log")]

    async def _get(self, what: str) -> Any:
        return (await self._http.get(self.base_url.removesuffix("/v1") + f"/simulator/{what}")).json()

    async def answering(self, count: int) -> None:
        """Wait until so many requests are answered at the same time."""
        async with deadline(f"{count} requests at once"):
            while (await self.ledger())["open"] < count:
                pass  # the next look is a request, which takes its time


@asynccontextmanager
async def serving(
    place: Place, *options: str, cap: int | None = None, module: str = "skep.simulator"
) -> AsyncIterator[Models]:
    """Serve models to the swarms of this place, on three keys."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", module, "--port", "0", "--keys-from-stdin", "--lifeline", *options),
        env=place.env,
        stdin=PIPE,
        stdout=PIPE,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        process.stdin.write("".join(f"{key}\n" for key in (*KEYS, "")).encode())
        base_url = json.loads(await process.stdout.readline())["base_url"]
        lines = [
            'model = "local/large"',
            "[providers.local]",
            f'base_url = "{base_url}"',
            'keys = "LOCAL_KEY"',
            *([f"max_concurrency = {cap}"] if cap else []),
            "[providers.local.prices.large]",
            "input = 2.0",
            "output = 8.0",
        ]
        (place.home / "c" / "config.toml").write_text("\n".join(lines))
        place.env |= {f"LOCAL_KEY_{n}": key for n, key in enumerate(KEYS, 1)}
        async with httpx.AsyncClient() as http:
            yield Models(base_url, http)
    finally:
        process.stdin.close()
        async with deadline("the end of the simulator"):
            await process.wait()
