"""A mixed swarm whose engine is killed with -9, at any moment and at every named point; what must hold then."""

from __future__ import annotations

import asyncio
import random
import shutil
import tempfile
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from skep.control.client import SocketLink
from skep.control.verbs import Pause, Stop, Unpause
from skep.model.states import Strength
from tests.bench import recovery
from tests.kills import checks
from tests.kills.life import AT_LEAST, Mixed, live
from tests.kills.mixed import OTHER_ACCOUNT
from tests.kills.points import POINTS, Act, Life, Point
from tests.whole.models import serving
from tests.whole.places import Place


@asynccontextmanager
async def mixed_swarm(place: Place, **options: int) -> AsyncIterator[Mixed]:
    async with (
        serving(place, module="tests.simulator.logged") as models,
        Mixed.of(place, models, **options) as mixed,
    ):
        yield mixed


# -- what every crash goes through -------------------------------------------------------------------------------


async def taken_up(mixed: Mixed) -> None:
    """What every death of an engine leaves, and what the next one makes of it."""
    kept = checks.nothing_acknowledged_is_lost(mixed)
    checks.what_ran_was_durable(mixed, kept)
    await mixed.recover()
    await found(mixed, len(kept))


async def found(mixed: Mixed, before: int) -> None:
    async with mixed.watched() as link:
        after = mixed.kept()
        checks.unknown_is_listed(mixed, after, await mixed.place.json("tree", mixed.swarm))
        with link.registry.read() as state:
            checks.taken_over(after[:before], state)
            checks.is_what_the_journal_says(state, after)


async def to_the_end(mixed: Mixed) -> None:
    """Everything that was lost is resumed, everything that is held let go; then all accounts are settled."""
    async with mixed.watched() as link:
        await mixed.resume_all(link)
        await mixed.to_the_end(link)
    await mixed.place.engine_left(mixed.swarm)
    await settled(mixed)


async def settled(mixed: Mixed) -> None:
    kept = checks.nothing_acknowledged_is_lost(mixed)
    log = await mixed.models.log()
    checks.what_ran_was_durable(mixed, kept)
    checks.conversations_are_whole(kept, log)
    checks.calls_were_settled(kept)
    checks.every_call_ran_or_is_unknown(mixed, kept)
    checks.accounts_agree(mixed, kept, log)
    checks.ended_well(mixed, kept, await mixed.place.json("tree", mixed.swarm))
    checks.nothing_runs(mixed)
    print(f"{mixed.crashes} deaths: all gone within {mixed.gone:.2f} s, recovered within {mixed.recovered:.2f} s")


# -- random moments ----------------------------------------------------------------------------------------------


async def killed_again_and_again(place: Place, seed: int, lives: int) -> None:
    """In each life the engine dies at a random event or at a random execution, with its hands full."""
    chance = random.Random(seed)
    async with mixed_swarm(place, lives=lives) as mixed:
        await mixed.start(new=True)
        for life in range(1, lives + 1):
            async with mixed.watched() as link:
                if life == 1:
                    await mixed.gathered(link)
                else:
                    await mixed.ask(link, Unpause())
                    await mixed.ask(link, Unpause(scope=f"stay{life}"))
                    await mixed.gathered(link, life)
                    await mixed.resume_all(link)
                with link.registry.read() as state:
                    assert live(state) >= AT_LEAST
                mixed.open_gate()
                if chance.random() < 0.5:
                    await mixed.after_events(link, chance.randrange(1, 400))
                else:
                    await mixed.after_runs(link, chance.randrange(1, 90))
                await mixed.kill()
            await taken_up(mixed)
        await to_the_end(mixed)


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.full
async def test_sixty_deaths_at_random_moments(place: Place, seed: int) -> None:
    await killed_again_and_again(place, seed, lives=3)


async def test_a_death_at_a_random_moment(place: Place) -> None:
    await killed_again_and_again(place, 1_000, lives=1)


# -- named points ------------------------------------------------------------------------------------------------


async def act(mixed: Mixed, link: SocketLink, what: Act) -> None:
    """What a client does; the engine may die over it."""
    match what:
        case Act.PAUSE:
            await mixed.ask(link, Pause(scope="chat", reason="enough"))
        case Act.PAUSE_ACCOUNT:
            await mixed.ask(link, Pause(scope=OTHER_ACCOUNT, strength=Strength.TURNS))
        case Act.UNPAUSE:
            await mixed.ask(link, Unpause(scope="late"))
        case Act.INTERRUPT:
            await mixed.ask(link, Stop(agent="chat", branch=True))
        case Act.KILL:
            await mixed.ask(link, Stop(agent="stay1", branch=True, how="kill"))
        case Act.STOP_IN_WINDOW:
            await mixed.ask(link, Stop(agent="late", branch=True, window=5))
        case Act.ANSWER:
            await mixed.answer_until_it_dies(link)
        case Act.RESUME:
            await mixed.resume_all(link)


async def dies_at(place: Place, point: Point) -> None:
    """Kill an engine at this point, and see to everything that follows."""
    async with mixed_swarm(place) as mixed:
        match point.life:
            case Life.LAUNCH:
                await dies_at_its_launch(mixed, point)
            case Life.FIRST:
                await dies_at_work(mixed, point)
            case Life.RECOVERY:
                await dies_taking_over(mixed, point)
            case Life.SECOND:
                await dies_resuming(mixed, point)
            case Life.END:
                await dies_at_the_end(mixed, point)


async def dies_at_its_launch(mixed: Mixed, point: Point) -> None:
    mixed.arm()
    assert not await mixed.start(new=True, point=point.name)
    await mixed.died()
    if point.name.startswith(("folded", "uncommitted")):
        done = await mixed.place.skep("recover", mixed.swarm, code=2)
        assert "no swarm was ever begun" in done.err
        assert not mixed.traces()
        return
    await taken_up(mixed)
    await to_the_end(mixed)


async def dies_at_work(mixed: Mixed, point: Point) -> None:
    await mixed.start(new=True, point=point.name, nth=point.nth)
    async with mixed.watched() as link:
        await mixed.gathered(link)
        mixed.arm()
        mixed.open_gate()
        await act(mixed, link, point.act)
        await mixed.died()
    await taken_up(mixed)
    await to_the_end(mixed)


async def killed_at_work(mixed: Mixed) -> None:
    """A first life, with many calls open and some conversations at their end."""
    await mixed.start(new=True)
    async with mixed.watched() as link:
        await mixed.gathered(link)
        mixed.open_gate()
        await mixed.after_events(link, 120)
        await mixed.kill()


async def dies_taking_over(mixed: Mixed, point: Point) -> None:
    await killed_at_work(mixed)
    before, told = mixed.kept(), list(mixed.told.records)
    crashed = mixed.place.home / "crashed"
    shutil.copytree(mixed.folder, crashed, ignore=shutil.ignore_patterns("*.sock"))

    await taken_up(mixed)
    undisturbed = checks.replayed(mixed.kept())
    await mixed.kill()
    shutil.rmtree(mixed.folder)
    crashed.rename(mixed.folder)
    mixed.told.records[:], mixed.acknowledged = told, before[-1].seq

    mixed.arm()
    assert not await mixed.start(point=point.name)
    await mixed.died()
    assert checks.nothing_acknowledged_is_lost(mixed)[: len(before)] == before
    await mixed.recover()
    await found(mixed, len(before))
    checks.same_pages(undisturbed, checks.replayed(mixed.kept()))
    mixed.crashes -= 1  # one of them was in another history
    await to_the_end(mixed)


async def dies_resuming(mixed: Mixed, point: Point) -> None:
    await killed_at_work(mixed)
    kept = checks.nothing_acknowledged_is_lost(mixed)
    assert await mixed.start(point=point.name, nth=point.nth)
    await found(mixed, len(kept))
    async with mixed.watched() as link:
        await mixed.ask(link, Unpause())
        mixed.arm()
        await act(mixed, link, point.act)
        await mixed.died()
    await taken_up(mixed)
    await to_the_end(mixed)


async def dies_at_the_end(mixed: Mixed, point: Point) -> None:
    await mixed.start(new=True, point=point.name)
    mixed.arm()
    async with mixed.watched() as link:
        await mixed.gathered(link)
        await mixed.to_the_end(link)
    await mixed.died()
    kept = checks.nothing_acknowledged_is_lost(mixed)
    if point.name == "folded/swarm_ended":
        assert checks.replayed(kept).status is None
        done = await mixed.place.skep("recover", mixed.swarm)
        assert "nothing is left that could go on" in done.err
        await mixed.place.engine_left(mixed.swarm)
    else:
        done = await mixed.place.skep("recover", mixed.swarm, code=2)
        assert "the swarm has ended" in done.err
        assert mixed.kept() == kept
    await settled(mixed)


@pytest.mark.full
@pytest.mark.parametrize("point", POINTS, ids=lambda point: f"{point.name} ({point.life.name.lower()})")
async def test_a_death_at_every_named_point(place: Place, point: Point) -> None:
    await dies_at(place, point)


@pytest.mark.parametrize("name", ["committed", "turn durable/with calls"])
async def test_a_death_where_most_is_at_stake(place: Place, name: str) -> None:
    [point] = [one for one in POINTS if one.name == name]
    await dies_at(place, point)


@pytest.mark.full
def test_ten_thousand_events_are_recovered_in_less_than_two_seconds(tmp_path: Path) -> None:
    """Of the engine's own time, its start included: what the machine does besides is not its business."""
    dead = tmp_path / "dead"
    recovery.build(dead, recovery.EVENTS, recovery.AGENTS)
    _, _, cpu = recovery.recovered(dead, Path(tempfile.mkdtemp(prefix="skep-")) / "swarm")
    assert cpu < 2.0


# -- checks that catch something ---------------------------------------------------------------------------------


@pytest.mark.full
async def test_an_engine_that_acknowledges_before_the_commit_is_caught(place: Place) -> None:
    async with mixed_swarm(place) as mixed:
        await mixed.start(new=True, parts="acknowledges first")
        async with mixed.watched() as link:
            await mixed.gathered(link)
            mixed.arm()
            mixed.open_gate()
            while link.registry.seq <= len(mixed.kept()):
                await mixed.after_events(link, 1)
            await mixed.kill()
        with pytest.raises(AssertionError, match="acknowledged events are missing"):
            await taken_up(mixed)


@pytest.mark.full
async def test_an_engine_that_carries_effects_out_first_is_caught(place: Place) -> None:
    async with mixed_swarm(place) as mixed:
        await mixed.start(new=True, parts="effects first")
        async with mixed.watched() as link:
            await mixed.gathered(link)
            mixed.arm()
            asking = asyncio.ensure_future(mixed.ask(link, Unpause(scope="late")))
            while not (await mixed.bell.rings()).startswith("late"):
                pass  # others were at work before
            await mixed.kill()
            await asking
        with pytest.raises(AssertionError, match=r"ran \d times, admitted \d"):
            await taken_up(mixed)


@pytest.mark.full
async def test_a_resume_that_runs_unknown_calls_again_is_caught(place: Place) -> None:
    async with mixed_swarm(place) as mixed:
        await killed_at_work(mixed)
        await mixed.start(parts="runs unknown calls again")
        async with mixed.watched() as link:
            await mixed.ask(link, Unpause())
            await mixed.resume_all(link)
            while max(Counter(label for label, _ in mixed.traces() if "." in label).values()) < 2:
                await mixed.bell.rings()
            await mixed.kill()
        with pytest.raises(AssertionError, match="ran 2 times"):
            await taken_up(mixed)


@pytest.mark.full
async def test_a_recovery_that_forgets_latches_is_caught(place: Place) -> None:
    async with mixed_swarm(place) as mixed:
        await killed_at_work(mixed)
        before = len(mixed.kept())
        await mixed.start(parts="forgets latches")
        with pytest.raises(AssertionError, match=r"the latch .* is gone"):
            await found(mixed, before)
