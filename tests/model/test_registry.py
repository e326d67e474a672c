"""The registry under many readers: nothing missed, nothing torn, and pages that give the same state again."""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Callable, Iterator

import pytest

from skep.errors import Damaged, IllegalTransition
from skep.model.agent import Live, to_json
from skep.model.events import (
    ROOT,
    AgentAdmitted,
    AgentEnded,
    AgentRunning,
    BranchReopened,
    BranchShut,
    EngineStarted,
    Event,
    LatchClosed,
    LatchOpened,
    SwarmEnded,
)
from skep.model.registry import PAGE_AGENTS, Changes, Registry, from_pages, to_pages
from skep.model.states import State, StopVerb, Strength
from skep.model.swarm import SwarmState
from tests.model.telling import Story, done, everything, group, next_record, queued, replayed, returned, started

THREADS = 64
PATIENCE = 60.0


@pytest.fixture
def hasty() -> Iterator[None]:
    """Threads are switched as often as the interpreter can."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


def _all_at_once(count: int, work: Callable[[int], None]) -> None:
    """Run the work in so many threads that begin together; raises what any of them raised."""
    faults: list[BaseException] = []
    begin = threading.Barrier(count)

    def run(number: int) -> None:
        try:
            begin.wait(PATIENCE)
            work(number)
        except BaseException as fault:  # noqa: BLE001 - carried over to the test
            faults.append(fault)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    assert not any(thread.is_alive() for thread in threads), "a thread hangs"
    if faults:
        raise faults[0]


def _busy(registry: Registry, slots: int, counted: list[int]) -> None:
    """Admit, run and end agents until nobody is left; decide and reserve in one critical section."""
    while True:
        with registry.deciding() as state:
            agent = state.line.next()
            if agent is None:
                return
            if state.slots_free <= 0:
                continue
            state.fold(next_record(state, AgentAdmitted(agent)))
            counted.append(1)
            assert sum(counted) <= slots
        with registry.deciding() as state:
            state.fold(next_record(state, AgentRunning(agent, (1,))))
        with registry.deciding() as state:
            counted.append(-1)
            state.fold(next_record(state, done(agent)))


def _careless(registry: Registry, slots: int, counted: list[int]) -> None:
    """Looks in one critical section and acts in the next: what one lock is there to prevent."""
    while True:
        with registry.read() as state:
            agent = state.line.next()
            free = state.slots_free
        if agent is None:
            return
        if free > 0:
            with registry.deciding() as state:
                state.fold(next_record(state, AgentAdmitted(agent)))
            with registry.deciding() as state:
                state.fold(next_record(state, AgentRunning(agent)))
                state.fold(next_record(state, done(agent)))


def _race(worker: Callable[[Registry, int, list[int]], None], agents: int) -> Registry:
    registry = Registry(Story(*(queued(f"a{n}") for n in range(agents)), slots=5).state)
    counted: list[int] = []
    _all_at_once(THREADS, lambda number: worker(registry, 5, counted))
    return registry


@pytest.mark.usefixtures("hasty")
def test_sixty_four_threads_admit_never_one_too_many():
    registry = _race(_busy, 400)
    with registry.read() as state:
        assert state.composition(ROOT) == {next(iter(state.composition(ROOT))): 400}
        assert all(one.state is State.DONE and one.attempt == 1 for one in state.agents.values() if one.id != ROOT)
        assert state.slots_used == 0


@pytest.mark.usefixtures("hasty")
def test_the_race_catches_whoever_looks_and_acts_in_two_steps():
    with pytest.raises(IllegalTransition):
        _race(_careless, 2_000)


@pytest.mark.usefixtures("hasty")
def test_watches_miss_nothing_while_sixty_four_threads_work_and_read():
    registry = Registry(Story(*(queued(f"a{n}") for n in range(200)), slots=8).state)
    quick, slow = registry.watch(), registry.watch()
    slow.take()
    seen: set[str] = set(quick.take().agents)
    working = [THREADS // 2]
    lock = threading.Lock()

    def work(number: int) -> None:
        if number % 2:
            try:
                _busy(registry, 8, [])
            finally:
                with lock:
                    working[0] -= 1
            return
        while True:
            with lock:
                over = not working[0]
            taken = quick.take()
            with lock:
                seen.update(taken.agents)
            assert json.loads(registry.pages()[1])
            one = registry.agent("a7")
            assert one is not None
            assert one.slot is (one.state in (State.STARTING, State.RUNNING))
            if over:
                return

    _all_at_once(THREADS, work)
    everybody = {ROOT, *(f"a{n}" for n in range(200))}
    assert seen == everybody
    assert slow.take().agents == everybody


def _faces(state: SwarmState) -> dict[str, object]:
    """What a row shows of each agent."""
    return {
        one.id: (to_json(one), list(one.children), state.face(one), state.composition(one.id))
        for one in state.agents.values()
    }


HISTORY: list[Event] = [
    group("g"),
    queued("x", "g"),
    queued("y", "g"),
    queued("z"),
    AgentAdmitted("x"),
    AgentRunning("x", (1,)),
    LatchClosed("g", Strength.SPAWNS, "lunch", "you"),
    returned("x"),
    LatchOpened("g", Strength.SPAWNS, "you"),
    BranchShut("g", True, StopVerb.INTERRUPT, "you", 5.0),
    BranchReopened("g", "you"),
    LatchClosed("", Strength.SPAWNS, "lunch", "you"),
    LatchOpened("", Strength.SPAWNS, "you"),
    AgentAdmitted("x"),
    done("x"),
    BranchShut("y", False, StopVerb.KILL, "you"),
    AgentEnded("y", State.KILLED),
    AgentEnded("g", State.KILLED),
    EngineStarted(8, recovered=True),
    *started("z"),
    done("z"),
    AgentEnded(ROOT, State.DONE),
    SwarmEnded("failed"),
]
SHAPING = {"latch_closed", "latch_opened", "branch_shut", "branch_reopened", "agent_queued"} | {
    "swarm_created",
    "engine_started",
    "swarm_ended",
}


def test_a_watch_names_every_agent_whose_row_changed():
    story = Story()
    registry = Registry(story.state)
    watch = registry.watch()
    for event in HISTORY:
        watch.take()
        before = _faces(story.state)
        registry.fold([next_record(story.state, event)])
        after = _faces(story.state)
        changed = {agent for agent in after if after[agent] != before.get(agent)}
        assert watch.take().agents >= changed, event


def test_a_watch_says_when_agents_holds_or_the_whole_swarm_changed():
    registry = Registry(Story().state)
    watch = registry.watch()
    assert watch.take().structure
    for event in HISTORY:
        with registry.read() as state:
            has_hold = isinstance(event, AgentEnded) and bool(
                event.agent in state.shuts or any(scope == event.agent for scope, _ in state.latches)
            )
            record = next_record(state, event)
        registry.fold([record])
        assert watch.take().structure is (event.kind in SHAPING or has_hold), event


def test_a_closed_watch_hears_nothing_and_costs_nothing():
    registry = Registry(Story().state)
    watch = registry.watch()
    watch.take()
    watch.close()
    watch.close()
    with registry.deciding() as state:
        state.fold(next_record(state, queued("a")))
    assert watch.take() == Changes()


def test_live_figures_are_told_and_forgotten():
    registry = Registry(Story(queued("a")).state)
    watch = registry.watch()
    watch.take()
    registry.tell_live([("a", Live("compiling", 5.0, 3, 100))])
    assert watch.take() == Changes(live={"a"})
    assert registry.live("a") == Live("compiling", 5.0, 3, 100)
    registry.live("a").lines = 99  # a copy: whoever asks may do with it what he likes
    assert registry.live("a").lines == 3
    registry.forget_live(["a", "nobody"])
    assert registry.live("a") == Live()


def test_a_copy_of_an_agent_does_not_change_under_its_reader():
    registry = Registry(Story(group("g")).state)
    copy = registry.agent("g")
    registry.fold([next_record(_state(registry), queued("x", "g"))])
    assert copy is not None
    assert copy.children == []
    assert registry.agent("nobody") is None


def _state(registry: Registry) -> SwarmState:
    with registry.read() as state:
        return state


def test_a_registry_that_starts_over_tells_everybody_everything():
    registry = Registry(Story(queued("old")).state)
    registry.tell_live([("old", Live("x"))])
    watch = registry.watch()
    watch.take()
    registry.replace(Story(queued("new")).state)
    taken = watch.take()
    assert taken.structure
    assert taken.agents == {ROOT, "new"}
    assert registry.live("old") == Live()


# -- pages -------------------------------------------------------------------------------------------------------


def test_pages_give_the_same_state_at_every_moment_of_a_history():
    story = Story()
    for event in HISTORY:
        story.tell(event)
        pages = to_pages(story.state)
        again = from_pages(pages)
        assert to_pages(again) == pages
        assert everything(again)[1:-1] == everything(story.state)[1:-1]
        assert to_pages(replayed(story.records)) == pages


def test_a_large_swarm_is_many_pages():
    story = Story(*(queued(f"a{n}") for n in range(PAGE_AGENTS * 2)))
    pages = to_pages(story.state)
    assert [len(json.loads(page)) for page in pages[1:]] == [PAGE_AGENTS, PAGE_AGENTS, 1]
    assert to_pages(from_pages(pages)) == pages


@pytest.mark.parametrize(
    "spoil",
    [
        lambda pages: [],
        lambda pages: [b"{"],
        lambda pages: [b"null"],
        lambda pages: [b"[]", *pages[1:]],
        lambda pages: [pages[0], b"{}"],
        lambda pages: [pages[0], b"[7]"],
        lambda pages: [pages[0], pages[1].replace(b'"driver":"group"', b'"driver":"balloon"')],
        lambda pages: [pages[0], pages[1].replace(b'"parent":"root"', b'"parent":"nobody"')],
        lambda pages: [pages[0], pages[1].replace(b'"since":', b'"senses":')],
        lambda pages: [pages[0].replace(b'"line":', b'"lime":'), pages[1]],
        lambda pages: [pages[0].replace(b'"spawns"', b'"prawns"'), pages[1]],
    ],
)
def test_pages_that_hold_no_state_are_one_typed_error(spoil: Callable[[list[bytes]], list[bytes]]):
    pages = to_pages(Story(queued("a"), LatchClosed("a", Strength.SPAWNS, "", "you")).state)
    spoiled = spoil(pages)
    assert spoiled != pages
    with pytest.raises(Damaged):
        from_pages(spoiled)


def test_the_end_of_a_swarm_ends_its_holds():
    story = Story(queued("a"), *started("a"), LatchClosed("", Strength.SPAWNS, "lunch", "you"), done("a"))
    story.tell(AgentEnded(ROOT, State.DONE), SwarmEnded("done"))
    assert not story.state.latches
