"""Text from agents, tools, files and peers becomes safe to show here, and fits the cells it is given."""

from __future__ import annotations

import codecs
import math
import re
import unicodedata
from functools import lru_cache

MARK = "\N{REPLACEMENT CHARACTER}"
"""Stands wherever something unsafe, or undecodable, was taken out."""

CUT = "…"
"""Stands wherever text was cut for length."""

UNKNOWN = "–"
"""Stands for a number that nobody knows."""

LINE_LIMIT = 8192
"""Most characters of one cleaned line."""

MAX_COMBINING = 4
"""Combining marks that one base character may carry; living scripts need fewer."""

# A line may be this much longer before cleaning than after it, so that colours do not eat into its limit.
_RAW_FACTOR = 4

# Sequences end at the line's end at the latest: an unterminated one may not swallow the lines after it.
_STRING_START = r"(?:\x1b[\]PX^_]|[\x90\x98\x9d-\x9f])"
_STRING = rf"{_STRING_START}[^\x07\x18\x1a\x1b\x9c\r\n]*(?:\x07|\x1b\\|\x9c|[\x18\x1a])?"
_TITLE = r"\x1bk[^\x07\x18\x1a\x1b\x9c\r\n]*\x1b\\"
_CSI_START = r"(?:\x1b\[|\x9b)"
_CSI = rf"{_CSI_START}[0-?]*[ -/]*[@-~]?"
_ESCAPE = r"\x1b[ -/]*[0-~]?"
# What asks for a form of the picture before it: terminals disagree about the width of the result.
_MODIFIERS = r"\u200d\ufe0e\ufe0f\U0001f3fb-\U0001f3ff"
_PICTURES = r"\xa9\xae\u203c\u2049\u2122\u2139\u2190-\u2bff\u3030\u303d\u3297\u3299\U0001f000-\U0001faff"
_FORM = rf"(?<=[{_PICTURES}])[{_MODIFIERS}]+|\ufe0f(?=\u20e3)"

_BAD = (
    r"\x00-\x08\x0b-\x1f\x7f-\x9f"  # C0 but tab and newline, DEL, C1
    r"\xad\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u3164\uffa0"  # invisible letters, joiners, hyphens
    r"\u0600-\u0605\u061c\u06dd\u070f\u0890\u0891\u08e2"  # format characters of Arabic and Syriac
    r"\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff"  # zero width, line separators, bidi controls
    r"\ud800-\udfff\ufe00-\ufe0f\ufff0-\ufffb\ufffe\uffff"  # surrogates, selectors, non-characters
    r"\U000110bd\U000110cd\U00013430-\U0001345f\U0001bca0-\U0001bca3\U0001d173-\U0001d17a"
    r"\U0001f3fb-\U0001f3ff\U000e0000-\U000e0fff"  # skin tones without a face, tags, more selectors
)
_NOISE = rf"(?:{_STRING}|{_TITLE}|{_CSI}|{_ESCAPE}|[{_BAD}])+"
# The blocks in which characters without a cell of their own live, among others that have one.
_STACKING = (
    r"\u0300-\u036f\u0483-\u0489\u0591-\u1dff\u20d0-\u20ff\u2cef-\u2dff\u302a-\u302f\u3099\u309a"
    r"\ua66f-\uabff\ud7b0-\ud7ff\ufb1e\ufe20-\ufe2f\U000101fd-\U0001efff"
)

_BAD_CHAR = re.compile(f"[{_BAD}]")
_BAD_ASCII = re.compile(r"[^\t\n\x20-\x7e]")
# Colours, and the "erase to the end of line" that compilers and grep add to them.
_COLOUR = re.compile(r"\x1b\[(?:[0-9:;]*m|[012]?K)")
_FORMS = re.compile(_FORM)
_NOISES = re.compile(_NOISE)
_PILES = re.compile(f"[{_STACKING}][{_STACKING}]{{{MAX_COMBINING},}}")
_MARKS = re.compile(f"{MARK}{{2,}}")
_BREAKS = re.compile(r"[\n\r]+")
_GAPS = re.compile(r"[\t\n][ \t\n]*")
_OPEN_STRING = rf"{_STRING_START}[^\x07\x18\x1a\x1b\x9c]*\x1b?"
_UNFINISHED = re.compile(rf"(?:{_OPEN_STRING}|{_CSI_START}[0-?]*[ -/]*|\x1b[ -/]*)\Z")
_NO_CELL = frozenset({"Mn", "Me", "Mc", "Cf"})
_CONJOINING = re.compile(r"[\u1160-\u11ff\ud7b0-\ud7ff]")  # vowels and ends of a Hangul syllable
# Wide since Unicode 16, which the tables of older Pythons do not know.
_WIDENED = re.compile(r"[\u2630-\u2637\u268a-\u268f\u4dc0-\u4dff\U0001d300-\U0001d376]")
_PLAIN_BYTES = bytes([*b"\t\n", *range(0x20, 0x7F)])


def clean(text: str, *, limit: int = LINE_LIMIT, quiet_colours: bool = False) -> str:
    """Make foreign text safe to show: nothing in it moves a cursor, colours, hides, reorders or piles up.

    Keeps newlines and tabs. Escape sequences go whole, ended or not, as do control, bidi, zero-width, tag
    and surrogate characters; one ``MARK`` stands for each run of them. ``\\r\\n`` is a newline, and text after
    a lone ``\\r`` replaces what stood on its line. A line over ``limit`` characters ends in ``CUT``. Cleaning
    twice changes nothing more. With ``quiet_colours`` a colour or an erase-in-line leaves no mark: that is
    for the output of programs.
    """
    if not _is_suspect(text) and not _has_long_line(text, limit):
        return text
    return "\n".join(_clean_row(row, limit, quiet_colours) for row in text.split("\n"))


def clean_whole(text: str) -> list[str]:
    """All lines of a text that somebody has to agree to: none is cut, and nothing in it hides another part.

    What is not printable stands as a mark, also where :func:`clean` would take more away.
    """
    plain = "".join(char if char.isprintable() or char in "\n\t" else MARK for char in text)
    return clean(plain, limit=len(plain) + 1).splitlines() or [""]


def clean_line(text: str, *, limit: int = LINE_LIMIT) -> str:
    """Like ``clean``, for names, titles and commands: one line, and newlines and tabs become a single space.

    A carriage return counts as a newline here, so that the end of a command cannot hide its beginning.
    """
    if len(text) <= limit and text.isascii() and text.isprintable():
        return text.strip(" ")
    most = limit * _RAW_FACTOR
    parts = [_clean_segment(part, limit, quiet_colours=False) for part in _BREAKS.split(text[:most])]
    line = _GAPS.sub(" ", "\n".join(parts)).strip(" ")
    return _capped(line, limit, cut=len(text) > most)


class StreamCleaner:
    """Turns the bytes of a program's output into cleaned lines, however the bytes are cut into chunks.

    Memory stays bounded: an endless line, or an escape sequence that never ends, is cut and its rest dropped.
    """

    def __init__(self, *, limit: int = LINE_LIMIT) -> None:
        self._limit = limit
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        self._parts: list[str] = []  # raw text since the last newline or carriage return
        self._room = self._raw_limit
        self._shown = ""  # what the last carriage return left standing on this line

    @property
    def _raw_limit(self) -> int:
        return self._limit * _RAW_FACTOR + 1  # one more than is kept, so that a cut is noticed

    def feed(self, chunk: bytes) -> list[str]:
        """Take the next bytes and return the lines that they complete, cleaned and without their newline."""
        text = self._decoder.decode(chunk)
        # Deleting bytes is several times quicker than any search, and most output holds nothing else.
        return self._push(text, suspect=bool(chunk.translate(None, _PLAIN_BYTES)) and _is_suspect(text))

    def rest(self) -> str:
        """The unfinished line as it stands now, cleaned: a prompt, or a progress bar."""
        raw = _UNFINISHED.sub("", "".join(self._parts))
        return _later(self._shown, _clean_segment(raw, self._limit, quiet_colours=True))

    def close(self) -> list[str]:
        """Return the last, unended line if there is one, and start afresh."""
        lines = self._push(self._decoder.decode(b"", final=True), suspect=True)
        last = self._take()
        self._decoder.reset()
        return [*lines, last] if last else lines

    def _push(self, text: str, *, suspect: bool) -> list[str]:
        first, *lines = text.split("\n")
        self._extend(first)
        if not lines:
            return []
        first = self._take()
        self._extend(lines.pop())
        if lines and (suspect or max(map(len, lines)) > self._limit):
            lines = [_clean_row(line, self._limit, quiet_colours=True) for line in lines]
        lines.insert(0, first)
        return lines

    def _extend(self, text: str) -> None:
        if "\r" in text:
            *ended, text = text.split("\r")
            for segment in ended:
                self._keep(segment)
                self._return()
        self._keep(text)

    def _keep(self, text: str) -> None:
        if self._room and text:
            self._parts.append(text[: self._room])
            self._room -= len(self._parts[-1])

    def _return(self) -> None:
        if self._parts:
            segment = "".join(self._parts)
            self._parts.clear()
            self._room = self._raw_limit
            self._shown = _later(self._shown, _clean_segment(segment, self._limit, quiet_colours=True))

    def _take(self) -> str:
        self._return()
        line, self._shown = self._shown, ""
        return line


def _is_suspect(text: str) -> bool:
    if text.isascii():
        return _BAD_ASCII.search(text) is not None
    return bool(_BAD_CHAR.search(text) or MARK * 2 in text or _PILES.search(text))


def _has_long_line(text: str, limit: int) -> bool:
    return len(text) > limit and max(map(len, text.split("\n"))) > limit


def _clean_row(row: str, limit: int, quiet_colours: bool) -> str:
    shown = ""
    for segment in row.split("\r"):
        if segment:
            shown = _later(shown, _clean_segment(segment, limit, quiet_colours=quiet_colours))
    return shown


def _later(before: str, after: str) -> str:
    """What a line shows once ``after`` was written over ``before``: the later one that says something."""
    if after.strip(f" \t{MARK}"):
        return after
    return before or after


def _clean_segment(raw: str, limit: int, *, quiet_colours: bool) -> str:
    most = limit * _RAW_FACTOR
    text = raw[:most]
    if quiet_colours and "\x1b[" in text:
        text = _COLOUR.sub("", text)
    if _is_suspect(text):
        text = _without_noise(text)
    return _capped(text, limit, cut=len(raw) > most)


def _capped(text: str, limit: int, *, cut: bool) -> str:
    if cut or len(text) > limit:
        return text[: max(limit - 1, 0)] + CUT
    return text


def _without_noise(text: str) -> str:
    if text.isascii():
        return _NOISES.sub(MARK, text)
    text = _NOISES.sub(MARK, _FORMS.sub("", text))
    return _MARKS.sub(MARK, _PILES.sub(_thinned, text))


def _thinned(match: re.Match[str]) -> str:
    kept: list[str] = []
    height = 0
    for char in match.group():
        height = 0 if _cells(char) else height + 1
        if height <= MAX_COMBINING:
            kept.append(char)
        elif height == MAX_COMBINING + 1:
            kept.append(MARK)
    return "".join(kept)


def width(text: str) -> int:
    """Terminal cells that one cleaned line takes: wide characters two, combining marks none, others one."""
    return len(text) if text.isascii() else sum(map(_cells, text))


@lru_cache(maxsize=4096)
def _cells(char: str) -> int:
    if unicodedata.category(char) in _NO_CELL or _CONJOINING.match(char):
        return 0
    return 2 if unicodedata.east_asian_width(char) in {"W", "F"} or _WIDENED.match(char) else 1


def cut_end(text: str, cells: int) -> str:
    """Fit one cleaned line into so many cells; what is cut off at the end shows as ``CUT``."""
    if width(text) <= cells:
        return text
    return text[: _fitting(text, cells - 1)] + CUT if cells > 0 else ""


def cut_middle(text: str, cells: int) -> str:
    """Fit one cleaned line into so many cells by cutting its middle, as in ``inv…-17``."""
    if width(text) <= cells:
        return text
    if cells <= 0:
        return ""
    start = _fitting_from(text, cells // 2)
    end = text[start:]
    return text[: _fitting(text, cells - 1 - width(end))] + CUT + end


def _fitting(text: str, cells: int) -> int:
    """How many characters from the start fit into so many cells."""
    if text.isascii():
        return max(cells, 0)
    for index, char in enumerate(text):
        cells -= _cells(char)
        if cells < 0:
            return index
    return len(text)


def _fitting_from(text: str, cells: int) -> int:
    """Where the longest end begins that fits into so many cells and starts with a base character."""
    start = len(text)
    for index in range(len(text) - 1, -1, -1):
        taken = _cells(text[index])
        cells -= taken
        if cells < 0:
            break
        if taken:
            start = index
    return start


def duration(seconds: float | None) -> str:
    """Seconds in at most five cells: ``38s``, ``2m13s``, ``21m``, ``1h03m``, ``14h``, ``2d04h``, ``14d``."""
    if seconds is None or not math.isfinite(seconds):
        return UNKNOWN
    whole = max(int(seconds), 0)
    minutes, hours, days = whole // 60, whole // 3600, whole // 86400
    if whole < 60:
        return f"{whole}s"
    if minutes < 10:
        return f"{minutes}m{whole % 60:02d}s"
    if hours < 1:
        return f"{minutes}m"
    if hours < 10:
        return f"{hours}h{minutes % 60:02d}m"
    if days < 1:
        return f"{hours}h"
    if days < 10:
        return f"{days}d{hours % 24:02d}h"
    return f"{days}d" if days < 10_000 else f"{days // 365}y"


def tokens(count: int | None) -> str:
    """A count of tokens in three digits: ``912``, ``48.1k``, ``310k``, ``1.92M``."""
    return UNKNOWN if count is None else _three_digits(count, 1000, ("", "k", "M", "G", "T"))


def size(count: int | None) -> str:
    """Bytes in three digits and binary units: ``912 B``, ``48.1 KiB``, ``1.92 GiB``."""
    return UNKNOWN if count is None else _three_digits(count, 1024, (" B", " KiB", " MiB", " GiB", " TiB"))


def _three_digits(count: int, base: int, units: tuple[str, ...]) -> str:
    if count < 1000:
        return f"{count}{units[0]}"
    amount = float(count)
    for unit in units[1:]:
        amount /= base
        if amount < 999.5 or unit == units[-1]:
            break
    decimals = 2 if amount < 9.995 else 1 if amount < 99.95 else 0
    return f"{amount:.{decimals}f}{unit}"


def money(micro_dollars: int | None, *, lower_bound: bool = False) -> str:
    """Micro-dollars in at most six cells: ``$0.12``, ``$31.20``, ``$412``, ``$1.2k``.

    More than nothing but less than half a cent is ``<$0.01``. A lower bound reads ``≥$0.12`` and is rounded
    down, so that it stays one.
    """
    if micro_dollars is None:
        return UNKNOWN
    if lower_bound:
        return f"≥${_amount(micro_dollars // 10_000, cells=4)}"
    if 0 < micro_dollars < 5_000:
        return "<$0.01"
    return f"${_amount((micro_dollars + 5_000) // 10_000, cells=5)}"


def _amount(cents: int, *, cells: int) -> str:
    """An amount of cents, rounded down to what fits into four or five cells."""
    if cents < 10_000:
        shown = f"{cents // 100}.{cents % 100:02d}"
        return shown[:cells]
    if cents < 100_000:
        return str(cents // 100)
    tenths, unit = cents // 10_000, "k"
    if tenths >= 10_000:
        tenths, unit = tenths // 1000, "M"
    shown = f"{tenths // 10}.{tenths % 10}{unit}"
    return shown if len(shown) <= cells else f"{tenths // 10}{unit}"


def ordinal(number: int) -> str:
    """A place in a line: ``1st``, ``2nd``, ``3rd``, ``11th``."""
    teens = 10 < number % 100 < 14
    ending = "th" if teens else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number}{ending}"
