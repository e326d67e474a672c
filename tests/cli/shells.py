"""A shell for tests: an empty state folder, an empty project, and skep as a program."""

from __future__ import annotations

import json
import subprocess
import sys
from contextlib import chdir
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from typer.testing import CliRunner

from skep.cli.app import app
from skep.control.swarms import engine_pid


@dataclass
class Shell:
    """A shell with an empty state folder of its own, standing in an empty project."""

    state: Path
    project: Path
    env: dict[str, str] = field(default_factory=dict)

    def start(self, *words: str, **options: Any) -> subprocess.Popen[str]:
        pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | options
        command = [sys.executable, "-m", "skep", *words]
        return subprocess.Popen(command, cwd=self.project, env=self.env, text=True, **pipes)

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Skep in a process of its own, to its end."""
        process = self.start(*words)
        out, err = process.communicate(timeout=30)
        return subprocess.CompletedProcess(words, process.returncode, out, err)

    def skep(self, *words: str, stdin: str = "", **env: str) -> subprocess.CompletedProcess[str]:
        """Skep in this process: the same way through the same command line, without the start of a Python."""
        with chdir(self.project):
            done = CliRunner().invoke(app, words, input=stdin, env=self.env | env, catch_exceptions=False)
        return subprocess.CompletedProcess(words, done.exit_code, done.stdout, done.stderr)

    def json(self, *words: str) -> dict[str, Any]:
        done = self.skep(*words)
        assert done.stdout, done.stderr
        document: dict[str, Any] = json.loads(done.stdout)
        return document

    def file(self, name: str, text: str = "") -> Path:
        path = self.project / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    def left_in_state(self) -> list[str]:
        """Everything but empty folders."""
        return [str(path) for path in self.state.rglob("*") if not path.is_dir()]

    def engines(self) -> list[int]:
        swarms = self.state / "swarms"
        folders = list(swarms.iterdir()) if swarms.is_dir() else []
        return [pid for folder in folders if (pid := engine_pid(folder)) is not None]
