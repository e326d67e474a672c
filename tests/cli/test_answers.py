"""What an agent asks is shown whole, and the answer is bound to what was shown."""

from __future__ import annotations

import pytest

from skep.control.verbs import Answer
from skep.model.events import Event
from tests.cli.shells import Shell
from tests.cli.test_bad_input import is_one_message
from tests.cli.told import asks, born, chat, group, running, served, turn


def two_that_run() -> list[Event]:
    return [*born(), group(), chat("a1", name="release"), chat("a2"), *running("a1"), *running("a2")]


def test_an_answer_carries_the_hash_of_what_was_shown(shell: Shell) -> None:
    with served(shell, *two_that_run(), *asks("a1", "hash-1", "make \x1b[2Jrelease")) as engine:
        done = shell.skep("approve", "told/release", "--yes")
        assert done.returncode == 0, done.stderr
        assert done.stdout == "release: allowed\n"
        assert "make" in done.stderr
        assert "/work" in done.stderr
        assert "timeout: 120" in done.stderr
        assert "\x1b" not in done.stderr
        assert [request for request, _ in engine.asked] == [Answer(agent="a1", hash="hash-1", allow=True)]


@pytest.mark.parametrize(
    "hidden",
    ["x" * 9_000, "x" * 90_000, "echo nothing\r", "echo a\r\n", "\x1b]0;", "\x1b[8m", "\x9d", "\u202e"],
    ids=["long", "endless", "return", "two returns", "title", "invisible", "C1", "turned around"],
)
def test_all_of_a_command_is_shown_before_it_is_allowed(shell: Shell, hidden: str) -> None:
    command = f"echo first; {hidden} rm -rf /the/end"
    with served(shell, *two_that_run(), *asks("a1", "hash-1", command)):
        done = shell.skep("approve", "told/release", "--yes")
    assert done.returncode == 0, done.stderr
    shown = done.stderr.partition("command: ")[2].partition("  cwd: ")[0]
    assert "echo first;" in shown
    assert shown.rstrip().endswith("rm -rf /the/end")
    assert "".join(char for char in shown if char.isalnum()) == "".join(char for char in command if char.isalnum())
    assert all(char.isprintable() or char == "\n" for char in done.stderr)


def test_a_denial_needs_no_further_word_and_can_be_read_by_a_script(shell: Shell) -> None:
    with served(shell, *two_that_run(), *asks("a2")) as engine:
        body = shell.json("deny", "t1", "--json")
        assert {name: body[name] for name in ("swarm", "verb", "agent", "tool", "headline", "hash")} == {
            "swarm": "t1",
            "verb": "deny",
            "agent": "a2",
            "tool": "terminal",
            "headline": "$ make release",
            "hash": "h1",
        }
        ((request, who),) = engine.asked
        assert isinstance(request, Answer)
        assert (request.allow, who.name) == (False, "you")


def test_without_a_terminal_nothing_is_allowed_by_accident(shell: Shell) -> None:
    with served(shell, *two_that_run(), *asks("a1")) as engine:
        done = shell.skep("approve", "a1")
        assert (done.returncode, done.stdout) == (2, "")
        assert "--yes" in done.stderr
        assert engine.asked == []


def test_whom_an_answer_is_for_must_be_clear(shell: Shell) -> None:
    with served(shell, *two_that_run()) as engine:
        nobody = shell.skep("approve", "--yes")
        silent = shell.skep("approve", "a2", "--yes")
    assert (nobody.returncode, silent.returncode) == (2, 2)
    assert "nobody asks anything" in nobody.stderr
    assert is_one_message(silent.stderr), silent.stderr
    assert engine.asked == []


def test_of_several_that_ask_one_must_be_named(shell: Shell) -> None:
    with served(shell, *two_that_run(), *asks("a1"), *asks("a2", "h2")) as engine:
        done = shell.skep("approve", "--yes")
        assert done.returncode == 2
        assert "t1/a1" in done.stderr
        assert "t1/a2" in done.stderr
        assert engine.asked == []


def test_the_tree_shows_who_asks_and_what_each_has_used(shell: Shell) -> None:
    told = [*two_that_run(), turn("a1", 1), turn("a1", 2, cost=None), turn("a2", 1), *asks("a1")]
    with served(shell, *told):
        text = shell.skep("tree").stdout
        body = shell.json("tree", "--json")
    heads, root, first, second = text.splitlines()
    assert heads.split() == ["NAME", "STATE", "IN", "TURN", "TOKENS", "COST", "KEY", "DOING"]
    assert "make release" in first
    assert {"2", "2.20k", "sim-2"} <= set(first.split())
    assert {"1", "1.10k", "<$0.01", "sim-2"} <= set(second.split())
    assert "3.30k" in root.split()
    assert body["totals"] == {
        "agents": 2,
        "states": {"waiting": 1, "running": 1},
        "tokens_in": 3_000,
        "tokens_out": 300,
        "cost_usd": None,
        "cost_is_lower_bound": False,
    }
    assert [agent["cost_usd"] for agent in body["agents"]] == [None, 0.0015]
    waiting = {"reason": "approval", "position": None, "held_by": None, "detail": "$ make release"}
    assert [agent["waiting"] for agent in body["agents"]] == [waiting, None]
