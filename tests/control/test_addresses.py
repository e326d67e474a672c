"""What a person types names exactly one swarm or agent, or the error says which ones it could be."""

from __future__ import annotations

import shutil
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from skep.control.swarms import (
    DESCRIPTION,
    SwarmFolder,
    all_swarms,
    describe,
    engine_pid,
    find,
    find_agent,
    is_dead,
    resolve,
)
from skep.errors import Ambiguous, Damaged, NotFound
from skep.journal import FolderLock
from skep.model.events import ROOT, AgentQueued
from skep.model.states import DriverKind
from skep.paths import private_dir, swarms_dir
from tests.control.listed import ListService, born

Make = Callable[..., SwarmFolder]


@pytest.fixture(autouse=True)
def _state_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SKEP_STATE_DIR", str(tmp_path))


@pytest.fixture
def make() -> Iterator[Make]:
    """Makes swarms, each newer than the one before; live ones have an owner until the test ends."""
    owners: list[FolderLock] = []

    def make(id: str, name: str, *, live: bool = False) -> SwarmFolder:
        folder = private_dir(swarms_dir() / id)
        describe(folder, id, name, 1_700_000_000.0 + len(all_swarms()), "/work")
        if live:
            owners.append(FolderLock(folder))
            owners[-1].acquire()
        return find(folder)

    yield make
    for owner in owners:
        owner.release()


def _named(address: str | None) -> tuple[str, str | None]:
    target = resolve(address)
    return target.swarm.id, target.agent


def test_a_swarm_is_found_as_it_was_described(make: Make):
    made = make("k3f9", "migrate billing")
    assert made == SwarmFolder("k3f9", "migrate billing", swarms_dir() / "k3f9", 1_700_000_000.0, "/work")
    assert stat.S_IMODE((made.folder / DESCRIPTION).stat().st_mode) == 0o600
    assert engine_pid(made.folder) is None


def test_swarms_come_newest_first_and_damaged_ones_are_told(make: Make):
    make("k1", "one")
    make("k2", "two")
    for number, text in enumerate(("", "{}", '{"id": 5', '{"id":"x","name":"x","created_at":"soon"}', "[]")):
        private_dir(swarms_dir() / f"bad{number}")
        (swarms_dir() / f"bad{number}" / DESCRIPTION).write_text(text)
    private_dir(swarms_dir() / "empty")
    (swarms_dir() / "a file").write_text("")
    make("k3", "three")
    warnings: list[str] = []
    assert [swarm.id for swarm in all_swarms(warnings)] == ["k3", "k2", "k1"]
    assert [swarm.id for swarm in all_swarms()] == ["k3", "k2", "k1"]
    assert len(warnings) == 6
    assert all("bad" in warning or "empty" in warning for warning in warnings)
    with pytest.raises(Damaged):
        find(swarms_dir() / "bad0")
    with pytest.raises(NotFound):
        find(swarms_dir() / "nowhere")


def test_where_there_is_no_swarm_that_is_said():
    assert all_swarms() == []
    with pytest.raises(NotFound, match="no swarm yet"):
        resolve(None)


@pytest.mark.parametrize(
    ("address", "swarm", "agent"),
    [
        (None, "t5aa", None),
        ("", "t5aa", None),
        ("k3f9", "k3f9", None),
        ("k3f", "k3f9", None),
        ("k4", "k4b2", None),
        ("billing", "k3f9", None),
        ("k3f9/a7", "k3f9", "a7"),
        ("k3f9/src/a.py", "k3f9", "src/a.py"),
        ("billing/src/a.py", "k3f9", "src/a.py"),
        ("k3f9/", "k3f9", None),
        ("/a7", "t5aa", "a7"),
        ("/src/a.py", "t5aa", "src/a.py"),
        ("/", "t5aa", None),
        ("a7", "t5aa", "a7"),
        ("src/a.py", "t5aa", "src/a.py"),
        ("lint/docs", "m6cc", None),
        ("lint/docs/x.md", "t5aa", "lint/docs/x.md"),
        ("bill", "t5aa", "bill"),
    ],
)
def test_an_address_names_a_swarm_and_within_it_an_agent(
    make: Make, address: str | None, swarm: str, agent: str | None
):
    make("k3f9", "billing")
    make("k4b2", "tests")
    make("m6cc", "lint/docs")
    make("t5aa", "newest")
    assert _named(address) == (swarm, agent)


def test_a_beginning_of_several_ids_is_ambiguous(make: Make):
    for number in range(7):
        make(f"k{number}", f"swarm {number}")
    with pytest.raises(Ambiguous, match="7 swarms") as caught:
        resolve("k")
    assert str(caught.value.why).count("swarm ") == 5
    assert "2 more" in str(caught.value.why)


def test_an_exact_id_goes_before_a_name_and_a_name_before_a_beginning(make: Make):
    make("k3", "one")
    make("k3f9", "two")
    make("x1", "k3")
    make("x2", "k3f")
    assert _named("k3")[0] == "k3"
    assert _named("k3f")[0] == "x2"


def test_of_swarms_with_one_name_the_live_one_is_meant_or_the_newest_if_none_lives(make: Make):
    make("k1", "nightly")
    make("k2", "nightly")
    assert _named("nightly")[0] == "k2"
    make("k3", "nightly", live=True)
    make("k4", "nightly")
    assert _named("nightly")[0] == "k3"
    make("k5", "nightly", live=True)
    with pytest.raises(Ambiguous, match="2 live swarms") as caught:
        resolve("nightly")
    assert "k5, k3" in str(caught.value)


@pytest.mark.parametrize(
    ("text", "agent"),
    [
        ("a1", "a1"),
        ("src/2.py", "a2"),
        ("src/3", "a3"),
        ("3.py", "a3"),
        ("docs", "a4"),
        ("root", ROOT),
        ("a12", "a12"),
        ("migrate", ROOT),
    ],
)
def test_an_agent_is_named_by_id_name_beginning_or_ending(service: ListService, text: str, agent: str):
    service.happens(*born(3))
    for id, name in (("a4", "docs/index.md"), ("a12", "src/12.py")):
        service.happens(AgentQueued(id, ROOT, name, DriverKind.COMMAND, "", {}))
    with service.registry.read() as state:
        assert find_agent(state, text) == agent


def test_several_agents_of_one_beginning_are_listed(service: ListService):
    service.happens(*born(40))
    with service.registry.read() as state, pytest.raises(Ambiguous, match="40 agents") as caught:
        find_agent(state, "src/")
    assert "a1 src/1.py, a2 src/2.py" in str(caught.value.why)
    assert "a6" not in str(caught.value.why)
    assert "35 more" in str(caught.value.why)


def test_nobody_of_that_name_brings_the_nearest_names_and_no_escape(service: ListService):
    service.happens(*born(3))
    with service.registry.read() as state:
        with pytest.raises(NotFound, match=r"did you mean .*src/1\.py"):
            find_agent(state, "scr/1.py")
        with pytest.raises(NotFound, match="skep tree"):
            find_agent(state, "completely different")
        with pytest.raises(NotFound) as caught:
            find_agent(state, "\x1b[2Jx")
        with pytest.raises(NotFound):
            find_agent(state, "")
    assert "\x1b" not in str(caught.value)


def test_a_swarm_is_dead_when_it_is_kept_and_no_engine_runs_it(make: Make) -> None:
    dead, live = make("d1", "one"), make("l1", "one", live=True)
    assert is_dead(dead.folder)
    assert not is_dead(live.folder)
    (live.folder / "lock").unlink()
    assert not is_dead(live.folder), "its engine lives, whoever has removed the lock's file"


def test_what_is_no_swarm_of_this_state_folder_is_not_called_dead(make: Make, tmp_path: Path) -> None:
    dead = make("d1", "one")
    (swarms_dir() / "linked").symlink_to(dead.folder)
    (swarms_dir() / "empty").mkdir()
    (swarms_dir() / "file").write_text("")
    for name in ("gone", "linked", "empty", "file", "file/x", "..", "", "x" * 5_000):
        assert not is_dead(swarms_dir() / name)


def test_a_copy_of_a_live_swarms_folder_is_not_called_dead(make: Make, tmp_path: Path) -> None:
    live = make("l1", "one", live=True)
    shutil.copytree(live.folder, tmp_path / "copy")
    assert not is_dead(tmp_path / "copy")
