"""What programs get of the operator's environment: those of agents a short list, those of people all but keys."""

from __future__ import annotations

from collections.abc import Collection, Mapping

SHARED = ("PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "TZ", "TMPDIR", "SSL_CERT_FILE", "SSL_CERT_DIR")
"""What a tool's program may know; also the variables that begin with LC_."""


def for_tools(env: Mapping[str, str]) -> dict[str, str]:
    """The whole environment of the programs that agents run: an allow-list, for a model decides what they are."""
    return {name: value for name, value in env.items() if name in SHARED or name.startswith("LC_")}


def for_commands(env: Mapping[str, str], secret: Collection[str]) -> dict[str, str]:
    """The environment of the programs that the operator starts: the operator's own, without the keys of models."""
    return {name: value for name, value in env.items() if name not in secret}
