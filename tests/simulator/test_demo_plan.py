"""The demo's swarm and its shop: large enough, the same for the same seed, and with defects that tests find."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from skep.simulator.demo import CAPTAIN, GOAL, HANGING, expected, make_workspace
from skep.simulator.demo.kinds_rules import RULES
from skep.simulator.demo.kinds_state import STATEFUL
from skep.simulator.demo.shop import services
from skep.simulator.demo.workspace import files

KINDS = (*RULES, *STATEFUL)
SEEDS = (0, 1, 7, 2**40)


@pytest.mark.parametrize("seed", SEEDS)
def test_the_swarm_has_at_least_sixty_agents_on_three_levels(seed: int):
    agents = expected(seed)
    assert 65 <= len(agents) <= 80
    assert agents[CAPTAIN] == (None, GOAL, "done")
    teams = {name for name, agent in agents.items() if agent.parent == CAPTAIN}
    assert len(teams) == 8
    assert all(agent.parent in teams for name, agent in agents.items() if name not in {CAPTAIN, *teams})
    assert min(Counter(agent.parent for agent in agents.values() if agent.parent in teams).values()) >= 5


@pytest.mark.parametrize("seed", SEEDS)
def test_names_fit_into_the_tree_and_goals_tell_agents_apart(seed: int):
    agents = expected(seed)
    assert max(map(len, agents)) <= 22
    assert len({agent.goal for agent in agents.values()}) == len(agents)
    assert not any("\n" in agent.goal for agent in agents.values())


@pytest.mark.parametrize("seed", SEEDS)
def test_one_leaf_fails_and_one_branch_waits_for_the_operator(seed: int):
    agents = expected(seed)
    assert sum(agent.state == "failed" for agent in agents.values()) == 1
    stopped = {name for name, agent in agents.items() if agent.state == "interrupted"}
    assert stopped == {HANGING} | {name for name, agent in agents.items() if agent.parent == HANGING}
    assert 4 <= len(stopped) - 1 <= 6


def test_the_same_seed_gives_the_same_swarm_and_the_same_shop(tmp_path: Path):
    for folder in ("one", "two"):
        make_workspace(tmp_path / folder, 3)
    assert _content(tmp_path / "one") == _content(tmp_path / "two")
    assert list(expected(3).items()) == list(expected(3).items())


def test_another_seed_gives_another_swarm_and_another_shop():
    assert expected(3) != expected(4)
    assert dict(files(3)) != dict(files(4))


@pytest.mark.parametrize("seed", SEEDS)
def test_the_shop_is_a_small_project_of_ten_services(seed: int):
    written = dict(files(seed))
    assert 100 <= len(written) <= 150
    assert len(services(seed)) == 10
    assert all(path.endswith("__init__.py") or text for path, text in written.items())
    for path, text in written.items():
        if path.endswith(".py"):
            compile(text, path, "exec")


@pytest.mark.parametrize("broken", [False, True])
def test_the_tests_of_a_module_fail_if_and_only_if_it_is_broken(tmp_path: Path, broken: bool):
    for folder in ("shop", "tests"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "__init__.py").touch()
    for kind in KINDS:
        text = kind.text("basket", "baskets", defect=broken, note="look at this")
        assert kind.good in kind.source
        assert "# look at this" in text
        (tmp_path / "shop" / f"{kind.stem}.py").write_text(text)
        (tmp_path / "tests" / f"test_{kind.stem}.py").write_text(kind.test_text("shop", "basket", "baskets"))
    ran = subprocess.run(
        [sys.executable, "-B", "-m", "unittest", "-q"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    failing = {kind.stem for kind in KINDS if f"tests.test_{kind.stem}." in ran.stderr}
    assert failing == ({kind.stem for kind in KINDS} if broken else set())
    assert (ran.returncode == 0) is not broken


def _content(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*") if path.is_file()}
