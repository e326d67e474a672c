"""A repository that names programs: git would run them, and what looks at its files does not."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from skep.hosts.uncommitted import FILTERS, NOT_TRUSTED, Git
from skep.model.permits import Worktree
from tests.hosts.conftest import MakeRepository
from tests.hosts.repositories import Repository, Wire, program

Arm = Callable[[Repository, Wire], Repository]
"""Lays a trap in a repository; returns the one that is to be looked at."""


def fsmonitor(made: Repository, wire: Wire) -> Repository:
    made.set("core.fsmonitor", str(wire.path))
    return made


def filters(made: Repository, wire: Wire) -> Repository:
    """One by its ``clean`` program."""
    made.write(".gitattributes", "README filter=evil\n")
    made.commit()
    made.set("filter.evil.clean", str(wire.path))
    made.touch_all()
    return made


def required_filter(made: Repository, wire: Wire) -> Repository:
    filters(made, wire)
    made.set("filter.evil.required", "true")
    return made


def long_running_filter(made: Repository, wire: Wire) -> Repository:
    made.write(".gitattributes", "README filter=evil\n")
    made.commit()
    made.set("filter.evil.process", str(wire.path))
    made.touch_all()
    return made


def included_filter(made: Repository, wire: Wire) -> Repository:
    """One in a file of the working tree, which an agent may write."""
    made.write(".gitattributes", "README filter=evil\n")
    made.write("shared.config", f'[filter "evil"]\nclean = {wire.path}\n')
    made.commit()
    made.set("include.path", "../shared.config")
    made.touch_all()
    return made


def filter_of_this_worktree(made: Repository, wire: Wire) -> Repository:
    made.write(".gitattributes", "README filter=evil\n")
    made.commit()
    made.set("extensions.worktreeConfig", "true")
    made.git("config", "--worktree", "filter.evil.clean", str(wire.path))
    made.touch_all()
    return made


def oddly_named_filter(made: Repository, wire: Wire) -> Repository:
    made.write(".git/info/attributes", "README filter=e.v;i\\l\n")
    made.set("filter.e.v;i\\l.clean", str(wire.path))
    made.touch_all()
    return made


def submodule(made: Repository, wire: Wire) -> Repository:
    """One whose own settings name a program."""
    made.git("-c", "protocol.file.allow=always", "submodule", "--quiet", "add", str(made.path), "lib")
    made.commit()
    inside = Repository(made.path / "lib", made.path)
    inside.set("core.fsmonitor", str(wire.path))
    return made


def missing_objects(made: Repository, wire: Wire) -> Repository:
    """A partial clone: what is missing is fetched when it is needed, over a program."""
    made.write("README", "one\n" * 10)
    made.commit()
    made.set("extensions.partialClone", "origin")
    made.set("remote.origin.url", f"ext::{wire.path} %S")
    made.set("remote.origin.promisor", "true")
    made.set("protocol.ext.allow", "always")
    tree = made.git("rev-parse", "HEAD^{tree}").decode().strip()
    (made.path / ".git" / "objects" / tree[:2] / tree[2:]).unlink()
    return made


def ssh(made: Repository, wire: Wire) -> Repository:
    missing_objects(made, wire)
    made.set("remote.origin.url", "ssh://localhost/nowhere")
    made.set("core.sshCommand", str(wire.path))
    return made


def folder_that_looks_like_a_repository(made: Repository, wire: Wire) -> Repository:
    """Files that any tool may write, without a ``.git`` among their names."""
    inside = Repository(made.path / "docs", made.path)
    for name, text in {
        "HEAD": "ref: refs/heads/main\n",
        "config": f"[core]\nrepositoryformatversion = 0\nbare = false\nworktree = .\nfsmonitor = {wire.path}\n",
        "objects/keep": "",
        "refs/keep": "",
    }.items():
        inside.write(name, text)
    made.commit()
    return inside


TRAPS = [
    fsmonitor,
    filters,
    required_filter,
    long_running_filter,
    included_filter,
    filter_of_this_worktree,
    oddly_named_filter,
    submodule,
    missing_objects,
    ssh,
    folder_that_looks_like_a_repository,
]


@pytest.mark.parametrize("arm", TRAPS, ids=lambda arm: arm.__name__)
async def test_nothing_that_a_repository_names_is_run(git: Git, repository: MakeRepository, wire: Wire, arm: Arm):
    armed = arm(repository(), wire)
    await git.uncommitted([str(armed.path)])
    assert not wire.tripped
    # The trap is one: plain git, as anybody would call it, walks into it.
    armed.git("status", ok=False)
    assert wire.tripped


def hooks(made: Repository, wire: Wire) -> Repository:
    for name in ("post-index-change", "pre-commit", "post-checkout", "fsmonitor-watchman"):
        program(made.path / ".git" / "hooks" / name, f"exec {wire.path}")
    made.touch_all()
    return made


def settings(made: Repository, wire: Wire) -> Repository:
    for name in ("core.pager", "pager.status", "diff.external", "core.editor", "core.askPass", "alias.status"):
        made.set(name, str(wire.path))
    made.set("alias.rev-parse", f"!{wire.path}")
    made.set("alias.config", f"!{wire.path}")
    made.set("diff.evil.command", str(wire.path))
    made.set("diff.evil.textconv", str(wire.path))
    made.write(".gitattributes", "* diff=evil\n")
    made.commit()
    made.write("README", "changed\n")
    return made


@pytest.mark.parametrize("arm", [hooks, settings], ids=lambda arm: arm.__name__)
async def test_hooks_pagers_aliases_and_programs_for_differences_are_not_run(
    git: Git, repository: MakeRepository, wire: Wire, arm: Arm
):
    armed = arm(repository(), wire)
    (tree,) = (await git.uncommitted([str(armed.path)])).worktrees
    assert not tree.unknown
    assert not wire.tripped


@pytest.mark.parametrize("arm", [filters, required_filter, long_running_filter], ids=lambda arm: arm.__name__)
async def test_without_its_filter_a_file_is_compared_as_it_stands(
    git: Git, repository: MakeRepository, wire: Wire, arm: Arm
):
    made = arm(repository(), wire)
    assert (await git.uncommitted([str(made.path)])).worktrees[0] == Worktree(str(made.path), (str(made.path),))
    made.write("README", "changed\n")
    (tree,) = (await git.uncommitted([str(made.path)])).worktrees
    assert (tree.files, tree.unknown) == (1, "")


async def test_a_filter_that_cannot_be_named_keeps_git_from_being_asked(
    git: Git, repository: MakeRepository, wire: Wire
):
    made = repository()
    made.write(".git/info/attributes", "README filter=a=b\n")
    made.set("filter.a=b.clean", str(wire.path))
    made.touch_all()
    (tree,) = (await git.uncommitted([str(made.path)])).worktrees
    assert tree == Worktree(str(made.path), (str(made.path),), unknown="its filters cannot be switched off")
    assert not wire.tripped
    made.git("status", ok=False)
    assert wire.tripped


async def test_a_folder_that_only_looks_like_a_repository_is_not_trusted_and_hides_nothing(
    git: Git, repository: MakeRepository, wire: Wire
):
    folder = str(folder_that_looks_like_a_repository(repository(), wire).path)
    assert (await git.uncommitted([folder])).worktrees == (Worktree(folder, (folder,), unknown=NOT_TRUSTED),)


async def test_so_do_too_many_filters(git: Git, repository: MakeRepository):
    made = repository()
    with (made.path / ".git" / "config").open("a") as file:
        file.writelines(f'[filter "f{number}"]\nclean = cat\n' for number in range(FILTERS + 1))
    (tree,) = (await git.uncommitted([str(made.path)])).worktrees
    assert tree.unknown == "its filters cannot be switched off"


async def test_nothing_in_the_repository_is_written(git: Git, repository: MakeRepository):
    made = repository()
    made.write("README", "changed\n")
    made.touch_all()

    def look() -> dict[Path, tuple[int, bytes]]:
        files = [path for path in made.path.rglob("*") if path.is_file()]
        return {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in files}

    before = look()
    assert (await git.uncommitted([str(made.path)])).worktrees[0].files == 1
    assert look() == before
