"""The engine asks its host what is in no commit in the folders of its agents; the service answers in one reply."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from skep.cli.service import EngineService
from skep.control.service import Who
from skep.control.verbs import Preview, Previewed, Standing, Uncommitted, UncommittedShown
from skep.errors import NotFound
from skep.hosts.uncommitted import LIMIT, TOOK_TOO_LONG
from skep.model.events import ROOT
from skep.model.permits import Uncommitted as Found
from skep.model.states import State
from tests.engine.conftest import MakeHive, MakePipe
from tests.engine.hive import Hive, group, patient
from tests.hosts.repositories import Repository, program

YOU = Who("you", read_only=True)


async def files_of(hive: Hive, *agents: str, branch: bool = True) -> UncommittedShown:
    async with asyncio.timeout(20):
        reply = await EngineService(hive.engine, hive.clock).call(Uncommitted(agents=agents, branch=branch), YOU)
    assert isinstance(reply, UncommittedShown)
    return reply


async def test_a_branch_says_what_its_folders_hold_by_worktree(hive: Hive, tmp_path: Path):
    made = Repository.make(tmp_path / "main", tmp_path)
    made.git("worktree", "add", "-q", str(tmp_path / "parser"))
    Repository(tmp_path / "parser", tmp_path).write("new\x1b[2J")
    for name in ("a", "b", "c"):
        made.write(name)
    await hive.launch(
        group("unit"),
        *(patient(f"w{at}", "unit", cwd=str(made.path)) for at in range(6)),
        patient("parser", "unit", cwd=str(tmp_path / "parser")),
        patient("other", cwd=str(tmp_path)),
        slots=3,
    )
    await hive.are(State.RUNNING, "w0")
    found = await files_of(hive, "unit")
    assert [(tree.path, tree.agents, tree.files) for tree in found.worktrees] == [
        (str(made.path), 6, 3),
        (str(tmp_path / "parser"), 1, 1),
    ]
    assert (found.files, found.at_least) == (4, False)
    assert found.worktrees[1].agent == "parser"
    assert found.worktrees[1].names == ["new\N{REPLACEMENT CHARACTER}"]
    assert (await files_of(hive, "w0", branch=False)).files == 3
    assert (await files_of(hive, "other")).worktrees == []
    with pytest.raises(NotFound):
        await files_of(hive, "nobody")
    assert hive.states()["w0"] == "running"


async def test_the_preview_is_that_of_the_moment(hive: Hive):
    service = EngineService(hive.engine, hive.clock)
    await hive.launch(group("unit"), *(patient(f"w{at}", "unit") for at in range(4)), slots=2)
    await hive.are(State.RUNNING, "w0", "w1")
    await hive.interrupt("unit", branch=True, window=5)
    found = await service.call(Preview(agent="unit", branch=True), YOU)
    assert isinstance(found, Previewed)
    assert found.standing == {Standing.RUNNING: 2, Standing.HELD: 2}
    assert [one.doing for one in found.in_flight] == ["$ sleep 600"] * 2


async def test_an_engine_that_does_not_run_yet_knows_nothing(hive: Hive):
    await hive.launch(patient("w"), run=False)
    assert await hive.engine.uncommitted(["/"]) == Found()


async def test_a_git_that_hangs_keeps_neither_the_engine_nor_its_end_waiting(
    make_hive: MakeHive, pipe: MakePipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    begun = pipe("begun")
    program(tmp_path / "bin" / "git", f"echo hangs > {begun.path}\nexec sleep 600")
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:{os.environ['PATH']}")
    hive = make_hive()
    await hive.launch(patient("w", cwd=str(tmp_path)))
    await hive.are(State.RUNNING, "w")
    asking = asyncio.ensure_future(files_of(hive, ROOT))
    await begun.line()
    await hive.interrupt("w", window=5)  # other verbs go on meanwhile
    hive.clock.advance(LIMIT)
    assert [tree.unknown for tree in (await asking).worktrees] == [TOOK_TOO_LONG]
    again = asyncio.ensure_future(files_of(hive, ROOT))
    await begun.line()
    await hive.close()
    assert hive.living() == ()
    hive.clock.advance(LIMIT)
    (tree,) = (await again).worktrees
    assert tree.unknown in (TOOK_TOO_LONG, "git was ended")
