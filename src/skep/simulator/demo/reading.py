"""What the demo's agents make of the tool results that they are sent."""

from __future__ import annotations

import json
import re
from typing import NamedTuple

_MATCH = re.compile(r"^(?P<path>[\w./-]+):(?P<line>\d+):\s?(?P<text>.*)$", re.MULTILINE)
_PUBLIC = re.compile(r'^ *(?:def|class) (?P<name>[A-Za-z]\w*)[^\n]*\n[^"\n]*"""(?P<says>[^"\n]+)', re.MULTILINE)
_RAN = re.compile(r"^Ran (\d+) tests? in", re.MULTILINE)
_ENDED = frozenset({"done", "failed", "timed_out", "over_limit", "interrupted", "killed", "lost"})
_FAULT = re.compile(r"^(?:FAIL|ERROR): (\w+)", re.MULTILINE)


class Match(NamedTuple):
    """A line that a search found."""

    path: str
    line: int
    text: str


class Verdict(NamedTuple):
    """What a run of tests said."""

    ran: int
    """Tests that ran; 0 also when they could not be started."""
    failed: tuple[str, ...]

    @property
    def passed(self) -> bool:
        """Whether tests ran and none of them failed."""
        return self.ran > 0 and not self.failed


class Child(NamedTuple):
    """What a delegated agent came to."""

    name: str
    status: str
    summary: str
    """Its answer, or what is left of it."""
    error: str

    @property
    def headline(self) -> str:
        """The first line of what there is to say of it."""
        text = self.summary if self.status == "done" else self.error or self.summary
        return text.strip().partition("\n")[0] or "no word from it"


def matches(text: str) -> list[Match]:
    """Return the lines that a search found."""
    return [Match(found["path"], int(found["line"]), found["text"].strip()) for found in _MATCH.finditer(text)]


def public(text: str) -> list[tuple[str, str]]:
    """Return the functions and classes of a Python source, and the first sentence of each."""
    return [(found["name"], found["says"].strip()) for found in _PUBLIC.finditer(text)]


def verdict(text: str) -> Verdict:
    """Return what the output of unittest says."""
    ran = _RAN.search(text)
    return Verdict(int(ran[1]) if ran else 0, tuple(dict.fromkeys(_FAULT.findall(text))))


def children(text: str) -> list[Child]:
    """Return the results of a delegation whose children have ended; none if it is something else."""
    start = text.find("{")
    try:
        document = json.JSONDecoder().raw_decode(text, start)[0] if start >= 0 else None
    except ValueError:
        return []
    results = document.get("results") if isinstance(document, dict) else None
    return [
        Child(*(str(result.get(name) or "") for name in Child._fields))
        for result in (results if isinstance(results, list) else [])
        if isinstance(result, dict) and result.get("status") in _ENDED
    ]
