from __future__ import annotations

from pathlib import Path

import pytest

from skep.cli.items import expand, gather, read_lines
from skep.errors import BadInput, NotFound


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for name in ("a.py", "b.txt", "src/c.py", "src/deep/d.py", "src/.hidden/e.py", ".dot.py", "-rf.py", "[x].py"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    (tmp_path / "src" / "loop").symlink_to(tmp_path / "src")
    return tmp_path


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("*.py", ["./-rf.py", "[x].py", "a.py"]),
        ("**/*.py", ["./-rf.py", "[x].py", "a.py", "src/c.py", "src/deep/d.py"]),
        ("src/*", ["src/c.py", "src/deep", "src/loop"]),
        ("src/.*/*.py", ["src/.hidden/e.py"]),
        (".*.py", [".dot.py"]),
        ("./a.py", ["a.py"]),
        ("src/**", ["src", "src/c.py", "src/deep", "src/deep/d.py", "src/loop"]),
        ("[[]x].py", ["[x].py"]),
        ("src/loop/c.py", ["src/loop/c.py"]),
    ],
)
def test_a_glob_finds_what_it_names_in_order(tree: Path, pattern: str, found: list[str]) -> None:
    assert expand(pattern, tree) == found


def test_an_absolute_glob_gives_absolute_items(tree: Path) -> None:
    assert expand(f"{tree}/src/*.py", Path("/")) == [f"{tree}/src/c.py"]


@pytest.mark.parametrize("pattern", ["*.nope", "src/*.{py,txt}", "", "missing/a.py"])
def test_a_glob_without_a_match_is_an_error(tree: Path, pattern: str) -> None:
    with pytest.raises((NotFound, BadInput)):
        expand(pattern, tree)


def test_a_match_stands_once_a_line_each_time_and_both_in_the_order_found(tree: Path) -> None:
    (tree / "more").write_text("z\na.py\n")
    items = gather(["a.py", "*.txt", "*.py"], ["more"], tree)
    assert [(item.number, item.text) for item in items] == [
        (1, "a.py"),
        (2, "b.txt"),
        (3, "./-rf.py"),
        (4, "[x].py"),
        (5, "z"),
        (6, "a.py"),
    ]


def test_lines_keep_their_blanks_and_lose_only_their_end(tmp_path: Path) -> None:
    (tmp_path / "lines").write_bytes(b" a b \r\n\n   \n$(x)\nlast")
    assert read_lines("lines", tmp_path) == [" a b ", "$(x)", "last"]


@pytest.mark.parametrize(
    ("data", "said"), [(b"a\0b", "zero byte"), (b"\xff\n", "UTF-8"), (b"\n \n", "not one line")]
)
def test_lines_that_cannot_be_items_are_refused(tmp_path: Path, data: bytes, said: str) -> None:
    (tmp_path / "lines").write_bytes(data)
    with pytest.raises((BadInput, NotFound), match=said):
        read_lines("lines", tmp_path)


def test_a_missing_file_of_lines_is_named(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="no such file"):
        read_lines("nowhere", tmp_path)
