"""A scenario: which keys there are, what they may do, and how the model behaves."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from skep.simulator.behaviour import Behaviour, Pace
from skep.simulator.limits import KeyLimits
from skep.simulator.plausible import plausible


@dataclass(frozen=True, slots=True)
class SimulatedKey:
    """A key that is accepted. Its bytes show in no representation; everywhere it is called key-1, key-2, …"""

    secret: str = field(repr=False)
    limits: KeyLimits = field(default_factory=KeyLimits)


@dataclass(frozen=True, slots=True)
class Scenario:
    """All that the simulator goes by; the same scenario and the same requests give the same answers."""

    keys: Sequence[SimulatedKey] = ()
    """Without any, every key is taken, each with `limits`, and requests without one as well."""
    limits: KeyLimits = field(default_factory=KeyLimits)
    """Of the keys that are not listed, where none is."""
    behaviour: Behaviour = plausible
    """For goals without a script of their own."""
    pace: Pace = field(default_factory=Pace)
    seed: int = 0
    speed: float = 1.0
    """Divides every delay, a minute of the limits included."""
    models: Sequence[str] = ()
    """The models that are served; without any, whatever is asked for."""

    def __post_init__(self) -> None:
        """Refuse what would never work."""
        if not 0 < self.speed < math.inf:
            raise ValueError("the speed of a scenario is above 0")
        if not (0 <= self.pace.first_token < math.inf and 0 <= self.pace.rate < math.inf):
            raise ValueError("the delay and the rate of a scenario are 0 or more")
        if len({key.secret for key in self.keys}) < len(self.keys):
            raise ValueError("a scenario lists each key once")
