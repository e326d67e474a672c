"""Reading, writing and listing give the model what is there, no more than it can take, and say what is missing."""

from __future__ import annotations

import asyncio
import os
import stat
import threading
from pathlib import Path

import pytest

from skep.tools.blocking import Halt, in_thread
from skep.tools.capping import RESULT_LIMIT
from skep.tools.finding import EXCERPT, MOST_MATCHES
from skep.tools.reading import FILE_LIMIT, LINE_LIMIT, LINES
from skep.tools.walking import Glob
from skep.tools.workspace import Workspace
from tests.tools.conftest import Use
from tests.tools.seat import Seat


async def test_a_text_is_read_as_it_is(use: Use, workspace: Path):
    content = "one\r\n\ttwo \x1b[31mred\n\nlast without end"
    (workspace / "a.txt").write_text(content, newline="")
    result = await use("read_file", path="a.txt")
    assert result.ok
    assert result.content == content
    assert result.read == ("a.txt",)


async def test_a_part_is_read_by_its_lines_and_says_how_to_read_on(use: Use, workspace: Path):
    (workspace / "a.txt").write_text("".join(f"line {number}\n" for number in range(1, 11)))
    result = await use("read_file", path="a.txt", offset=3, limit=2)
    assert result.content == "line 3\nline 4\n[there is more: read on with offset 5]"
    assert (await use("read_file", path="a.txt", offset=9)).content == "line 9\nline 10\n"
    beyond = await use("read_file", path="a.txt", offset=11)
    assert not beyond.ok
    assert beyond.content == "error: offset: the file has only 10 lines"
    assert not (await use("read_file", path="a.txt", offset=0)).ok


async def test_reading_on_gives_every_line_of_a_long_file_once(use: Use, workspace: Path):
    lines = [f"{number} {'x' * (number % 700)}\n" for number in range(1, 3_001)]
    (workspace / "long.txt").write_text("".join(lines))
    given: list[str] = []
    while len(given) < len(lines):
        content = (await use("read_file", path="long.txt", offset=len(given) + 1)).content
        assert len(content.encode()) <= RESULT_LIMIT
        part = content.splitlines(keepends=True)
        given += [line for line in part if not line.startswith("[")]
        if not part[-1].startswith("["):
            break
    assert given == lines
    assert len(given) > LINES


async def test_a_vast_line_is_cut_at_a_character_and_said(use: Use, workspace: Path):
    (workspace / "a.json").write_text("xé" * 300_000 + "\nsecond\n")
    content = (await use("read_file", path="a.json")).content
    first, second, note = content.split("\n")
    assert first == ("xé" * LINE_LIMIT).encode()[:LINE_LIMIT].decode(errors="ignore")
    assert len(first.encode()) == LINE_LIMIT - 1
    assert second == "second"
    assert note == "[line 1 is cut to its first 8.00 KiB]"


async def test_a_file_beyond_the_limit_is_read_as_far_as_it_goes(use: Use, workspace: Path):
    (workspace / "vast").write_bytes(b"begin\n" + b" " * 9_000)
    os.truncate(workspace / "vast", 1 << 40)  # a hole: there is nothing on disk
    content = (await use("read_file", path="vast", limit=1)).content
    assert content.startswith("begin\n[")
    assert "cannot be read with this tool" in (await use("read_file", path="vast", offset=5)).content
    assert FILE_LIMIT < 1 << 40


async def test_a_binary_file_is_refused_and_other_encodings_are_marked(use: Use, workspace: Path):
    (workspace / "a.png").write_bytes(b"\x89PNG\r\n\x00\x01")
    assert "binary" in (await use("read_file", path="a.png")).content
    (workspace / "latin.txt").write_bytes("café\n".encode("latin-1"))
    assert (await use("read_file", path="latin.txt")).content.startswith("caf\ufffd\n[not all of it is UTF-8")
    (workspace / "empty").write_bytes(b"")
    assert (await use("read_file", path="empty")).content == "[the file is empty]"


async def test_a_file_is_written_with_its_folders_and_replaced(use: Use, workspace: Path):
    result = await use("write_file", path="new/deep/a.txt", content="größe\n")
    assert result.content == "wrote 8 B to new/deep/a.txt (a new file)"
    assert result.wrote == ("new/deep/a.txt",)
    result = await use("write_file", path="./new//deep/a.txt", content="")
    assert result.content == "wrote 0 B to new/deep/a.txt (it replaced what was there)"
    assert (workspace / "new/deep/a.txt").read_bytes() == b""
    assert os.listdir(workspace / "new/deep") == ["a.txt"]


async def test_a_mode_stays_and_a_read_only_file_is_not_written(use: Use, workspace: Path):
    script = workspace / "run.sh"
    script.write_text("old")
    script.chmod(0o755)
    assert (await use("write_file", path="run.sh", content="new")).ok
    assert stat.S_IMODE(script.stat().st_mode) == 0o755
    script.chmod(0o444)
    assert "read-only" in (await use("write_file", path="run.sh", content="newer")).content
    assert script.read_text() == "new"


def test_a_reader_sees_the_old_content_or_the_new_one(workspace: Path):
    inside = Workspace(workspace)
    contents = {bytes([letter]) * 200_000 for letter in b"ab"}
    inside.write(("a.txt",), b"a" * 200_000)
    done = threading.Event()

    def write() -> None:
        while not done.is_set():
            for content in contents:
                inside.write(("a.txt",), content)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for _ in range(200):
            assert (workspace / "a.txt").read_bytes() in contents
    finally:
        done.set()
        writer.join()
    assert os.listdir(workspace) == ["a.txt"]


def test_a_failed_write_leaves_the_old_file_and_nothing_else(workspace: Path):
    (workspace / "a.txt").write_text("old")
    with pytest.raises(TypeError):
        Workspace(workspace).write(("a.txt",), "no bytes")  # type: ignore[arg-type]
    assert (workspace / "a.txt").read_text() == "old"
    assert os.listdir(workspace) == ["a.txt"]


async def test_a_folder_is_listed_by_name(use: Use, workspace: Path):
    (workspace / "src").mkdir()
    (workspace / "b.txt").write_text("12345")
    (workspace / ".git").mkdir()
    assert (await use("list_files")).content == "b.txt  5 B\nsrc/"
    assert (await use("list_files", path="src")).content == "[the folder is empty]"


async def test_a_pattern_lists_what_fits_below(use: Use, workspace: Path):
    for path in ("a.py", "src/b.py", "src/deep/test_c.py", "src/deep/d.txt"):
        (workspace / path).parent.mkdir(parents=True, exist_ok=True)
        (workspace / path).write_text("")
    assert (await use("list_files", pattern="*.py")).content == "a.py  0 B\nsrc/b.py  0 B\nsrc/deep/test_c.py  0 B"
    assert (await use("list_files", pattern="deep/*", path="src")).content.count("\n") == 1
    assert (await use("list_files", pattern="src/**/test_*.py")).content == "src/deep/test_c.py  0 B"
    assert (await use("list_files", pattern="*.rs")).content == "[no file fits]"
    assert not (await use("list_files", pattern="*" * 501)).ok


async def test_a_long_list_says_that_it_is_not_whole(use: Use, workspace: Path):
    for number in range(1_001):
        (workspace / f"{number}.txt").touch()
    for args in ({}, {"pattern": "*"}):
        lines = (await use("list_files", **args)).content.splitlines()
        assert len(lines) == 1_001
        assert "more than 1,000" in lines[-1]


@pytest.mark.parametrize(
    ("pattern", "path", "fits"),
    [
        ("*.py", "a/b/c.py", True),
        ("a/*.py", "a/b/c.py", False),
        ("a/**/c.py", "a/c.py", True),
        ("**/c.py", "a/b/c.py", True),
        ("a/**", "a/b/c.py", True),
        ("**", "a", True),
        ("A.py", "a.py", False),
        ("[ab].py", "b.py", True),
        ("/".join(["**"] * 50) + "/x", "/".join("a" * 60), False),
        ("*a" * 40, "a" * 200 + "b", False),
    ],
)
def test_a_glob_fits_in_time_that_no_pattern_blows_up(pattern: str, path: str, fits: bool):
    assert Glob(pattern, where="glob").matches(tuple(path.split("/"))) is fits


async def test_plain_text_and_expressions_find_the_same(use: Use, workspace: Path):
    (workspace / "src").mkdir()
    (workspace / "a.txt").write_text("first\nhere it is TODO\n")
    (workspace / "src" / "b.py").write_text("# TODO too\n")
    (workspace / "c.bin").write_bytes(b"TODO\0")
    found = "a.txt:2: here it is TODO\nsrc/b.py:1: # TODO too"
    assert (await use("search_files", pattern="TODO")).content == found
    assert (await use("search_files", pattern="(?i)tod[o]")).content == found
    assert (await use("search_files", pattern="TODO", path="src")).content == "src/b.py:1: # TODO too"
    assert (await use("search_files", pattern="TOD.", path="a.txt")).content == "a.txt:2: here it is TODO"
    assert (await use("search_files", pattern="TODO", glob="*.py")).content == "src/b.py:1: # TODO too"
    assert (await use("search_files", pattern="^TODO")).content == "[nothing found]"


async def test_a_search_says_what_it_left_out(use: Use, workspace: Path):
    (workspace / "a.txt").write_text("x\n" * 1_000)
    lines = (await use("search_files", pattern="x")).content.splitlines()
    assert len(lines) == MOST_MATCHES + 1
    assert "more than 200 lines" in lines[-1]
    (workspace / "a.txt").write_bytes(b"y" * (5 << 20))
    content = (await use("search_files", pattern="y")).content
    assert "not searched, because larger than 4,194,304 bytes: 1 file" in content


async def test_of_a_long_line_the_place_is_given(use: Use, workspace: Path):
    (workspace / "min.js").write_text("a" * 100_000 + "needle" + "b" * 100_000)
    for pattern in ("needle", "need[l]e"):
        content = (await use("search_files", pattern=pattern)).content
        assert "needle" in content
        assert len(content) < EXCERPT + 40


async def test_a_bad_expression_is_said_in_words(use: Use):
    result = await use("search_files", pattern="(")
    assert not result.ok
    assert "no regular expression" in result.content
    assert not (await use("search_files", pattern="")).ok
    missing = [(await use("search_files", pattern=pattern, path="missing")).content for pattern in ("a", "[a]")]
    assert missing == ["error: missing: there is no such file or folder"] * 2
    assert not (await use("search_files", pattern="x" * 1_001)).ok


async def test_an_expression_that_never_ends_is_ended_with_what_was_found(use: Use, seat: Seat, workspace: Path):
    (workspace / "a.txt").write_text("aaab\n")
    (workspace / "b.txt").write_text("a" * 200 + "c\n")
    seat.ends_after_a_line = True
    result = await use("search_files", pattern="^(a+)+b")
    assert not result.ok
    assert "a.txt:1: aaab" in result.content
    assert "it was ended after" in result.content
    assert [timeout for _, _, timeout in seat.commands] == [20.0]


async def test_a_search_imports_nothing_of_the_workspace(use: Use, workspace: Path):
    (workspace / "json.py").write_text("raise SystemExit('hijacked')")
    (workspace / "sitecustomize.py").write_text("raise SystemExit('hijacked')")
    assert (await use("search_files", pattern="hijac.ed")).content.count("raise SystemExit") == 2


async def test_a_stopped_call_returns_only_when_its_thread_is_out_of_it():
    inside, left = threading.Event(), threading.Event()

    def work(halt: Halt) -> None:
        inside.set()
        while not halt.due:
            pass
        left.set()

    call = asyncio.ensure_future(in_thread(work, seconds=30))
    await asyncio.to_thread(inside.wait)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert left.is_set()
