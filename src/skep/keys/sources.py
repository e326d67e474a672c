"""Where keys come from: numbered environment variables and a file that nobody else can read.

No frame that raises here holds a key as text, so that not even a traceback with the values of variables shows one.
"""

from __future__ import annotations

import errno
import os
import re
import stat
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from skep.errors import BadInput
from skep.keys.secret import Key, Secret
from skep.paths import file_error

MOST_NUMBERED = 99
"""The highest number after the name of a variable."""

FILE_LIMIT = 256 * 1024
"""Most bytes of a keys file."""

_LINE = re.compile(r"at line (\d+)")


@dataclass(frozen=True, slots=True)
class _Found:
    """A key, and the variable or the place in the file where it stands."""

    where: str
    secret: Secret


@dataclass(frozen=True, slots=True)
class _Unusable:
    """What is wrong with a keys file, told without a word of its content."""

    where: str
    what: str
    mend: str


def keys_of(
    name: str, prefix: str, label: str, env: Mapping[str, str], file: Path | None = None
) -> tuple[Key, ...]:
    """A provider's keys: those of ``PREFIX``, ``PREFIX_1`` … ``PREFIX_99``, then those under ``name`` in the file.

    Blanks around a key are dropped, and so are empty values and second copies; what is left is labelled
    ``label-1`` (``name-1`` without a label) and so on. An empty prefix means that the provider needs none. The
    file may be absent; one that others can read, that is not this user's or that is a link is refused, as
    ``BadInput``. So is a key that cannot stand in a header, and finding none at all.
    """
    label = label or name
    if not prefix:
        return (Key(label, None),)
    found = _in_variables(prefix, env)
    if file is not None and os.path.lexists(file):
        found += _in_file(file, name)
    if not found:
        places = f"none of {prefix}, {prefix}_1 … {prefix}_{MOST_NUMBERED} is set"
        raise BadInput(
            f"no key for {name}",
            where=prefix,
            why=places if file is None else f"{places}, and {file} has none for it",
            mend=f"put your key into the environment variable {prefix}",
        )
    _check(found)
    distinct = dict.fromkeys(one.secret for one in found)
    return tuple(
        Key(f"{label}-{number}", secret, secret.fingerprint()) for number, secret in enumerate(distinct, 1)
    )


def variable_names(prefix: str, env: Mapping[str, str]) -> tuple[str, ...]:
    """The variables of this environment that hold keys, so that others can be kept from seeing them.

    Any number after the prefix counts, even one that is not looked at for keys: it was most likely meant as one.
    """
    if not prefix:
        return ()
    pattern = re.compile(rf"{re.escape(prefix)}(?:_[0-9]+)?")
    return tuple(sorted(variable for variable in env if pattern.fullmatch(variable)))


def _in_variables(prefix: str, env: Mapping[str, str]) -> list[_Found]:
    names = (prefix, *(f"{prefix}_{number}" for number in range(1, MOST_NUMBERED + 1)))
    return _filled((name, Secret(_bare(env.get(name, "")))) for name in names)


def _in_file(file: Path, name: str) -> list[_Found]:
    found = _listed(_private_content(file), str(file), name)
    if isinstance(found, _Unusable):
        raise BadInput(found.what, where=found.where, mend=found.mend)
    return found


def _filled(candidates: Iterable[tuple[str, Secret]]) -> list[_Found]:
    return [_Found(where, secret) for where, secret in candidates if secret.reveal()]


def _check(found: list[_Found]) -> None:
    for one in found:
        fault = _fault(one.secret)
        if fault is not None:
            raise BadInput(
                "the key cannot be sent", where=one.where, why=f"it holds {fault}", mend="copy the key again"
            )


def _fault(secret: Secret) -> str | None:
    """Why these characters cannot stand in the header of a request."""
    text = secret.reveal()
    if any(char in " \t" for char in text):
        return "a blank"
    if any(ord(char) < 32 or ord(char) == 127 for char in text):
        return "a control character"
    return None if text.isascii() else "a character outside ASCII"


def _bare(text: str) -> str:
    return text.strip(" \t\r\n")


def _private_content(file: Path) -> bytes:
    """What stands in a plain file that is this user's and that nobody else can read; else ``BadInput``."""
    try:
        # A named pipe must not hold us up before it is recognised as one.
        descriptor = os.open(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            _check_private(file, os.fstat(descriptor))
            with open(descriptor, "rb", closefd=False) as opened:
                return opened.read(FILE_LIMIT)
        finally:
            os.close(descriptor)
    except OSError as error:
        if error.errno in {errno.ELOOP, errno.EMLINK}:
            why = "whoever may change the link decides which keys are used"
            raise _refused(file, "it is a symbolic link", why, "put the file itself there") from error
        raise file_error(error, file, "cannot read the keys file") from error


def _check_private(file: Path, found: os.stat_result) -> None:
    if not stat.S_ISREG(found.st_mode):
        raise _refused(file, "it is not a plain file", None, "put a plain file there, or remove it")
    if found.st_uid != os.geteuid():
        why = f"its owner is uid {found.st_uid}, and skep runs as uid {os.geteuid()}"
        raise _refused(file, "it belongs to another user", why, "use a file of your own")
    if found.st_mode & 0o077:
        why = f"its mode is {stat.S_IMODE(found.st_mode):04o}"
        raise _refused(
            file, "others may use it", why, f"chmod 600 {file}, and renew the keys if others could read"
        )
    if found.st_size > FILE_LIMIT:
        raise _refused(file, "it is too big", f"it has over {FILE_LIMIT // 1024} KiB", "make it smaller")


def _refused(file: Path, what: str, why: str | None, mend: str) -> BadInput:
    return BadInput(f"the keys file is not used: {what}", where=str(file), why=why, mend=mend)


def _listed(content: bytes, file: str, name: str) -> list[_Found] | _Unusable:
    """The keys of one provider in the text of a keys file. Raises nothing: its frame holds them."""
    try:
        tables = tomllib.loads(content.decode())
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        return _Unusable(f"{file}:{line}", "not UTF-8 text", "save it as UTF-8")
    except (ValueError, RecursionError) as error:
        # The parser's own words may quote what it found.
        at = _LINE.search(str(error))
        where = f"{file}:{at[1]}" if at else file
        return _Unusable(where, "not valid TOML", f'write it like: [{name}] and below it keys = ["…"]')
    where = f"{file}: [{name}]"
    table = tables.get(name, {})
    keys = table.get("keys", []) if isinstance(table, dict) else None
    if (
        not isinstance(keys, list)
        or not all(isinstance(key, str) for key in keys)
        or (isinstance(table, dict) and table.keys() - {"keys"})
    ):
        return _Unusable(where, "a provider has a list of keys and nothing else", 'write keys = ["…", "…"]')
    return _filled((f"{where} key {number}", Secret(_bare(key))) for number, key in enumerate(keys, 1))
