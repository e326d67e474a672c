"""What ``{item}`` and its kin stand for, and how they get into a command without ever becoming a second word."""

from __future__ import annotations

import os.path
import re
import shlex
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from skep.cli.quoting import unquotable
from skep.errors import BadInput
from skep.text import clean_line

FIELDS = ("item", "name", "stem", "ext", "dir", "n")
"""What may stand between braces."""

_PIECE = re.compile(r"\{\{|\}\}|\{([^{}]*)\}|\{")


@dataclass(frozen=True, slots=True)
class Item:
    """One thing that a command runs for, and its number from 1."""

    text: str
    number: int

    def field(self, name: str) -> str:
        """The value of one of :data:`FIELDS`; ``{dir}/{stem}{ext}`` is the item again, if it has a folder."""
        folder, file = os.path.split(self.text.rstrip("/") or self.text)
        stem, ext = os.path.splitext(file)
        values = {"name": file, "stem": stem, "ext": ext, "dir": folder or ".", "n": str(self.number)}
        return values.get(name, self.text)


@dataclass(frozen=True, slots=True)
class _Field:
    """A place in a text where a value goes, and where that place begins."""

    name: str
    at: int


class Phrase:
    """One text with places for values, which fill them and stay what they are."""

    def __init__(self, text: str, *, where: str, option: str = "--command") -> None:
        self.text = text
        self._parts = tuple(_parse(text, where=where, option=option))

    @property
    def fields(self) -> frozenset[str]:
        """The names that stand in it."""
        return frozenset(part.name for part in self._parts if isinstance(part, _Field))

    @property
    def places(self) -> tuple[int, ...]:
        """Where in the text its fields begin."""
        return tuple(part.at for part in self._parts if isinstance(part, _Field))

    def render(self, item: Item, quote: Callable[[str], str] = str) -> str:
        """The text with the values of this item, each passed through ``quote``."""
        return "".join(part if isinstance(part, str) else quote(item.field(part.name)) for part in self._parts)


class Template:
    """A command for many items: split once by the rules of the shell, filled in word by word.

    Raises ``BadInput`` for what cannot be split or holds an unknown field.
    """

    def __init__(self, words: tuple[Phrase, ...], source: str, *, shell: bool = False) -> None:
        self._words = words
        self.source = source
        """As it was written, for names and messages."""
        self.shell = shell

    @classmethod
    def of_line(cls, line: str) -> Template:
        """Of one line as typed after ``--command``."""
        where = _place("--command", line)
        _refuse_empty(line, where)
        Phrase(line, where=where)  # finds the wrong field, with its column in what was typed
        try:
            words = shlex.split(line)
        except ValueError as error:
            raise BadInput(
                "the command cannot be split into words",
                where=where,
                why=f"{error}".lower(),
                mend="close the quotes, or put a backslash before a quote that is meant as it stands",
            ) from error
        _refuse_empty("".join(words), where)
        return cls(tuple(Phrase(word, where=where) for word in words), line)

    @classmethod
    def of_words(cls, words: list[str]) -> Template:
        """Of the words that the person's own shell has split already (``skep run -- PROGRAM …``)."""
        source = shlex.join(words)
        _refuse_empty(words[0], _place("--", source))
        return cls(tuple(Phrase(word, where=_place("--", word), option="--") for word in words), source)

    @classmethod
    def of_shell(cls, line: str) -> Template:
        """Of one line for ``/bin/sh``; values go in quoted, so they may stand only where quoting holds."""
        where = _place("--command", line)
        _refuse_empty(line, where)
        phrase = Phrase(line, where=where)
        for at in phrase.places:
            reason = unquotable(line, at)
            if reason:
                raise BadInput(
                    f"column {at + 1} cannot take an item safely",
                    where=where,
                    why=f"it stands {reason}, and skep quotes each item itself",
                    mend="write {item} outside of quotes, or leave --shell out",
                )
        return cls((phrase,), line, shell=True)

    @property
    def fields(self) -> frozenset[str]:
        """The names that stand anywhere in it."""
        return frozenset[str]().union(*(word.fields for word in self._words))

    def render(self, item: Item) -> tuple[str, ...]:
        """The words for one item: as many as the template has, whatever the item holds."""
        quote = shlex.quote if self.shell else str
        return tuple(word.render(item, quote) for word in self._words)


def _parse(text: str, *, where: str, option: str) -> Iterator[str | _Field]:
    end = 0
    for match in _PIECE.finditer(text):
        yield text[end : match.start()]
        end = match.end()
        name = match[1]
        if match[0] in ("{{", "}}"):
            yield match[0][0]
        elif name in FIELDS:
            yield _Field(name, match.start())
        else:
            raise _unknown(match, where, option)
    yield text[end:]


def _unknown(match: re.Match[str], where: str, option: str) -> BadInput:
    shown = clean_line(match[0], limit=40)
    known = ", ".join(f"{{{name}}}" for name in FIELDS)
    if match[1] is None:
        what = f"the brace in column {match.start() + 1} is never closed"
    else:
        what = f"unknown field {shown} in column {match.start() + 1}"
    return BadInput(
        what,
        where=where,
        why=f"{option} knows {known}",
        mend="write {item}" if match[1] == "" else "use one of these, or write {{ for a brace",
    )


def _refuse_empty(text: str, where: str) -> None:
    if not text.strip():
        raise BadInput("the command is empty", where=where, mend="name a program, as in --command 'wc -l {item}'")
    if "\0" in text:
        raise BadInput("a command cannot hold a zero byte", where=where, mend="leave it out")


def _place(option: str, text: str) -> str:
    return f"{option} {clean_line(text, limit=60)!r}" if text.strip() else option
