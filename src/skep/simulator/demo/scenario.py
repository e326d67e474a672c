"""The provider of the demo: four keys with limits, one of them in a storm of refusals."""

from __future__ import annotations

from collections.abc import Sequence

from skep.simulator.demo.behaviour import behaviour
from skep.simulator.limits import KeyLimits, Storm
from skep.simulator.scenario import Scenario, SimulatedKey

MODEL = "sim-large"
"""The model that the demo's agents use."""

KEYS = ("simulated-1", "simulated-2", "simulated-3", "simulated-4")
"""The keys that are taken; they open nothing else."""

CONCURRENCY = 4
"""Requests that each key takes at once."""

_STORMS = (Storm(from_request=6, seconds=30.0), Storm(from_request=16, seconds=20.0))
"""Of the second key: it is refused twice, the first time soon after the teams have begun."""


def demo_scenario(seed: int, speed: float = 1.0, secrets: Sequence[str] = KEYS) -> Scenario:
    """Return what the simulator serves in the demo, to these keys; `speed` divides all delays."""
    keys = tuple(
        SimulatedKey(
            secret,
            KeyLimits(
                concurrency=CONCURRENCY,
                requests_per_minute=120,
                tokens_per_minute=400_000,
                storms=_STORMS if number == 2 else (),
            ),
        )
        for number, secret in enumerate(secrets, 1)
    )
    return Scenario(keys=keys, behaviour=behaviour(seed, speed), seed=seed, speed=speed, models=(MODEL,))
