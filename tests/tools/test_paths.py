"""No path leads a file tool out of the workspace, to a device, or into the insides of git."""

from __future__ import annotations

import json
import os
import shutil
import socket
import tempfile
import threading
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from skep.tools.base import ToolFault
from skep.tools.workspace import Workspace, folder_path
from tests.tools.conftest import Use
from tests.tools.seat import Seat

ENOUGH = 20
"""Times that a call has to work while things are swapped under it."""

OUT = [
    ("..", "cannot hold .."),
    ("../outside/secret.txt", "cannot hold .."),
    ("a/../../outside/secret.txt", "cannot hold .."),
    ("./a/b/../b", "cannot hold .."),
    ("/etc/passwd", "outside of the workspace"),
    ("//etc/passwd", "outside of the workspace"),
    ("a\0b", "cannot hold a NUL"),
    (".git/config", "insides of .git"),
    ("a/.GIT/hooks/pre-commit", "insides of .git"),
    ("x" * 5000, "too long"),
    ("x/" * 100, "too deep"),
    ("x" * 300, "name is too long"),
    ("link/secret.txt", "symbolic link"),
    ("link", "symbolic link"),
    ("file-link", "symbolic link"),
    ("inner-link/a.txt", "symbolic link"),
    ("dangling", "symbolic link"),
    ("pipe", "no plain file"),
    ("socket", "no plain file"),
    ("folder", "it is a folder"),
    (".", "it is a folder"),
    ("plain/more", "a folder was expected"),
]


@pytest.fixture
def zoo(workspace: Path, outside: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (workspace / ".git").mkdir()
    (workspace / ".git" / "config").write_text("precious")
    (workspace / "folder").mkdir()
    (workspace / "folder" / "a.txt").write_text("inside\n")
    (workspace / "plain").write_text("plain\n")
    (workspace / "link").symlink_to(outside)
    (workspace / "file-link").symlink_to(outside / "secret.txt")
    (workspace / "inner-link").symlink_to("folder")
    (workspace / "dangling").symlink_to(outside / "new.txt")
    os.mkfifo(workspace / "pipe")
    monkeypatch.chdir(workspace)  # a socket's path is short
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind("socket")
    return workspace


@pytest.mark.parametrize(("path", "why"), OUT, ids=[case[0][:30].replace("\0", "NUL") for case in OUT])
async def test_neither_reading_nor_writing_gets_there(zoo: Path, outside: Path, use: Use, path: str, why: str):
    read = await use("read_file", path=path)
    assert not read.ok
    assert not read.read
    write = await use("write_file", path=path, content="overwritten")
    assert not write.ok
    assert not write.wrote
    assert why in read.content
    assert why in write.content
    assert (outside / "secret.txt").read_text() == "the secret\n"
    assert os.listdir(outside) == ["secret.txt"]
    assert (zoo / ".git" / "config").read_text() == "precious"


@pytest.mark.parametrize("path", ["..", "/", "link", "inner-link", ".git", "plain", "missing"])
async def test_listing_searching_and_running_do_not_get_there_either(zoo: Path, seat: Seat, use: Use, path: str):
    assert not (await use("list_files", path=path)).ok
    assert not (await use("list_files", path=path, pattern="*")).ok
    assert not (await use("terminal", command="pwd", cwd=path)).ok
    assert not seat.commands
    if path != "plain":
        assert not (await use("search_files", path=path, pattern="secret")).ok


async def test_a_device_is_not_opened(use: Use, seat: Seat):
    seat.workspace = Path("/dev")
    for name in ("null", "zero"):
        assert "no plain file" in (await use("read_file", path=name)).content
        assert not (await use("write_file", path=name, content="x")).ok


async def test_a_walk_neither_follows_links_nor_shows_git(zoo: Path, use: Use):
    for result in (await use("list_files", pattern="**"), await use("list_files")):
        assert "link  (symbolic link)" in result.content
        assert "secret" not in result.content
        assert "config" not in result.content
    assert "nothing found" in (await use("search_files", pattern="secret")).content
    assert "nothing found" in (await use("search_files", pattern="secre[t]")).content
    assert "nothing found" in (await use("search_files", pattern="precious")).content


async def test_an_absolute_path_below_the_workspace_is_taken(zoo: Path, use: Use):
    assert (await use("read_file", path=str(zoo / "plain"))).content == "plain\n"
    assert (await use("read_file", path=str(zoo / "plain"))).read == ("plain",)


async def test_a_workspace_may_itself_be_reached_by_a_link(zoo: Path, seat: Seat, use: Use, tmp_path: Path):
    os.symlink(zoo, tmp_path / "alias")
    seat.workspace = tmp_path / "alias"
    for path in ("plain", f"{tmp_path}/alias/plain", f"{zoo}/plain"):
        assert (await use("read_file", path=path)).content == "plain\n"


async def test_a_workspace_that_is_gone_is_said_in_words(seat: Seat, use: Use, workspace: Path):
    os.rmdir(workspace)
    for tool, args in (("read_file", {"path": "a"}), ("list_files", {}), ("terminal", {"command": "ls"})):
        result = await use(tool, **args)
        assert not result.ok
        assert "No such file" in result.content


async def test_a_hard_link_is_cut_off_before_it_is_written(use: Use, workspace: Path, outside: Path):
    os.link(outside / "secret.txt", workspace / "hard")
    assert (await use("write_file", path="hard", content="mine")).ok
    assert (outside / "secret.txt").read_text() == "the secret\n"
    assert (workspace / "hard").read_text() == "mine"


names = st.one_of(
    st.sampled_from(
        ["..", ".", "", ".git", "link", "file-link", "folder", "plain", "outside", "secret.txt", "a.txt"]
    ),
    st.text(st.characters(exclude_characters="/"), max_size=6),
)


@settings(max_examples=50, deadline=None, database=None, suppress_health_check=[HealthCheck.too_slow])
@given(paths=st.lists(st.lists(names, min_size=1, max_size=6).map("/".join), min_size=1, max_size=8))
def test_no_path_of_any_names_escapes(paths: list[str]):
    with tempfile.TemporaryDirectory() as folder:
        outside, inside = Path(folder, "outside"), Path(folder, "work")
        outside.mkdir()
        (outside / "secret.txt").write_text("the secret")
        (inside / "folder").mkdir(parents=True)
        (inside / "folder" / "a.txt").write_text("inside")
        (inside / "link").symlink_to(outside)
        (inside / "file-link").symlink_to(outside / "secret.txt")
        workspace = Workspace(inside)
        for path in paths:
            try:
                found = workspace.names(path)
                workspace.write(found, b"written")
            except ToolFault:
                continue
            assert Path(os.path.realpath(inside.joinpath(*found))).is_relative_to(os.path.realpath(inside))
            with workspace.reading(found) as file:
                assert file.read() == b"written"
        assert [entry.name for entry in os.scandir(outside)] == ["secret.txt"]
        assert (outside / "secret.txt").read_text() == "the secret"
        assert sorted(os.listdir(folder)) == ["outside", "work"]


def test_a_folder_swapped_for_a_link_while_it_is_walked_leads_nowhere(workspace: Path, outside: Path):
    """A thread swaps ``turn`` between a folder and a link to the outside as fast as it can."""
    (workspace / "turn").mkdir()
    (workspace / "turn" / "secret.txt").write_text("harmless")
    (workspace / "link").symlink_to(outside)
    done = threading.Event()

    def swap() -> None:
        while not done.is_set():
            os.rename(workspace / "turn", workspace / "folder")
            if moved("link", "turn"):
                os.rename(workspace / "turn", workspace / "link")
            while not moved("folder", "turn"):
                pass

    def moved(name: str, to: str) -> bool:
        try:
            os.rename(workspace / name, workspace / to)
        except OSError:
            shutil.rmtree(workspace / to, ignore_errors=True)  # the writer made it anew in between
            return False
        return True

    swapper = threading.Thread(target=swap)
    swapper.start()
    inside = Workspace(workspace)
    worked = 0
    try:
        for _ in range(100_000):
            if worked == ENOUGH:
                break
            try:
                with inside.reading(("turn", "secret.txt")) as file:
                    assert file.read() == b"harmless"
                inside.write(("turn", "secret.txt"), b"harmless")
                assert {entry.size for entry in inside.entries(("turn",))} <= {0, 8}  # 0: just removed
                worked += 1
            except ToolFault:
                os.sched_yield()  # else all tries may pass before the other thread gets on
    finally:
        done.set()
        swapper.join()
    assert worked == ENOUGH
    assert (outside / "secret.txt").read_text() == "the secret\n"
    assert os.listdir(outside) == ["secret.txt"]


def test_a_file_swapped_for_a_link_is_never_read_nor_written_through(workspace: Path, outside: Path):
    (workspace / "turn").write_text("harmless")
    done = threading.Event()

    def swap() -> None:
        count = 0
        while not done.is_set():
            count += 1
            (workspace / f"link{count}").symlink_to(outside / "secret.txt")
            os.rename(workspace / f"link{count}", workspace / "turn")
            (workspace / f"file{count}").write_text("harmless")
            os.rename(workspace / f"file{count}", workspace / "turn")

    swapper = threading.Thread(target=swap)
    swapper.start()
    inside = Workspace(workspace)
    worked = 0
    try:
        for _ in range(100_000):
            if worked == 20 * ENOUGH:
                break
            try:
                with inside.reading(("turn",)) as file:
                    assert file.read() == b"harmless"
                inside.write(("turn",), b"harmless")
                worked += 1
            except ToolFault:
                os.sched_yield()  # else all tries may pass before the other thread gets on
    finally:
        done.set()
        swapper.join()
    assert worked == 20 * ENOUGH
    assert (outside / "secret.txt").read_text() == "the secret\n"


def test_nothing_that_is_refused_leaves_a_descriptor_open(zoo: Path):
    inside = Workspace(zoo)
    before = len(os.listdir("/dev/fd"))
    for path in ("folder/missing", "pipe", "file-link", "plain/more", "folder", "link/secret.txt"):
        with pytest.raises(ToolFault), inside.reading(inside.names(path)):
            pass
        with pytest.raises(ToolFault):
            inside.entries(inside.names(f"{path}/x"))
    assert len(os.listdir("/dev/fd")) == before


async def test_a_name_that_would_forge_lines_stays_on_its_own(use: Use, workspace: Path):
    (workspace / "a\nb  9 B").write_text("")
    (workspace / os.fsdecode(b"\xff")).write_text("")
    listed = (await use("list_files")).content
    assert len(listed.splitlines()) == 2
    assert json.dumps(listed)
    listed.encode()


async def test_a_folder_is_told_by_its_absolute_path(workspace: Path, outside: Path):
    (workspace / "sub" / "deep").mkdir(parents=True)
    (workspace / "link").symlink_to(outside)
    assert await folder_path(workspace, "") == str(workspace)
    assert await folder_path(workspace, "./sub//deep/") == f"{workspace}/sub/deep"
    assert await folder_path(workspace, f"{workspace}/sub") == f"{workspace}/sub"
    for path in ("link", "missing", "../outside", str(outside), ".git"):
        with pytest.raises(ToolFault):
            await folder_path(workspace, path)
