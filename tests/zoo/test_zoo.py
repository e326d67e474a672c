"""None survives its ladder, and none takes longer than that has time, whatever it is made of."""

from __future__ import annotations

import pytest

from skep.model.children import Role
from skep.model.launch import AgentAsk
from skep.model.states import StopStep, StopVerb
from skep.warden.client import Warden
from skep.warden.guard import Guard
from tests.bench.table import percentile
from tests.chat.asking import call, chat
from tests.chat.conftest import ChatHive
from tests.engine.hive import patient
from tests.zoo import mutants
from tests.zoo.conftest import MakeKeeper, MakeZoo
from tests.zoo.keeping import Taken, Zoo, take_down
from tests.zoo.trees import KINDS, Habit, Tree, zoo

SEED = 20_250
PROMPT = 1.0
"""Seconds after the graces within which a tree is gone, at the 99th percentile."""
LIMIT = 60.0


def _ask(keeper: ChatHive, zoo: Zoo, number: int, name: str) -> AgentAsk:
    """Every fifth tree is what a chat agent started in its terminal, the others are commands."""
    if number % 5 != 4:
        return zoo.ask(name)
    work = call("terminal", command=zoo.line(name), timeout=600)
    return chat(name, work, cwd=keeper.workspace, role=Role.LEAF)


def _verb(zoo: Zoo, name: str) -> StopVerb:
    return StopVerb.KILL if list(zoo.trees).index(name) % 2 else StopVerb.INTERRUPT


async def _emptied_in_time(keeper: ChatHive, zoo: Zoo, *, limit: float = LIMIT) -> list[Taken]:
    """Fill the zoo, see that it is full, and take everything down. AssertionError if any lives or is late."""
    asks = [_ask(keeper, zoo, number, name) for number, name in enumerate(zoo.trees)]
    await keeper.launch(*asks, patient("keeper"), slots=len(asks) + 1)
    await zoo.complete()
    full = zoo.survivors(zoo.trees)
    assert set(full) == set(zoo.trees), "each tree stands, and is seen by who looks for it later"
    taken = await take_down(keeper, zoo, lambda name: _verb(zoo, name), limit=limit)
    assert {one.tree for one in taken} == set(zoo.trees)
    over = percentile([one.over for one in taken], 99)
    assert over < PROMPT, f"gone, but late: {sorted(taken, key=lambda one: -one.over)[:5]}"
    return taken


EVERY_RUNG = {StopStep.SOFT, StopStep.CANCEL, StopStep.KILL}


async def test_a_small_zoo_is_emptied_in_time(make_keeper: MakeKeeper, make_zoo: MakeZoo) -> None:
    taken = await _emptied_in_time(await make_keeper(), make_zoo(zoo(SEED, 30)))
    assert {one.step for one in taken} == EVERY_RUNG


@pytest.mark.full
@pytest.mark.parametrize("seed", [SEED, SEED + 1])
async def test_a_large_zoo_is_emptied_in_time(make_keeper: MakeKeeper, make_zoo: MakeZoo, seed: int) -> None:
    trees = zoo(seed, 220)
    assert {node.habit for tree in trees for node in tree.root} == set(Habit)
    taken = await _emptied_in_time(await make_keeper(), make_zoo(trees))
    assert {one.step for one in taken} == EVERY_RUNG


def test_every_seed_has_every_kind_and_gives_the_same_trees_again() -> None:
    for seed in range(20):
        trees = zoo(seed, len(KINDS) + 20)
        assert trees == zoo(seed, len(KINDS) + 20)
        assert len({tree.name for tree in trees}) == len(trees)
        nodes = [node for tree in trees for node in tree.root]
        assert {node.habit for node in nodes} == set(Habit)
        assert any(node.orphan for node in nodes)
        assert all(
            node.children == () for node in nodes if node.habit in (Habit.SCRUBBED, Habit.STORM, Habit.FLOOD)
        )


@pytest.mark.parametrize("mutant", [mutants.WithoutSubreaper, mutants.Hasty, mutants.Sweepless])
async def test_a_warden_with_a_fault_is_found_out(
    make_keeper: MakeKeeper, make_zoo: MakeZoo, mutant: type[Guard]
) -> None:
    class Faulty(Warden):
        program = mutants.program(mutant)

    keeper = await make_keeper(warden=Faulty)
    trees = [Tree(name.replace(" ", "-"), KINDS[name]) for name in ("deaf daemon", "scrubbed daemon")]
    kept = make_zoo(trees)
    with pytest.raises(AssertionError, match=r"and they live|gone, but late"):
        await _emptied_in_time(keeper, kept)
    kept.release()
