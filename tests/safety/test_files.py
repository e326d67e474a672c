"""What stands in a swarm's folder in place of a file keeps nobody waiting, and spoils nothing but itself."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from skep.control.swarms import all_swarms, describe, find
from skep.errors import Refused, SkepError
from skep.journal import FolderLock, JournalReader, holder
from skep.paths import read_plain
from tests.safety.attempts import NO_FILES, attempt


@NO_FILES
def test_no_owner_is_read_from_what_is_no_file(tmp_path, put):
    put(tmp_path / "lock")
    assert attempt(lambda: holder(tmp_path)) is None


@NO_FILES
def test_one_bad_description_does_not_hide_the_other_swarms(tmp_path, put, monkeypatch):
    monkeypatch.setenv("SKEP_STATE_DIR", str(tmp_path))
    for name in ("good", "bad"):
        folder = tmp_path / "swarms" / name
        folder.mkdir(parents=True)
        describe(folder, name, name, 1_700_000_000.0, "/")
    put(tmp_path / "swarms" / "bad" / "swarm.json")
    with pytest.raises(SkepError, match=r"bad/swarm\.json"):
        attempt(lambda: find(tmp_path / "swarms" / "bad"))
    warnings: list[str] = []
    assert [swarm.id for swarm in attempt(lambda: all_swarms(warnings))] == ["good"]
    assert len(warnings) == 1


@NO_FILES
def test_a_head_mark_that_is_no_file_is_refused(tmp_path, put):
    put(tmp_path / "head")
    with pytest.raises(Refused):
        attempt(lambda: JournalReader(tmp_path))


def test_a_plain_file_is_read_as_far_as_its_limit(tmp_path):
    (tmp_path / "file").write_bytes(b"0123456789")
    assert read_plain(tmp_path / "file", 4) == b"0123"


def test_a_device_in_the_place_of_a_file_is_refused():
    with pytest.raises(OSError, match="not a regular file"):
        read_plain(Path("/dev/zero"), 16)


def test_what_is_refused_leaves_no_descriptor_open(tmp_path):
    before = set(os.listdir("/dev/fd"))
    for _ in range(20):
        with pytest.raises(OSError, match="not a regular file"):
            read_plain(tmp_path, 16)
    assert len(os.listdir("/dev/fd")) <= len(before)


def test_a_folder_has_one_owner_even_if_its_lock_file_is_removed(tmp_path):
    with FolderLock(tmp_path):
        (tmp_path / "lock").unlink()
        with pytest.raises(Refused, match="another process"):
            FolderLock(tmp_path).acquire()
    with FolderLock(tmp_path):
        assert holder(tmp_path) == os.getpid()


def test_a_lock_is_not_taken_in_a_file_that_a_link_leads_to(tmp_path):
    elsewhere = tmp_path / "precious"
    elsewhere.write_text("kept")
    folder = tmp_path / "swarm"
    folder.mkdir()
    (folder / "lock").symlink_to(elsewhere)
    with pytest.raises(Refused):
        FolderLock(folder).acquire()
    assert elsewhere.read_text() == "kept"
