"""Keys are shown by label, with what is missing and how to mend it; never a byte of them."""

from __future__ import annotations

from skep.control.verbs import KeyShown, PoolShown
from tests.cli.shells import Shell
from tests.cli.told import born, chat, group, running, served

KEYS = {
    "OPENAI_API_KEY": "sk-canary-one",
    "OPENAI_API_KEY_1": "sk-canary-two",
    "OPENAI_API_KEY_7": "sk-canary-one",
}


def pool() -> PoolShown:
    keys = [
        KeyShown(label="sim-1", fingerprint="aa", state="ok", in_flight=2, cap=4, holders={"a1": 2}, cost_usd=0.5),
        KeyShown(label="sim-2", fingerprint="bb", state="cooling", until=1_042.0, reason="429", rate_limited=3),
    ]
    return PoolShown(
        provider="simulator", endpoint="http://x/v1", at=1_000.0, keys=keys, waiters=2, oldest_wait=31
    )


def test_the_keys_found_are_listed_by_label_and_the_missing_ones_by_their_variable(shell: Shell) -> None:
    done = shell.skep("keys", **KEYS)
    assert done.returncode == 0, done.stderr
    lines = {tuple(line.split()[:2]) for line in done.stdout.splitlines()}
    assert {("openai", "openai-1"), ("openai", "openai-2"), ("ollama", "needs")} <= lines
    assert "no key for moonshot (MOONSHOT_API_KEY)" in done.stdout
    assert "canary" not in done.stdout + done.stderr


def test_a_key_that_cannot_be_used_is_said_and_hides_no_other(shell: Shell) -> None:
    done = shell.skep("keys", **KEYS, MOONSHOT_API_KEY_3="canary\x1b[2J")
    assert done.returncode == 0
    assert "the key cannot be sent (MOONSHOT_API_KEY_3)" in done.stdout
    assert "openai-2" in done.stdout
    assert "canary" not in done.stdout + done.stderr


def test_scripts_read_the_same(shell: Shell) -> None:
    shell.env |= KEYS
    body = shell.json("keys", "--json")
    assert (body["swarm"], body["pools"]) == (None, [])
    providers = {one["name"]: one for one in body["providers"]}
    assert [key["label"] for key in providers["openai"]["keys"]] == ["openai-1", "openai-2"]
    assert providers["openai"]["missing"] is None
    assert providers["ollama"]["keys"] == []
    assert "MOONSHOT_API_KEY_99" in providers["moonshot"]["missing"]


def test_the_pools_of_a_live_swarm_are_shown_with_who_uses_them(shell: Shell) -> None:
    told = [*born(), group(), chat("a1", name="docs"), *running("a1")]
    with served(shell, *told, pools=[pool()]):
        done = shell.skep("keys", "t1")
        newest = shell.skep("keys")
        body = shell.json("keys", "told", "--json")
    assert done.returncode == 0, done.stderr
    heads, first, second = done.stdout.splitlines()
    assert heads.startswith("KEY")
    assert first.split() == ["sim-1", "ok", "2/4", "0", "0", "0", "0", "0", "–", "$0.50", "docs"]
    assert second.startswith("sim-2  cooling 42s: 429")
    assert "2 agents wait for a key of simulator, oldest 31s" in done.stderr
    assert newest.stdout.splitlines()[-3:] == done.stdout.splitlines()
    assert "swarm t1 (told)" in newest.stdout
    assert body == {"swarm": "t1", "pools": [pool().model_dump(mode="json")]}


def test_a_swarm_of_commands_uses_no_keys(shell: Shell) -> None:
    with served(shell, *born(), group()):
        done = shell.skep("keys", "t1")
    assert (done.returncode, done.stdout) == (0, "")
    assert "uses no keys" in done.stderr


def test_the_keys_of_a_swarm_that_has_ended_are_not_known(shell: Shell) -> None:
    with served(shell, *born(), group()):
        pass
    done = shell.skep("keys", "t1")
    assert (done.returncode, done.stdout) == (2, "")
