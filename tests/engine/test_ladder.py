"""The ladder over agents in every state, each rung with its moment in the record; no press makes it longer."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial

import pytest

from skep.engine.engine import Engine
from skep.engine.ladder import Ladder
from skep.engine.ledger import Decision
from skep.errors import Refused
from skep.model.states import State, StopStep, StopVerb, Strength, WaitReason
from tests.engine.conftest import MakeHive
from tests.engine.hive import group, patient
from tests.engine.played import PlayedHive, settings, talks

SOFT, CANCEL, KILL = StopStep.SOFT, StopStep.CANCEL, StopStep.KILL
INTERRUPT = StopVerb.INTERRUPT
GRACE, TERM = 10, 5

Press = Callable[[Engine, str], Awaitable[object]]
Rungs = list[tuple[StopStep, int, str]]
"""Which rung, after how many seconds, by whom."""


def _hive(make_hive: MakeHive, engine: type[Engine] = Engine) -> PlayedHive:
    graces = settings(grace=GRACE, term_grace=TERM)
    hive = make_hive(kind=PlayedHive, settings=graces, engine=engine)
    assert isinstance(hive, PlayedHive)
    return hive


# -- agents in every state ---------------------------------------------------------------------------------------

SITUATIONS = {
    "starting": None,
    "running": None,
    "key": (WaitReason.KEY, True),
    "nokey": (WaitReason.KEY, False),
    "approval": (WaitReason.APPROVAL, False),
    "child": (WaitReason.CHILD, False),
    "gate": (WaitReason.GATE, False),
    "budget": (WaitReason.BUDGET, False),
    "slot": (WaitReason.SLOT, False),
    "nexttry": (WaitReason.SLOT, False),
    "queued": None,
}
"""Agent → what it waits for, and whether with its slot."""
AT_ONCE = {"queued", "nexttry"}
"""Of these nothing runs, and nothing has to be told."""


async def _everybody(hive: PlayedHive) -> list[asyncio.Future[object]]:
    """A branch with an agent in each of these states; returns what some of them wait in."""
    asks = [talks(name, "g") if name != "nexttry" else patient(name, "g") for name in SITUATIONS]
    await hive.launch(group("g"), talks("other"), *asks, slots=len(SITUATIONS))
    await hive.engine.pause("queued", Strength.SPAWNS, "it shall stay in line", "you", None)
    await hive.begin(*(name for name in SITUATIONS if name not in ("queued", "starting")), "other")
    await hive.engine.pause("slot", Strength.TURNS, "it shall stay in line", "you", None)
    await hive.engine.pause("nexttry", Strength.SPAWNS, "it shall stay in line", "you", None)
    permits = hive.engine.permits
    for name, wait in SITUATIONS.items():
        if wait is not None and wait[0] is not WaitReason.SLOT:
            await permits.rest(name, 1, wait[0], "because", keeps_slot=wait[1])
    await permits.rest("slot", 1, WaitReason.CHILD, "because", keeps_slot=False)
    waiting = [
        asyncio.ensure_future(permits.resume("slot", 1)),
        asyncio.ensure_future(permits.slot("nexttry", 1, "try 2 of 3 after exit 1")),
    ]
    await hive.until(lambda state: state.line.held() == ["slot", "nexttry", "queued"])
    with hive.registry.read() as state:
        for name, wait in SITUATIONS.items():
            one = state.agents[name]
            assert (one.state.value if wait is None else one.reason) == (name if wait is None else wait[0])
    return waiting


@pytest.mark.parametrize("verb", [StopVerb.INTERRUPT, StopVerb.KILL])
async def test_a_branch_with_somebody_in_every_state_goes_down_the_ladder(make_hive: MakeHive, verb: StopVerb):
    hive = _hive(make_hive)
    waiting = await _everybody(hive)
    start = hive.clock.time()
    _, agents = await hive.engine.stop("g", branch=True, verb=verb, who="you")
    assert set(agents) == {"g", *SITUATIONS}
    rungs = [(SOFT, 0), (CANCEL, GRACE), (KILL, GRACE + TERM)]
    if verb is StopVerb.KILL:
        rungs = [(CANCEL, 0), (KILL, TERM)]
    stubborn = [name for name in SITUATIONS if name not in AT_ONCE]
    await hive.pass_time(16, step=1)
    await hive.until(lambda state: all(state.agents[name].stop_step is KILL for name in stubborn))
    for name in stubborn:
        one = hive.agent(name)
        assert [(step, at - start, who) for step, at, who in one.rungs] == [(*rung, "you") for rung in rungs], name
        assert (one.state, one.asked_at, one.asked_by) == (State.STOPPING, start, "you")
        assert (one.delivered_at, one.ended_at) == (start, None)
        assert one.question is None
    for name in AT_ONCE:
        one = hive.agent(name)
        assert (one.state, one.asked_at, one.asked_by, one.ended_at) == (verb.end, start, "you", start)
        assert (one.rungs, one.delivered_at) == ((), None), "nothing was there to be told"
    assert hive.agent("g").state is State.STOPPING, "it ends after everybody below it"
    await hive.settled()
    assert hive.rungs_of("running") == [step for step, _ in rungs]
    hive.host.ends(*(name for name in stubborn))
    await hive.are(verb.end, "g", *SITUATIONS)
    assert all(hive.agent(name).ended_at == start + 16 for name in stubborn)
    assert (hive.agent("other").state, hive.agent("other").rungs) == (State.RUNNING, ())
    with hive.registry.read() as state:
        assert state.slots_used == 1
        assert not state.latches
        assert not state.shuts
    for one in waiting:
        one.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)


# -- second presses ----------------------------------------------------------------------------------------------


def interrupt(who: str = "you", window: float = 0.0) -> Press:
    return lambda engine, agent: engine.stop(agent, branch=False, verb=INTERRUPT, who=who, window=window)


def kill(who: str = "you") -> Press:
    return lambda engine, agent: engine.stop(agent, branch=False, verb=StopVerb.KILL, who=who)


def hurry(who: str = "you", *, at_once: bool = False) -> Press:
    return lambda engine, agent: engine.hurry(agent, branch=False, kill=at_once, who=who)


@dataclass(frozen=True)
class Case:
    """Presses at some seconds, and what they make of one agent that ends only when the test says so."""

    presses: list[tuple[int, Press]]
    rungs: Rungs
    state: State = State.INTERRUPTED


CASES = {
    "an interrupt": Case([(0, interrupt())], [(SOFT, 0, "you"), (CANCEL, 10, "you"), (KILL, 15, "you")]),
    "a kill": Case([(0, kill())], [(CANCEL, 0, "you"), (KILL, 5, "you")], State.KILLED),
    "an interrupt again at the soft rung": Case(
        [(0, interrupt()), (4, interrupt("her"))], [(SOFT, 0, "you"), (CANCEL, 10, "you"), (KILL, 15, "you")]
    ),
    "an interrupt again at the second rung": Case(
        [(0, interrupt()), (12, interrupt("her"))], [(SOFT, 0, "you"), (CANCEL, 10, "you"), (KILL, 15, "you")]
    ),
    "an interrupt again at the last rung": Case(
        [(0, interrupt()), (17, interrupt("her"))], [(SOFT, 0, "you"), (CANCEL, 10, "you"), (KILL, 15, "you")]
    ),
    "an interrupt again, with a window": Case(
        [(0, interrupt()), (4, interrupt(window=5))], [(SOFT, 0, "you"), (CANCEL, 10, "you"), (KILL, 15, "you")]
    ),
    "hurried at the soft rung": Case(
        [(0, interrupt()), (4, hurry("her"))], [(SOFT, 0, "you"), (CANCEL, 4, "her"), (KILL, 9, "you")]
    ),
    "hurried at each rung": Case(
        [(0, interrupt()), (4, hurry()), (6, hurry()), (7, hurry())],
        [(SOFT, 0, "you"), (CANCEL, 4, "you"), (KILL, 6, "you")],
    ),
    "hurried at the second rung": Case(
        [(0, interrupt()), (11, hurry("her"))], [(SOFT, 0, "you"), (CANCEL, 10, "you"), (KILL, 11, "her")]
    ),
    "killed at once at the soft rung": Case(
        [(0, interrupt()), (4, hurry("her", at_once=True))],
        [(SOFT, 0, "you"), (KILL, 4, "her")],
        State.KILLED,
    ),
    "killed at the soft rung": Case(
        [(0, interrupt()), (4, kill("her"))],
        [(SOFT, 0, "you"), (CANCEL, 4, "her"), (KILL, 9, "her")],
        State.KILLED,
    ),
    "killed at the second rung": Case(
        [(0, interrupt()), (12, kill("her"))],
        [(SOFT, 0, "you"), (CANCEL, 10, "you"), (KILL, 12, "her")],
        State.KILLED,
    ),
    "killed at the last rung, where nothing is left to do": Case(
        [(0, interrupt()), (16, kill("her"))], [(SOFT, 0, "you"), (CANCEL, 10, "you"), (KILL, 15, "you")]
    ),
    "a kill again": Case([(0, kill()), (2, kill("her"))], [(CANCEL, 0, "you"), (KILL, 5, "you")], State.KILLED),
    "an interrupt after a kill": Case(
        [(0, kill()), (2, interrupt("her"))], [(CANCEL, 0, "you"), (KILL, 5, "you")], State.KILLED
    ),
    "a kill that is hurried": Case(
        [(0, kill()), (2, hurry("her"))], [(CANCEL, 0, "you"), (KILL, 2, "her")], State.KILLED
    ),
    "a window that closes": Case(
        [(0, interrupt(window=5))], [(SOFT, 5, "you"), (CANCEL, 15, "you"), (KILL, 20, "you")]
    ),
    "in its window: hurried": Case(
        [(0, interrupt(window=5)), (2, hurry("her"))],
        [(SOFT, 2, "her"), (CANCEL, 12, "her"), (KILL, 17, "her")],
    ),
    "in its window: an interrupt without one": Case(
        [(0, interrupt(window=5)), (2, interrupt())], [(SOFT, 2, "you"), (CANCEL, 12, "you"), (KILL, 17, "you")]
    ),
    "in its window: an interrupt with a longer one": Case(
        [(0, interrupt(window=5)), (3, interrupt(window=60))],
        [(SOFT, 5, "you"), (CANCEL, 15, "you"), (KILL, 20, "you")],
    ),
    "in its window: killed": Case(
        [(0, interrupt(window=5)), (2, kill("her"))], [(CANCEL, 2, "her"), (KILL, 7, "her")], State.KILLED
    ),
    "in its window: killed at once": Case(
        [(0, interrupt(window=5)), (2, hurry("her", at_once=True))],
        [(CANCEL, 2, "her"), (KILL, 2, "her")],
        State.KILLED,
    ),
}
LAST = 25


async def _play(hive: PlayedHive, plans: dict[str, list[tuple[int, Press]]]) -> float:
    """Press at the planned seconds, and let :data:`LAST` seconds pass; returns when the first second was."""
    await hive.launch(*(talks(agent) for agent in plans), talks("other"), slots=len(plans) + 1)
    await hive.begin(*plans, "other")
    start = hive.clock.time()
    for second in range(LAST):
        for agent, presses in plans.items():
            for at, press in presses:
                if at == second:
                    with suppress(Refused):
                        await press(hive.engine, agent)
        await hive.pass_time(1)
    return start


async def _check_the_case(make_hive: MakeHive, case: Case, engine: type[Engine] = Engine) -> None:
    hive = _hive(make_hive, engine)
    start = await _play(hive, {"a": case.presses})
    one = hive.agent("a")
    assert [(step, at - start, who) for step, at, who in one.rungs] == case.rungs
    assert (one.state, one.asked_at, one.asked_by) == (State.STOPPING, start, "you")
    assert one.delivered_at == start + case.rungs[0][1]
    await hive.settled()
    assert hive.rungs_of("a") == [step for step, _, _ in case.rungs]
    hive.host.ends("a")
    await hive.are(case.state, "a")
    assert hive.agent("a").ended_at == start + LAST
    assert hive.agent("other").state is State.RUNNING


@pytest.mark.parametrize("case", CASES)
async def test_every_rung_has_its_moment_and_who_asked_for_it(make_hive: MakeHive, case: str):
    await _check_the_case(make_hive, CASES[case])


async def test_a_stop_that_is_taken_back_leaves_nothing_behind(make_hive: MakeHive):
    hive = _hive(make_hive)
    await _play(hive, {"a": [(0, interrupt(window=5)), (3, lambda engine, agent: engine.take_back(agent, "you"))]})
    one = hive.agent("a")
    assert (one.state, one.asked_at, one.asked_by, one.delivered_at) == (State.RUNNING, None, "", None)
    assert one.rungs == ()


async def test_who_stops_because_its_time_is_up_can_be_hurried_and_killed_and_nothing_else(make_hive: MakeHive):
    hive = _hive(make_hive)
    await hive.launch(*(talks(name, timeout=3) for name in "abc"), slots=3)
    await hive.begin("a", "b", "c")
    start = hive.clock.time()
    await hive.pass_time(4, step=1)
    await interrupt("you", 5)(hive.engine, "a")
    await hurry("you")(hive.engine, "b")
    await kill("you")(hive.engine, "c")
    await hive.pass_time(10, step=1)
    told = {name: [(s, at - start, who) for s, at, who in hive.agent(name).rungs] for name in "abc"}
    assert told == {
        "a": [(CANCEL, 3, "timeout"), (KILL, 8, "timeout")],
        "b": [(CANCEL, 3, "timeout"), (KILL, 4, "you")],
        "c": [(CANCEL, 3, "timeout"), (KILL, 4, "you")],
    }
    assert {hive.agent(name).asked_by for name in "abc"} == {"timeout"}
    hive.host.ends("a", "b", "c")
    await hive.over()
    assert [hive.agent(name).state for name in "abc"] == [State.TIMED_OUT, State.TIMED_OUT, State.KILLED]


# -- whatever is pressed, and when -------------------------------------------------------------------------------


class RestartsTheGrace(Ladder):
    """Counts the grace anew when somebody asks for the same stop again."""

    def ask(self, decision: Decision, agent: str, **how: object) -> list[str]:
        agents = super().ask(decision, agent, **how)  # type: ignore[arg-type]
        for name in agents:
            step = decision.state.agents[name].stop_step
            if name in self._next and step is not None:
                self._next[name].cancel()
                grace = GRACE if step is SOFT else TERM
                self._next[name] = self._alarms.after(decision, grace, partial(self._next_rung, name, step))
        return agents


class OpensAnotherWindow(Ladder):
    """Gives a stop that is asked for again the window that is asked for with it."""

    def _until(self, decision: Decision, agent: str, window: float) -> float | None:
        return decision.now + window if window > 0 else None


def engine_with(ladder: type[Ladder]) -> type[Engine]:
    class Other(Engine):
        def __init__(self, *given: object, **options: object) -> None:
            super().__init__(*given, **options)  # type: ignore[arg-type]
            self._ladder = ladder(self._alarms, self._settings, self._control, self._after)
            self.verbs._ladder = self._endings._ladder = self._ladder

    return Other


def _any_plan(choice: random.Random) -> list[tuple[int, Press]]:
    """A stop at once, and up to five more presses of any kind at any second."""
    first = choice.choice([interrupt(), interrupt(window=5), kill()])
    presses = [interrupt("her"), interrupt("her", 5), interrupt("her", 60), kill("her"), hurry("her")]
    more = [(choice.randrange(LAST), choice.choice(presses)) for _ in range(choice.randrange(6))]
    return [(0, first), *sorted(more, key=lambda one: one[0])]


async def _check_the_plans(make_hive: MakeHive, seed: int, count: int, engine: type[Engine] = Engine) -> None:
    """No rung comes later than it would have come without the other presses, and none comes twice."""
    choice = random.Random(seed)
    plans = {f"a{number}": _any_plan(choice) for number in range(count)}
    alone = {f"b{number}": plan[:1] for number, plan in enumerate(plans.values())}
    hive = _hive(make_hive, engine)
    await _play(hive, {**plans, **alone})
    for number in range(count):
        pressed, untouched = hive.agent(f"a{number}"), hive.agent(f"b{number}")
        steps = [step for step, _, _ in pressed.rungs]
        assert steps == sorted(set(steps))
        latest = {step: at for step, at, _ in untouched.rungs}
        for step, due in latest.items():
            reached = min(at for rung, at, _ in pressed.rungs if rung >= step)
            assert reached <= due, f"the rung {step.name} came {reached - due} s late"
    hive.host.ends(*plans, *alone)
    await hive.are(State.RUNNING, "other")


async def test_whatever_is_pressed_again_the_ladder_gets_shorter_or_stays_as_it_is(make_hive: MakeHive):
    await _check_the_plans(make_hive, seed=1, count=30)


@pytest.mark.full
@pytest.mark.parametrize("seed", range(100, 120))
async def test_whatever_is_pressed_again_a_thousand_times(make_hive: MakeHive, seed: int):
    await _check_the_plans(make_hive, seed=seed, count=30)


@pytest.mark.parametrize("ladder", [RestartsTheGrace, OpensAnotherWindow])
async def test_ladders_that_get_longer_are_caught(make_hive: MakeHive, ladder: type[Ladder]):
    with pytest.raises(AssertionError, match="s late"):
        await _check_the_plans(make_hive, seed=1, count=30, engine=engine_with(ladder))
