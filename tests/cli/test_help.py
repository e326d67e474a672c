from __future__ import annotations

import subprocess
import sys

import pytest
from typer.main import get_command
from typer.testing import CliRunner

from skep import __version__
from skep.cli.app import app

VERBS = [
    *("run", "demo", "attach", "recover", "ls", "tree", "tail", "events", "keys", "pause", "unpause", "interrupt"),
    *("resume", "kill", "approve", "deny", "clean", "config", "trust", "simulator", "help"),
]


def test_the_help_lists_every_verb_with_a_whole_sentence() -> None:
    shown = CliRunner().invoke(app, ["--help"], env={"COLUMNS": "80"}).stdout
    lines = {words[0]: line for line in shown.splitlines() if (words := line.split()) and words[0] in VERBS}
    assert set(lines) == set(VERBS)
    assert [line for line in lines.values() if not line.endswith(".") or line.endswith("...")] == []


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_examples_that_begin_with_it(verb: str) -> None:
    shown = CliRunner().invoke(app, ["help", verb])
    assert shown.exit_code == 0
    assert shown.stdout == CliRunner().invoke(app, [verb, "--help"]).stdout
    assert f"skep {verb}" in shown.stdout.partition("Examples:")[2]


def test_the_version_is_that_of_the_package() -> None:
    assert CliRunner().invoke(app, ["--version"]).stdout == f"skep {__version__}\n"


def test_the_help_loads_neither_the_screen_nor_the_engine() -> None:
    code = (
        "import sys; from skep.cli.app import app; "
        "heavy = {'textual', 'rich', 'pydantic', 'sqlite3', 'asyncio', 'skep.engine', 'skep.room'}; "
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_every_option_says_what_it_does() -> None:
    silent = [
        f"{name} {parameter.name}"
        for name, command in get_command(app).commands.items()  # type: ignore[attr-defined]
        for parameter in command.params
        if not getattr(parameter, "help", None)
    ]
    assert silent == []
