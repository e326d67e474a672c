"""The models of a swarm put together: which variables are kept from programs, who shares a pool of keys."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from skep.cli.goals import Goals, plan_goals
from skep.cli.models import caps_of, models_of, secret_names
from skep.cli.planning import Wish, plan
from skep.cli.rehearsal import plan_demo
from skep.clock import VirtualClock
from skep.config import load
from skep.model.launch import EngineSettings, Launch, Simulated
from skep.providers import READY, SIMULATOR, Provider
from tests.cli.shells import Shell

CANARY = "sk-canary-Zq7Xw9Lp2Vt4"
ACME = '[providers.acme]\nbase_url = "https://models.example.com/v1"\nkeys = "ACME_KEY"\n'
SOURCE = Path(__file__).parents[2] / "src"
RELATIVE = os.path.relpath(SOURCE)
KEPT = {"ACME_KEY", "ACME_KEY_2", "OPENAI_API_KEY"}


def planned(cwd: Path, kind: str) -> tuple[Launch, dict[str, str]]:
    """A swarm of this kind by somebody who has configured acme, whose first key cannot be used."""
    config = cwd / "config"
    config.mkdir()
    (config / "config.toml").write_text(ACME)
    env = {
        "SKEP_CONFIG_DIR": str(config),
        "SKEP_STATE_DIR": str(cwd),
        "HOME": str(cwd),
        "PATH": os.environ["PATH"],
    }
    env |= {"OPENAI_API_KEY": CANARY, "ACME_KEY": f"{CANARY} with blanks", "ACME_KEY_2": CANARY}
    loaded = load(cwd, {"model": "openai/gpt-4.1-mini"}, env)
    if kind == "commands":
        return plan(Wish(cwd=cwd, commands=("true",)), loaded.config, env), env
    if kind == "goals":
        return plan_goals(Goals(cwd=cwd, goals=("look",)), loaded, env), env
    return plan_demo(1, 1.0, loaded.config, env), env


@pytest.mark.parametrize("kind", ["commands", "goals", "demo"])
def test_the_keys_of_every_configured_provider_are_kept_from_programs(tmp_path: Path, kind: str) -> None:
    launch, env = planned(tmp_path, kind)
    kept = Launch.model_validate_json(launch.model_dump_json()).settings  # as an engine gets it
    assert "acme" not in kept.providers
    assert secret_names(kept, env) == KEPT


def test_a_program_does_not_find_the_keys_of_its_operator(shell: Shell) -> None:
    (shell.state.parent / "c" / "config.toml").write_text(ACME)
    keys = dict.fromkeys(KEPT, CANARY)
    done = shell.skep("run", "--print", "--", "env", **keys, SOMETHING_ELSE="stays")
    assert done.returncode == 0, done.stderr
    assert "SOMETHING_ELSE=stays" in done.stdout
    assert CANARY not in done.stdout


def below(pid: int) -> dict[int, list[str]]:
    """The living children of a process, with the words that they were started with."""
    found = {}
    for children in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in map(int, children.read_text().split()):
            found[child] = Path(f"/proc/{child}/cmdline").read_text().split("\0")
    return found


def environment(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/environ").read_text().split("\0")


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")
async def test_the_simulator_of_an_engine_gets_no_key_and_finds_its_modules(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", CANARY)
    monkeypatch.setenv("SOMETHING_ELSE", CANARY)
    monkeypatch.setenv("PYTHONPATH", RELATIVE)
    settings = EngineSettings(providers={SIMULATOR: READY[SIMULATOR]}, simulated=Simulated())
    async with models_of(settings, os.environ, VirtualClock(), str, "s1", strict=True) as models:
        [simulator] = [pid for pid, words in below(os.getpid()).items() if "skep.simulator" in words]
        variables = environment(simulator)
        assert models is not None
        assert models.pools[SIMULATOR].endpoint.startswith("http://127.0.0.1:")
    assert f"PYTHONPATH={SOURCE}" in variables
    assert [variable for variable in variables if CANARY in variable] == []


FOREGROUND = """
import ctypes, sys
from pathlib import Path
from skep.cli.engine import foreground
from skep.model.launch import Launch
with foreground(Path(sys.argv[1]), Launch.model_validate_json(sys.argv[2])):
    print(ctypes.CDLL(None).prctl(3, 0, 0, 0, 0))  # PR_GET_DUMPABLE
"""


@pytest.mark.skipif(sys.platform != "linux", reason="a call of Linux")
@pytest.mark.parametrize(("providers", "dumpable"), [({"ollama": READY["ollama"]}, "0"), ({}, "1")], ids=str)
def test_an_engine_in_the_foreground_lets_nobody_look_into_its_memory_either(
    shell: Shell, providers: dict[str, Provider], dumpable: str
) -> None:
    folder = shell.state / "swarms" / "s1"
    folder.mkdir(parents=True, mode=0o700)
    agent = {"id": "a1", "name": "a1", "command": {"argv": ["true"], "cwd": "/"}}
    settings = EngineSettings(providers=providers)
    launch = Launch.model_validate(
        {"swarm": "s1", "name": "one", "cwd": "/", "agents": [agent], "settings": settings.model_dump()}
    )
    done = subprocess.run(
        [sys.executable, "-c", FOREGROUND, str(folder), launch.model_dump_json()],
        env={name: value for name, value in shell.env.items() if "KEY" not in name},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert (done.stdout.strip(), done.returncode) == (dumpable, 0), done.stderr


def served_by(
    name: str, *, url: str = "https://a.example/v1", keys: str = "KEY", cap: int | None = None
) -> Provider:
    return Provider(base_url=url, keys=keys, label=name, max_concurrency=cap)


async def test_providers_of_one_endpoint_with_the_same_keys_share_one_pool(tmp_path: Path) -> None:
    providers = {
        "fast": served_by("fast", cap=10),
        "slow": served_by("slow", cap=5),
        "free": served_by("free"),
        "elsewhere": served_by("elsewhere", url="https://b.example/v1", cap=5),
        "other": served_by("other", keys="OTHER"),
    }
    env = {
        "KEY_1": "one",
        "KEY_2": "two",
        "OTHER": "three",
        "SKEP_CONFIG_DIR": str(tmp_path),
        "HOME": str(tmp_path),
    }
    settings = EngineSettings(providers=providers)
    async with models_of(settings, env, VirtualClock(), str, "s1", strict=True) as models:
        assert models is not None
        pools = models.pools
        assert pools["fast"] is pools["slow"] is pools["free"]
        assert len({id(pool) for pool in pools.values()}) == 3
        assert caps_of(models) == {"fast": 8, "slow": 8, "free": 8, "elsewhere": 8}
        keys = [(key.label, key.cap) for key in pools["slow"].snapshot().keys]
        assert keys == [("fast-1", 5), ("fast-2", 5)]


def test_a_pool_that_two_providers_share_is_shown_once(shell: Shell) -> None:
    lines = [
        f'[providers.{name}]\nbase_url = "http://127.0.0.1:9/v1"\nkeys = "ACME_KEY"\n' for name in ("one", "two")
    ]
    (shell.state.parent / "c" / "config.toml").write_text("".join(lines))
    shell.env |= {"ACME_KEY": CANARY, "SKEP_MODEL": "one/x", "OPENAI_API_KEY": ""}
    done = shell.skep("run", "wait", "--detach")
    assert done.returncode == 0, done.stderr
    body = shell.json("keys", done.stdout.strip(), "--json")
    shown = [pool["endpoint"] for pool in body["pools"]]
    assert shown.count("http://127.0.0.1:9/v1") == 1, json.dumps(body)
    shell.skep("kill", done.stdout.strip(), "--branch", "--wait")
