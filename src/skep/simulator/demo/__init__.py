"""The demo: a web shop on disk, the swarm that gets it ready for a release, the model that it talks to."""

from skep.simulator.demo.behaviour import behaviour
from skep.simulator.demo.plan import CAPTAIN, GOAL, HANGING, Outcome, expected
from skep.simulator.demo.scenario import CONCURRENCY, KEYS, MODEL, demo_scenario
from skep.simulator.demo.workspace import make_workspace

__all__ = [
    "CAPTAIN",
    "CONCURRENCY",
    "GOAL",
    "HANGING",
    "KEYS",
    "MODEL",
    "Outcome",
    "behaviour",
    "demo_scenario",
    "expected",
    "make_workspace",
]
