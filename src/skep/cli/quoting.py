"""Where in a line of shell a quoted value would not stay one word."""

from __future__ import annotations

import re

# Characters before which a # begins a comment.
_WORD_ENDS = " \t\n;&|()"
# In a template a brace is written twice.
_PLAIN_VARIABLE = re.compile(r"\$\{\{\w+\}\}")
_REASONS = {
    "'": "inside of quotes",
    '"': "inside of quotes",
    "`": "inside of backquotes",
    "#": "in a comment",
    "\\": "behind a backslash",
    "$": "after a substitution inside of quotes",
    "<": "after a here-document",
    "(": "in or after arithmetic",
}


def unquotable(line: str, at: int) -> str | None:
    """Why a value in single quotes is not safe at this index of a line for ``/bin/sh``; None if it is.

    Inside of quotes, backquotes, arithmetic or a here-document the quotes of the value would be text, and what
    it holds could run. In doubt the place is refused.
    """
    return _REASONS.get(_state_at(line, at))


def _state_at(line: str, at: int) -> str:
    """What is open at this index: a quote, a comment, something doubtful; empty where words are just words."""
    state = ""
    index = 0
    while index < at:
        char = line[index]
        if state in ("'", "#"):
            state = "" if char == ("'" if state == "'" else "\n") else state
        elif char == "\\":
            index += 1
            if index == at:
                return "\\"
        elif state == '"' and char in "$`":
            variable = _PLAIN_VARIABLE.match(line, index)
            if char == "`" or line.startswith("$(", index) or (variable is None and line.startswith("${", index)):
                return "$"  # quotes nest in there, and this scan does not
        elif state:
            state = "" if char == state else state
        elif char in "'\"`" or (char == "#" and (index == 0 or line[index - 1] in _WORD_ENDS)):
            state = char
        elif line.startswith("<<", index):
            return "<"
        elif line.startswith(("$((", "$[", "(("), index):
            return "("  # quotes are plain text in arithmetic, and what they hold may run
        index += 1
    return state
