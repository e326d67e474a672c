"""The files below one folder: a path is walked name by name from a descriptor of it, and no link is followed."""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
import secrets
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from skep.tools.blocking import Halt, in_thread
from skep.tools.faults import ToolFault

MOST_NAMES = 64
"""Names that a path may have, which is also how deep a walk goes."""

MOST_ENTRIES = 20_000
"""Names of one folder that are looked at."""

_LONGEST = 4096
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_WRITE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_MEND = "name it from the workspace's folder"
_WHY = {
    errno.ENOENT: "there is no such file or folder",
    errno.ENOTDIR: "a folder was expected there",
    errno.EISDIR: "it is a folder",
    errno.ELOOP: "it is a symbolic link, and links are not followed",
    errno.EACCES: "it may not be opened",
    errno.ENAMETOOLONG: "the name is too long",
}


@dataclass(frozen=True, slots=True)
class Entry:
    """One name in a folder."""

    name: str
    is_folder: bool
    is_file: bool
    is_link: bool
    size: int
    """Bytes of a file; else 0."""


Names = tuple[str, ...]
"""A path below the workspace, name by name; empty for the workspace itself."""


class Workspace:
    """A folder and what is below it. Every method may run in any thread, and none waits for a pipe or a device."""

    def __init__(self, root: Path | str) -> None:
        self.root = os.fspath(root)

    def names(self, path: str) -> Names:
        """The names of a path, which may be absolute if it lies below the workspace; decided on the text alone.

        Raises:
            ToolFault: it leads out, or into the insides of git, or can be no path.
        """
        if "\0" in path:
            raise ToolFault("a path cannot hold a NUL", where=path.replace("\0", "\\0")[:200])
        if len(path) > _LONGEST:
            raise ToolFault("the path is too long", where=path[:80] + "…", why=f"over {_LONGEST:,} characters")
        try:
            os.fsencode(path)
        except UnicodeEncodeError:
            raise ToolFault("the path holds what no name can", where=ascii(path)[:200]) from None
        names = [name for name in path.split("/") if name not in ("", ".")]
        if path.startswith("/"):
            names = self._below(names, path)
        if ".." in names:
            raise ToolFault("a path cannot hold ..", where=path, mend=_MEND)
        if any(name.casefold() == ".git" for name in names):
            raise ToolFault("the insides of .git are not open to file tools", where=path)
        if len(names) > MOST_NAMES:
            raise ToolFault("the path is too deep", where=path[:200], why=f"over {MOST_NAMES} names")
        return tuple(names)

    def _below(self, names: list[str], path: str) -> list[str]:
        for root in (self.root, os.path.realpath(self.root)):
            above = [name for name in root.split("/") if name]
            if names[: len(above)] == above:
                return names[len(above) :]
        raise ToolFault(
            "the path is outside of the workspace", where=path, mend="name it from the workspace's folder"
        )

    @contextlib.contextmanager
    def folder(self, names: Names, *, make: bool = False) -> Iterator[int]:
        """A descriptor of a folder, open as long as the context lasts; with ``make``, missing folders are made.

        Raises:
            ToolFault: it is none, or a link is on the way.
        """
        here = os.open(self.root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            for place, name in enumerate(names):
                with _told(names[: place + 1]):
                    below = _enter(here, name, make=make)
                os.close(here)
                here = below
            yield here
        finally:
            os.close(here)

    def is_file(self, names: Names) -> bool:
        """Whether a plain file is there; false for the workspace itself.

        Raises:
            ToolFault: the folder above it is none, or a link is on the way.
        """
        if not names:
            return False
        with self.folder(names[:-1]) as folder, _told(names):
            found = _found(names[-1], folder)
        return found is not None and stat.S_ISREG(found.st_mode)

    @contextlib.contextmanager
    def reading(self, names: Names) -> Iterator[BinaryIO]:
        """A plain file, open for reading as long as the context lasts.

        Raises:
            ToolFault: it is none, or a link is on the way.
        """
        if not names:
            raise ToolFault("it is a folder", where=".")
        with self.folder(names[:-1]) as folder:
            with _told(names):
                # Looked at before it is opened, since opening some devices already does something.
                _check_plain(os.stat(names[-1], dir_fd=folder, follow_symlinks=False), names)
                descriptor = os.open(names[-1], _READ, dir_fd=folder)
            with open(descriptor, "rb") as file:
                _check_plain(os.fstat(descriptor), names)
                yield file

    def write(self, names: Names, data: bytes) -> bool:
        """Replace or make a file: whoever reads it finds the old content or the new one. True if it is new.

        What stands in its place must be a plain file that may be written; its mode stays. Where another hard link
        leads to the old content, that keeps it.

        Raises:
            ToolFault: the place is none for a file, or the disk takes no more.
        """
        if not names:
            raise ToolFault("it is a folder", where=".")
        with self.folder(names[:-1], make=True) as folder, _told(names):
            old = _found(names[-1], folder)
            if old is not None:
                _check_plain(old, names)
                if not old.st_mode & 0o222:
                    raise ToolFault("the file is read-only", where=shown(names))
            temporary = f".skep-{secrets.token_hex(8)}"
            descriptor = os.open(temporary, _WRITE, 0o666, dir_fd=folder)
            try:
                with open(descriptor, "wb") as file:
                    if old is not None:
                        os.fchmod(descriptor, stat.S_IMODE(old.st_mode) & 0o777)
                    file.write(data)
                os.rename(temporary, names[-1], src_dir_fd=folder, dst_dir_fd=folder)
            except BaseException:
                with contextlib.suppress(OSError):
                    os.unlink(temporary, dir_fd=folder)
                raise
        return old is None

    def entries(self, names: Names) -> list[Entry]:
        """What is in a folder, by name, without ``.git``; of a vast one :data:`MOST_ENTRIES` in no order.

        Raises:
            ToolFault: it is no folder, or a link is on the way.
        """
        with self.folder(names) as folder, _told(names), os.scandir(folder) as found:
            entries = (_entry(one, folder) for one in found if one.name.casefold() != ".git")
            return sorted(itertools.islice(entries, MOST_ENTRIES), key=lambda entry: entry.name)


async def folder_path(workspace: Path, path: str) -> str:
    """The absolute path of a folder that is the workspace or below it.

    Raises:
        ToolFault: it leads out, it is no folder, or a link is on the way.
    """

    def work(halt: Halt) -> str:
        place = Workspace(workspace)
        names = place.names(path)
        with place.folder(names):
            return "/".join((place.root.rstrip("/"), *names)) or "/"

    return await in_thread(work)


def shown(names: Names) -> str:
    """A path as a model may read it: on one line, whatever its names hold."""
    path = "/".join(names) or "."
    if path.isprintable():
        return path
    return path.encode("utf-8", "backslashreplace").decode().encode("unicode_escape").decode()


def _enter(here: int, name: str, *, make: bool) -> int:
    try:
        return os.open(name, _FOLDER, dir_fd=here)
    except FileNotFoundError:
        if not make:
            raise
    except NotADirectoryError:
        # What this error is for a link differs from system to system.
        found = _found(name, here)
        if found is not None and stat.S_ISLNK(found.st_mode):
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP)) from None
        raise
    with contextlib.suppress(FileExistsError):  # somebody else was quicker; the walk goes on in theirs
        os.mkdir(name, dir_fd=here)
    return os.open(name, _FOLDER, dir_fd=here)


def _found(name: str, folder: int) -> os.stat_result | None:
    try:
        return os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return None


def _check_plain(found: os.stat_result, names: Names) -> None:
    mode = found.st_mode
    if stat.S_ISREG(mode):
        return
    if stat.S_ISLNK(mode):
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
    if stat.S_ISDIR(mode):
        raise OSError(errno.EISDIR, os.strerror(errno.EISDIR))
    raise ToolFault("it is no plain file but a device, a pipe or a socket", where=shown(names))


def _entry(one: os.DirEntry[str], folder: int) -> Entry:
    is_file = one.is_file(follow_symlinks=False)
    size = 0
    if is_file:
        found = _found(one.name, folder)
        size = found.st_size if found is not None else 0
    return Entry(one.name, one.is_dir(follow_symlinks=False), is_file, one.is_symlink(), size)


@contextlib.contextmanager
def _told(names: Names) -> Iterator[None]:
    """Turn what the system says into words with the path."""
    try:
        yield
    except OSError as error:
        why = _WHY.get(error.errno or 0) or error.strerror or str(error)
        raise ToolFault(why, where=shown(names)) from error
