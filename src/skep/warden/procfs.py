"""What the kernel says about processes: one process, the tree below one, and the state of what is left."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterable, Iterator


class Process:
    """One line of ``/proc/<pid>/stat``; `start`, in clock ticks since boot, tells a pid from its next owner."""

    __slots__ = ("group", "name", "parent", "pid", "start", "state", "threads")

    def __init__(self, pid: int, line: bytes) -> None:
        # The name may hold blanks and brackets of its own: it ends at the last bracket of the line.
        head, _, tail = line.rpartition(b") ")
        fields = tail.split()
        self.pid = pid
        self.name = head.partition(b"(")[2]
        self.state = fields[0]
        self.parent = int(fields[1])
        self.group = int(fields[2])
        self.threads = int(fields[17])
        self.start = int(fields[19])

    @property
    def living(self) -> bool:
        """False for a zombie; a process whose first thread has ended while others run is none."""
        return self.state not in (b"Z", b"X") or self.threads > 1


def is_there() -> bool:
    """Whether the kernel says anything about processes here: macOS does not."""
    return os.path.exists("/proc/self/stat")


def read(pid: int) -> Process | None:
    """The process with this pid now; None if there is none, or no /proc."""
    line = _contents(f"/proc/{pid}/stat")
    return Process(pid, line) if line else None


def everyone() -> list[int]:
    """All pids of the machine that this process may see; empty without /proc."""
    try:
        return [int(name) for name in os.listdir("/proc") if name.isdecimal()]
    except FileNotFoundError:
        return []


def descendants(root: int, besides: Collection[int] = ()) -> Iterator[Process]:
    """Every process below `root` now, without the children in `besides` and what is below those.

    Each one is given before its children are looked for: who stops it then gets to see all of them. A tree that
    grows or shrinks meanwhile may be seen in part: callers look again until nothing is found.
    """
    below = _listed_children if _KERNEL_LISTS_CHILDREN else _children_by_scan()
    known = {root}
    unseen = list(below(root))
    while unseen:
        pid = unseen.pop()
        if pid in known or pid in besides:
            continue
        process = read(pid)
        if process is None or process.parent not in known:
            continue
        yield process
        found = list(below(pid))
        # Only what is read about it now proves that the pid was still of this tree when its children were listed:
        # a pid that has a new owner drops out here, and those of that one with it.
        if _is_still(process):
            known.add(pid)
            unseen.extend(found)


def _is_still(process: Process) -> bool:
    now = read(process.pid)
    return now is not None and now.start == process.start


def owner(pid: int) -> int:
    """The user that the process runs as; -1 if it is gone. The kernel says root for one that hides its memory."""
    try:
        return os.stat(f"/proc/{pid}").st_uid
    except OSError:
        return -1


def environment(pid: int) -> list[bytes]:
    """``NAME=value`` lines that the process was started with; empty for a zombie and what may not be read."""
    return _contents(f"/proc/{pid}/environ").split(b"\0")


def arguments(pid: int) -> bytes:
    """The command line of the process, a NUL after each argument; empty for a zombie."""
    return _contents(f"/proc/{pid}/cmdline")


def report(processes: Iterable[Process]) -> bytes:
    """Pid, state and name of those that live, for a LEFT frame."""
    return b"\0".join(
        b"%d %s %s" % (process.pid, process.state, process.name) for process in processes if process.living
    )


def children(pid: int) -> Iterable[int]:
    """The children of a process, its zombies included; empty without /proc."""
    return (_listed_children if _KERNEL_LISTS_CHILDREN else _children_by_scan())(pid)


def _listed_children(pid: int) -> Iterable[int]:
    try:
        threads = os.listdir(f"/proc/{pid}/task")
    except OSError:
        return ()
    return [int(child) for thread in threads for child in _contents(f"/proc/{pid}/task/{thread}/children").split()]


def _children_by_scan() -> Callable[[int], Iterable[int]]:
    by_parent: dict[int, list[int]] = {}
    for pid in everyone():
        process = read(pid)
        if process is not None:
            by_parent.setdefault(process.parent, []).append(pid)
    return lambda pid: by_parent.get(pid, ())


def _contents(path: str) -> bytes:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return b""
    try:
        content = chunk = os.read(descriptor, 4096)
        while len(chunk) == 4096:
            chunk = os.read(descriptor, 4096)
            content += chunk
        return content
    except OSError:  # the process went away while it was read
        return b""
    finally:
        os.close(descriptor)


_KERNEL_LISTS_CHILDREN = os.path.exists(f"/proc/self/task/{os.getpid()}/children")
