"""Verbs from threads: each is decided where it is asked, wakes whom it concerns, and comes too late as a whole."""

from __future__ import annotations

import asyncio
import threading
from contextlib import AbstractContextManager

import pytest

from skep.engine.ledger import Decision, Ledger
from skep.engine.permits import AgentPermits
from skep.errors import IllegalTransition, Refused
from skep.model.approvals import Question
from skep.model.children import Task
from skep.model.events import ROOT, AgentAdmitted, AgentQueued
from skep.model.permits import Ended
from skep.model.states import State, StopStep, StopVerb, Strength, WaitReason
from tests.engine.conftest import MakeHive
from tests.engine.hive import LIMIT, turns
from tests.engine.played import PlayedHive, engine_with, settings, talks
from tests.engine.test_race import LooksThenDecides


class Turnstile(Ledger):
    """Stops other threads on their way into a decision until the test lets them in."""

    def __init__(self, *parts: object, **options: object) -> None:
        super().__init__(*parts, **options)  # type: ignore[arg-type]
        self.stands_before = threading.Event()
        self.lets_in = threading.Event()

    def decide(self) -> AbstractContextManager[Decision]:
        if threading.current_thread() is not threading.main_thread():
            self.stands_before.set()
            assert self.lets_in.wait(LIMIT)
        return super().decide()


def _hive(make_hive: MakeHive, **parts: object) -> PlayedHive:
    hive = make_hive(kind=PlayedHive, settings=settings(max_depth=2), accounts={"p": ("p/k",)}, **parts)
    assert isinstance(hive, PlayedHive)
    return hive


async def _a_child_in_flight(make_hive: MakeHive, permits: type[AgentPermits], verb: StopVerb) -> None:
    """The request has left its agent, on another thread, when the branch is stopped; then it arrives."""
    hive = _hive(make_hive, engine=engine_with(permits), ledger=Turnstile)
    await hive.launch(talks("a"))
    await hive.until(lambda state: state.slots_used == 1)
    asking = asyncio.ensure_future(asyncio.to_thread(hive.engine.permits.ask_for, "a", 1, [Task("late")]))
    await asyncio.to_thread(hive.ledger.stands_before.wait, LIMIT)
    hive.engine.verbs.stop("a", branch=True, verb=verb, who="you")
    hive.ledger.lets_in.set()
    try:
        with pytest.raises(Refused, match="is being stopped"):
            await asking
    finally:
        await hive.settled()
        hive.host.ends("a")
        await hive.over()
    assert len(hive.events(AgentQueued)) == 2


@pytest.mark.parametrize("verb", [StopVerb.INTERRUPT, StopVerb.KILL])
async def test_a_child_whose_request_is_in_flight_when_its_branch_stops_is_refused(
    make_hive: MakeHive, verb: StopVerb
):
    await _a_child_in_flight(make_hive, AgentPermits, verb)


async def test_permits_that_look_before_the_lock_are_caught(make_hive: MakeHive):
    with pytest.raises(IllegalTransition):
        await _a_child_in_flight(make_hive, LooksThenDecides, StopVerb.INTERRUPT)


async def test_a_child_that_is_asked_for_in_the_window_of_a_stop_has_to_wait(make_hive: MakeHive):
    hive = _hive(make_hive)
    await hive.launch(talks("a"))
    await hive.until(lambda state: state.slots_used == 1)
    hive.engine.verbs.stop("a", branch=True, verb=StopVerb.INTERRUPT, who="you", window=5)
    assert await asyncio.to_thread(hive.engine.permits.ask_for, "a", 1, [Task("later")]) is None
    spawning = asyncio.ensure_future(hive.engine.permits.spawn("a", 1, [Task("later")]))
    await turns()
    assert not spawning.done()
    await asyncio.to_thread(hive.engine.verbs.take_back, "a", "you")
    async with asyncio.timeout(LIMIT):
        assert await spawning == ["a2"]


async def test_below_an_agent_whose_time_is_up_nobody_is_asked_for(make_hive: MakeHive):
    """It stops for a while yet, and its child works on so long: that child may have none of its own."""
    hive = _hive(make_hive)
    await hive.launch(talks("a", timeout=30))
    await hive.begin("a")
    _, [child] = hive.engine.permits.ask_for("a", 1, [Task("c", role="orchestrator")])
    await hive.begin(child)
    await hive.pass_time(31)
    await hive.until(lambda state: state.agents["a"].stop_step is StopStep.CANCEL)
    await hive.settled()
    with pytest.raises(Refused, match="being stopped"):
        hive.engine.permits.ask_for(child, 1, [Task("late")])
    hive.host.ends("a")
    await hive.until(lambda state: state.agents[child].state is State.STOPPING)
    await hive.settled()
    hive.host.ends(child)
    await hive.over()
    assert hive.agent("a").state is State.TIMED_OUT


async def test_every_verb_works_from_a_thread(make_hive: MakeHive):
    hive = _hive(make_hive)
    await hive.launch(*(talks(name) for name in "abc"), slots=2)
    await hive.begin("a", "b")
    verbs, permits = hive.engine.verbs, hive.engine.permits
    question = Question.about("terminal", "$ true", {"command": "true"})
    await permits.rest("a", 1, WaitReason.APPROVAL, "$ true", keeps_slot=False)
    asking = asyncio.ensure_future(permits.approve("a", 1, question))
    await hive.until(lambda state: state.agents["a"].question is not None)
    stop = {"branch": False, "verb": StopVerb.INTERRUPT, "who": "you"}

    async def certain(seq: int) -> None:
        assert seq > 0
        assert await asyncio.to_thread(hive.ledger.wait, seq, LIMIT)

    in_thread = asyncio.to_thread
    await certain(await in_thread(verbs.pause, "", Strength.TURNS, "lunch", "you", 60.0))
    await certain(await in_thread(verbs.answer, "a", question.hash, allow=True, who="you"))
    assert (await asking).allow
    back = asyncio.ensure_future(permits.resume("a", 1))
    released = asyncio.ensure_future(permits.released("b", 1))
    await turns()
    assert not back.done() and not released.done()  # noqa: PT018
    await certain(await in_thread(verbs.unpause, "", Strength.TURNS, "you"))
    await released
    await certain((await in_thread(verbs.stop, "b", **stop, window=5))[0])
    await certain(await in_thread(verbs.take_back, "b", "you"))
    await certain((await in_thread(verbs.stop, "b", **stop))[0])
    await certain((await in_thread(verbs.hurry, "b", branch=False, kill=True, who="you"))[0])
    await hive.settled()
    assert hive.rungs_of("b") == [StopStep.SOFT, StopStep.KILL]
    await certain(await in_thread(hive.engine.take, [Ended("b", 1, State.FAILED), Ended("c", 1, State.DONE)]))
    assert await back == 2
    hive.host.running["a"] = 2
    seq, new = await in_thread(verbs.resume, "c", "go on", "you")
    await certain(seq)
    await hive.until(lambda state: state.agents[new].slot)
    await hive.settled()
    hive.host.ends("a", new)
    await hive.over()


async def test_an_end_time_that_a_thread_sets_comes_in_the_loop_that_sleeps_for_a_later_one(make_hive: MakeHive):
    hive = _hive(make_hive)
    await hive.launch(talks("a"))
    await hive.pause(seconds=50)
    await turns()
    await asyncio.to_thread(hive.engine.verbs.pause, ROOT, Strength.SPAWNS, "a bit", "you", 10.0)
    await hive.pass_time(11)
    await hive.until(lambda state: len(state.latches) == 1)


async def test_who_ends_before_it_hears_of_its_new_slot_has_ended(make_hive: MakeHive):
    """It stands in line again; it is admitted, and in the same moment its run breaks for a reason of its own."""
    hive = _hive(make_hive)
    await hive.launch(talks("a"), talks("b"), slots=1)
    await hive.until(lambda state: state.agents["a"].slot)
    await hive.engine.permits.rest("a", 1, WaitReason.CHILD, "1 agent", keeps_slot=False)
    await hive.until(lambda state: state.agents["b"].slot)
    back = asyncio.ensure_future(hive.engine.permits.resume("a", 1))
    await turns()
    hive.engine.take([Ended("b", 1, State.DONE)])
    assert hive.agent("a").attempt == 2
    back.cancel()
    await turns()
    hive.host.running = {"a": 1}
    hive.host.ends("a", state=State.FAILED)
    await hive.over()
    assert hive.agent("a").state is State.FAILED
    assert hive.host.submitted == ["a", "b"], "it was started a second time"
    assert [event.agent for event in hive.events(AgentAdmitted)] == ["a", "b", "a"]


async def test_reports_of_an_earlier_run_are_late_once_it_has_taken_up_its_slot(make_hive: MakeHive):
    hive = _hive(make_hive)
    await hive.launch(talks("a"))
    await hive.until(lambda state: state.agents["a"].slot)
    await hive.engine.permits.rest("a", 1, WaitReason.CHILD, "1 agent", keeps_slot=False)
    async with asyncio.timeout(LIMIT):
        assert await hive.engine.permits.resume("a", 1) == 2
    assert hive.engine.take([Ended("a", 1, State.DONE)]) == 0
    assert hive.agent("a").state is State.RUNNING
