"""Where skep keeps its files, and what a folder or file must be like before skep trusts it."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import secrets
import stat
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO

import platformdirs

from skep.errors import BadInput, NoSpace, SkepError

SOCKET_NAME = "control.sock"
"""The control socket's name in a swarm's folder."""

SUN_PATH_LIMIT = 103 if sys.platform == "darwin" else 107
"""Most bytes of a Unix socket's path: ``sun_path`` of the platform without its final zero byte."""

_NETWORK_FILESYSTEM = re.compile(
    r"(?:fuse\.)?(?:9p|afs|beegfs|ceph|cifs|coda|davfs2?|gcsfuse|glusterfs|goofys|gpfs|lustre|moosefs|ncpfs|nfs4?"
    r"|orangefs|pvfs2|rclone|s3fs|seaweedfs|smb3|smbfs|smbnetfs|sshfs)"
)
MOUNTS = Path("/proc/self/mountinfo")
"""Linux's table of what is mounted where."""


def state_dir(env: Mapping[str, str] | None = None) -> Path:
    """The folder for swarms and other state: ``SKEP_STATE_DIR``, else the platform's.

    Raises ``BadInput`` for an override that is not an absolute path.
    """
    return _overridden("SKEP_STATE_DIR", env) or platformdirs.user_state_path("skep", appauthor=False)


def config_dir(env: Mapping[str, str] | None = None) -> Path:
    """The folder of the user's ``config.toml``: ``SKEP_CONFIG_DIR``, else the platform's.

    Raises ``BadInput`` for an override that is not an absolute path.
    """
    return _overridden("SKEP_CONFIG_DIR", env) or platformdirs.user_config_path("skep", appauthor=False)


def swarms_dir(env: Mapping[str, str] | None = None) -> Path:
    """The folder that holds one folder for each swarm."""
    return state_dir(env) / "swarms"


def socket_path(folder: Path) -> Path:
    """The control socket of the swarm in this folder."""
    return folder / SOCKET_NAME


def check_socket_path(path: Path) -> None:
    """Raise ``BadInput`` if the platform cannot bind a Unix socket at so long a path."""
    length = len(os.fsencode(path))
    if length > SUN_PATH_LIMIT:
        raise BadInput(
            "the path of the control socket is too long",
            where=str(path),
            why=f"{length} bytes, and this platform takes at most {SUN_PATH_LIMIT}",
            mend="set SKEP_STATE_DIR to a shorter path",
        )


def private_dir(path: Path) -> Path:
    """Make a folder, and what is missing above it, for this user alone (0700), and return it.

    A folder that is there already must be a real folder, this user's, and not writable by anybody else; else
    ``BadInput``. Where it cannot be made: ``BadInput`` or ``NoSpace``.
    """
    try:
        _make_private(path)
        found = path.lstat()
    except OSError as error:
        raise file_error(error, path, "cannot make the folder") from error
    shown = str(path)
    if stat.S_ISLNK(found.st_mode):
        raise BadInput(
            "refusing a symbolic link as a private folder", where=shown, mend="name the folder that it leads to"
        )
    if not stat.S_ISDIR(found.st_mode):
        raise BadInput(
            "a file stands where a folder should be", where=shown, mend="move it, or name another folder"
        )
    check_owner(path, found)
    return path


def check_owner(path: Path, found: os.stat_result) -> None:
    """Raise ``BadInput`` unless a file or folder is this user's and nobody else may write it."""
    shown = str(path)
    if found.st_uid != os.geteuid():
        raise BadInput(
            "it belongs to another user",
            where=shown,
            why=f"its owner is uid {found.st_uid}, and skep runs as uid {os.geteuid()}",
            mend="use one of your own",
        )
    if found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise BadInput(
            "others may write it",
            where=shown,
            why=f"its mode is {stat.S_IMODE(found.st_mode):04o}",
            mend=f"chmod go-w {shown}",
        )


def check_writable(folder: Path) -> None:
    """Raise ``BadInput`` or ``NoSpace`` unless a file can really be made in this folder."""
    probe = folder / f".skep-{secrets.token_hex(8)}"
    try:
        os.close(os.open(probe, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        probe.unlink()
    except OSError as error:
        raise file_error(error, folder, "cannot write in the folder") from error


def refuse_network_filesystem(folder: Path, *, mounts: Path = MOUNTS) -> None:
    """Raise ``BadInput`` if the folder, which need not exist yet, lies on a network file system.

    Locks and the journal's durability cannot be relied on there. ``mounts`` is Linux's table of mounts; where
    there is none, nothing is refused.
    """
    try:
        table = mounts.read_text(encoding="utf-8", errors="surrogateescape")
    except OSError:
        return
    kind = _filesystem_of(Path(os.path.realpath(folder)), table)
    if _NETWORK_FILESYSTEM.fullmatch(kind):
        raise BadInput(
            "a swarm cannot live on a network file system",
            where=str(folder),
            why=f"it is on {kind}, where locks and a synced journal cannot be relied on",
            mend="set SKEP_STATE_DIR to a folder on a local disk",
        )


def read_plain(path: Path, limit: int) -> bytes:
    """The first ``limit`` bytes of a regular file.

    Raises ``OSError`` for anything else: a pipe in a file's place would keep us waiting, a device never ends.
    """
    with open_plain(path) as file:
        return file.read(limit)


def open_plain(path: Path) -> BinaryIO:
    """Open a regular file for reading, and never wait for that; ``OSError`` for anything else."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "not a regular file", str(path))
    return open(descriptor, "rb")


def atomic_write(path: Path, data: bytes, mode: int = 0o600) -> None:
    """Replace a file so that a crash leaves the old content or the new, never a part; durable on return.

    The file gets exactly this mode, whatever the umask. Raises ``BadInput`` or ``NoSpace``; the old file then
    stands as it was.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        try:
            _write_synced(temporary, data, mode)
            temporary.replace(path)
        except BaseException:
            with contextlib.suppress(OSError):
                temporary.unlink()
            raise
        _sync_folder(path.parent)
    except OSError as error:
        raise file_error(error, path, "cannot write the file") from error


def file_error(error: OSError, path: Path, what: str) -> SkepError:
    """The error to raise for a failed call on a file: ``NoSpace`` for a full disk, else ``BadInput``."""
    why = error.strerror or str(error)
    if error.errno in {errno.ENOSPC, errno.EDQUOT}:
        return NoSpace(what, where=str(path), why=why, mend="free some space, then try again")
    mend = {
        errno.EEXIST: "move what stands there, or name another place",
        errno.ENOTDIR: "a file stands where a folder should be: move it, or name another place",
        errno.ENOENT: "make the folder above it first, or name another place",
    }.get(error.errno or 0, "make it writable for you, or name another place")
    return BadInput(what, where=str(path), why=why, mend=mend)


def _overridden(variable: str, env: Mapping[str, str] | None) -> Path | None:
    value = (os.environ if env is None else env).get(variable)
    if not value:
        return None
    path = Path(value)
    if not path.is_absolute():
        # Engine, room and shell may run in different folders and must still mean the same place.
        raise BadInput(
            f"{variable} must be an absolute path", where=variable, why=f"it is {value!r}", mend="start it with /"
        )
    return path


def _make_private(path: Path) -> None:
    """``mkdir -p``, but with 0700 for every new folder: pathlib gives parents whatever the umask leaves."""
    for folder in (*reversed(path.parents), path):
        if not os.path.lexists(folder):
            with contextlib.suppress(FileExistsError):  # somebody else was quicker; theirs is checked next
                folder.mkdir(mode=0o700)


def _filesystem_of(folder: Path, table: str) -> str:
    """The type of the mount that holds the folder; of mounts on one point the last one covers the others."""
    deepest, kind = -1, ""
    for line in table.split("\n"):
        fields = line.split(" ")
        if len(fields) < 7 or "-" not in fields[6:-1]:
            continue
        point = Path(re.sub(r"\\([0-7]{3})", lambda octal: chr(int(octal[1], 8)), fields[4]))
        depth = len(point.parts)
        if depth >= deepest and folder.is_relative_to(point):
            deepest, kind = depth, fields[fields.index("-", 6) + 1]
    return kind


def _write_synced(path: Path, data: bytes, mode: int) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    with open(descriptor, "wb") as file:
        os.fchmod(descriptor, mode)
        file.write(data)
        file.flush()
        os.fsync(descriptor)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
