"""Every setting, where its value came from, and one clear message for each way to get it wrong."""

from skep.config.durations import parse_duration
from skep.config.layers import PREFIX, SourceKind
from skep.config.loading import Loaded, Source, load
from skep.config.settings import Config, Count, KeyNames, RoomConfig, Seconds

__all__ = [
    "PREFIX",
    "Config",
    "Count",
    "KeyNames",
    "Loaded",
    "RoomConfig",
    "Seconds",
    "Source",
    "SourceKind",
    "load",
    "parse_duration",
]
