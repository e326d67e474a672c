"""Real repositories for tests: made by git itself, under settings that nobody's home has a part in."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

GIT = shutil.which("git") or ""


class Repository:
    """A working tree of its own."""

    def __init__(self, path: Path, home: Path) -> None:
        self.path = path
        self._env = {
            "PATH": os.environ["PATH"],
            "HOME": str(home),
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_AUTHOR_NAME": "ana",
            "GIT_AUTHOR_EMAIL": "ana@example.org",
            "GIT_COMMITTER_NAME": "ana",
            "GIT_COMMITTER_EMAIL": "ana@example.org",
        }

    @classmethod
    def make(cls, path: Path, home: Path, **files: str) -> Repository:
        """A new one with one commit, of these files and a ``README``."""
        path.mkdir(parents=True)
        made = cls(path, home)
        made.git("init", "-q", "-b", "main")
        for name, text in {"README": "hello\n", **files}.items():
            made.write(name, text)
        made.commit()
        return made

    def git(self, *words: str, ok: bool = True) -> bytes:
        """What git says; with ``ok`` it must not fail."""
        done = subprocess.run([GIT, *words], cwd=self.path, env=self._env, capture_output=True, check=False)
        assert not ok or done.returncode == 0, done.stderr.decode(errors="replace")
        return done.stdout

    def write(self, name: str | bytes, text: str = "new\n") -> Path:
        path = Path(os.fsdecode(os.path.join(os.fsencode(self.path), os.fsencode(name))))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    def commit(self) -> None:
        self.git("add", "-A")
        self.git("commit", "-q", "-m", "what there is", "--allow-empty")

    def set(self, name: str, value: str) -> None:
        """One setting of the repository itself."""
        self.git("config", name, value)

    def touch_all(self) -> None:
        """Make git compare what is in the files: their times tell it nothing any more."""
        for path in self.path.rglob("*"):
            if path.is_file() and ".git" not in path.parts:
                os.utime(path, (1_000_000_000, 1_000_000_000))


class Wire:
    """A program that leaves a trace when somebody runs it."""

    def __init__(self, folder: Path) -> None:
        self._trace = folder / "tripped"
        self.path = folder / "trip"
        self.path.write_text(f'#!/bin/sh\necho "$0 $*" >> {self._trace}\n')
        self.path.chmod(0o755)

    @property
    def tripped(self) -> bool:
        return self._trace.exists()

    def reset(self) -> None:
        self._trace.unlink()


def program(path: Path, text: str) -> Path:
    """A program for sh."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path
