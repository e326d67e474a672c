"""Nested trees of any depth on any number of slots come to their end, once nothing holds them any more."""

from __future__ import annotations

import asyncio
import random

import pytest

from skep.engine.permits import AgentPermits
from skep.errors import NotFound, Refused
from skep.model.events import ROOT, AgentQueued
from skep.model.states import State, StopVerb, Strength, WaitReason
from tests.chat.asking import MODEL, call, chat, delegate, task
from tests.chat.conftest import ChatHive, MakeChatHive
from tests.chat.holding import check
from tests.engine.hive import turns
from tests.engine.played import engine_with

DEPTH = 6
AGENTS = 24
ACTS = 40
QUIET = 25
"""Rounds in which nothing has happened, and nothing is on its way: then nothing ever will."""


class Trees:
    """Trees of so many agents at most, drawn with dice."""

    def __init__(self, choice: random.Random) -> None:
        self.choice = choice
        self.left = AGENTS

    def steps(self, depth: int) -> list[dict]:
        """What one agent does, turn by turn."""
        return [*(self.step(depth) for _ in range(self.choice.randrange(1, 4))), {"say": f"the end at {depth}"}]

    def step(self, depth: int) -> dict:
        if depth == DEPTH or (depth and self.choice.random() < 0.3):
            return {"say": "a look around"} | call("list_files")
        batches = [self.batch(depth) for _ in range(self.choice.choice([1, 1, 1, 2]))]
        batches = [batch for batch in batches if batch is not None]
        if not batches:
            return {"say": "nobody left to ask"} | call("list_files")
        return batches[0] if len(batches) == 1 else {"calls": batches}

    def batch(self, depth: int) -> dict | None:
        """Children in the foreground or in the background; the deeper the more likely it is one line of them."""
        count = min(self.left, self.choice.choice([1, 1, 2, 3]))
        self.left -= count
        tasks = [task(f"c{self.left}-{n}", *self.steps(depth + 1), role="orchestrator") for n in range(count)]
        return delegate(*tasks, background=self.choice.random() < 0.35) if tasks else None


class KeepsItsSlot(AgentPermits):
    """Lets a parent wait for its children with its slot."""

    async def rest(
        self, agent: str, generation: int, reason: WaitReason, detail: str, *, keeps_slot: bool
    ) -> None:
        keeps_slot = keeps_slot or reason is WaitReason.CHILD
        await super().rest(agent, generation, reason, detail, keeps_slot=keeps_slot)


async def act(hive: ChatHive, choice: random.Random) -> None:
    """Hold something, let go of something, or stop a branch below the root."""
    with hive.registry.read() as state:
        live = [one.id for one in state.agents.values() if not one.ended]
        latches = list(state.latches)
    agent, kind = choice.choice(live), choice.randrange(8)
    if kind < 2:
        scope = choice.choice(["", ROOT, agent, agent, f"model:{MODEL}"])
        await hive.engine.pause(scope, choice.choice(list(Strength)), "why not", "you", choice.choice([None, 3.0]))
    elif kind < 5 and latches:
        await hive.engine.unpause(*choice.choice(latches), "you")
    elif kind == 5 and agent != ROOT:
        verb = choice.choice([StopVerb.INTERRUPT, StopVerb.KILL])
        await hive.engine.stop(agent, branch=True, verb=verb, who="you", window=choice.choice([0.0, 5.0]))
    elif kind == 6:
        await hive.engine.take_back(agent, "you")
    else:
        await hive.pass_time(1)


async def a_round(hive: ChatHive) -> bool:
    """Let happen what can; True if something has happened, or is on its way."""
    with hive.registry.read() as state:
        seq = state.seq
    for _ in range(4):
        await asyncio.to_thread(lambda: None)
        await turns(10)
    with hive.registry.read() as state:
        return state.seq != seq or hive.ledger.durable < seq or hive.simulator.ledger.open > 0


async def let_go_of_everything(hive: ChatHive) -> None:
    await hive.pass_time(6)  # the windows of stops close
    with hive.registry.read() as state:
        latches = list(state.latches)
    for latch in latches:
        await hive.engine.unpause(*latch, "you")


async def comes_to_its_end(hive: ChatHive, seed: int, *, acts: int) -> None:
    choice = random.Random(seed)
    root = chat(ROOT, *Trees(choice).steps(0), cwd=hive.workspace)
    await hive.launch(root=root, slots=choice.randrange(1, 5))
    for _ in range(acts):
        if hive.status() is not None:
            break
        try:
            await act(hive, choice)
        except (Refused, NotFound):
            continue
        await a_round(hive)
    await let_go_of_everything(hive)
    quiet = 0
    while hive.status() is None:
        quiet = 0 if await a_round(hive) else quiet + 1
        assert quiet < QUIET, f"nothing happens any more: {hive.states()}"
    await hive.over()


@pytest.mark.parametrize("seed", range(6))
async def test_a_tree_that_is_held_and_stopped_here_and_there_comes_to_its_end(
    make_chat_hive: MakeChatHive, seed: int
):
    hive = await make_chat_hive(max_depth=DEPTH)
    await comes_to_its_end(hive, seed, acts=ACTS)
    check(hive)


@pytest.mark.parametrize("seed", range(2))
async def test_a_tree_that_nobody_touches_is_done_to_its_last_agent(make_chat_hive: MakeChatHive, seed: int):
    hive = await make_chat_hive(max_depth=DEPTH)
    await comes_to_its_end(hive, 100 + seed, acts=0)
    with hive.registry.read() as state:
        assert {one.state for one in state.agents.values()} == {State.DONE}
    assert len(hive.events(AgentQueued)) > AGENTS // 2
    check(hive)


@pytest.mark.full
@pytest.mark.parametrize("seed", range(1_000, 1_100))
async def test_a_hundred_more_trees_come_to_their_ends(make_chat_hive: MakeChatHive, seed: int):
    hive = await make_chat_hive(max_depth=DEPTH)
    await comes_to_its_end(hive, seed, acts=2 * ACTS)
    check(hive)


@pytest.mark.parametrize("seed", [100, 101])
async def test_parents_that_keep_their_slots_are_caught(make_chat_hive: MakeChatHive, seed: int):
    hive = await make_chat_hive(max_depth=DEPTH, engine=engine_with(KeepsItsSlot))
    with pytest.raises(AssertionError, match="nothing happens any more"):
        await comes_to_its_end(hive, seed, acts=0)
