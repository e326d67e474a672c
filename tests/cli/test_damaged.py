"""Swarms whose journals are damaged, from the shell: shown as far as they are sound, and never without a word."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from skep.control.swarms import DESCRIPTION
from tests.cli.shells import Shell
from tests.cli.spoiled import DIED, ENDED, LOST, lose_the_last_events, spoil, swarm


def test_the_tree_is_shown_up_to_the_last_sound_event(shell: Shell) -> None:
    lose_the_last_events(swarm(shell.state, DIED))
    done = shell.skep("tree")
    assert done.returncode == 0
    assert "src/1.py" in done.stdout
    assert LOST in done.stderr
    assert "skep recover s-1 --accept-loss" in done.stderr
    told = shell.json("tree", "--json")
    assert told["status"] == "dead"
    assert {agent["id"]: agent["state"] for agent in told["agents"]} == {
        "a1": "done",
        "a2": "starting",
        "a3": "queued",
    }
    damage = told["damage"]
    assert (damage["last_sound"], damage["missing"], damage["missing_is_lower_bound"]) == (9, 3, False)
    assert damage["unreadable"] is None
    assert LOST in damage["what"]
    assert "row 10" in damage["why"]
    assert "--accept-loss" in damage["mend"]


def test_a_sound_journal_has_no_damage(shell: Shell) -> None:
    swarm(shell.state, ENDED, checkpoint=14)
    assert shell.json("tree", "--json")["damage"] is None
    assert shell.json("ls", "--json")["swarms"][0]["damage"] is None
    for words in (("tree",), ("ls",), ("events",), ("tail", "a1")):
        done = shell.skep(*words)
        assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("follow", [(), ("--follow",)])
def test_events_are_printed_up_to_the_last_sound_one_and_the_rest_is_an_error(
    shell: Shell, follow: tuple[str, ...]
) -> None:
    lose_the_last_events(swarm(shell.state, DIED))
    done = shell.skep("events", "--json", *follow)
    assert [json.loads(line)["seq"] for line in done.stdout.splitlines()] == list(range(1, 10))
    assert done.returncode == 2
    assert LOST in done.stderr
    assert shell.skep("events", "--after", "11").stdout == ""


def test_output_is_shown_with_a_warning(shell: Shell) -> None:
    folder = swarm(shell.state, DIED)
    (folder / "output").mkdir()
    (folder / "output" / "a1.log").write_bytes(b"one\ntwo\n")
    lose_the_last_events(folder)
    done = shell.skep("tail", "a1")
    assert (done.returncode, done.stdout) == (0, "one\ntwo\n")
    assert LOST in done.stderr


def test_the_list_names_what_is_damaged_and_shows_the_others(shell: Shell) -> None:
    lose_the_last_events(swarm(shell.state, DIED))
    swarm(shell.state, ENDED, name="s-2")
    done = shell.skep("ls")
    assert done.returncode == 0
    assert LOST in done.stderr
    swarms = {one["id"]: one for one in shell.json("ls", "--json")["swarms"]}
    assert (swarms["s-1"]["state"], swarms["s-2"]["state"]) == ("damaged", "done")
    assert swarms["s-1"]["states"] == {"done": 1, "starting": 1, "queued": 1}
    assert swarms["s-1"]["damage"]["missing"] == 3


def test_verbs_say_that_nothing_can_be_done_and_why(shell: Shell) -> None:
    lose_the_last_events(swarm(shell.state, DIED))
    for words in (("pause",), ("interrupt", "a2"), ("keys", "s-1")):
        done = shell.skep(*words)
        assert done.returncode == 2
        assert LOST in done.stderr
        assert "--accept-loss" in done.stderr


def test_whoever_takes_it_up_has_to_accept_the_loss(shell: Shell) -> None:
    folder = swarm(shell.state, DIED)
    lose_the_last_events(folder)
    damaged = (folder / "journal.db").read_bytes()
    refused = shell.skep("recover", "s-1")
    assert refused.returncode == 2
    assert "--accept-loss" in refused.stderr
    assert (folder / "journal.db").read_bytes() == damaged
    taken = shell.skep("recover", "s-1", "--accept-loss")
    assert taken.returncode == 0, taken.stderr
    assert LOST in taken.stderr
    assert (folder / "journal.db.damaged-1").read_bytes() == damaged
    told = shell.json("tree", "--json")
    assert told["damage"] is None
    assert {agent["id"]: agent["state"] for agent in told["agents"]} == {
        "a1": "done",
        "a2": "lost",
        "a3": "queued",
    }
    seqs = [json.loads(line)["seq"] for line in shell.skep("events", "--json").stdout.splitlines()]
    assert seqs == list(range(1, len(seqs) + 1))
    assert len(seqs) > 9


def test_a_swarm_that_has_ended_is_mended_by_accepting_as_well(shell: Shell) -> None:
    folder = swarm(shell.state, ENDED, checkpoint=14)
    (folder / "head").unlink()
    assert "nobody can tell whether acknowledged events after 16 are missing" in shell.skep("tree").stderr
    assert "has ended" in shell.skep("recover", "s-1").stderr
    assert shell.skep("recover", "s-1", "--accept-loss").returncode == 0
    done = shell.skep("tree")
    assert (done.returncode, done.stderr) == (0, "")


def test_an_event_before_a_checkpoint_costs_only_itself(shell: Shell) -> None:
    folder = swarm(shell.state, DIED, checkpoint=11)
    spoil(folder, DIED[6])
    done = shell.skep("tree")
    assert "event 7 cannot be read, but a checkpoint stands for it and the state is whole" in done.stderr
    told = shell.json("tree", "--json")
    assert (told["damage"]["last_sound"], told["damage"]["missing"], told["damage"]["unreadable"]) == (12, 0, 7)
    assert {agent["id"]: agent["state"] for agent in told["agents"]} == {
        "a1": "done",
        "a2": "running",
        "a3": "running",
    }
    assert shell.json("ls", "--json")["swarms"][0]["state"] == "dead"
    events = shell.skep("events", "--json")
    assert [json.loads(line)["seq"] for line in events.stdout.splitlines()] == list(range(1, 7))
    assert events.returncode == 2
    assert "row 7" in events.stderr
    assert shell.skep("recover", "s-1").returncode == 0, "nothing of the state is lost, and nothing to be accepted"


def nothing_sound(folder: Path) -> None:
    (folder / "journal.db").write_bytes(bytes((folder / "journal.db").stat().st_size))


def no_journal(folder: Path) -> None:
    for name in ("journal.db", "head"):
        (folder / name).unlink()


@pytest.mark.parametrize("harm", [nothing_sound, no_journal])
def test_where_nothing_is_left_everything_says_so_and_only_force_removes_it(
    shell: Shell, harm: Callable[[Path], None]
) -> None:
    folder = swarm(shell.state, ENDED)
    harm(folder)
    for words in (("tree",), ("events",), ("tail", "a1"), ("recover", "s-1", "--accept-loss"), ("clean", "s-1")):
        done = shell.skep(*words)
        assert done.returncode == 2, words
        assert done.stderr
    assert shell.json("ls", "--json")["swarms"][0]["state"] == "damaged"
    assert shell.skep("clean", "--yes").returncode == 0
    assert folder.exists()
    assert shell.skep("clean", "--yes", "--force", "s-1").returncode == 0
    assert not folder.exists()


def test_clean_leaves_what_is_damaged_and_takes_the_rest(shell: Shell) -> None:
    damaged = swarm(shell.state, ENDED)
    (damaged / "head").unlink()
    ended = swarm(shell.state, ENDED, name="s-2")
    done = shell.skep("clean", "--yes")
    assert done.returncode == 0
    assert "nobody can tell" in done.stderr
    assert (damaged.exists(), ended.exists()) == (True, False)
    assert shell.skep("clean", "--yes", "s-1").returncode == 2
    assert shell.skep("clean", "--yes", "--force", "s-1").returncode == 0
    assert not damaged.exists()


def test_a_folder_whose_description_is_damaged_is_told_and_can_be_removed(shell: Shell) -> None:
    folder = swarm(shell.state, ENDED)
    (folder / DESCRIPTION).write_text("{")
    for words in (("ls",), ("clean", "--yes")):
        done = shell.skep(*words)
        assert done.returncode == 0
        assert "skep clean --force s-1" in done.stderr
    assert folder.exists()
    assert shell.skep("clean", "--yes", "--force", "s-1").returncode == 0
    assert not folder.exists()
    assert shell.skep("clean", "--yes", "--force", "..").returncode == 2
