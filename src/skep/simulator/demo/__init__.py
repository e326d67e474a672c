"""The demo: a web shop on disk, the swarm that gets it ready for a release, and the model that its agents talk to."""

from .behaviour import behaviour
from .plan import CAPTAIN, GOAL, HANGING, Outcome, expected
from .scenario import CONCURRENCY, KEYS, MODEL, demo_scenario
from .workspace import make_workspace

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
