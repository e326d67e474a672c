"""Rows and the hash chain that ties each of them to all before it."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from hashlib import blake2b
from typing import TypeAlias

from skep.errors import Damaged

DIGEST_SIZE = 16
GENESIS = bytes(DIGEST_SIZE)
"""The digest that stands before the first row."""

MAX_SEQ = 2**63 - 1
"""The highest number that SQLite could give a row."""

Record: TypeAlias = tuple[int, float, bytes, bytes]
"""A row as the database holds it: number, time, digest, body."""

_HEADER = struct.Struct(">Qd")


@dataclass(frozen=True, slots=True)
class Row:
    """One numbered event; what its body means is the business of whoever wrote it.

    ``seq`` counts from 1 without gaps, ``time`` is in seconds since the epoch, ``body`` is the canonical JSON of
    one event in UTF-8.
    """

    seq: int
    time: float
    body: bytes


@dataclass(slots=True)
class Chain:
    """A place in the chain: the last row's number and its digest, which covers every row up to it."""

    seq: int = 0
    digest: bytes = GENESIS

    def add(self, row: Row) -> Record:
        """Move on by one row that is about to be written; returns it as the database shall hold it."""
        # SQLite keeps -0.0 as 0: adding zero makes the digest agree with what will be read.
        header = _HEADER.pack(row.seq, row.time + 0.0)
        self.digest = blake2b(self.digest + header + row.body, digest_size=DIGEST_SIZE).digest()
        self.seq = row.seq
        return row.seq, row.time, self.digest, row.body

    def follow(self, record: Record, where: str) -> None:
        """Move on by one row that was read from the database at ``where``.

        Raises Damaged if the row does not follow from the one before.
        """
        seq, time, digest, body = record
        if seq != self.seq + 1:
            raise broken(self.seq + 1, where, f"the row is missing; the next one is {seq}")
        try:
            computed = blake2b(self.digest + _HEADER.pack(seq, time) + body, digest_size=DIGEST_SIZE).digest()
        except (TypeError, struct.error):
            raise broken(seq, where, "the row holds values of the wrong kind") from None
        if computed != digest:
            raise broken(seq, where, "its hash does not follow from the row before")
        self.seq = seq
        self.digest = digest


def broken(seq: int, where: str, why: str) -> Damaged:
    """The error for a row that does not prove itself."""
    return Damaged(
        f"row {seq} of the journal is damaged",
        where=where,
        why=why,
        mend=f"restore the folder from a copy, or accept the loss of row {seq} and all after it (--accept-loss)",
    )
