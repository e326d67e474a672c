"""Aligned plain tables, and the median that every figure goes through."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence


def table(title: str, head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table: the first column to the left, numbers to the right."""
    widths = [max(len(row[i]) for row in [head, *rows]) for i in range(len(head))]
    print(f"\n{title}")
    for row in [head, *rows]:
        cells = [
            text.ljust(w) if i == 0 else text.rjust(w) for i, (text, w) in enumerate(zip(row, widths, strict=True))
        ]
        print("  " + "  ".join(cells))


def percentile(values: Sequence[float], percent: float) -> float:
    """The value below which so many percent of the values lie."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))]


def median_of(runs: int, measure: Callable[[], Sequence[float]]) -> list[float]:
    """The medians of a measurement that is repeated."""
    return [statistics.median(column) for column in zip(*(measure() for _ in range(runs)), strict=True)]
