"""The folder's lock: one owner, named, and gone with its process."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from skep.errors import BadInput, Refused
from skep.journal import FolderLock, holder, is_owned

OWNER = Path(__file__).with_name("owner.py")


def test_a_second_owner_is_refused_with_the_pid_of_the_first(tmp_path):
    with FolderLock(tmp_path):
        with pytest.raises(Refused, match=f"process {os.getpid()}"):
            FolderLock(tmp_path).acquire()
        assert holder(tmp_path) == os.getpid()
    with FolderLock(tmp_path):
        pass


def test_nobody_holds_a_folder_that_was_released_or_never_locked(tmp_path):
    assert holder(tmp_path) is None
    assert holder(tmp_path / "nowhere") is None
    with FolderLock(tmp_path):
        pass
    assert holder(tmp_path) is None


def test_one_lock_is_taken_once_and_released_as_often_as_one_likes(tmp_path):
    lock = FolderLock(tmp_path / "made" / "on the way")
    lock.acquire()
    with pytest.raises(Refused):
        lock.acquire()
    lock.release()
    lock.release()


def test_asking_for_the_holder_disturbs_nobody(tmp_path):
    with FolderLock(tmp_path):
        for _ in range(100):
            assert holder(tmp_path) == os.getpid()
        with pytest.raises(Refused):
            FolderLock(tmp_path).acquire()


def test_a_pid_that_now_belongs_to_another_process_is_no_owner(tmp_path):
    (tmp_path / "lock").write_text(f"{os.getpid()} 1\n")
    assert holder(tmp_path) is None


def test_kill_9_frees_the_folder_even_if_a_child_lives_on(tmp_path):
    with subprocess.Popen(
        [sys.executable, OWNER, "hold", tmp_path], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as owner:
        child = int(owner.stdout.readline())
        assert holder(tmp_path) == owner.pid
        with pytest.raises(Refused, match=f"process {owner.pid}"):
            FolderLock(tmp_path).acquire()
        owner.send_signal(signal.SIGKILL)
        owner.wait()
        os.kill(child, 0)
        assert holder(tmp_path) is None
        with FolderLock(tmp_path):
            assert holder(tmp_path) == os.getpid()


def test_the_kernel_knows_the_owner_whatever_became_of_the_locks_file(tmp_path):
    assert not is_owned(tmp_path)
    with FolderLock(tmp_path):
        assert is_owned(tmp_path)
        (tmp_path / "lock").unlink()
        assert holder(tmp_path) is None
        assert is_owned(tmp_path)
        with pytest.raises(Refused):
            FolderLock(tmp_path).acquire()
    assert not is_owned(tmp_path)
    with FolderLock(tmp_path):
        assert is_owned(tmp_path)


def test_whether_a_folder_is_owned_can_be_asked_by_many_at_once_and_of_real_folders_only(tmp_path):
    with subprocess.Popen(
        [sys.executable, OWNER, "hold", tmp_path], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as owner:
        child = int(owner.stdout.readline())
        with ThreadPoolExecutor(8) as pool:
            assert all(pool.map(is_owned, [tmp_path] * 200))
        owner.kill()
        owner.wait()
        os.kill(child, 0)
        with ThreadPoolExecutor(8) as pool:
            assert not any(pool.map(is_owned, [tmp_path] * 200))
    (tmp_path / "link").symlink_to(tmp_path)
    for nothing in ("link", "lock", "nowhere"):
        with pytest.raises(OSError, match=nothing):
            is_owned(tmp_path / nothing)


def test_a_folder_on_a_network_file_system_is_not_locked(tmp_path):
    table = tmp_path / "mountinfo"
    table.write_text(f"30 22 0:40 / {tmp_path} rw,relatime shared:7 - nfs4 server:/home rw,vers=4.2\n")
    with pytest.raises(BadInput, match="nfs4"):
        FolderLock(tmp_path / "swarm", mounts=table).acquire()
    assert not (tmp_path / "swarm").exists()


def test_a_folder_that_cannot_be_made_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(Refused, match="cannot be locked"):
        FolderLock(tmp_path / "file").acquire()
