"""One agent's output: lines in memory up to a bound, bytes on disk up to a cap, and every byte accounted for."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skep.drivers.output import RING_CHARACTERS, Output
from skep.errors import BadInput
from skep.text import LINE_LIMIT


def _output(path: Path, *, ring: int = 5, cap: int = 1_000) -> Output:
    return Output(path / "a.log", ring_lines=ring, cap_bytes=cap)


def test_lines_are_numbered_from_the_first_however_few_are_at_hand(tmp_path: Path):
    output = _output(tmp_path)
    output.feed(b"".join(b"line %d\n" % n for n in range(9)) + b"half")
    chunk = output.tail(0, 100)
    assert (chunk.first, chunk.lines, chunk.rest, chunk.total) == (
        4,
        ("line 4", "line 5", "line 6", "line 7", "line 8"),
        "half",
        9,
    )
    assert output.tail(-2, 1).lines == ("line 7",)
    assert output.tail(-2, 1).rest == ""
    assert output.tail(99, 5).lines == ()
    output.close()


def test_the_newest_line_is_the_unfinished_one_else_the_last_that_says_something(tmp_path: Path):
    output = _output(tmp_path)
    assert output.last_line() == ""
    output.feed(b"one\ntwo\n\n   \n")
    assert output.last_line() == "two"
    output.feed(b"three")
    assert output.last_line() == "three"
    assert output.live(7.0).activity == "three"
    output.close()


def test_what_is_over_the_cap_is_dropped_counted_and_noted(tmp_path: Path):
    output = _output(tmp_path, cap=10)
    output.feed(b"123456\n")
    output.feed(b"7890\nabc\n")
    output.feed(b"more\n")
    assert (output.size, output.dropped, output.total) == (21, 11, 4)
    assert output.tail(-1, 1).lines == ("more",)
    output.close()
    text = (tmp_path / "a.log").read_text()
    assert text == "123456\n789\n[skep: 11 bytes were dropped here, over the cap]\n"


def test_the_cap_is_for_the_file_however_often_it_is_opened(tmp_path: Path):
    for text in (b"12345\n", b"678\n", b"90\n"):
        output = _output(tmp_path, cap=10)
        output.feed(text)
        output.close()
    assert (tmp_path / "a.log").read_bytes().startswith(b"12345\n678\n\n[skep: 3 bytes") is False
    assert (tmp_path / "a.log").read_bytes().startswith(b"12345\n678\n[skep: 3 bytes")


def test_a_mark_begins_on_a_line_of_its_own(tmp_path: Path):
    output = _output(tmp_path)
    output.feed(b"half")
    output.mark("── try 2 of 3 ──")
    output.feed(b"whole\n")
    output.mark("── try 3 of 3 ──")
    output.close()
    assert (tmp_path / "a.log").read_text() == "half\n── try 2 of 3 ──\nwhole\n── try 3 of 3 ──\n"
    assert output.tail(0, 9).lines == ("half", "── try 2 of 3 ──", "whole", "── try 3 of 3 ──")


def test_memory_is_bounded_in_characters_too(tmp_path: Path):
    output = _output(tmp_path, ring=100_000)
    for _ in range(400):
        output.feed(b"x" * (LINE_LIMIT - 1) + b"\n")
    lines = output.tail(-100_000, 100_000).lines
    assert sum(map(len, lines)) <= RING_CHARACTERS
    assert len(lines) > 100
    assert output.total == 400
    assert output.tail(399, 5).lines == ("x" * (LINE_LIMIT - 1),)
    output.close()


def test_an_endless_line_is_cut_and_does_not_grow(tmp_path: Path):
    output = _output(tmp_path, cap=0)
    for _ in range(300):
        output.feed(b"y" * 65_536)
    assert len(output.last_line()) <= LINE_LIMIT
    assert output.size == output.dropped == 300 * 65_536
    output.close()


def test_a_full_disk_is_noted_and_the_lines_are_still_shown():
    output = Output(Path("/dev/full"), ring_lines=5, cap_bytes=1_000)
    output.feed(b"one\ntwo\n")
    assert output.trouble is not None
    assert (output.dropped, output.size, output.tail(0, 9).lines) == (8, 8, ("one", "two"))
    output.close()
    output.close()


@pytest.mark.parametrize("where", ["a folder", "below a file", "a pipe that nobody reads", "no name at all"])
def test_a_file_that_cannot_be_written_is_one_clear_error(tmp_path: Path, where: str):
    (tmp_path / "file").touch()
    os.mkfifo(tmp_path / "fifo")
    path = {
        "a folder": tmp_path,
        "below a file": tmp_path / "file" / "a.log",
        "a pipe that nobody reads": tmp_path / "fifo",
        "no name at all": tmp_path / "a\0b",
    }[where]
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(BadInput, match="cannot be kept"):
        Output(path, ring_lines=5, cap_bytes=10)
    assert len(os.listdir("/proc/self/fd")) == before


def test_logs_are_for_their_owner_alone(tmp_path: Path):
    output = Output(tmp_path / "output" / "a.log", ring_lines=5, cap_bytes=10)
    output.close()
    assert (tmp_path / "output" / "a.log").stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "output").stat().st_mode & 0o777 == 0o700


@settings(max_examples=80, deadline=None, database=None)
@given(
    st.lists(st.binary(max_size=60).map(lambda data: data.replace(b"a", b"\n")), max_size=12),
    st.integers(0, 200),
    st.integers(1, 6),
)
def test_every_byte_is_on_disk_or_counted(
    tmp_path_factory: pytest.TempPathFactory, chunks: list[bytes], cap: int, ring: int
):
    folder = tmp_path_factory.mktemp("output")
    output = _output(folder, ring=ring, cap=cap)
    for chunk in chunks:
        output.feed(chunk)
    everything = b"".join(chunks)
    assert output.size == len(everything)
    assert output.dropped == max(0, len(everything) - cap)
    assert output.total == everything.count(b"\n")
    assert len(output.tail(0, 1_000).lines) <= ring
    output.close()
    assert (folder / "a.log").read_bytes()[: min(cap, len(everything))] == everything[:cap]
