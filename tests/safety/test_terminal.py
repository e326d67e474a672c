"""What skep writes to a terminal is skep's own, whatever the items and the output of the programs hold."""

from __future__ import annotations

import re

import pytest

from tests.cli.conftest import shell as shell
from tests.cli.shells import Shell
from tests.safety.attempts import on_a_terminal

CORPUS = (
    "\x1b]52;c;UE9XTkVE\x07",
    "\x1b[2J\x1b[H",
    "\x1b]0;title\x1b\\",
    "\x9b2J",
    "\x9d52;c;AAAA\x9c",
    "\u202eevil\u202c",
    "z\u200bw\ufeffs",
    "Z" + "\u0301" * 60,
    "\x7f\x08\x08del",
    "\u2066iso\u2069",
    "\U000e0041tag",
    "l\u2028s",
    "\x1bPq\x1b\\",
    "a\rb",
    "\x1b]52;c;unended",
)

OURS = re.compile(rb"\x1b\[K|\x1b\[[0-9;]*m|\r\n|\r|\n")
FOREIGN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u034f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff"
    "\ufe00-\ufe0f\U000e0000-\U000e0fff]|[\u0300-\u036f]{5,}"
)


def foreign(written: bytes) -> list[str]:
    text = OURS.sub(b"\n", written).decode(errors="surrogateescape")
    return [repr(text[max(0, found.start() - 20) : found.end() + 20]) for found in FOREIGN.finditer(text)]


@pytest.mark.parametrize("nasty", CORPUS)
def test_the_corpus_is_foreign(nasty):
    assert foreign(nasty.encode()) or nasty == "a\rb"


def test_no_verb_lets_an_item_or_an_output_act_on_the_terminal(shell: Shell):
    shell.file("items", "\n".join(f"item {nasty}" for nasty in CORPUS) + "\n")
    # Every program writes what it is given, in two halves, then bytes that are no text, and a very long line.
    shell.file(
        "emit.py",
        "import os, sys\n"
        "b = os.fsencode(sys.argv[1])\n"
        "os.write(1, b[:len(b) // 2]); os.write(1, b[len(b) // 2:] + b'\\n\\0\\xff\\xc3(\\n')\n"
        "os.write(1, b'A' * 200_000 + b'\\n\\x1b]52;c;\\xc2\\x9b2J')\n"
        "sys.exit(3)\n",
    )

    run = ("run", "--each-line", "items", "--command", "python3 emit.py {item}", "--print", "--headless")
    said = {"run": on_a_terminal(*run, cwd=shell.project, env=shell.env)}
    for verb in ("ls --json", "tree", "tree --json", "events", "events --json", "tail /a1"):
        said[verb] = shell.skep(*verb.split()).stdout.encode()
    assert all(b"item" in said[verb] for verb in said if not verb.startswith("ls")), said
    assert {verb: found for verb, written in said.items() if (found := foreign(written))} == {}
