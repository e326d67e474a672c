"""The newest lines of one output, wrapped: adding costs the new lines only, finding a row a bisection."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator

from skep.text import width

TAB = 8


class Lines:
    """A ring of lines. Each line has a serial number that never changes, and one or more rows on the screen.

    Row 0 is the first row of the oldest line that is still held.
    """

    def __init__(self, limit: int = 10_000) -> None:
        self._limit = limit
        self._columns: int | None = None
        self._words = False
        self._texts: list[str] = []
        self._ends: list[int] = []
        """For each line the number of rows up to its end, counted since the ring was cleared."""
        self._head = 0
        """How many entries of the two lists are dropped already; they are cut off in bulk."""
        self._cut = 0
        """How many were cut off."""
        self._top = 0
        """Rows of all lines that were dropped, counted as in ``_ends``."""

    def __len__(self) -> int:
        return len(self._texts) - self._head

    @property
    def first(self) -> int:
        """Serial number of the oldest line held."""
        return self._cut + self._head

    @property
    def after(self) -> int:
        """Serial number that the next line will have."""
        return self._cut + len(self._texts)

    @property
    def rows(self) -> int:
        """Rows of all lines held."""
        return (self._ends[-1] if self._ends else self._top) - self._top

    def clear(self) -> None:
        """Forget all lines; serial numbers start again."""
        self._texts.clear()
        self._ends.clear()
        self._head = self._cut = self._top = 0

    def wrap(self, columns: int | None, *, words: bool = False) -> None:
        """Wrap all lines to so many cells (None: one row for each line), with ``words`` between words."""
        if (columns, words) == (self._columns, self._words):
            return
        self._columns, self._words = columns, words
        del self._texts[: self._head]
        self._cut += self._head
        self._head = self._top = 0
        self._ends.clear()
        self._measure(self._texts)

    def extend(self, texts: Iterable[str]) -> int:
        """Add cleaned lines; returns how many rows the ring dropped for them at its top."""
        new = [text.expandtabs(TAB) if "\t" in text else text for text in texts]
        self._texts.extend(new)
        self._measure(new)
        over = len(self) - self._limit
        if over <= 0:
            return 0
        self._head += over
        top = self._ends[self._head - 1]
        dropped, self._top = top - self._top, top
        if self._head >= self._limit:
            del self._texts[: self._head]
            del self._ends[: self._head]
            self._cut += self._head
            self._head = 0
        return dropped

    def text(self, serial: int) -> str:
        """The whole line of a serial number that is held."""
        return self._texts[serial - self._cut]

    def at(self, row: int) -> tuple[int, int, int]:
        """Where a row lies: serial number of its line, and from which to which character of it."""
        seek = row + self._top
        index = bisect_right(self._ends, seek, lo=self._head)
        before = self._ends[index - 1] if index > 0 else 0
        start, end = part(self._texts[index], seek - max(before, self._top), self._columns, words=self._words)
        return index + self._cut, start, end

    def row_of(self, serial: int, character: int = 0) -> int:
        """The row on which a character of a line stands."""
        index = serial - self._cut
        before = self._ends[index - 1] if index > self._head else self._top
        if self._columns is None or not character:
            return before - self._top
        starts = breaks(self._texts[index], self._columns, words=self._words)
        return before - self._top + bisect_right(starts, character) - 1

    def find(self, wanted: str, *, since: int = 0) -> list[int]:
        """Serial numbers of the lines that contain a text, upper and lower case alike, oldest first."""
        wanted = wanted.casefold()
        start = max(self._head, since - self._cut)
        return [self._cut + at for at in range(start, len(self._texts)) if wanted in self._texts[at].casefold()]

    def between(self, row: int, rows: int) -> list[str]:
        """The whole lines that have a row in this range."""
        if not len(self) or rows <= 0:
            return []
        first = bisect_right(self._ends, row + self._top, lo=self._head)
        last = bisect_left(self._ends, min(row + rows, self.rows) + self._top, lo=self._head)
        return self._texts[first : last + 1]

    def __iter__(self) -> Iterator[str]:
        return iter(self._texts[self._head :])

    def _measure(self, texts: list[str]) -> None:
        end = self._ends[-1] if self._ends else self._top
        columns = self._columns
        for text in texts:
            end += rows_of(text, columns, words=self._words)
            self._ends.append(end)


def rows_of(text: str, columns: int | None, *, words: bool = False) -> int:
    """How many rows one line takes at a width in cells."""
    if columns is None or len(text) * 2 <= columns:
        return 1
    if text.isascii() and (not words or len(text) <= columns):
        return max(1, -(-len(text) // columns))
    return len(breaks(text, columns, words=words))


def breaks(text: str, columns: int, *, words: bool = False) -> list[int]:
    """The characters with which the rows of a line begin; wide characters are never cut in two.

    With ``words`` a row ends behind its last blank, unless that would leave more than half of it empty.
    """
    if words:
        return _word_breaks(text, columns)
    if text.isascii():
        return list(range(0, max(len(text), 1), columns))
    starts, taken = [0], 0
    for at, char in enumerate(text):
        cells = width(char)
        if taken + cells > columns and taken:
            starts.append(at)
            taken = 0
        taken += cells
    return starts


def _word_breaks(text: str, columns: int) -> list[int]:
    starts = [0]
    plain = text.isascii()
    while True:
        start = starts[-1]
        end = start + columns if plain else start + _fitting(text[start : start + columns], columns)
        if end >= len(text):
            return starts
        # A blank that no longer fits stands behind the edge, where nobody misses it.
        blank = text.rfind(" ", start + (end - start) // 2, end + 1)
        starts.append(blank + 1 if blank >= 0 else end)


def _fitting(text: str, columns: int) -> int:
    taken = 0
    for at, char in enumerate(text):
        taken += width(char)
        if taken > columns and at:
            return at
    return len(text)


def part(text: str, row: int, columns: int | None, *, words: bool = False) -> tuple[int, int]:
    """From which to which character of a line one of its rows goes."""
    if columns is None:
        return 0, len(text)
    if text.isascii() and not words:
        return row * columns, min((row + 1) * columns, len(text))
    starts = breaks(text, columns, words=words)
    return starts[row], starts[row + 1] if row + 1 < len(starts) else len(text)


def pieces(text: str, columns: int, *, words: bool = False) -> list[str]:
    """The rows of a line at a width in cells."""
    starts = breaks(text, columns, words=words)
    return [text[start:end] for start, end in zip(starts, [*starts[1:], len(text)], strict=True)]


def matches(text: str, wanted: str, start: int, end: int) -> list[tuple[int, int]]:
    """Where a row of a line shows a part of a match, as characters of the line."""
    folded, wanted = text.casefold(), wanted.casefold()
    found: list[tuple[int, int]] = []
    at = folded.find(wanted) if len(folded) == len(text) else -1
    while at >= 0 and at < end:
        begin, finish = max(at, start), min(at + len(wanted), end)
        if begin < finish:
            found.append((begin, finish))
        at = folded.find(wanted, at + len(wanted))
    return found
