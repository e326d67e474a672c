"""What a token is here: four characters, so that anybody can count them."""

from __future__ import annotations

from collections.abc import Iterator

CHARACTERS = 4


def count(text: str) -> int:
    """Return how many tokens a text has."""
    return -(-len(text) // CHARACTERS)


def pieces(text: str) -> Iterator[str]:
    """Yield the tokens of a text."""
    for start in range(0, len(text), CHARACTERS):
        yield text[start : start + CHARACTERS]
