"""The process that starts and reaps every child process, and the engine's handle on it.

The names below are loaded on first use: the warden's own process imports its modules from this package too, and
must stay small.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from skep.warden.adoption import adopt_orphans
    from skep.warden.client import Warden
    from skep.warden.command import Command, Exit, Leftover
    from skep.warden.faults import SpawnFailed, SpawnFault, WardenLost
    from skep.warden.markers import marked, marked_swarms
    from skep.warden.sweeping import sweep_dead, sweep_markers

__all__ = [
    "Command",
    "Exit",
    "Leftover",
    "SpawnFailed",
    "SpawnFault",
    "Warden",
    "WardenLost",
    "adopt_orphans",
    "marked",
    "marked_swarms",
    "sweep_dead",
    "sweep_markers",
]


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from skep.warden import client

    return getattr(client, name)
