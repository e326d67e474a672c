"""Nothing foreign reaches the screen unclean, and nothing is wider than the cells it was given."""

from __future__ import annotations

import itertools
import re
import tracemalloc
import unicodedata

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rich.cells import cell_len

from skep.text import (
    CUT,
    LINE_LIMIT,
    MARK,
    MAX_COMBINING,
    StreamCleaner,
    clean,
    clean_line,
    cut_end,
    cut_middle,
    duration,
    money,
    ordinal,
    size,
    tokens,
    width,
)

unhurried = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])

NASTY = {
    "colour": ("a\x1b[31mb\x1b[0m", f"a{MARK}b{MARK}"),
    "clear screen": ("\x1b[2J\x1b[Hx", f"{MARK}x"),
    "8-bit CSI": ("a\x9b2Jb", f"a{MARK}b"),
    "private mode": ("\x1b[?1049hx", f"{MARK}x"),
    "unterminated CSI": ("x\x1b[12;3", f"x{MARK}"),
    "title, BEL": ("\x1b]0;owned\x07x", f"{MARK}x"),
    "clipboard, ST": ("x\x1b]52;c;aGk=\x1b\\y", f"x{MARK}y"),
    "clipboard, 8-bit": ("x\x9d52;c;aGk=\x9cy", f"x{MARK}y"),
    "link": ("\x1b]8;;http://evil\x1b\\ok\x1b]8;;\x1b\\", f"{MARK}ok{MARK}"),
    "unterminated OSC": ("x\x1b]52;c;aGk=", f"x{MARK}"),
    "unterminated OSC ends with its line": ("x\x1b]0;t\nnext", f"x{MARK}\nnext"),
    "DCS": ("x\x1bPq#0\x1b\\y", f"x{MARK}y"),
    "APC": ("x\x1b_Gf=1;AAA\x1b\\y", f"x{MARK}y"),
    "PM": ("x\x1b^secret\x1b\\y", f"x{MARK}y"),
    "SOS": ("x\x1bXsecret\x1b\\y", f"x{MARK}y"),
    "8-bit DCS, SOS, PM, APC": ("\x90a\x9c1\x98a\x9c2\x9ea\x9c3\x9fa\x9c", f"{MARK}1{MARK}2{MARK}3{MARK}"),
    "screen title": ("x\x1bktitle\x1b\\y", f"x{MARK}y"),
    "charset": ("\x1b(0lqk\x1b(B", f"{MARK}lqk{MARK}"),
    "reset": ("\x1bcx", f"{MARK}x"),
    "lone escape": ("x\x1b", f"x{MARK}"),
    "escape before escape": ("\x1b\x1b[2Jx", f"{MARK}x"),
    "cancelled OSC": ("\x1b]0;a\x18b", f"{MARK}b"),
    "controls": ("a\x00\x07\x08\x0b\x0c\x0e\x7fb", f"a{MARK}b"),
    "next line, C1": ("a\x85b", f"a{MARK}b"),
    "line separators": ("a\u2028b\u2029c", f"a{MARK}b{MARK}c"),
    "bidi": ("a\u202eevil\u202c\u2066x\u2069\u200f", f"a{MARK}evil{MARK}x{MARK}"),
    "tags": ("hi\U000e0041\U000e0042", f"hi{MARK}"),
    "zero width": ("a\u200b\u2060\ufeffb\u00ad", f"a{MARK}b{MARK}"),
    "Hangul filler": ("a\u3164b", f"a{MARK}b"),
    "surrogate": ("a\ud800b", f"a{MARK}b"),
    "pile": ("e" + "\u0301" * 50 + "x", "e" + "\u0301" * MAX_COMBINING + MARK + "x"),
    "mixed pile": ("e" + "\u0301\u1161" * 50, "e" + "\u0301\u1161" * 2 + MARK),
    "loose selector": ("a\ufe0fb", f"a{MARK}b"),
    "skin without a face": ("a\U0001f3fdb", f"a{MARK}b"),
}

KEPT = [
    "plain\ttab\nand newline",
    "Größe ✓ — “quoted” 漢字 العربية हिन्दी ภาษาไทย עִבְרִית",
    "e\u0301 and o\u0302\u0323",
    "\u1112\u1161\u11ab",
    "│ └ ● ▲ ∞ ─────",
    "✅ 🚀 🇩🇪",
    MARK,
    "",
]


@pytest.mark.parametrize(("raw", "cleaned"), NASTY.values(), ids=NASTY.keys())
def test_nasty_text_is_defused(raw: str, cleaned: str) -> None:
    assert clean(raw) == cleaned
    assert clean(cleaned) == cleaned


@pytest.mark.parametrize("text", KEPT)
def test_living_text_stays_as_it_is(text: str) -> None:
    assert clean(text) == text


def test_picture_modifiers_go_without_a_mark() -> None:
    assert clean("⚠\ufe0f 1\ufe0f\u20e3 👍\U0001f3fd 👩\u200d💻") == "⚠ 1\u20e3 👍 👩💻"


def test_colours_leave_no_mark_in_program_output() -> None:
    assert clean("\x1b[1;32mok\x1b[m\x1b[K done", quiet_colours=True) == "ok done"
    assert clean("\x1b[2Jok", quiet_colours=True) == f"{MARK}ok"
    assert clean("\x1b\x1b[m[2Jx", quiet_colours=True) == f"{MARK}x"


@pytest.mark.parametrize(
    ("raw", "cleaned"),
    [
        ("a\r\nb\r\n", "a\nb\n"),
        ("10%\r50%\r100%\ndone", "100%\ndone"),
        ("100%\r", "100%"),
        ("100%\r   \r\n", "100%\n"),
        ("100%\r\x1b[2K\x1b[?25h", "100%"),
        ("\r\r\x07", MARK),
        ("\r", ""),
    ],
)
def test_a_carriage_return_keeps_what_was_shown_last(raw: str, cleaned: str) -> None:
    assert clean(raw) == cleaned


def test_long_lines_are_cut_with_a_sign() -> None:
    cleaned = clean("x" * 9000 + "\nshort")
    assert cleaned == "x" * (LINE_LIMIT - 1) + CUT + "\nshort"
    assert clean("x" * LINE_LIMIT) == "x" * LINE_LIMIT
    assert clean("abcdef", limit=4) == f"abc{CUT}"


@pytest.mark.parametrize(
    ("raw", "cleaned"),
    [
        ("two\nlines", "two lines"),
        (" tabs\t\tand\r\n\r\n breaks \n", "tabs and breaks"),
        ("rm -rf / #\rls", "rm -rf / # ls"),
        ("\x1b]0;t\nshown", f"{MARK} shown"),
        ("plain", "plain"),
    ],
)
def test_one_line_hides_nothing(raw: str, cleaned: str) -> None:
    assert clean_line(raw) == cleaned


def test_one_line_is_cut_as_a_whole() -> None:
    assert clean_line("abc\ndef", limit=6) == f"abc d{CUT}"
    assert clean_line("\n" * 100 + "abc", limit=6) == CUT


PIECES = st.sampled_from(
    [raw for raw, _ in NASTY.values()]
    + KEPT
    + [
        "\x1b",
        "[",
        "]",
        "31m",
        "\\",
        "\r",
        "\n",
        "\t",
        " ",
        "é",
        "漢",
        "\u0301",
        "\ufe0f",
        "❤",
        "\u200d",
        "\x9c",
        "a",
    ]
)
NASTY_TEXT = st.lists(PIECES | st.text(max_size=3), max_size=12).map("".join)
FORBIDDEN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u206f\ud800-\udfff]")


@unhurried
@given(NASTY_TEXT, st.booleans(), st.sampled_from([3, 8, LINE_LIMIT]))
def test_whatever_comes_is_clean_and_stays_so(raw: str, quiet: bool, limit: int) -> None:
    cleaned = clean(raw, limit=limit, quiet_colours=quiet)
    assert not FORBIDDEN.search(cleaned)
    assert MARK * 2 not in cleaned
    assert all(len(line) <= limit for line in cleaned.split("\n"))
    assert clean(cleaned, limit=limit, quiet_colours=quiet) == cleaned
    cleaned.encode()


@unhurried
@given(NASTY_TEXT, st.sampled_from([3, 8, LINE_LIMIT]))
def test_one_line_is_one_line_and_stays_so(raw: str, limit: int) -> None:
    line = clean_line(raw, limit=limit)
    assert not re.search("[\t\n]", line)
    assert not FORBIDDEN.search(line)
    assert len(line) <= limit
    assert clean_line(line, limit=limit) == line


def lines_of(*chunks: bytes, limit: int = LINE_LIMIT) -> list[str]:
    cleaner = StreamCleaner(limit=limit)
    return [line for chunk in chunks for line in cleaner.feed(chunk)] + cleaner.close()


RAW = NASTY_TEXT.map(lambda text: text.encode(errors="surrogatepass")) | st.binary(max_size=40)


@unhurried
@given(RAW, st.lists(st.integers(0, 200), max_size=4), st.sampled_from([3, LINE_LIMIT]))
def test_where_a_stream_is_split_makes_no_difference(raw: bytes, cuts: list[int], limit: int) -> None:
    edges = [0, *sorted(cuts), len(raw)]
    chunks = [raw[start:end] for start, end in itertools.pairwise(edges)]
    whole = lines_of(raw, limit=limit)
    assert lines_of(*chunks, limit=limit) == whole
    assert lines_of(*(raw[i : i + 1] for i in range(len(raw))), limit=limit) == whole


@unhurried
@given(RAW)
def test_a_stream_is_cleaned_like_a_text(raw: bytes) -> None:
    cleaned = clean(raw.decode(errors="replace"), quiet_colours=True).split("\n")
    if not cleaned[-1]:
        cleaned.pop()
    assert lines_of(raw) == cleaned


def test_a_sequence_and_a_character_may_be_split() -> None:
    assert lines_of(b"a\x1b", b"[2", b"Jb\n") == [f"a{MARK}b"]
    assert lines_of(b"gr\xc3", b"\xbcn\n") == ["grün"]
    assert lines_of(b"a\r", b"\nb\n") == ["a", "b"]
    assert lines_of(b"cut \xe2\x82") == [f"cut {MARK}"]


def test_the_unfinished_line_can_be_seen() -> None:
    cleaner = StreamCleaner()
    assert cleaner.feed(b"done\nPassword: \x1b]0;ti") == ["done"]
    assert cleaner.rest() == "Password: "
    assert cleaner.feed(b"tle\x07\r10%\r20%") == []
    assert cleaner.rest() == "20%"
    assert cleaner.close() == ["20%"]
    assert cleaner.rest() == ""
    assert cleaner.close() == []


@pytest.mark.parametrize("start", [b"", b"\x1b]52;c;", b"\x1b[", b"\x1bP"])
def test_an_endless_line_takes_bounded_memory(start: bytes) -> None:
    cleaner = StreamCleaner()
    cleaner.feed(start)
    chunk = b"1" * 65536
    tracemalloc.start()
    try:
        for _ in range(100):
            assert cleaner.feed(chunk) == []
        kept, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert kept < 100_000
    line, after = cleaner.feed(b"\nafter\n")
    assert line.endswith(CUT)
    assert len(line) <= LINE_LIMIT
    assert after == "after"


def test_every_kept_character_has_the_width_that_the_screen_gives_it() -> None:
    wrong = [
        hex(code)
        for code in range(0x20, 0x20000)
        if unicodedata.category(char := chr(code)) not in {"Cn", "Co"}
        and clean(char) == char
        and width(char) != cell_len(char)
    ]
    assert wrong == []


@pytest.mark.parametrize(
    ("text", "cells", "end", "middle"),
    [
        ("inventory-17", 7, "invent…", "inv…-17"),
        ("inventory-17", 8, "invento…", "inv…y-17"),
        ("inventory-17", 12, "inventory-17", "inventory-17"),
        ("inventory-17", 2, "i…", "…7"),
        ("inventory-17", 1, "…", "…"),
        ("inventory-17", 0, "", ""),
        ("inventory-17", -1, "", ""),
        ("漢字漢字漢字", 7, "漢字漢…", "漢字…字"),
        ("漢字漢字漢字", 8, "漢字漢…", "漢…漢字"),
        ("ae\u0301ae\u0301ae\u0301", 4, "ae\u0301a…", "a…ae\u0301"),
    ],
)
def test_text_is_cut_to_its_cells(text: str, cells: int, end: str, middle: str) -> None:
    assert cut_end(text, cells) == end
    assert cut_middle(text, cells) == middle


@unhurried
@given(st.text(), st.integers(0, 30))
def test_nothing_is_wider_than_its_column(raw: str, cells: int) -> None:
    line = clean_line(raw)
    for fitted in (cut_end(line, cells), cut_middle(line, cells)):
        assert width(fitted) <= cells
        assert fitted == line or CUT in fitted or cells == 0


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (None, "–"),
        (float("nan"), "–"),
        (float("inf"), "–"),
        (-3, "0s"),
        (0.9, "0s"),
        (38, "38s"),
        (59.99, "59s"),
        (60, "1m00s"),
        (133, "2m13s"),
        (599, "9m59s"),
        (600, "10m"),
        (21 * 60 + 59, "21m"),
        (3600, "1h00m"),
        (3780, "1h03m"),
        (35999, "9h59m"),
        (36000, "10h"),
        (86399, "23h"),
        (86400, "1d00h"),
        (2 * 86400 + 4 * 3600, "2d04h"),
        (14 * 86400, "14d"),
        (20_000 * 86400, "54y"),
    ],
)
def test_durations_take_five_cells(seconds: float | None, shown: str) -> None:
    assert duration(seconds) == shown
    assert width(shown) <= 5


@pytest.mark.parametrize(
    ("count", "shown"),
    [
        (None, "–"),
        (0, "0"),
        (912, "912"),
        (1000, "1.00k"),
        (9_996, "10.0k"),
        (48_100, "48.1k"),
        (99_960, "100k"),
        (310_000, "310k"),
        (999_499, "999k"),
        (999_500, "1.00M"),
        (1_920_000, "1.92M"),
        (5_000_000_000_000_000, "5000T"),
    ],
)
def test_tokens_take_three_digits(count: int | None, shown: str) -> None:
    assert tokens(count) == shown


@pytest.mark.parametrize(
    ("micro", "shown", "bound"),
    [
        (None, "–", "–"),
        (0, "$0.00", "≥$0.00"),
        (4_999, "<$0.01", "≥$0.00"),
        (5_000, "$0.01", "≥$0.00"),
        (120_000, "$0.12", "≥$0.12"),
        (129_999, "$0.13", "≥$0.12"),
        (31_200_000, "$31.20", "≥$31.2"),
        (99_996_000, "$100", "≥$99.9"),
        (412_000_000, "$412", "≥$412"),
        (1_234_000_000, "$1.2k", "≥$1.2k"),
        (12_345_000_000, "$12.3k", "≥$12k"),
        (123_456_000_000, "$123k", "≥$123k"),
        (1_234_000_000_000, "$1.2M", "≥$1.2M"),
    ],
)
def test_money_takes_six_cells(micro: int | None, shown: str, bound: str) -> None:
    assert money(micro) == shown
    assert money(micro, lower_bound=True) == bound
    assert max(width(shown), width(bound)) <= 6


@pytest.mark.parametrize(
    ("count", "shown"),
    [(None, "–"), (912, "912 B"), (1000, "0.98 KiB"), (16 * 1024 * 1024, "16.0 MiB"), (3 * 1024**4, "3.00 TiB")],
)
def test_sizes_have_binary_units(count: int | None, shown: str) -> None:
    assert size(count) == shown


def test_ordinals() -> None:
    shown = " ".join(map(ordinal, (1, 2, 3, 4, 11, 12, 13, 21, 22, 101, 111, 112)))
    assert shown == "1st 2nd 3rd 4th 11th 12th 13th 21st 22nd 101st 111th 112th"
