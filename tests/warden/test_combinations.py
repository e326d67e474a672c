"""Engine, warden and guards are stopped or killed in every combination, and what they started ends just so."""

from __future__ import annotations

import asyncio
import itertools
import signal
from contextlib import ExitStack
from pathlib import Path

import pytest

from skep.warden.client import marked
from skep.warden.ladder import GRACE
from tests.warden.support import Doomed, Watch

LIVES, STOPPED, KILLED = 0, signal.SIGSTOP, signal.SIGKILL
FATES = (LIVES, STOPPED, KILLED)
WITHIN = GRACE + 2.0
"""Seconds in which everything is gone; the marker finds the rest of what nobody is left to end."""


async def test_with_the_engine_everything_that_it_started_ends_unless_nobody_is_left_to_see_to_it(
    swarm: str, watch: Watch
) -> None:
    fates = [pair for pair in itertools.product(FATES, FATES) if pair != (KILLED, KILLED)]
    with ExitStack() as stack:
        engines = [stack.enter_context(Doomed(swarm)) for _ in fates]
        for engine in engines:
            watch.add(*engine.below())
        began = asyncio.get_running_loop().time()
        for engine, (warden, guards) in zip(engines, fates, strict=True):
            if STOPPED in (warden, guards):  # first, so that none of them sees another one's end
                engine.signal(STOPPED, *["warden"] * (warden == STOPPED), *["guards"] * (guards == STOPPED))
            engine.signal(KILLED, *["guards"] * (guards == KILLED), *["warden"] * (warden == KILLED), "engine")
        await watch.all_ended()
        assert asyncio.get_running_loop().time() - began < WITHIN
    assert marked(swarm) == ()


@pytest.mark.parametrize("guards", FATES, ids=("live", "are stopped", "are killed"))
async def test_an_engine_that_adopts_ends_what_its_warden_leaves_whatever_it_carries(
    swarm: str, watch: Watch, guards: int
) -> None:
    with Doomed(swarm, "adopt") as engine:
        watch.add(*engine.below())
        engine.signal(STOPPED, "warden", "guards")  # so that none of them sees another one's end
        if guards == KILLED:
            engine.signal(KILLED, "guards")
        engine.signal(KILLED, "warden")
        if guards == LIVES:
            engine.signal(signal.SIGCONT, "guards")
        began = asyncio.get_running_loop().time()
        await engine.verified()
        took = asyncio.get_running_loop().time() - began
        assert took < 1.0 if guards == KILLED else GRACE * 0.9 < took < WITHIN, "who has a guard has its grace"
        assert watch.living() == set()
        assert engine.process.poll() is None
        assert _children(engine.process.pid) == [], "it has reaped what it adopted"


def _children(pid: int) -> list[int]:
    stats = (path.read_text().rpartition(") ")[2].split() for path in Path("/proc").glob("[0-9]*/stat"))
    return [fields for fields in stats if int(fields[1]) == pid]
