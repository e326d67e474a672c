"""Keys: where they come from, which one the next attempt goes out with, and who is to blame when it fails."""

from skep.keys.headers import retry_after
from skep.keys.lease import Lease
from skep.keys.outcome import Outcome, OutcomeKind
from skep.keys.pool import Pool
from skep.keys.secret import Key, Secret
from skep.keys.sources import keys_of, variable_names
from skep.keys.view import KeyState, KeyView, PoolView

__all__ = [
    "Key",
    "KeyState",
    "KeyView",
    "Lease",
    "Outcome",
    "OutcomeKind",
    "Pool",
    "PoolView",
    "Secret",
    "keys_of",
    "retry_after",
    "variable_names",
]
