"""What a kind of module of the demo's shop is: its text, its tests, and the one line that a defect puts wrong."""

from __future__ import annotations

import re
from dataclasses import dataclass
from string import Template

_NOTE = re.compile(r"^( *)#note\n", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Kind:
    """A module that any service of the shop may have; `$thing` and `$things` stand for what it deals in."""

    stem: str
    """The module's name, without `.py`."""
    purpose: str
    """What it does, in words that fit after "this module"."""
    source: str
    tests: str
    good: str
    """A line of the source, without its indent."""
    bad: str
    """The same line with a defect that a test finds."""
    slip: str
    """What is wrong with the bad line, in words."""
    advice: str
    """What a reviewer may say of the good module."""

    def text(self, thing: str, things: str, *, defect: bool = False, note: str = "") -> str:
        """Return the module's source about things of that name; a note becomes a comment above a function."""
        text = _filled(self.source, thing, things)
        if defect:
            text = text.replace(self.good, self.bad)
        return _NOTE.sub(rf"\1# {note}\n" if note else "", text)

    def test_text(self, package: str, thing: str, things: str) -> str:
        """Return the source of the tests of the module in that package."""
        return _filled(self.tests, thing, things, package=package)


def _filled(text: str, thing: str, things: str, package: str = "") -> str:
    filled = Template(text).substitute(thing=thing, things=things, package=package)
    return filled.lstrip("\n")
