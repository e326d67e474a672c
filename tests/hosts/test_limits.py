"""A git that hangs, floods or is asked for too much costs its time and memory; nothing that was started stays."""

from __future__ import annotations

import asyncio
import os
from contextlib import suppress
from pathlib import Path

import pytest

from skep.clock import VirtualClock
from skep.hosts.uncommitted import AT_ONCE, CAP, LIMIT, NAMES, TOOK_TOO_LONG
from skep.model.permits import Uncommitted, Worktree
from skep.warden.client import marked
from tests.engine.hive import Pipe, Watch
from tests.hosts.conftest import CANARY, SWARM, MakeGit, MakeRepository
from tests.hosts.repositories import GIT, program


async def after_the_limit(asking: asyncio.Future[Uncommitted], clock: VirtualClock) -> Uncommitted:
    """What is known when the time is up."""
    assert not asking.done()
    clock.advance(LIMIT)
    async with asyncio.timeout(10):
        return await asking


async def nothing_is_left() -> None:
    """Killed is not gone: wait for it."""
    while pids := marked(SWARM):
        with suppress(ProcessLookupError):
            left = Watch(pids[0])
            await left.ended()
            left.close()


@pytest.fixture
def begun(tmp_path: Path):
    made = Pipe(tmp_path / "begun")
    yield made
    made.close()


async def test_a_git_that_hangs_is_unknown_after_two_seconds_and_killed_with_all_that_it_started(
    make_git: MakeGit, clock: VirtualClock, tmp_path: Path, begun: Pipe
):
    program(
        tmp_path / "bin" / "git",
        f"trap '' TERM INT HUP\nsetsid sleep 600 &\necho hangs > {begun.path}\nwhile :; do sleep 600; done",
    )
    git = make_git(PATH=f"{tmp_path}/bin:{os.environ['PATH']}")
    asking = asyncio.ensure_future(git.uncommitted([str(tmp_path)]))
    await begun.line()
    found = await after_the_limit(asking, clock)
    assert found.worktrees == (Worktree(str(tmp_path), (str(tmp_path),), unknown=TOOK_TOO_LONG),)
    await nothing_is_left()


async def test_what_is_known_by_then_is_told(
    make_git: MakeGit, clock: VirtualClock, repository: MakeRepository, tmp_path: Path, begun: Pipe
):
    quick, slow = repository("quick"), repository("slow")
    quick.write("new")
    answers = f'*"-C {quick.path}"*status*) {GIT} "$@"; echo counted > {begun.path};;'
    hangs = f'*"-C {slow.path}"*status*) read line < {tmp_path}/gate; exec sleep 600;;'
    program(tmp_path / "bin" / "git", f'case "$*" in {answers} {hangs} *) exec {GIT} "$@";; esac')
    gate = Pipe(tmp_path / "gate")
    git = make_git(PATH=f"{tmp_path}/bin:{os.environ['PATH']}")
    asking = asyncio.ensure_future(git.uncommitted([str(one.path) for one in (slow, quick)]))
    await begun.line()
    for _ in range(5):  # the answer is on its way to the loop: look away for longer than that takes
        await git.uncommitted([str(tmp_path)])
    gate.close()
    of_slow, of_quick = (await after_the_limit(asking, clock)).worktrees
    assert (of_slow.unknown, of_quick.unknown) == (TOOK_TOO_LONG, "")
    assert (of_slow.files, of_quick.files) == (0, 1)
    await nothing_is_left()


async def test_only_so_many_run_at_once_whoever_asks(
    make_git: MakeGit, clock: VirtualClock, tmp_path: Path, begun: Pipe
):
    program(tmp_path / "bin" / "git", f"echo hangs > {begun.path}\nexec sleep 600")
    git = make_git(PATH=f"{tmp_path}/bin:{os.environ['PATH']}")
    asking = [asyncio.ensure_future(git.uncommitted([f"/{who}{at}" for at in range(10)])) for who in "abc"]
    await begun.lines(AT_ONCE)
    assert begun.nothing()
    clock.advance(LIMIT)
    async with asyncio.timeout(10):
        found = await asyncio.gather(*asking)
    assert [len(one.worktrees) for one in found] == [10, 10, 10]
    assert all(tree.unknown == TOOK_TOO_LONG for one in found for tree in one.worktrees)
    await nothing_is_left()


async def test_an_answer_without_end_is_cut_and_says_so(
    make_git: MakeGit, repository: MakeRepository, tmp_path: Path
):
    made = repository()
    flood = "*status*) exec yes '?? a file with a name of some length';;"
    program(tmp_path / "bin" / "git", f'case "$*" in {flood} esac\nexec {GIT} "$@"')
    git = make_git(PATH=f"{tmp_path}/bin:{os.environ['PATH']}")
    async with asyncio.timeout(20):
        (tree,) = (await git.uncommitted([str(made.path)])).worktrees
    assert tree.at_least
    assert not tree.unknown
    await nothing_is_left()


async def test_the_files_before_the_cut_are_counted(make_git: MakeGit, repository: MakeRepository, tmp_path: Path):
    made = repository()
    flood = "*status*) while :; do printf '?? %0100d\\0' 7 || exit; done;;"
    program(tmp_path / "bin" / "git", f'case "$*" in {flood} esac\nexec {GIT} "$@"')
    git = make_git(PATH=f"{tmp_path}/bin:{os.environ['PATH']}")
    async with asyncio.timeout(20):
        (tree,) = (await git.uncommitted([str(made.path)])).worktrees
    assert (tree.files, tree.at_least, len(tree.names)) == (CAP // 104, True, NAMES)


async def test_who_asked_and_has_gone_leaves_nothing_behind(make_git: MakeGit, tmp_path: Path, begun: Pipe):
    program(tmp_path / "bin" / "git", f"echo hangs > {begun.path}\nexec sleep 600")
    git = make_git(PATH=f"{tmp_path}/bin:{os.environ['PATH']}")
    asking = asyncio.ensure_future(git.uncommitted([str(tmp_path)]))
    await begun.line()
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    await nothing_is_left()


async def test_git_is_given_no_more_than_the_tools_of_agents(
    make_git: MakeGit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("OTHER_API_KEY", CANARY)
    monkeypatch.setenv("GIT_CONFIG_COUNT", "1")
    program(tmp_path / "bin" / "git", f"env > {tmp_path}/env\ncat > {tmp_path}/stdin\nfalse")
    git = make_git(PATH=f"{tmp_path}/bin:{os.environ['PATH']}")
    (tree,) = (await git.uncommitted([str(tmp_path)])).worktrees
    assert tree.unknown == "git failed with exit 1"
    env = dict(line.split("=", 1) for line in (tmp_path / "env").read_text().splitlines())
    assert CANARY not in str(env)
    assert {name for name in env if name.startswith("GIT_")} == {
        "GIT_ALLOW_PROTOCOL",
        "GIT_NO_LAZY_FETCH",
        "GIT_OPTIONAL_LOCKS",
        "GIT_PAGER",
        "GIT_TERMINAL_PROMPT",
    }
    assert (tmp_path / "stdin").read_bytes() == b""
