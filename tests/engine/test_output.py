"""Output is shown, kept and bounded; a program that floods costs the engine nothing that others would notice."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest

from skep.engine.engine import NEWS
from skep.errors import NotFound
from skep.model.events import AgentEnded
from skep.model.launch import EngineSettings
from skep.model.states import State
from tests.engine.conftest import MakeHive, MakePipe
from tests.engine.hive import LIMIT, Hive, command, patient, shell

SMALL = EngineSettings(output_ring_lines=50, output_cap_bytes=100_000)


async def test_the_newest_line_is_live_figures_and_keeps_moving(hive: Hive, pipe: MakePipe):
    gate, marks = pipe("gate"), pipe("marks")
    line = f"for n in 1 2 3; do echo line $n; echo > {marks.path}; read x < {gate.path}; done"
    await hive.launch(shell("a", line))
    for number in (1, 2, 3):
        await marks.line()
        watch = hive.registry.watch()
        async with asyncio.timeout(LIMIT):
            while hive.registry.live("a").lines < number:
                await hive.pause(reason="a real event gives the loop time to read")
                await hive.pass_time(NEWS)
        assert hive.registry.live("a").activity == f"line {number}"
        assert "a" in watch.take().live
        watch.close()
        gate.let_go()
    await hive.unpause()
    await hive.over()
    assert hive.registry.live("a").activity == ""


async def test_output_can_be_read_while_it_is_written_and_afterwards(hive: Hive, pipe: MakePipe):
    gate, marks = pipe("gate"), pipe("marks")
    line = f"echo one; echo two; printf half; echo > {marks.path}; read x < {gate.path}; echo .; exit 1"
    await hive.launch(shell("a", line), command("b", "true"))
    await marks.line()
    async with asyncio.timeout(LIMIT):
        while hive.engine.tail("a", 0, 9).rest != "half":
            await hive.pause(reason="a real event gives the loop time to read")
    await hive.unpause()
    assert hive.engine.tail("a", 0, 9).lines == ("one", "two")
    assert hive.engine.tail("a", -1, 9).lines == ("two",)
    gate.let_go()
    await hive.over()
    chunk = hive.engine.tail("a", 0, 9)
    assert (chunk.lines, chunk.total, chunk.rest) == (("one", "two", "half."), 3, "")
    assert (hive.agent("a").lines, hive.agent("a").size, hive.agent("a").result) == (3, 14, "half.")
    assert hive.engine.tail("b", 0, 9).lines == ()
    assert hive.engine.tail("root", 0, 9).lines == ()
    with pytest.raises(NotFound):
        hive.engine.tail("nobody", 0, 9)


async def test_a_log_is_kept_where_it_was_asked_for(hive: Hive, tmp_path: Path):
    await hive.launch(command("a", "echo", "hello", log=str(tmp_path / "deep" / "er" / "a.txt")))
    await hive.over()
    assert (tmp_path / "deep" / "er" / "a.txt").read_text() == "hello\n"
    assert not (hive.folder / "output").exists()


async def test_a_flood_is_bounded_and_the_engine_still_answers(make_hive: MakeHive):
    hive = make_hive(settings=SMALL)
    await hive.launch(*(command(f"a{n}", "yes", f"flood {n}") for n in range(4)), patient("quiet"), slots=5)
    await hive.are(State.RUNNING, "a0", "a1", "a2", "a3", "quiet")
    slowest = 0.0
    async with asyncio.timeout(LIMIT):
        while hive.registry.live("a0").size < 2_000_000:
            asked = time.perf_counter()
            await hive.pause()
            await hive.unpause()
            slowest = max(slowest, time.perf_counter() - asked)
            await hive.pass_time(NEWS)
    assert slowest < 2.0
    chunk = hive.engine.tail("a0", -1_000_000, 1_000_000)
    assert len(chunk.lines) == 50
    assert set(chunk.lines) <= {"flood 0", chunk.lines[0]}
    await hive.kill("root", branch=True)
    await hive.over()
    assert (hive.folder / "output" / "quiet.log").read_bytes() == b""
    for number in range(4):
        _check_the_log_of_a_flood(hive, f"a{number}")


def _check_the_log_of_a_flood(hive: Hive, agent: str) -> None:
    log = (hive.folder / "output" / f"{agent}.log").read_bytes()
    kept, _, note = log.partition(b"\n[skep: ")
    kept = kept[: SMALL.output_cap_bytes]
    assert len(kept) >= SMALL.output_cap_bytes - 1
    assert len(log) < SMALL.output_cap_bytes + 200
    (end,) = hive.events(AgentEnded, agent=agent)
    dropped = int(note.split()[0].replace(b",", b""))
    assert dropped + SMALL.output_cap_bytes == end.size
    assert b"over the cap" in note


async def test_a_disk_that_takes_no_more_costs_the_log_and_not_the_agent(hive: Hive):
    await hive.launch(command("a", "seq", "1000", log="/dev/full"), command("b", "true"))
    await hive.over()
    one = hive.agent("a")
    assert (one.state, one.result, one.lines, one.size) == (State.DONE, "1000", 1_000, 3_893)
