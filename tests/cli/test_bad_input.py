"""Whatever cannot be is one message with its mend, exit 2, and nothing begun."""

from __future__ import annotations

import os
import re

import pytest

from tests.cli.shells import Shell

WORDS = {
    "an unknown program": ["run", "-c", "no-such-program-here", "--headless"],
    "an empty template": ["run", "-c", "  ", "--headless"],
    "an open quote": ["run", "-c", "cat 'x", "--headless"],
    "an unknown field": ["run", "--each", "*", "-c", "cat {itm}", "--headless"],
    "a glob without a match": ["run", "--each", "*.nope", "-c", "cat {item}", "--headless"],
    "a file of lines that is not there": ["run", "--each-line", "nope", "-c", "cat {item}", "--headless"],
    "empty standard input": ["run", "--each-line", "-", "-c", "cat {item}", "--headless"],
    "a folder that is not there": ["run", "-c", "true", "--cwd", "nope", "--headless"],
    "a folder that is a file": ["run", "-c", "true", "--cwd", "file", "--headless"],
    "nothing to run": ["run", "--each", "*", "--headless"],
    "no terminal": ["run", "-c", "true"],
    "no slots": ["run", "-c", "true", "-j", "0", "--headless"],
    "a time that is none": ["run", "-c", "true", "--timeout", "soon", "--headless"],
    "two readers of standard output": ["run", "-c", "true", "--json", "--print"],
    "a run that waits and does not": ["run", "-c", "true", "--json", "--detach"],
    "a log folder under a file": ["run", "-c", "true", "--log-dir", "file/logs", "--headless"],
    "no swarm at all": ["tree"],
    "a swarm that is not there": ["attach", "nope"],
    "a recovery of nothing": ["recover", "nope"],
    "a pause of nothing": ["pause", "--for", "10m"],
    "a hold of no time": ["pause", "--for", "0"],
    "a limit for no wait": ["kill", "x", "--timeout", "5s"],
    "a kill of nothing": ["kill", "nope"],
    "trust in nothing": ["trust", "."],
    "commands that shall be steered": ["run", "-c", "true", "--on-stale", "steer", "--headless"],
    "force without a name": ["clean", "--force"],
}


def is_one_message(text: str) -> bool:
    return re.fullmatch(r"skep: [^\n]+\n(  mend: [^\n]+\n)", text) is not None


@pytest.mark.parametrize("words", WORDS.values(), ids=WORDS.keys())
def test_bad_input_is_one_message_and_nothing_begins(shell: Shell, words: list[str]) -> None:
    shell.file("file")
    done = shell.skep(*words)
    assert (done.returncode, done.stdout) == (2, "")
    assert is_one_message(done.stderr), done.stderr
    assert shell.left_in_state() == []


def test_a_state_folder_whose_socket_path_is_too_long_is_refused(shell: Shell) -> None:
    done = shell.skep("run", "-c", "true", "--headless", SKEP_STATE_DIR=str(shell.state / ("x" * 90)))
    assert done.returncode == 2
    assert "too long" in done.stderr
    assert is_one_message(done.stderr), done.stderr


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_state_folder_that_cannot_be_written_is_refused(shell: Shell) -> None:
    shell.state.chmod(0o500)
    done = shell.skep("run", "-c", "true", "--headless")
    shell.state.chmod(0o700)
    assert done.returncode == 2
    assert is_one_message(done.stderr), done.stderr


def test_a_command_that_is_no_text_is_refused(shell: Shell) -> None:
    done = shell.skep("run", "-c", "echo \udcff", "--headless")
    assert done.returncode == 2
    assert is_one_message(done.stderr), done.stderr
    assert shell.left_in_state() == []


def test_a_state_folder_that_is_a_file_is_refused(shell: Shell) -> None:
    file = shell.file("state")
    done = shell.skep("run", "-c", "true", "--headless", SKEP_STATE_DIR=str(file))
    assert done.returncode == 2
    assert is_one_message(done.stderr), done.stderr


def test_bad_settings_are_named_with_their_place(shell: Shell) -> None:
    (shell.state.parent / "c" / "config.toml").write_text("max_running = 4\ntimeout = 'soon'\n")
    done = shell.skep("run", "-c", "true", "--headless")
    assert done.returncode == 2
    assert "config.toml:2" in done.stderr
    assert is_one_message(done.stderr), done.stderr
    assert shell.left_in_state() == []


@pytest.mark.parametrize("words", [["nope"], ["run", "--nope"], ["ls", "extra"]], ids=" ".join)
def test_a_wrong_word_shows_the_way_to_the_help(shell: Shell, words: list[str]) -> None:
    done = shell.skep(*words)
    assert (done.returncode, done.stdout) == (2, "")
    assert "-h" in done.stderr


def test_an_unquoted_glob_is_recognised(shell: Shell) -> None:
    shell.file("a.py"), shell.file("b.py")
    done = shell.skep("run", "--each", "a.py", "b.py", "-c", "cat {item}", "--headless")
    assert done.returncode == 2
    assert "quote a glob" in done.stderr


def test_what_is_shown_of_bad_input_cannot_steer_a_terminal(shell: Shell) -> None:
    done = shell.skep("run", "-c", "\x1b]0;owned\x07 \x9b2J", "--headless")
    assert done.returncode == 2
    assert done.stderr.replace("\n", "").isprintable()
