"""The database file: its schema, how it is opened for writing or reading, and what SQLite's errors mean to us."""

from __future__ import annotations

import errno
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from urllib.parse import quote

from skep.errors import Damaged, NoSpace, Refused, SkepError
from skep.journal.headmark import sync_folder
from skep.paths import read_plain

DATABASE = "journal.db"
"""The database's file name in a swarm's folder."""

FORMAT = 1
PAGE_SIZE = 4096
"""Bytes in a page, the unit of quotas; no database of ours is smaller than one."""
UNLIMITED_PAGES = 1_073_741_823
"""SQLite's own ceiling for the size of a database, in pages."""

UNREADABLE = (sqlite3.Error, OSError, UnicodeDecodeError)
"""What reading a damaged database may raise: also what SQLite says of it may be no text any more."""

_BUSY_SECONDS = 5.0
_WAY_OF_WRITING = 18
"""Where a database says in its header how it may be written: with a rollback journal, or with a log."""
_WAYS_OF_WRITING = (b"\x01", b"\x02")
_REFUSALS = (
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_PERM,
)
_READ_OTHERWISE = (
    sqlite3.SQLITE_READONLY_DIRECTORY,
    sqlite3.SQLITE_READONLY_CANTINIT,
    sqlite3.SQLITE_READONLY_ROLLBACK,
)
_UNREADABLE = (sqlite3.SQLITE_IOERR_READ, sqlite3.SQLITE_IOERR_SHORT_READ)
_SCHEMA = f"""
BEGIN IMMEDIATE;
CREATE TABLE IF NOT EXISTS row (
    seq INTEGER PRIMARY KEY, time REAL NOT NULL, digest BLOB NOT NULL, body BLOB NOT NULL
);
CREATE TABLE IF NOT EXISTS checkpoint (
    seq INTEGER PRIMARY KEY, digest BLOB NOT NULL, pages INTEGER NOT NULL, seal BLOB NOT NULL
);
CREATE TABLE IF NOT EXISTS page (
    seq INTEGER NOT NULL, number INTEGER NOT NULL, seal BLOB NOT NULL, body BLOB NOT NULL, UNIQUE (seq, number)
);
PRAGMA user_version = {FORMAT};
COMMIT;
"""


def open_for_writing(path: Path) -> sqlite3.Connection:
    """Open the database, made if need be, so that COMMIT returns only when the rows are on the disk.

    The connection may move between threads but serves one at a time. Raises sqlite3.Error or Refused.
    """
    connection = sqlite3.connect(path, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False)
    try:
        connection.execute("PRAGMA trusted_schema = OFF")
        connection.execute(f"PRAGMA page_size = {PAGE_SIZE}")  # of a new database; no other changes
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA fullfsync = ON")  # macOS; others ignore it
        connection.execute("PRAGMA checkpoint_fullfsync = ON")
        if _format(connection) == 0:
            create_schema(connection)
        check_format(connection, path)
        (mode,) = connection.execute("PRAGMA journal_mode = WAL").fetchone()
        if mode != "wal":
            # No error of SQLite: it would go on in the old way, whose commits a power cut can take back.
            raise OSError(errno.EIO, "no log can be kept beside the database", str(path))
        _format(connection)  # the first look makes the log
        # Nobody is told if SQLite's own sync of the folder fails; and an earlier attempt may have ended here.
        sync_folder(path.parent)
        with suppress(PermissionError):  # a folder that is not ours to read is not ours to sync
            sync_folder(path.parent.parent)
    except BaseException:
        connection.close()
        raise
    return connection


def open_for_reading(path: Path, *, any_format: bool = False) -> sqlite3.Connection:
    """Open a database that is there, live or ended, without the right to change it or anything in its folder.

    ``any_format`` is for what is left of one: it may have lost the number of its format, too.

    Raises sqlite3.Error, OSError or Refused.
    """
    oldest = 0 if any_format else FORMAT
    if path.stat().st_size < PAGE_SIZE:
        # SQLite would take it for a new database and delete the log of the old one.
        raise sqlite3.DatabaseError("the database has lost its first page")
    try:
        return _try_reading(path, oldest, "mode=ro")
    except sqlite3.OperationalError as error:
        if not _is(error, sqlite3.SQLITE_CANTOPEN) and error.sqlite_errorcode not in _READ_OTHERWISE:
            raise
        if error.sqlite_errorcode == sqlite3.SQLITE_READONLY_ROLLBACK:
            # A crash while the way of writing was changed, which touches nothing but the header: the next owner
            # takes that back, and until then every row can be read as it stands.
            return _try_reading(path, oldest, "mode=ro&immutable=1")
    # The folder may not be written, and the shared index of the write-ahead log is not there. Without a log the
    # file alone is the truth; with one, the index is built in memory, and no other process may be at work.
    if log_of(path).exists():
        return _try_reading(path, oldest, "mode=ro&vfs=unix-none", "PRAGMA locking_mode = EXCLUSIVE")
    return _try_reading(path, oldest, "mode=ro&immutable=1")


def _try_reading(path: Path, oldest: int, options: str, *pragmas: str) -> sqlite3.Connection:
    connection = sqlite3.connect(
        f"file:{quote(str(path.absolute()))}?{options}",
        uri=True,
        timeout=_BUSY_SECONDS,
        isolation_level=None,
        check_same_thread=False,
    )
    connection.text_factory = bytes  # there is no text in it; what a flipped bit makes one is proven like the rest
    try:
        for pragma in ("PRAGMA trusted_schema = OFF", *pragmas):
            connection.execute(pragma)
        check_format(connection, path, oldest)
    except BaseException:
        connection.close()
        raise
    return connection


def empty() -> sqlite3.Connection:
    """A database in memory with nothing in its tables."""
    connection = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
    connection.text_factory = bytes
    create_schema(connection)
    return connection


def create_schema(connection: sqlite3.Connection) -> None:
    """Give an empty database its tables; raises sqlite3.Error."""
    connection.executescript(_SCHEMA)


def is_sound(connection: sqlite3.Connection, path: Path) -> bool:
    """Whether SQLite finds nothing wrong with the whole file and its tables are ours: it can then be written."""
    try:
        (verdict,) = connection.execute("PRAGMA integrity_check(1)").fetchone()
        with closing(empty()) as fresh:
            is_ours = _tables(connection) == _tables(fresh)
        header = read_plain(path, _WAY_OF_WRITING + 1)
    except UNREADABLE:
        return False
    return bool(verdict == b"ok" and is_ours and header[_WAY_OF_WRITING:] in _WAYS_OF_WRITING)


def _tables(connection: sqlite3.Connection) -> list[tuple[object, ...]]:
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    return [(version,), *connection.execute("SELECT type, name, tbl_name, sql FROM sqlite_schema")]


@contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """All or nothing: COMMIT at the end, ROLLBACK on any error."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:  # a full disk makes SQLite roll back by itself
            connection.execute("ROLLBACK")
        raise


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Turn what goes wrong while a journal is read into Damaged, or Refused if it may not be read now."""
    try:
        yield
    except OSError as error:
        raise Refused("the journal may not be read", where=str(path), why=str(error)) from error
    except UNREADABLE as error:
        if isinstance(error, sqlite3.Error) and _is(error, sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            raise _busy(error, path) from error
        raise _unreadable(error, path) from error


def write_error(error: sqlite3.Error | OSError | UnicodeDecodeError, path: Path) -> SkepError:
    """What a failed write means: NoSpace if the disk took no more, Damaged if the database itself is broken."""
    if isinstance(error, UnicodeDecodeError):
        return _unreadable(error, path)
    if isinstance(error, sqlite3.Error):
        if _is(error, sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            return _busy(error, path)
        if not _is(error, *_REFUSALS) or error.sqlite_errorcode in _UNREADABLE:
            return _unreadable(error, path)
    return NoSpace(
        "the journal cannot be written",
        where=str(path),
        why=str(error),
        mend=f"{_mend(error)}; the rows are kept and written as soon as the disk takes them",
    )


def _mend(error: sqlite3.Error | OSError) -> str:
    if isinstance(error, sqlite3.Error):
        is_full = _is(error, sqlite3.SQLITE_FULL)
    else:
        is_full = error.errno in (errno.ENOSPC, errno.EDQUOT)
    return "make room on the disk" if is_full else "see to the disk and to the rights on the folder"


def _busy(error: sqlite3.Error, path: Path) -> Refused:
    return Refused(
        "another process is at work on the journal's database",
        where=str(path),
        why=str(error),
        mend="end that process, or try again",
    )


def _unreadable(error: Exception, path: Path) -> Damaged:
    return Damaged(
        "the journal's database cannot be read",
        where=str(path),
        why=str(error),
        mend="restore the folder from a copy, or accept the loss of what cannot be read (--accept-loss)",
    )


def last_row(connection: sqlite3.Connection) -> int:
    """The number of the last row, 0 if there is none; raises sqlite3.Error."""
    (last,) = connection.execute("SELECT max(seq) FROM row").fetchone()
    return last if isinstance(last, int) else 0


def digest_of(connection: sqlite3.Connection, seq: int) -> bytes | None:
    """The digest kept with a row, None if the row is not there; raises sqlite3.Error."""
    found = connection.execute("SELECT digest FROM row WHERE seq = ?", (seq,)).fetchone()
    return found[0] if found else None


def log_of(path: Path) -> Path:
    """Where SQLite keeps the write-ahead log of a database."""
    return path.with_name(f"{path.name}-wal")


def undo_of(path: Path) -> Path:
    """Where SQLite keeps what it needs to take back a step in a database that has no write-ahead log."""
    return path.with_name(f"{path.name}-journal")


def _format(connection: sqlite3.Connection) -> int:
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    return int(version)


def check_format(connection: sqlite3.Connection, path: Path, oldest: int = FORMAT) -> None:
    """Raise Refused if a newer skep wrote the database, sqlite3.DatabaseError if its format is older than this."""
    version = _format(connection)
    if version > FORMAT:
        raise Refused(
            f"the journal has the format {version}, which is not known",
            where=str(path),
            why=f"this skep reads format {FORMAT}; a newer one wrote it, or its header is damaged",
            mend="use the newer skep, or restore the folder from a copy",
        )
    if version < oldest:
        raise sqlite3.DatabaseError("the database has no format number")


def _is(error: sqlite3.Error, *codes: int) -> bool:
    """Whether the primary part of SQLite's result code is one of these."""
    return getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF in codes
