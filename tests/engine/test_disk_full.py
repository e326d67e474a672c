"""Nothing has an effect before it is durable; a full disk makes the swarm wait and costs nothing else."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path

import pytest

from skep.engine.ledger import Decision, Ledger
from skep.errors import NoSpace
from skep.model.events import AgentAdmitted, AgentEnded
from skep.model.states import State
from skep.model.swarm import SwarmState
from skep.warden.client import Command, Warden
from tests.engine.conftest import MakeHive, MakePipe
from tests.engine.hive import LIMIT, Hive, command, patient, shell, turns

LONG = "no room for this " * 2_000


class ReleasesAtOnce(Ledger):
    """Carries out effects without waiting for the journal."""

    def _commit(self, state: SwarmState, decision: Decision) -> None:
        for effect in decision.effects:
            self._due.put_nowait(effect)
        decision.effects.clear()
        super()._commit(state, decision)


class NotesWhatIsDurable(Warden):
    """Notes for every order how much of the journal was durable when it came."""

    durable: list[tuple[str, int]]
    ledger: Ledger

    async def run(self, agent: str, *rest: object, **options: object) -> Command:
        self.durable.append((agent, self.ledger.durable))
        return await super().run(agent, *rest, **options)  # type: ignore[arg-type]


async def _run_under_a_full_disk(make_hive: MakeHive, pipe: MakePipe, ledger: type[Ledger]) -> None:
    """One agent ends while the disk is full; the next one must not start before its admission is on the disk."""
    orders: list[tuple[str, int]] = []
    warden = type("Noting", (NotesWhatIsDurable,), {"durable": orders})
    hive: Hive = make_hive(ledger=ledger, warden=warden)
    warden.ledger = hive.ledger
    gate = pipe("gate")
    await hive.launch(shell("a", f"read x < {gate.path}"), shell("b", f"read x < {gate.path}"), slots=1)
    await hive.are(State.RUNNING, "a")
    full = await _fill(hive)
    gate.let_go()
    await _admitted(hive, "b")
    await turns(200)
    assert [agent for agent, _ in orders] == ["a"], "it was started although nobody could know of it"
    assert hive.events(AgentEnded) == []
    hive.ledger.allow(None)
    await full
    await hive.are(State.RUNNING, "b")
    gate.let_go()
    await hive.over()
    assert hive.ledger.trouble is None
    admitted = {record.event.agent: record.seq for record in hive.records() if _is_admission(record.event)}
    assert all(durable >= admitted[agent] for agent, durable in orders)


def _is_admission(event: object) -> bool:
    return isinstance(event, AgentAdmitted)


async def _fill(hive: Hive) -> asyncio.Task[int]:
    """Let the disk be full from here on; returns the pause that waits for room."""
    hive.ledger.allow(1)
    full = asyncio.create_task(hive.pause("a", reason=LONG))
    await _until_told(hive)
    return full


async def _until_told(hive: Hive) -> None:
    with pytest.raises(NoSpace):
        async with asyncio.timeout(LIMIT):
            await hive.ledger.settle(hive.registry.seq + 1_000, patient=False)
    assert isinstance(hive.ledger.trouble, NoSpace)


async def _admitted(hive: Hive, agent: str) -> None:
    """Wait until it is admitted in memory; nothing of it is durable, so no event will say it."""
    async with asyncio.timeout(LIMIT):
        while not hive.agent(agent).attempt:
            await asyncio.to_thread(hive.registry.pages)


async def test_nothing_starts_before_its_admission_is_durable(make_hive: MakeHive, pipe: MakePipe):
    await _run_under_a_full_disk(make_hive, pipe, Ledger)


async def test_a_ledger_that_does_not_wait_is_caught(make_hive: MakeHive, pipe: MakePipe):
    with pytest.raises(AssertionError, match="nobody could know"):
        await _run_under_a_full_disk(make_hive, pipe, ReleasesAtOnce)


async def test_every_order_of_a_busy_swarm_comes_after_its_admission(make_hive: MakeHive):
    orders: list[tuple[str, int]] = []
    warden = type("Noting", (NotesWhatIsDurable,), {"durable": orders})
    hive: Hive = make_hive(warden=warden)
    warden.ledger = hive.ledger
    await hive.launch(*(command(f"a{n}", "true") for n in range(40)), slots=6)
    await hive.over()
    admitted = {record.event.agent: record.seq for record in hive.records() if _is_admission(record.event)}
    assert len(orders) == 40
    assert all(durable >= admitted[agent] for agent, durable in orders)


async def test_while_the_disk_is_full_verbs_wait_and_nothing_is_published(hive: Hive):
    await hive.launch(patient("a"), patient("b"), slots=1)
    await hive.are(State.RUNNING, "a")
    full = await _fill(hive)
    durable = hive.ledger.durable
    stopping = asyncio.create_task(hive.interrupt("b"))
    await turns(200)
    assert not full.done()
    assert not stopping.done()
    assert hive.ledger.durable == durable
    assert list(hive.ledger.records(durable, 100)) == []
    hive.ledger.allow(None)
    assert await stopping == ["b"]
    await full
    assert hive.ledger.trouble is None
    await hive.kill("a")
    await hive.over()


async def test_a_launch_onto_a_full_disk_says_so_and_does_not_hang(make_hive: MakeHive):
    hive = make_hive()
    hive.ledger.allow(1)
    with pytest.raises(NoSpace):
        async with asyncio.timeout(LIMIT):
            await hive.launch(*(command(f"a{n}", "true", LONG) for n in range(20)))
    assert hive.ledger.durable == 0


async def test_what_was_not_written_at_the_end_is_said_and_what_was_is_there(make_hive: MakeHive, tmp_path: Path):
    hive = make_hive()
    await hive.launch(patient("a"), run=False)
    kept = hive.records()
    full = await _fill(hive)
    full.cancel()
    folder = await asyncio.to_thread(_copied, hive.folder, tmp_path / "left")
    again = make_hive(folder)
    assert again.records() == kept
    assert again.states() == {"root": "waiting", "a": "starting"}


def _copied(folder: Path, to: Path) -> Path:
    return Path(shutil.copytree(folder, to))
