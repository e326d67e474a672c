from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skep.cli.naming import new_id
from skep.cli.planning import Wish, plan
from skep.config import Config
from skep.errors import BadInput, NotFound, SkepError
from skep.model.launch import Launch

ENV = {"PATH": "/usr/bin:/bin"}


@pytest.fixture
def project(tmp_path: Path) -> Path:
    for name in ("x/a.py", "x/b.py", "y/c.py"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.touch()
    return tmp_path


def launch_of(cwd: Path, **wish: object) -> Launch:
    return plan(Wish(cwd=cwd, **wish), Config(), ENV)  # type: ignore[arg-type]


def shape(launch: Launch) -> list[tuple[str, str, str]]:
    return [(agent.id, agent.parent, agent.name) for agent in launch.agents]


def test_each_item_is_an_agent_in_the_order_asked(project: Path) -> None:
    launch = launch_of(project, globs=("**/*.py",), commands=("cat {item}",))
    assert shape(launch) == [("a1", "root", "x/a.py"), ("a2", "root", "x/b.py"), ("a3", "root", "y/c.py")]
    assert [agent.goal for agent in launch.agents] == ["cat x/a.py", "cat x/b.py", "cat y/c.py"]


def test_items_alike_in_a_group_stand_under_one_branch(project: Path) -> None:
    launch = launch_of(project, globs=("**/*.py",), commands=("cat {item}",), group="{dir}")
    assert shape(launch) == [
        ("g1", "root", "x"),
        ("a1", "g1", "x/a.py"),
        ("a2", "g1", "x/b.py"),
        ("g2", "root", "y"),
        ("a3", "g2", "y/c.py"),
    ]


def test_each_of_several_commands_is_a_branch_over_its_items(project: Path) -> None:
    launch = launch_of(project, globs=("x/*",), commands=("cat {item}", "wc {item}"), group="{ext}")
    assert [(agent.id, agent.parent) for agent in launch.agents] == [
        ("g1", "root"),
        ("g2", "g1"),
        ("a1", "g2"),
        ("a2", "g2"),
        ("g3", "root"),
        ("g4", "g3"),
        ("a3", "g4"),
        ("a4", "g4"),
    ]


def test_commands_without_items_are_agents_named_after_their_line(project: Path) -> None:
    launch = launch_of(project, commands=("cat x", "echo {n}"))
    assert [(agent.name, agent.goal) for agent in launch.agents] == [("cat x", "cat x"), ("echo 2", "echo 2")]


@given(names=st.lists(st.text(st.characters(codec="utf-8"), min_size=1, max_size=30), min_size=1, max_size=8))
def test_every_log_has_a_safe_name_of_its_own(tmp_path_factory: pytest.TempPathFactory, names: list[str]) -> None:
    folder = tmp_path_factory.getbasetemp()
    lines = folder / "lines"
    lines.write_text("\n".join(["seed", *(name.replace("\0", "") for name in names)]))
    launch = launch_of(folder, line_files=("lines",), commands=("cat {item}",), log_dir=folder / "logs")
    logs = [Path(agent.log or "") for agent in launch.agents]
    assert all(log.parent == folder / "logs" and not log.name.startswith((".", "-")) for log in logs)
    assert len({log.name.lower() for log in logs}) == len(logs)
    assert all(log.name.isprintable() and len(log.name.encode()) <= 255 for log in logs)


@pytest.mark.parametrize(
    ("wish", "error", "said"),
    [
        ({"commands": ("cat {item}",)}, BadInput, "no items"),
        ({"commands": ("cat",), "globs": ("x/*",)}, BadInput, "does not say where the item goes"),
        ({"commands": ("no-such-program-here",)}, NotFound, "no such program"),
        ({"commands": ("./x",)}, BadInput, "cannot run"),
        ({"commands": ("./nope",)}, NotFound, "no such program"),
        ({"commands": ("cat",), "argv": ("cat",)}, BadInput, "both"),
        ({}, BadInput, "nothing to run"),
        ({"argv": ("cat",), "shell": True}, BadInput, "one line"),
        ({"commands": ("cat x",), "group": "{dir}"}, BadInput, "no items to group"),
        ({"commands": ("cat {item}",), "globs": ("x/*",), "group": "all"}, BadInput, "one group"),
        ({"commands": ("cat x",), "name": "a/b"}, BadInput, "not a name"),
        ({"commands": ("cat x",), "name": ""}, BadInput, "not a name"),
    ],
)
def test_what_cannot_be_is_said_at_once(
    project: Path, wish: dict[str, object], error: type[SkepError], said: str
) -> None:
    with pytest.raises(error, match=said) as caught:
        launch_of(project, **wish)
    assert caught.value.mend


def test_a_swarm_is_named_after_its_program_and_its_folder(project: Path) -> None:
    billing = project / "billing"
    billing.mkdir()
    (billing / "python3").write_text("#!/bin/sh\n")
    (billing / "python3").chmod(0o755)
    assert launch_of(billing, commands=("/bin/cat x",)).name == "cat-billing"
    assert launch_of(billing, commands=("./python3 -m ruff check",)).name == "ruff-billing"
    assert launch_of(project, commands=("cat x",), name="nightly").name == "nightly"


def test_an_id_begins_with_a_letter() -> None:
    ids = {new_id() for _ in range(200)}
    assert len(ids) > 190
    assert all(len(one) == 6 and one[0].isalpha() and one.isalnum() and one.islower() for one in ids)
