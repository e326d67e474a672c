"""Processes that a dead engine left behind, found without any of skep: by mark, by folder, by parent."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path


def remains(swarm: str, project: Path, engine: int) -> dict[int, str]:
    """Living processes that belong to a swarm, and how one can tell.

    They carry its mark, or work in its project's folder (those that scrubbed their environment do that), or are
    a warden or a guard of that engine.
    """
    found: dict[int, str] = {}
    mark = f"SKEP_AGENT={swarm}/".encode()
    warden = [b"skep.warden.main", str(engine).encode()]
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit() or int(folder.name) == os.getpid():
            continue
        with suppress(OSError):  # it has just ended, or it is somebody else's
            words = (folder / "cmdline").read_bytes().split(b"\0")
            if not words[0]:
                continue  # a zombie, or a thread of the kernel
            if any(entry.startswith(mark) for entry in (folder / "environ").read_bytes().split(b"\0")):
                found[int(folder.name)] = f"marked: {words}"
            elif warden[1] in words and any(warden[0] in word for word in words):
                found[int(folder.name)] = "warden or guard"
            elif Path(os.readlink(folder / "cwd")) == project:
                found[int(folder.name)] = f"works there: {words}"
    return found
