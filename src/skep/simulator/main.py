"""The simulator as a process: `python -m skep.simulator --port 0` prints where it listens and serves."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import resource
import signal
import sys
from collections.abc import Sequence
from typing import BinaryIO

from skep.simulator.behaviour import Pace
from skep.simulator.demo import KEYS, demo_scenario
from skep.simulator.limits import KeyLimits, Storm
from skep.simulator.scenario import Scenario, SimulatedKey
from skep.simulator.server import Simulator

PORT = 8399
_LAST_PORT = 65_535
_MOST_KEYS = 1_000
_LONGEST_KEY = 4_096


def main(arguments: Sequence[str] | None = None, *, kind: type[Simulator] = Simulator) -> int:
    """Serve until SIGINT, SIGTERM or, with --lifeline, the end of standard input; returns the exit code."""
    parser = _parser()
    options = parser.parse_args(arguments)
    try:
        scenario = _scenario(options, sys.stdin.buffer)
    except ValueError as error:
        parser.error(str(error))
    _allow_many_connections()
    try:
        return asyncio.run(
            serve(scenario, kind, port=options.port, lifeline=sys.stdin.buffer if options.lifeline else None)
        )
    except OSError as error:
        parser.error(f"cannot serve on port {options.port}: {error.strerror}")


async def serve(
    scenario: Scenario, kind: type[Simulator] = Simulator, *, port: int, lifeline: BinaryIO | None = None
) -> int:
    """Serve a scenario, say where in one line of JSON, and return when told to end or when the lifeline ends."""
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, ended.set)
    async with contextlib.AsyncExitStack() as stack:
        simulator = await stack.enter_async_context(kind(scenario, port=port))
        if lifeline is not None:
            transport, _ = await loop.connect_read_pipe(lambda: _Lifeline(ended), lifeline)
            stack.callback(transport.close)
        print(json.dumps({"base_url": simulator.base_url, "pid": os.getpid()}), flush=True)
        await ended.wait()
    return 0


class _Lifeline(asyncio.Protocol):
    """Standard input that nothing is read from but its end."""

    def __init__(self, ended: asyncio.Event) -> None:
        self._ended = ended

    def connection_lost(self, exc: Exception | None) -> None:
        self._ended.set()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m skep.simulator",
        description="Serve simulated models on loopback, in the OpenAI chat dialect.",
        epilog="A goal with a line [[sim]] and a list of steps after it says itself how it is answered.",
    )
    add = parser.add_argument
    add("--port", type=_port, default=PORT, help=f"0 takes any that is free (default {PORT})")
    add("--keys-from-stdin", action="store_true", help="accept only these keys: one a line, until an empty line")
    add("--lifeline", action="store_true", help="end when standard input ends")
    add("--demo", action="store_true", help="serve the models, limits and troubles of the demo")
    add("--seed", type=int, default=0, help="the dice of the models (default 0)")
    add("--speed", type=float, default=1.0, metavar="X", help="divide every delay (default 1)")
    add("--delay", type=float, default=0.0, metavar="SECONDS", help="to the first token (default 0)")
    add("--rate", type=float, default=0.0, metavar="N", help="tokens per second (default 0: as fast as they can)")
    add("--model", action="append", default=[], metavar="NAME", help="serve only these models; may be repeated")
    add("--concurrency", type=int, metavar="N", help="requests at once on one key")
    add("--requests-per-minute", type=int, metavar="N", help="on one key")
    add("--tokens-per-minute", type=int, metavar="N", help="on one key")
    add(
        "--storm",
        action="append",
        default=[],
        type=_storm,
        metavar="KEY:REQUEST:SECONDS",
        help="the key of this number answers 429 for so long from its request of this number on; may be repeated",
    )
    return parser


def _scenario(options: argparse.Namespace, source: BinaryIO) -> Scenario:
    keys = _keys(source) if options.keys_from_stdin else []
    if options.demo:
        return demo_scenario(options.seed, options.speed, keys or KEYS)
    storms: dict[int, list[Storm]] = {}
    for number, storm in options.storm:
        if not 1 <= number <= len(keys):
            raise ValueError(f"--storm {number}:…: there is no key {number}; give keys with --keys-from-stdin")
        storms.setdefault(number, []).append(storm)

    def limits(number: int) -> KeyLimits:
        return KeyLimits(
            options.concurrency,
            options.requests_per_minute,
            options.tokens_per_minute,
            tuple(storms.get(number, ())),
        )

    return Scenario(
        keys=[SimulatedKey(key, limits(number)) for number, key in enumerate(keys, 1)],
        limits=limits(0),
        pace=Pace(options.delay, options.rate),
        seed=options.seed,
        speed=options.speed,
        models=options.model,
    )


def _keys(source: BinaryIO) -> list[str]:
    keys: list[str] = []
    while line := source.readline(_LONGEST_KEY + 2).strip():
        if len(line) > _LONGEST_KEY:
            raise ValueError(f"key {len(keys) + 1} is longer than {_LONGEST_KEY} bytes")
        if len(keys) == _MOST_KEYS:
            raise ValueError(f"at most {_MOST_KEYS} keys are served")
        keys.append(line.decode("ascii", "replace"))
    if not keys:
        raise ValueError("--keys-from-stdin: there was no key")
    return keys


def _storm(text: str) -> tuple[int, Storm]:
    try:
        key, request, seconds = text.split(":")
        return int(key), Storm(int(request), float(seconds))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not like 2:10:30") from None


def _port(text: str) -> int:
    if not text.isascii() or not text.isdecimal() or int(text) > _LAST_PORT:
        raise argparse.ArgumentTypeError(f"{text!r} is no port, 0 to {_LAST_PORT}")
    return int(text)


def _allow_many_connections() -> None:
    """Every stream is a file descriptor; the usual soft limit is 1,024."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
