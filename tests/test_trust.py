"""Trust is kept privately, for exactly one content, and a damaged store trusts nothing."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from skep.errors import BadInput, Damaged
from skep.trust import is_trusted, trust, trusted, untrust
from tests.configured import Place, place_below


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return place_below(tmp_path)


def test_trust_is_kept_privately_and_can_be_taken_back(place: Place) -> None:
    place.write_project("retries = 1\n")
    content = place.project.read_bytes()
    fingerprint = trust(place.project, env=place.env)
    assert fingerprint == hashlib.sha256(content).hexdigest()
    assert trusted(env=place.env) == {str(place.project): fingerprint}
    assert is_trusted(place.project, content, env=place.env)
    assert not is_trusted(place.project, content + b" ", env=place.env)
    store = Path(place.env["SKEP_STATE_DIR"]) / "trusted.json"
    assert store.stat().st_mode & 0o777 == 0o600
    assert untrust(place.project, env=place.env)
    assert not untrust(place.project, env=place.env)
    assert not is_trusted(place.project, content, env=place.env)


@pytest.mark.parametrize("mode", [0o664, 0o646])
def test_a_file_that_others_may_write_cannot_be_trusted(place: Place, mode: int) -> None:
    place.write_project("")
    place.project.chmod(mode)
    with pytest.raises(BadInput, match="others may write it"):
        trust(place.project, env=place.env)
    assert trusted(env=place.env) == {}


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_a_file_of_another_user_cannot_be_trusted(place: Place) -> None:
    place.write_project("")
    os.chown(place.project, 12345, -1)
    with pytest.raises(BadInput, match="another user"):
        trust(place.project, env=place.env)


def test_what_is_not_there_cannot_be_trusted(place: Place) -> None:
    with pytest.raises(BadInput, match="cannot read"):
        trust(place.project, env=place.env)


@pytest.mark.parametrize("content", ["{", "[]", '{"/x": 1}', "[" * 5000, "\x00"])
def test_a_damaged_store_is_said_and_trusts_nothing(place: Place, content: str) -> None:
    place.write_project("retries = 1\n")
    trust(place.project, env=place.env)
    store = Path(place.env["SKEP_STATE_DIR"]) / "trusted.json"
    store.write_text(content)
    with pytest.raises(Damaged) as caught:
        trusted(env=place.env)
    assert caught.value.where == str(store)
    loaded = place.load()
    assert loaded.config.retries == 0
    assert isinstance(loaded.warnings[0], Damaged)


def test_a_store_that_others_may_write_trusts_nothing(place: Place) -> None:
    place.write_project("retries = 1\n")
    trust(place.project, env=place.env)
    (Path(place.env["SKEP_STATE_DIR"]) / "trusted.json").chmod(0o666)
    loaded = place.load()
    assert loaded.config.retries == 0
    assert "others may write it" in loaded.warnings[0].what
