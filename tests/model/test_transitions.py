"""Which step may follow which: every state meets every event, and what is not allowed changes nothing."""

from __future__ import annotations

import pytest

from skep.errors import IllegalTransition
from skep.model.events import (
    ROOT,
    AgentAdmitted,
    AgentEnded,
    AgentMarked,
    AgentQueued,
    AgentRunning,
    AgentStopping,
    AgentWaiting,
    ApprovalAnswered,
    ApprovalAsked,
    AttemptStruck,
    BranchReopened,
    BranchShut,
    EngineStarted,
    Event,
    LatchClosed,
    LatchOpened,
    MessageAdded,
    Record,
    SwarmCreated,
    SwarmEnded,
    ToolEnded,
    TurnCompleted,
)
from skep.model.registry import Registry
from skep.model.states import DriverKind, Mark, State, StopStep, StopVerb, Strength, WaitReason
from skep.model.swarm import SwarmState
from tests.model.telling import (
    START,
    Story,
    born,
    done,
    everything,
    group,
    next_record,
    queued,
    returned,
    started,
    stopping,
)

X = "x"
SHUT = BranchShut(X, True, StopVerb.INTERRUPT, "you", None)
HOLD = LatchClosed(X, Strength.SPAWNS, "lunch", "you")
ASK = ApprovalAsked(X, "h1", "terminal", "$ make", {"command": "make"})


def _ended(state: State) -> tuple[Event, ...]:
    if state in (State.DONE, State.FAILED, State.LOST, State.OVER_LIMIT):
        return (*started(X), AgentEnded(X, state))
    return (*started(X), stopping(X), AgentEnded(X, state))


SCENES: dict[str, tuple[Event, ...]] = {
    "queued": (queued(X),),
    "held": (queued(X), HOLD),
    "shut": (queued(X), SHUT),
    "starting": (queued(X), AgentAdmitted(X)),
    "running": (queued(X), *started(X)),
    "waiting for a slot": (queued(X), *started(X), returned(X)),
    "waiting, held": (queued(X), *started(X), returned(X), HOLD),
    "waiting for a key": (queued(X), *started(X), AgentWaiting(X, WaitReason.KEY)),
    "waiting for a key, slot kept": (
        queued(X),
        *started(X),
        AgentWaiting(X, WaitReason.KEY, keeps_slot=True),
    ),
    "waiting for approval": (
        queued(X),
        *started(X),
        ASK,
        AgentWaiting(X, WaitReason.APPROVAL),
    ),
    "a group": (group(X),),
    "a group with a live child": (group(X), queued("child", X)),
    "a group whose child is done": (group(X), queued("child", X), *started("child"), done("child")),
    "a stopping group": (group(X), queued("child", X), stopping(X)),
    **{
        f"stopping: {step.name.lower()}": (queued(X), *started(X), stopping(X, step))
        for step in (StopStep.SOFT, StopStep.CANCEL, StopStep.KILL, StopStep.VERIFY)
    },
    **{f"ended: {state}": (queued(X), *_ended(state)) for state in State if state.ended},
}
"""What X can be → the events that make it so."""

EVENTS: dict[str, Event] = {
    "created": born(),
    "an engine": EngineStarted(7),
    "the swarm over": SwarmEnded("done"),
    "a child": queued("new", X),
    "the same again": queued(X),
    "a second root": AgentQueued(ROOT, None, "r", DriverKind.GROUP, "", {}),
    "a root with a parent": AgentQueued(ROOT, "nobody", "r", DriverKind.GROUP, "", {}),
    "an orphan": queued("new", "nobody"),
    "an agent without a parent": AgentQueued("new", None, "n", DriverKind.COMMAND, "", {}),
    "admitted": AgentAdmitted(X),
    "running": AgentRunning(X, (1, 2)),
    "held": HOLD,
    "released": LatchOpened(X, Strength.SPAWNS, "you"),
    "another hold released": LatchOpened(X, Strength.TURNS, "you"),
    "shut": SHUT,
    "reopened": BranchReopened(X, "you"),
    **{f"waiting for {reason}": AgentWaiting(X, reason) for reason in WaitReason},
    "waiting, slot kept": AgentWaiting(X, WaitReason.KEY, keeps_slot=True),
    "first turn": TurnCompleted(X, 1, {}, "stop", "sim-1", 10, 5, cost=3),
    "second turn": TurnCompleted(X, 2, {}, "stop", "sim-1", 10, 5),
    "attempt struck": AttemptStruck(X, 1, "sim-1", "server", "503"),
    "tool ended": ToolEnded(X, 1, "c1", "read_file", True, "text"),
    "message added": MessageAdded(X, 1, "text"),
    "asks": ASK,
    "answered": ApprovalAnswered(X, "h1", True, "you"),
    "answered, something else": ApprovalAnswered(X, "h2", True, "you"),
    **{f"marked {mark}": AgentMarked(X, mark, "no output") for mark in (None, Mark.QUIET, Mark.UNSTOPPED)},
    **{f"told to stop: {step.name.lower()}": stopping(X, step) for step in StopStep},
    "told to stop: kill, as a kill": stopping(X, StopStep.KILL, StopVerb.KILL),
    **{f"ended: {state}": AgentEnded(X, state) for state in State},
    **{
        f"nobody {name}": event
        for name, event in {
            "admitted": AgentAdmitted("nobody"),
            "running": AgentRunning("nobody"),
            "waiting": AgentWaiting("nobody", WaitReason.SLOT),
            "marked": AgentMarked("nobody", None),
            "held": LatchClosed("nobody", Strength.SPAWNS, "", "you"),
            "shut": BranchShut("nobody", False, StopVerb.KILL, "you"),
            "reopened": BranchReopened("nobody", "you"),
            "stopping": AgentStopping("nobody", StopStep.SOFT, StopVerb.KILL, "you"),
            "ended": AgentEnded("nobody", State.DONE),
        }.items()
    },
}
"""What may be told of X, by a name."""

LEADS_TO = {
    "queued": {State.FAILED, State.INTERRUPTED, State.KILLED},
    "starting": {State.FAILED, State.LOST},
    "running": {State.DONE, State.FAILED, State.OVER_LIMIT, State.LOST},
    "waiting": {state for state in State if state.ended},
    "stopping": {state for state in State if state.ended},
}
"""In which end states an agent may end, from where it is."""


def _kind(scene: str) -> str:
    """The state of X, told from the name of the scene."""
    if scene in ("queued", "held", "shut"):
        return "queued"
    if scene.startswith(("a group", "waiting")):
        return "waiting"
    return "stopping" if scene == "a stopping group" else scene.split(":")[0]


def _allowed(scene: str, name: str, event: Event) -> bool:
    """The rules, in the words of the design."""
    if name.startswith("nobody"):
        return False
    kind = _kind(scene)
    live = kind != "ended"
    has_slot = scene in ("starting", "running", "waiting for a key, slot kept") or scene.startswith("stopping")
    match event:
        case EngineStarted():
            return True
        case AgentQueued():
            return name == "a child" and live and scene != "shut"
        case AgentAdmitted():
            return scene in ("queued", "waiting for a slot")
        case AgentRunning():
            return kind in ("starting", "running", "stopping") or scene == "waiting for a key, slot kept"
        case AgentWaiting():
            rests = scene.startswith(("waiting for a key", "waiting for approval"))
            return (kind == "running" or rests) and (has_slot or not event.keeps_slot)
        case TurnCompleted():
            return live and event.turn == 1
        case AttemptStruck() | ToolEnded() | MessageAdded() | ApprovalAsked():
            return live
        case ApprovalAnswered():
            return scene == "waiting for approval" and event.hash == "h1"
        case AgentMarked():
            return has_slot
        case LatchClosed() | BranchShut():
            return live
        case LatchOpened():
            return name == "released" and scene in ("held", "waiting, held")
        case BranchReopened():
            return scene == "shut"
        case AgentStopping():
            if kind in ("queued", "ended"):
                return False
            steps = [step for step in StopStep if scene == f"stopping: {step.name.lower()}"]
            present = StopStep.SOFT if scene == "a stopping group" else steps[0] if steps else None
            return present is None or event.step > present
        case AgentEnded():
            if "live child" in scene or scene == "a stopping group":
                return False
            return live and event.state in LEADS_TO[kind]
    return False


@pytest.mark.parametrize("scene", SCENES)
def test_what_is_not_allowed_raises_and_changes_nothing(scene: str):
    for name, event in EVENTS.items():
        story = Story(queued("other"), *SCENES[scene])
        state = story.state
        before = everything(state)
        record = next_record(state, event)
        if _allowed(scene, name, event):
            state.fold(record)
            assert everything(state) != before, f"{name} changed nothing of what is {scene}"
        else:
            with pytest.raises(IllegalTransition):
                state.fold(record)
            assert everything(state) == before, f"{name} was refused and changed what is {scene}"


@pytest.mark.parametrize("name", EVENTS)
def test_nothing_but_an_engine_follows_the_end_of_a_swarm(name: str):
    event = EVENTS[name]
    story = Story(queued(X), *started(X), done(X), AgentEnded(ROOT, State.DONE), SwarmEnded("done"))
    before = everything(story.state)
    if isinstance(event, EngineStarted):
        story.tell(event)
        return
    with pytest.raises(IllegalTransition):
        story.tell(event)
    assert everything(story.state) == before


@pytest.mark.parametrize("name", EVENTS)
def test_nothing_comes_before_the_birth_of_a_swarm(name: str):
    event = EVENTS[name]
    state = SwarmState()
    before = everything(state)
    if isinstance(event, SwarmCreated):
        state.fold(next_record(state, event))
        return
    with pytest.raises(IllegalTransition):
        state.fold(next_record(state, event))
    assert everything(state) == before


@pytest.mark.parametrize("name", ["a root with a parent", "an orphan", "an agent without a parent"])
def test_a_tree_begins_with_its_root(name: str):
    state = SwarmState()
    state.fold(next_record(state, born()))
    before = everything(state)
    with pytest.raises(IllegalTransition, match="parent"):
        state.fold(next_record(state, EVENTS[name]))
    assert everything(state) == before


def test_a_swarm_ends_after_its_root_and_only_once():
    story = Story(queued(X), *started(X), done(X))
    with pytest.raises(IllegalTransition):
        story.tell(SwarmEnded("done"))
    story.tell(AgentEnded(ROOT, State.DONE), SwarmEnded("done"))
    assert story.state.status == "done"
    with pytest.raises(IllegalTransition):
        story.tell(SwarmEnded("failed"))
    assert story.state.status == "done"


def test_nobody_is_admitted_beyond_the_slots():
    story = Story(queued("a"), queued("b"), queued("c"), slots=2)
    story.tell(AgentAdmitted("a"), AgentAdmitted("b"))
    before = everything(story.state)
    with pytest.raises(IllegalTransition, match="no slot"):
        story.tell(AgentAdmitted("c"))
    assert everything(story.state) == before


@pytest.mark.parametrize("seq", [0, 1, 2, 4, 99])
def test_an_event_out_of_its_number_is_refused(seq: int):
    story = Story()
    before = everything(story.state)
    with pytest.raises(IllegalTransition):
        story.state.fold(Record(seq, START, queued(X)))
    assert everything(story.state) == before


def test_a_refused_event_tells_no_watch_anything():
    registry = Registry(Story(queued(X)).state)
    watch = registry.watch()
    watch.take()
    with pytest.raises(IllegalTransition), registry.deciding() as state:
        state.fold(next_record(state, done(X)))
    assert not watch.take()


# -- what a legal step does beside the state ---------------------------------------------------------------------


def test_what_ends_takes_its_holds_along():
    story = Story(group("g"), queued(X, "g"), LatchClosed("g", Strength.SPAWNS, "", "you"))
    story.tell(BranchShut("g", True, StopVerb.KILL, "you"), AgentEnded(X, State.KILLED))
    story.tell(AgentEnded("g", State.KILLED))
    assert not story.state.latches
    assert not story.state.shuts


def test_the_same_latch_again_keeps_its_age_and_takes_the_new_reason():
    story = Story(queued(X), HOLD)
    since = story.state.latches[X, Strength.SPAWNS].since
    story.tell(LatchClosed(X, Strength.SPAWNS, "a longer lunch", "you", 5.0))
    latch = story.state.latches[X, Strength.SPAWNS]
    assert (latch.since, latch.reason, latch.until) == (since, "a longer lunch", 5.0)


def test_a_stop_taken_back_forgets_that_it_was_asked_unless_another_one_stands():
    story = Story(group("g"), queued(X, "g"), queued("y", "g"))
    story.tell(SHUT, BranchShut("g", True, StopVerb.INTERRUPT, "you"), BranchReopened("g", "you"))
    asked = {name: story.state.agents[name].asked_at is not None for name in ("g", X, "y")}
    assert asked == {"g": False, X: True, "y": False}
    assert story.state.line.held() == [X]


def test_the_verb_of_a_stop_is_the_strongest_that_was_asked():
    story = Story(queued(X), *started(X), stopping(X, StopStep.SOFT, StopVerb.INTERRUPT))
    story.tell(stopping(X, StopStep.CANCEL, StopVerb.KILL))
    story.tell(AgentStopping(X, StopStep.KILL, StopVerb.INTERRUPT, "somebody", "weaker"))
    one = story.state.agents[X]
    assert (one.stop_verb, one.stop_who, one.stop_cause) == (StopVerb.KILL, "you", "killed by you")


def test_a_mark_does_not_outlive_what_it_was_about():
    for after in (returned(X), stopping(X), done(X)):
        story = Story(queued(X), *started(X), AgentMarked(X, Mark.STALE, "no output"), after)
        assert (story.state.agents[X].mark, story.state.agents[X].evidence) == (None, "")


def test_a_slot_is_held_from_admission_to_the_end_and_given_back_while_waiting():
    story = Story(queued(X))
    used: list[int] = []
    steps: list[Event] = [AgentAdmitted(X), AgentRunning(X), returned(X), AgentAdmitted(X), stopping(X)]
    for event in [*steps, AgentEnded(X, State.INTERRUPTED)]:
        story.tell(event)
        used.append(story.state.slots_used)
    assert used == [1, 1, 0, 1, 1, 0]


def test_depth_branch_and_place_follow_from_the_parent():
    story = Story(group("g"), group("h", "g"), queued(X, "h"))
    one = story.state.agents[X]
    assert (one.depth, one.branch, one.order) == (3, "g", 5)
    assert [agent.id for agent in story.state.ancestors(X)] == [X, "h", "g", ROOT]
    assert [agent.id for agent in story.state.subtree(ROOT)] == [ROOT, "g", "h", X]


def test_a_tree_a_thousand_deep_is_walked_without_recursion():
    events = [group(f"g{n}", f"g{n - 1}" if n else ROOT) for n in range(1_000)]
    story = Story(*events, queued(X, "g999"))
    assert sum(1 for _ in story.state.subtree(ROOT)) == 1_002
    assert story.state.live_below(ROOT) == 1_001
