"""Lengths of time as people write them."""

from __future__ import annotations

import math
import re

from skep.errors import BadInput
from skep.text import clean_line

_NUMBER = r"(\d+(?:\.\d+)?)"
_DURATION = re.compile(rf"(?:{_NUMBER}d)?(?:{_NUMBER}h)?(?:{_NUMBER}m)?(?:{_NUMBER}s)?|{_NUMBER}", re.ASCII)
_DURATION_UNITS = (86400.0, 3600.0, 60.0, 1.0, 1.0)


def parse_duration(text: str) -> float:
    """Seconds of ``10m``, ``90s``, ``1h30m``, ``2d`` or a plain number of seconds; else ``BadInput``."""
    bare = text.strip()
    match = _DURATION.fullmatch(bare)
    seconds = math.inf
    if bare and match:
        seconds = sum(
            float(count) * unit for count, unit in zip(match.groups(), _DURATION_UNITS, strict=True) if count
        )
    if not math.isfinite(seconds):
        raise BadInput(
            f"{clean_line(text, limit=40)!r} is not a duration",
            mend="write it like 90s, 10m, 1h30m or 2d; a plain number is seconds",
        )
    return seconds
