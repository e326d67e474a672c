"""Simulated models served in the foreground: an endpoint and keys for drills, with no network and no cost."""

from __future__ import annotations

import asyncio
import contextlib
import resource
import secrets
import signal
import sys

from skep.cli.printing import note, say
from skep.errors import BadInput
from skep.providers import READY, SIMULATOR
from skep.simulator import Pace, Scenario, SimulatedKey, Simulator

_MOST_KEYS = 99
_PACE = Pace(first_token=0.4, rate=60.0)


def serve(*, port: int, keys: int, speed: float, seed: int) -> None:
    """Serve until Ctrl-C or SIGTERM. Raises ``BadInput`` for figures that cannot be, or a port that is taken."""
    if not 0 <= port <= 65_535:
        raise BadInput(
            "no such port", where=f"--port {port}", mend="name one up to 65535; 0 takes any that is free"
        )
    if not 0 <= keys <= _MOST_KEYS:
        raise BadInput(
            "too many keys" if keys > 0 else "fewer than no keys", where=f"--keys {keys}", mend="0 to 99"
        )
    check_speed(speed)
    tokens = [f"sim-{secrets.token_urlsafe(24)}" for _ in range(keys)]
    scenario = Scenario(keys=[SimulatedKey(token) for token in tokens], pace=_PACE, seed=seed, speed=speed)
    _allow_many_connections()
    asyncio.run(_serve(scenario, port, tokens))


def check_speed(speed: float) -> None:
    """Raise ``BadInput`` for a speed that no simulator can keep; 1 is that of real models."""
    if not 0.01 <= speed <= 1_000:
        raise BadInput(
            "no such speed", where=f"--speed {speed:g}", mend="1 is as models are, 10 ten times as fast"
        )


async def _serve(scenario: Scenario, port: int, tokens: list[str]) -> None:
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, ended.set)
    async with contextlib.AsyncExitStack() as stack:
        try:
            simulator = await stack.enter_async_context(Simulator(scenario, port=port))
        except OSError as error:
            raise BadInput(
                "cannot serve there",
                where=f"--port {port}",
                why=error.strerror,
                mend="end what uses it, or --port 0",
            ) from error
        _tell(simulator.base_url, tokens)
        await ended.wait()
    note("served no more")


def _tell(base_url: str, tokens: list[str]) -> None:
    """Lines that another shell can take over as they are."""
    ready = READY[SIMULATOR]
    say(f"# simulated models at {base_url}, until Ctrl-C; for another shell:")
    if base_url != ready.base_url:
        say(f"export SKEP_PROVIDERS__{SIMULATOR.upper()}__BASE_URL={base_url}")
    for number, token in enumerate(tokens or ["any"], 1):
        say(f"export {ready.keys}_{number}={token}")
    say(f"# skep run 'what is to be done' --model {SIMULATOR}/any")
    sys.stdout.flush()


def _allow_many_connections() -> None:
    """Every stream is a file descriptor; the usual soft limit is 1,024."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
