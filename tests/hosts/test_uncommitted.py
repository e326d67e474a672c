"""What folders hold that is in no commit, as real git says it of real repositories."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from skep.control.preview import shown
from skep.hosts.uncommitted import FOLDERS, NO_GIT, NOT_TRUSTED, Git
from skep.model.permits import Uncommitted, Worktree
from tests.hosts.conftest import MakeGit, MakeRepository
from tests.hosts.repositories import GIT, Repository, program


async def of(git: Git, *folders: Path | Repository) -> tuple[Worktree, ...]:
    """What is found there; nothing is left out."""
    paths = [str(one.path if isinstance(one, Repository) else one) for one in folders]
    found = await git.uncommitted(paths)
    assert not found.left_out
    return found.worktrees


async def the(git: Git, folder: Path | Repository) -> Worktree:
    """The one working tree that is found there."""
    (tree,) = await of(git, folder)
    return tree


async def test_a_clean_working_tree_holds_nothing(git: Git, repository: MakeRepository):
    made = repository()
    assert await the(git, made) == Worktree(str(made.path), (str(made.path),))


async def test_what_was_changed_added_removed_moved_or_is_new_counts_and_what_is_ignored_does_not(
    git: Git, repository: MakeRepository
):
    made = repository(**{"gone": "1\n", "old": "2\n" * 50, ".gitignore": "*.log\n"})
    made.write("README", "changed\n")
    made.write("added")
    made.git("add", "added")
    made.git("rm", "-q", "gone")
    made.git("mv", "old", "moved")
    made.write("deep/down/new")
    made.write("ignored.log")
    tree = await the(git, made)
    assert tree.files == 6
    assert set(tree.names) == {"README", "added", "gone", "old", "moved", "deep/down/new"}
    assert not tree.at_least


async def test_before_the_first_commit_every_file_is_uncommitted(git: Git, tmp_path: Path, home: Path):
    (tmp_path / "young").mkdir()
    made = Repository(tmp_path / "young", home)
    made.git("init", "-q")
    made.write("a")
    assert (await the(git, made)).names == ("a",)


@pytest.mark.parametrize(
    "name",
    [
        b"two\nlines",
        b"\x1b[2J\x1b]0;title\x07",
        b"\xff\xfe not utf-8",
        b"-rf --all",
        b" blanks ",
        b"\"quotes' $(id)",
        "\u202egnp.exe\u200b".encode(),
        b"x" * 255,
    ],
)
async def test_an_odd_name_is_one_file_and_is_cleaned_before_anybody_sees_it(
    git: Git, repository: MakeRepository, name: bytes
):
    made = repository()
    made.write(name)
    tree = await the(git, made)
    assert (tree.files, tree.names) == (1, (os.fsdecode(name),))
    (seen,) = shown(Uncommitted((tree,)), {str(made.path): ["a\x1b[31mna"]}).worktrees
    for text in (seen.agent, seen.path, *seen.names):
        assert text
        assert text.isprintable()
        assert len(text) <= 200
    seen.model_dump_json().encode()


async def test_folders_of_one_repository_are_one_working_tree_and_are_asked_about_once(
    make_git: MakeGit, repository: MakeRepository, tmp_path: Path
):
    made = repository(**{"a/x": "1", "b/y": "2"})
    made.write("a/new")
    log = tmp_path / "log"
    program(tmp_path / "bin" / "git", f'echo "$*" >> {log}\nexec {GIT} "$@"')
    git = make_git(PATH=f"{tmp_path}/bin:{os.environ['PATH']}")
    folders = [str(made.path), *[str(made.path / "a")] * 1_000, str(made.path / "b")]
    (tree,) = (await git.uncommitted(folders)).worktrees
    assert (tree.path, tree.files) == (str(made.path), 1)
    assert tree.folders == (str(made.path), str(made.path / "a"), str(made.path / "b"))
    words = log.read_text().splitlines()
    assert sum(" status " in line for line in words) == 1
    assert len(words) == 5  # three folders have to be placed, and one repository has to be asked for its filters


async def test_a_thousand_agents_in_one_folder_cost_three_programs(
    make_git: MakeGit, repository: MakeRepository, tmp_path: Path
):
    made = repository()
    log = tmp_path / "log"
    program(tmp_path / "bin" / "git", f'echo run >> {log}\nexec {GIT} "$@"')
    git = make_git(PATH=f"{tmp_path}/bin:{os.environ['PATH']}")
    assert len((await git.uncommitted([str(made.path)] * 1_000)).worktrees) == 1
    assert len(log.read_text().splitlines()) == 3


async def test_a_folder_that_is_reached_by_a_link_is_the_one_it_leads_to(
    git: Git, repository: MakeRepository, tmp_path: Path
):
    made = repository()
    (tmp_path / "link").symlink_to(made.path)
    (tree,) = await of(git, made, tmp_path / "link")
    assert tree.folders == (str(made.path), str(tmp_path / "link"))


async def test_a_repository_within_another_is_one_of_its_own(git: Git, repository: MakeRepository, home: Path):
    outer = repository()
    inner = Repository.make(outer.path / "inner", home)
    inner.write("new")
    inner.write("newer")
    of_outer, of_inner = await of(git, outer, inner)
    assert (of_outer.files, of_outer.names) == (1, ("inner/",))
    assert (of_inner.files, of_inner.names) == (2, ("new", "newer"))


async def test_a_submodule_is_one_of_its_own_and_only_where_it_stands_counts_outside(
    git: Git, repository: MakeRepository
):
    outer, library = repository(), repository("library")
    outer.git("-c", "protocol.file.allow=always", "submodule", "--quiet", "add", str(library.path), "lib")
    outer.commit()
    inside = Repository(outer.path / "lib", outer.path.parent / "home")
    inside.write("README", "changed inside\n")
    of_outer, of_inside = await of(git, outer, inside)
    assert (of_outer.files, of_inside.files) == (0, 1)
    assert of_inside.path == str(inside.path)
    inside.commit()
    of_outer, of_inside = await of(git, outer, inside)
    assert (of_outer.names, of_inside.files) == (("lib",), 0)


async def test_each_worktree_of_a_repository_is_told_apart(
    git: Git, repository: MakeRepository, tmp_path: Path, home: Path
):
    made = repository()
    made.git("worktree", "add", "-q", str(tmp_path / "parser"))
    made.git("worktree", "add", "-q", str(tmp_path / "dunning"))
    Repository(tmp_path / "parser", home).write("README", "changed\n")
    found = await of(git, made, tmp_path / "parser", tmp_path / "dunning")
    assert [(os.path.basename(tree.path), tree.files) for tree in found] == [
        ("repository", 0),
        ("parser", 1),
        ("dunning", 0),
    ]


async def test_what_is_under_no_git_has_nothing_to_say(git: Git, repository: MakeRepository, tmp_path: Path):
    made = repository()
    made.git("clone", "-q", "--bare", str(made.path), str(tmp_path / "bare"))
    (tmp_path / "plain").mkdir()
    found = await git.uncommitted(
        [str(tmp_path / "plain"), str(tmp_path / "bare"), str(tmp_path / "missing"), "relative", "", "/"]
    )
    assert found == Uncommitted()


async def test_a_repository_of_somebody_else_is_not_looked_at_and_that_is_said(
    make_git: MakeGit, repository: MakeRepository
):
    made = repository()
    made.write("new")
    git = make_git(GIT_TEST_ASSUME_DIFFERENT_OWNER="1")
    assert await the(git, made) == Worktree(str(made.path), (str(made.path),), unknown=NOT_TRUSTED)


async def test_one_that_its_owner_has_declared_safe_is_looked_at(
    make_git: MakeGit, repository: MakeRepository, home: Path
):
    made = repository()
    made.write("new")
    (home / ".gitconfig").write_text(f"[safe]\ndirectory = {made.path}\n")
    assert (await the(make_git(GIT_TEST_ASSUME_DIFFERENT_OWNER="1"), made)).files == 1


async def test_a_broken_repository_is_unknown_and_not_clean(git: Git, repository: MakeRepository):
    made, sound = repository(), repository("sound")
    (made.path / ".git" / "index").write_bytes(b"this is no index")
    broken, other = await of(git, made, sound)
    assert broken.unknown == "git failed with exit 128"
    assert other == Worktree(str(sound.path), (str(sound.path),))


async def test_without_git_nothing_is_known(make_git: MakeGit, repository: MakeRepository, tmp_path: Path):
    made = repository()
    assert (await the(make_git(PATH=str(tmp_path)), made)).unknown == NO_GIT
    assert (await the(make_git(PATH=""), made)).unknown == NO_GIT


async def test_a_git_that_lies_in_the_folder_itself_is_no_git(
    make_git: MakeGit, repository: MakeRepository, monkeypatch: pytest.MonkeyPatch
):
    made = repository()
    monkeypatch.chdir(made.path)
    trap = program(made.path / "own" / "git", 'echo trapped > "$0.ran"')
    tree = await the(make_git(PATH=f":.:own:./own:{os.path.dirname(GIT)}"), made)
    assert tree.names == ("own/git",)
    assert not trap.with_name("git.ran").exists()


async def test_only_so_many_folders_are_looked_at_and_the_rest_is_said(git: Git, tmp_path: Path):
    folders = [str(tmp_path / str(number)) for number in range(FOLDERS + 20)]
    assert await git.uncommitted([*folders, *folders]) == Uncommitted((), 20)
