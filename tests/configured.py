"""A user's folders and a project, for tests of settings and of trust."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from skep.config import Loaded, load


class Place(NamedTuple):
    """A user's folders and a project in a repository of their own."""

    env: dict[str, str]
    user: Path
    project: Path
    cwd: Path

    def load(self, flags: dict[str, object] | None = None, **variables: str) -> Loaded:
        return load(self.cwd, flags or {}, {**self.env, **variables})

    def write_user(self, text: str) -> None:
        self.user.parent.mkdir(exist_ok=True)
        self.user.write_text(text)

    def write_project(self, text: str) -> None:
        self.project.parent.mkdir(exist_ok=True)
        self.project.write_text(text)
        self.project.chmod(0o644)


def place_below(tmp_path: Path) -> Place:
    """A repository in the home of a user who has no settings yet."""
    repository = tmp_path / "home" / "repository"
    cwd = repository / "src" / "deep"
    cwd.mkdir(parents=True)
    (repository / ".git").mkdir()
    env = {
        "HOME": str(tmp_path / "home"),
        "SKEP_STATE_DIR": str(tmp_path / "state"),
        "SKEP_CONFIG_DIR": str(tmp_path / "config"),
    }
    return Place(env, tmp_path / "config" / "config.toml", repository / ".skep" / "config.toml", cwd)
