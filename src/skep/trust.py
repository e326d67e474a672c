"""Which files of a project the user has read and allowed: each is remembered by its path and its exact content."""

from __future__ import annotations

import hashlib
import json
import os
import stat
from collections.abc import Mapping
from pathlib import Path

from skep.errors import BadInput, Damaged
from skep.paths import atomic_write, check_owner, file_error, private_dir, state_dir

FILE_LIMIT = 256 * 1024
"""Most bytes of a configuration file."""

_STORE_LIMIT = 16 * 1024 * 1024


def trust(path: Path, *, env: Mapping[str, str] | None = None) -> str:
    """Allow a file as it stands now and return the SHA-256 of its content.

    Raises ``BadInput`` if it cannot be read, is over ``FILE_LIMIT``, belongs to somebody else or may be written
    by others.
    """
    file = absolute(path)
    content, found = read_capped(file)
    check_owner(file, found)
    fingerprint = _fingerprint(content)
    _write({**trusted(env=env), str(file): fingerprint}, env)
    return fingerprint


def untrust(path: Path, *, env: Mapping[str, str] | None = None) -> bool:
    """Take the trust in a file back; false if there was none."""
    store = trusted(env=env)
    if store.pop(str(absolute(path)), None) is None:
        return False
    _write(store, env)
    return True


def is_trusted(path: Path, content: bytes, *, env: Mapping[str, str] | None = None) -> bool:
    """Whether exactly this content was trusted at this path."""
    return trusted(env=env).get(str(absolute(path))) == _fingerprint(content)


def trusted(*, env: Mapping[str, str] | None = None) -> dict[str, str]:
    """Every trusted file: absolute path → SHA-256 of the content that was trusted.

    Raises ``BadInput`` if the store itself could have been written by others, ``Damaged`` if it makes no sense.
    """
    store = _store(env)
    if not os.path.lexists(store):
        return {}
    content, found = read_capped(store, limit=_STORE_LIMIT)
    check_owner(store, found)
    try:
        entries = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise _damaged(store, str(error)) from error
    if not isinstance(entries, dict) or not all(isinstance(value, str) for value in entries.values()):
        raise _damaged(store, "it should map each path to a checksum")
    return entries


def absolute(path: Path) -> Path:
    """The one spelling under which a file is trusted; links are followed, so that no second name inherits it."""
    return Path(os.path.realpath(path))


def read_capped(path: Path, *, limit: int = FILE_LIMIT) -> tuple[bytes, os.stat_result]:
    """A regular file's content of at most ``limit`` bytes, and whose it is; else ``BadInput``."""
    try:
        # A named pipe must not hold us up before it is recognised as one.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with open(descriptor, "rb") as file:
            found = os.fstat(descriptor)
            if not stat.S_ISREG(found.st_mode):
                raise BadInput("not a regular file", where=str(path), mend="put a plain file there, or remove it")
            content = file.read(limit + 1)
    except OSError as error:
        raise file_error(error, path, "cannot read the file") from error
    if len(content) > limit:
        raise BadInput(
            "the file is too big", where=str(path), why=f"it has over {limit // 1024} KiB", mend="make it smaller"
        )
    return content, found


def _fingerprint(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _store(env: Mapping[str, str] | None) -> Path:
    return state_dir(env) / "trusted.json"


def _write(entries: Mapping[str, str], env: Mapping[str, str] | None) -> None:
    store = _store(env)
    private_dir(store.parent)
    atomic_write(store, json.dumps(entries, indent=1, sort_keys=True).encode())


def _damaged(store: Path, why: str) -> Damaged:
    return Damaged(
        "the list of trusted files is damaged",
        where=str(store),
        why=why,
        mend="remove it, then run skep trust again where you need it",
    )
