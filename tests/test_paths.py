"""What skep keeps, it keeps in places that are its user's alone, on disks that keep their word."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

import platformdirs
import pytest

from skep.errors import BadInput, NoSpace
from skep.paths import (
    SUN_PATH_LIMIT,
    atomic_write,
    check_owner,
    check_socket_path,
    check_writable,
    config_dir,
    file_error,
    private_dir,
    refuse_network_filesystem,
    socket_path,
    state_dir,
    swarms_dir,
)


def test_folders_are_the_platforms() -> None:
    assert state_dir({}) == platformdirs.user_state_path("skep", appauthor=False)
    assert config_dir({}) == platformdirs.user_config_path("skep", appauthor=False)
    assert swarms_dir({}) == state_dir({}) / "swarms"


def test_folders_can_be_set(monkeypatch: pytest.MonkeyPatch) -> None:
    env = {"SKEP_STATE_DIR": "/s", "SKEP_CONFIG_DIR": "/c"}
    assert (state_dir(env), config_dir(env), swarms_dir(env)) == (Path("/s"), Path("/c"), Path("/s/swarms"))
    monkeypatch.setenv("SKEP_STATE_DIR", "/from/environment")
    assert state_dir() == Path("/from/environment")


def test_an_empty_override_is_none() -> None:
    assert state_dir({"SKEP_STATE_DIR": ""}) == state_dir({})


@pytest.mark.parametrize("variable", ["SKEP_STATE_DIR", "SKEP_CONFIG_DIR"])
def test_a_relative_override_is_refused(variable: str) -> None:
    read = state_dir if variable == "SKEP_STATE_DIR" else config_dir
    with pytest.raises(BadInput) as caught:
        read({variable: "here"})
    assert caught.value.where == variable


def test_a_private_folder_is_private_all_the_way(tmp_path: Path) -> None:
    old = os.umask(0)
    try:
        made = private_dir(tmp_path / "a" / "b" / "c")
    finally:
        os.umask(old)
    assert made == tmp_path / "a" / "b" / "c"
    for folder in (made, made.parent, made.parent.parent):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert private_dir(made) == made


def test_a_symbolic_link_is_no_private_folder(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir(mode=0o700)
    (tmp_path / "link").symlink_to("real")
    with pytest.raises(BadInput, match="symbolic link"):
        private_dir(tmp_path / "link")
    (tmp_path / "dangling").symlink_to("nowhere")
    with pytest.raises(BadInput, match="symbolic link"):
        private_dir(tmp_path / "dangling")


@pytest.mark.parametrize("mode", [0o770, 0o702, 0o777, 0o1777])
def test_a_folder_that_others_may_write_is_refused(tmp_path: Path, mode: int) -> None:
    folder = tmp_path / "open"
    folder.mkdir()
    folder.chmod(mode)
    with pytest.raises(BadInput, match="others may write it") as caught:
        private_dir(folder)
    assert caught.value.mend == f"chmod go-w {folder}"


def test_what_belongs_to_another_user_is_refused(tmp_path: Path) -> None:
    fields = list(tmp_path.lstat())
    fields[4] = os.geteuid() + 1
    with pytest.raises(BadInput, match="another user"):
        check_owner(tmp_path, os.stat_result(fields))


def test_a_file_where_a_folder_should_be(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    for path in (file, file / "below"):
        with pytest.raises(BadInput) as caught:
            private_dir(path)
        assert caught.value.mend
    with pytest.raises(BadInput):
        check_writable(file)
    with pytest.raises(BadInput):
        atomic_write(file / "below", b"")


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs a place where nobody may write")
def test_a_place_where_nobody_may_write() -> None:
    place = Path("/proc/self")
    for attempt in (
        lambda: private_dir(place / "skep"),
        lambda: check_writable(place),
        lambda: atomic_write(place / "skep", b""),
    ):
        with pytest.raises(BadInput) as caught:
            attempt()
        assert caught.value.mend
        assert caught.value.where
        assert str(place) in caught.value.where


def test_a_writable_folder_is_left_as_it_was(tmp_path: Path) -> None:
    check_writable(tmp_path)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(BadInput):
        check_writable(tmp_path / "missing")


def test_socket_paths_have_the_platforms_limit() -> None:
    assert socket_path(Path("/x")) == Path("/x/control.sock")
    check_socket_path(Path("/" + "x" * (SUN_PATH_LIMIT - 1)))
    for path in (Path("/" + "x" * SUN_PATH_LIMIT), Path("/" + "é" * (SUN_PATH_LIMIT // 2 + 1))):
        with pytest.raises(BadInput) as caught:
            check_socket_path(path)
        assert caught.value.mend == "set SKEP_STATE_DIR to a shorter path"


MOUNTS = """\
22 1 254:0 / / rw,relatime - ext4 /dev/vda rw
23 22 0:21 / /proc rw,relatime shared:5 master:1 - proc proc rw
30 22 0:40 / /home rw,relatime shared:7 - nfs4 server:/home rw,vers=4.2
31 30 0:41 / /home/local\\040disk rw - xfs /dev/vdb rw
32 22 0:42 / /cloud rw - fuse.sshfs me@host: rw
33 22 0:43 / /over rw - cifs //server/share rw
34 22 0:44 / /over rw - tmpfs tmpfs rw
35 22 0:45 / /fuse rw - fuse.gocryptfs vault rw
a broken line
"""


@pytest.mark.parametrize(
    ("folder", "kind"),
    [("/home", "nfs4"), ("/home/me/state/skep", "nfs4"), ("/cloud/x", "fuse.sshfs")],
)
def test_network_file_systems_are_refused(tmp_path: Path, folder: str, kind: str) -> None:
    table = tmp_path / "mountinfo"
    table.write_text(MOUNTS)
    with pytest.raises(BadInput, match=kind) as caught:
        refuse_network_filesystem(Path(folder), mounts=table)
    assert "SKEP_STATE_DIR" in (caught.value.mend or "")


@pytest.mark.parametrize("folder", ["/var/x", "/homes", "/home/local disk/x", "/over/x", "/fuse/x", "/cloudy"])
def test_local_file_systems_are_not(tmp_path: Path, folder: str) -> None:
    table = tmp_path / "mountinfo"
    table.write_text(MOUNTS)
    refuse_network_filesystem(Path(folder), mounts=table)


def test_a_platform_without_a_table_of_mounts_passes(tmp_path: Path) -> None:
    refuse_network_filesystem(tmp_path, mounts=tmp_path / "missing")


def test_a_file_is_replaced_whole(tmp_path: Path) -> None:
    file = tmp_path / "file"
    old = os.umask(0o777)
    try:
        atomic_write(file, b"one")
        atomic_write(file, b"two", mode=0o640)
    finally:
        os.umask(old)
    assert file.read_bytes() == b"two"
    assert stat.S_IMODE(file.stat().st_mode) == 0o640
    assert list(tmp_path.iterdir()) == [file]


def test_a_failed_write_leaves_nothing_behind(tmp_path: Path) -> None:
    target = tmp_path / "folder"
    target.mkdir()
    (target / "inside").touch()
    with pytest.raises(BadInput):
        atomic_write(target, b"data")
    assert list(tmp_path.iterdir()) == [target]


def test_a_full_disk_has_an_error_of_its_own() -> None:
    for number in (errno.ENOSPC, errno.EDQUOT):
        assert isinstance(file_error(OSError(number, "full"), Path("/x"), "cannot write"), NoSpace)
    assert isinstance(file_error(OSError("odd"), Path("/x"), "cannot write"), BadInput)


def test_a_write_through_a_link_replaces_the_link(tmp_path: Path) -> None:
    (tmp_path / "real").write_bytes(b"old")
    (tmp_path / "link").symlink_to("real")
    atomic_write(tmp_path / "link", b"new")
    assert (tmp_path / "real").read_bytes() == b"old"
    assert not (tmp_path / "link").is_symlink()
