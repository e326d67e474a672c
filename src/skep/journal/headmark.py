"""The head mark: a small file beside the database that names the last acknowledged row.

SQLite drops a damaged tail of its write-ahead log without a word; the mark is how such a loss is noticed. It has
two slots that are overwritten in turn, so that a torn write spoils the new one and leaves the one before.
"""

from __future__ import annotations

import errno
import os
import struct
import sys
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path

from skep.journal.chain import DIGEST_SIZE, GENESIS, Chain
from skep.paths import read_plain

HEAD = "head"
"""The mark's file name in a swarm's folder."""

_RECORD = struct.Struct(f">8sQQ{DIGEST_SIZE}s")
_MAGIC = b"skephead"
_SEAL_SIZE = 16
_SLOT_SIZE = 4096  # a block of its own for each slot: writing one cannot tear the other


@dataclass(frozen=True, slots=True)
class Mark:
    """One slot: the ``generation`` counts the writes of this file, ``seq`` and ``digest`` name the last row."""

    generation: int
    seq: int
    digest: bytes


@dataclass(frozen=True, slots=True)
class Head:
    """What the two slots say together: the newest mark that proves itself, and whether a slot does not.

    ``present`` is false if the folder has no head mark at all.
    """

    newest: Mark | None
    torn: bool
    present: bool = True

    @property
    def seq(self) -> int:
        """The number of the last row known to be acknowledged, 0 if none is."""
        return self.newest.seq if self.newest else 0


def read_head(folder: Path) -> Head:
    """Read both slots; raises OSError."""
    try:
        content = read_plain(folder / HEAD, 2 * _SLOT_SIZE)
    except FileNotFoundError:
        return Head(None, torn=True, present=False)
    slots = [_decode(content[slot * _SLOT_SIZE :]) for slot in (0, 1)]
    marks = [mark for mark in slots if mark]
    newest = max(marks, key=lambda mark: mark.generation, default=None)
    return Head(newest, torn=len(marks) < len(slots))


def create_head(folder: Path, chain: Chain | None = None) -> None:
    """Write a whole new head mark for the end of a chain (or for no rows) and put it in place in one step."""
    seq, digest = (chain.seq, chain.digest) if chain else (0, GENESIS)
    fresh = folder / f"{HEAD}.new"
    with fresh.open("wb") as file:
        for generation in (0, 1):
            file.write(_encode(Mark(generation, seq, digest)).ljust(_SLOT_SIZE, b"\0"))
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(folder / HEAD)
    sync_folder(folder)


class HeadMark:
    """The owner's hold on the head mark: each write goes to the older slot and is on disk when it returns."""

    def __init__(self, folder: Path) -> None:
        newest = read_head(folder).newest
        self._generation = newest.generation if newest else 0
        self._fd = os.open(folder / HEAD, os.O_RDWR)

    def write(self, chain: Chain) -> None:
        """Name the end of the chain as acknowledged; raises OSError, and may then be called again."""
        mark = Mark(self._generation + 1, chain.seq, chain.digest)
        record = _encode(mark)
        if os.pwrite(self._fd, record, mark.generation % 2 * _SLOT_SIZE) < len(record):
            raise OSError(errno.ENOSPC, "only a part of the head mark was taken")
        sync_data(self._fd)
        self._generation = mark.generation

    def close(self) -> None:
        """Let go of the file."""
        os.close(self._fd)


def sync_data(fd: int) -> None:
    """Wait until the data of an open file has reached the disk itself."""
    if sys.platform == "darwin":
        import fcntl

        fcntl.fcntl(fd, fcntl.F_FULLFSYNC)
    else:
        os.fdatasync(fd)


def sync_folder(folder: Path) -> None:
    """Wait until the folder's list of files has reached the disk."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _encode(mark: Mark) -> bytes:
    record = _RECORD.pack(_MAGIC, mark.generation, mark.seq, mark.digest)
    return record + blake2b(record, digest_size=_SEAL_SIZE).digest()


def _decode(content: bytes) -> Mark | None:
    record, seal = content[: _RECORD.size], content[_RECORD.size : _RECORD.size + _SEAL_SIZE]
    if len(record) < _RECORD.size or blake2b(record, digest_size=_SEAL_SIZE).digest() != seal:
        return None
    magic, generation, seq, digest = _RECORD.unpack(record)
    return Mark(generation, seq, digest) if magic == _MAGIC else None
