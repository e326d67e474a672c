"""What is said of the end of a conversation: the first thing that went wrong, and an answer that fits a row."""

from __future__ import annotations

from skep.errors import SkepError

RESULT_CHARACTERS = 4_000
"""A final answer is kept so far in the registry; a longer one is cut in the middle, its whole is in a file."""


def first_of(error: BaseException) -> BaseException:
    """The first of several errors that came at once."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


def in_words(error: BaseException) -> str:
    """What went wrong first, where it did last: a row shows the beginning."""
    if not isinstance(error, SkepError):
        return str(error)
    said = f"{error.what}: {error.why}" if error.why else error.what
    if error.mend:
        said += f"; {error.mend}"
    return f"{said} ({error.where})" if error.where else said


def shortened(text: str, full: str) -> str:
    """Head and tail of a long answer, with the file that holds its whole."""
    tail = RESULT_CHARACTERS // 3
    head = RESULT_CHARACTERS - tail
    gap = f"\n[… {len(text) - RESULT_CHARACTERS:,} characters are left out here; the whole is in {full} …]\n"
    return f"{text[:head]}{gap}{text[-tail:]}"
