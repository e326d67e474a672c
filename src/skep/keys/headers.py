"""How long a provider wants to be left alone, read from the headers of its answer."""

from __future__ import annotations

import calendar
import re
from collections.abc import Mapping
from email.utils import parsedate_tz

LONGEST = 24 * 3600.0
"""Seconds; whoever asks for more is taken to have made a mistake."""

_LONGEST_TEXT = 64
_NUMBER = re.compile(r"\d+(?:\.\d*)?|\.\d+", re.ASCII)
_PART = r"(\d+(?:\.\d*)?|\.\d+)(ns|us|µs|μs|ms|s|m|h)"
_DURATION_PART = re.compile(_PART, re.ASCII)
_DURATION = re.compile(rf"(?:{_PART})+|0", re.ASCII)
_UNITS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "μs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
# The parser of the standard library takes much else for a date, too.
_DATE = re.compile(r"[A-Z][a-z]{2,8},? .{1,20}\d\d:\d\d:\d\d.*", re.ASCII)
_LIMITS = ("requests", "tokens")


def retry_after(headers: Mapping[str, str], now: float) -> float | None:
    """Seconds from ``now`` (an epoch time) until the provider will listen again; None if it says nothing usable.

    Looks at ``retry-after-ms``, then ``retry-after`` (seconds or an HTTP date), then the ``x-ratelimit-reset-*``
    of the limits that are used up. What is nonsense, negative or over 24 hours is passed over. Never raises.
    """
    found = {name.lower(): value.strip() for name, value in headers.items() if len(value) <= _LONGEST_TEXT}
    milliseconds = _number(found.get("retry-after-ms", ""))
    stated = found.get("retry-after", "")
    for seconds in (
        None if milliseconds is None else milliseconds / 1000,
        _number(stated),
        _until_date(stated, now),
        _reset(found),
    ):
        if seconds is not None and 0 <= seconds <= LONGEST:
            return seconds
    return None


def _number(text: str) -> float | None:
    return float(text) if _NUMBER.fullmatch(text) else None


def _until_date(text: str, now: float) -> float | None:
    try:
        parts = parsedate_tz(text) if _DATE.fullmatch(text) else None
        if parts is None:
            return None
        # HTTP dates are in GMT, and one without a zone means it.
        return calendar.timegm(parts[:9]) - (parts[9] or 0) - now
    except (ValueError, TypeError, IndexError, OverflowError):
        return None


def _reset(headers: Mapping[str, str]) -> float | None:
    """The longest reset of the limits that have nothing left, or of both where neither says so."""
    used_up = [limit for limit in _LIMITS if _number(headers.get(f"x-ratelimit-remaining-{limit}", "")) == 0]
    resets = [_duration(headers.get(f"x-ratelimit-reset-{limit}", "")) for limit in used_up or _LIMITS]
    return max((seconds for seconds in resets if seconds is not None and seconds <= LONGEST), default=None)


def _duration(text: str) -> float | None:
    """Seconds of a Go duration such as ``6m0s``, ``1.5h`` or ``12ms``."""
    if not _DURATION.fullmatch(text):
        return None
    return sum(float(count) * _UNITS[unit] for count, unit in _DURATION_PART.findall(text))
