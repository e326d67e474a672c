"""Names and ids that skep makes for swarms and their agents, and what a person may name a swarm."""

from __future__ import annotations

import re
import secrets
import string

from skep.errors import BadInput
from skep.text import clean_line, cut_end, width

NAME_CELLS = 120
"""Most terminal cells of a name that skep makes."""

SLUG_CELLS = 32
"""Most terminal cells of a name that is made from a goal."""

_ID_START = "bcdfhjkmnpqstvwxyz"  # ids of agents begin with a, g or r: no address means both
_ID_REST = string.ascii_lowercase + string.digits
_LOOKED_AT = 400  # characters of a goal


def new_id() -> str:
    """A fresh id of a swarm: six lower-case letters and digits, a letter first."""
    return secrets.choice(_ID_START) + "".join(secrets.choice(_ID_REST) for _ in range(5))


def checked_name(name: str) -> str:
    """The name that a person gave a swarm. Raises ``BadInput`` for one that no address could hold."""
    shown = clean_line(name)
    if not shown or "/" in shown or shown != name or len(shown) > NAME_CELLS:
        raise BadInput(
            "not a name for a swarm",
            where=f"--name {clean_line(name, limit=60)!r}",
            why=f"it should be one line of at most {NAME_CELLS} characters without a /",
            mend="a slash parts a swarm from its agent in an address: SWARM/AGENT",
        )
    return name


def slug(goal: str) -> str:
    """The first words of a goal as a short name that needs no quotes in a shell: ``fix-the-flaky-test``."""
    first = next((line for line in goal.splitlines() if line.strip()), "")
    words = re.findall(r"\w+", clean_line(first.strip(), limit=_LOOKED_AT).lower())
    name = ""
    for word in words:
        longer = f"{name}-{word}" if name else word
        if width(longer) > SLUG_CELLS:
            break
        name = longer
    return name or (cut_end(words[0], SLUG_CELLS).rstrip("…") if words else "agent")


def unique(name: str, taken: set[str]) -> str:
    """The name, with a number where it is taken already; taken from now on."""
    number, made = 1, name
    while made in taken:
        number += 1
        made = f"{name}-{number}"
    taken.add(made)
    return made
