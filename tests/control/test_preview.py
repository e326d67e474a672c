"""What a stop takes with it: all ways in which agents may stand, what they are in the middle of, their folders."""

from __future__ import annotations

import json

import pytest
from pydantic import TypeAdapter

from skep.control import losses
from skep.control.preview import IN_FLIGHT, folders_of, preview, shown
from skep.control.verbs import (
    NAMED,
    Done,
    Flight,
    InFlight,
    KeysShown,
    Preview,
    Previewed,
    Reply,
    Standing,
    Uncommitted,
    UncommittedShown,
)
from skep.control.wire import MAX_FRAME, result_frame
from skep.errors import NotFound
from skep.model import permits
from skep.model.agent import Live
from skep.model.children import Role
from skep.model.events import (
    ROOT,
    AgentQueued,
    AgentStopping,
    AgentWaiting,
    BranchShut,
    LatchClosed,
)
from skep.model.permits import Worktree
from skep.model.registry import Registry
from skep.model.states import DriverKind, StopStep, StopVerb, Strength, WaitReason
from tests.room.story import SCENE_NOW, Story

HERE = "/home/ana/billing"


def previewed(registry: Registry, agent: str = ROOT, *, branch: bool = True) -> Previewed:
    return preview(registry, Preview(agent=agent, branch=branch), SCENE_NOW)


def queued(story: Story) -> None:
    story.queued("one")


def held(story: Story) -> None:
    story.queued("one")
    story.tell(50, LatchClosed("", Strength.SPAWNS, "", "you"))


def starting(story: Story) -> None:
    story.queued("one", command="make")
    story.started("one", 3)


def running(story: Story) -> None:
    story.queued("one", command="make all")
    story.running("one", 90, "cc -c main.c", 4, 80)


def in_its_window(story: Story) -> None:
    """Asked to stop, and it can still be taken back: it runs on."""
    running(story)
    story.tell(2, BranchShut("one", False, StopVerb.INTERRUPT, "you", SCENE_NOW + 3))


def stopping(story: Story) -> None:
    running(story)
    story.tell(20, AgentStopping("one", StopStep.SOFT, StopVerb.INTERRUPT, "you"))


def back_in_line(story: Story) -> None:
    running(story)
    story.tell(5, LatchClosed("", Strength.TURNS, "", "you"))
    story.tell(4, AgentWaiting("one", WaitReason.SLOT, "try 2 of 3"))


def thinking(story: Story) -> None:
    story.chat("one")
    story.running("one", 400)
    story.talks("one", "thinking", "kimi-1", since=12)


def in_a_tool(story: Story) -> None:
    story.chat("one")
    story.running("one", 400)
    story.talks("one", "$ pytest -q", "kimi-1", since=133, tool=True)


def between_two_steps(story: Story) -> None:
    story.chat("one")
    story.running("one", 400)
    story.talks("one", "", "kimi-1")


def waits_for_its_children(story: Story) -> None:
    story.chat("one", role=Role.ORCHESTRATOR)
    story.running("one", 400)
    story.talks("one", "delegates", "kimi-1", since=30, tool=True)
    story.tell(30, AgentWaiting("one", WaitReason.CHILD, "3 agents"))


def waits_for_an_approval(story: Story) -> None:
    story.chat("one")
    story.running("one", 400)
    story.talks("one", "$ rm -rf build", "kimi-1", since=40, tool=True)
    story.asks("one", 40, "rm -rf build")


def waits_for_a_key(story: Story) -> None:
    story.chat("one")
    story.running("one", 400)
    story.talks("one", "asks the model", "kimi-1", since=8)
    story.tell(8, AgentWaiting("one", WaitReason.KEY, "kimi-2 cools 0:42", keeps_slot=True))


@pytest.mark.parametrize(
    ("tell", "state", "standing", "flight"),
    [
        (queued, "queued", Standing.QUEUED, None),
        (held, "queued", Standing.HELD, None),
        (starting, "starting", Standing.RUNNING, (Flight.PROGRAM, "$ make", 3.0)),
        (running, "running", Standing.RUNNING, (Flight.PROGRAM, "$ make all", 90.0)),
        (in_its_window, "running", Standing.RUNNING, (Flight.PROGRAM, "$ make all", 90.0)),
        (stopping, "stopping", Standing.STOPPING, (Flight.PROGRAM, "$ make all", 20.0)),
        (back_in_line, "waiting", Standing.HELD, None),
        (thinking, "running", Standing.RUNNING, (Flight.REQUEST, "thinking", 12.0)),
        (in_a_tool, "running", Standing.RUNNING, (Flight.TOOL, "$ pytest -q", 133.0)),
        (between_two_steps, "running", Standing.RUNNING, None),
        (waits_for_its_children, "waiting", Standing.WAIT, None),
        (waits_for_an_approval, "waiting", Standing.ASK, None),
        (waits_for_a_key, "waiting", Standing.WAIT, None),
    ],
    ids=lambda one: one.__name__ if callable(one) else None,
)
def test_every_way_to_stand_is_told_apart(tell, state, standing, flight):
    story = Story()
    tell(story)
    for found in (previewed(story.registry()), previewed(story.registry(), "one", branch=False)):
        assert (found.count, found.agents) == (1, ["one"])
        assert found.states == {state: 1}
        assert found.standing == {standing: 1}
        seen = [(one.kind, one.doing, one.seconds) for one in found.in_flight]
        assert seen == ([flight] if flight else [])
        assert found.flights == ({flight[0]: 1} if flight else {})


def test_each_live_agent_stands_in_one_way_and_groups_and_ended_ones_are_counted_nowhere():
    story = Story(slots=4)
    story.group("unit")
    for agent in ("a", "b", "c", "d"):
        story.queued(agent, "unit")
    story.running("a", 90)
    story.running("b", 80)
    story.ended("b", 10)
    found = previewed(story.registry())
    assert found.standing == {Standing.RUNNING: 1, Standing.QUEUED: 2}
    assert list(found.standing) == [Standing.RUNNING, Standing.QUEUED]
    assert found.count == sum(found.standing.values()) == sum(found.states.values()) == 3
    assert previewed(story.registry(), "unit", branch=False).count == 0
    assert previewed(story.registry(), "b").count == 0


def test_programs_and_tools_stand_before_model_calls_and_the_longest_of_them_first():
    story = Story(slots=60)
    for at in range(30):
        story.chat(f"asks-{at}")
        story.running(f"asks-{at}", 1_000)
        story.talks(f"asks-{at}", "thinking", "kimi-1", since=900 + at)
    story.queued("runs")
    story.running("runs", 50)
    story.chat("reads")
    story.running("reads", 1_000)
    story.talks("reads", "read src/a.py", "kimi-1", since=70, tool=True)
    found = previewed(story.registry())
    assert len(found.in_flight) == IN_FLIGHT
    assert [one.name for one in found.in_flight[:4]] == ["reads", "runs", "asks-29", "asks-28"]
    assert found.flights == {Flight.PROGRAM: 1, Flight.TOOL: 1, Flight.REQUEST: 30}
    assert losses.in_flight(found.flights) == "1 program, 1 tool, 30 model requests"
    assert losses.in_flight({}) == ""


def test_what_the_branch_has_spent_is_that_of_the_branch():
    story = Story(goal="begin")
    for agent in ("a", "b"):
        story.chat(agent)
        story.running(agent, 500)
    story.turns("a", 4, 40_000, 120_000, "kimi-1", ago=100)
    story.turns("b", 2, 9_000, None, "kimi-1", ago=100)
    of_a, of_b, of_all = (previewed(story.registry(), agent) for agent in ("a", "b", ROOT))
    assert (of_a.cost_usd, of_a.cost_is_lower_bound, of_a.turns, of_a.tokens) == (0.12, False, 4, 40_000)
    assert (of_b.cost_usd, of_b.cost_is_lower_bound, of_b.turns, of_b.tokens) == (None, True, 2, 9_000)
    assert (of_all.cost_usd, of_all.cost_is_lower_bound, of_all.turns, of_all.tokens) == (0.12, True, 6, 49_000)


def test_nobody_of_that_name_is_said():
    registry = Story().registry()
    with pytest.raises(NotFound):
        previewed(registry, "nobody")
    with registry.read() as state, pytest.raises(NotFound):
        folders_of(state, Uncommitted(agents=("nobody",)))


def test_texts_of_agents_are_cleaned():
    story = Story()
    story.queued("one", command="echo \x1b]52;c;aGk=\x07", name="na\x1b[2Jme\u202e")
    story.running("one", 5)
    story.chat("two", name="t\x07wo")
    story.running("two", 5)
    story.talks("two", "$ ls \x1b[31mred\nrm -rf /", "kimi-1", since=2, tool=True)
    for one in previewed(story.registry()).in_flight:
        assert one.name.isprintable()
        assert one.doing.isprintable()


def test_a_vast_swarm_fits_into_a_frame():
    story = Story(slots=8_000)
    for at in range(8_000):
        story.queued(f"agent-with-a-long-identity-{at:030d}", command="convert " + "x" * 100)
    registry = story.registry()
    found = previewed(registry)
    assert (found.count, len(found.agents)) == (8_000, NAMED)
    assert len(result_frame(1, found.model_dump(mode="json"))) < MAX_FRAME // 8
    with registry.read() as state:
        folders = folders_of(state, Uncommitted(agents=(ROOT,), branch=True))
    assert {folder: len(names) for folder, names in folders.items()} == {HERE: 8_000}


# -- folders ---------------------------------------------------------------------------------------------------


def in_folders(**folders: str) -> Registry:
    """A swarm whose agents work in these folders."""
    story = Story()
    story.group("unit")
    for agent, folder in folders.items():
        spec = {"argv": ["true"], "cwd": folder}
        story.tell(100, AgentQueued(agent, "unit", f"the {agent}", DriverKind.COMMAND, "", spec))
    return story.registry()


def test_the_folders_are_those_of_live_agents_in_the_scope_each_once():
    story = Story()
    story.queued("old")
    story.running("old", 90)
    story.ended("old", 80)
    story.chat("lead", role=Role.ORCHESTRATOR)
    story.chat("below", "lead")
    registry = story.registry()
    with registry.read() as state:
        ask = {
            ("lead", False): {HERE: ["lead"]},
            ("lead", True): {HERE: ["lead", "below"]},
            ("old", True): {},
            (ROOT, True): {HERE: ["lead", "below"]},
        }
        for (agent, branch), folders in ask.items():
            assert folders_of(state, Uncommitted(agents=(agent,), branch=branch)) == folders
        both = Uncommitted(agents=("lead", "below"), branch=True)
        assert folders_of(state, both) == {HERE: ["lead", "below"]}


def test_what_is_found_is_counted_by_worktree_most_first_and_the_unknown_last():
    registry = in_folders(a="/wt/a", b="/wt/b", c="/wt/b/deep", d="/wt/d", e="/tmp")
    with registry.read() as state:
        folders = folders_of(state, Uncommitted(agents=(ROOT,), branch=True))
    found = permits.Uncommitted(
        (
            Worktree("/wt/d", ("/wt/d",), unknown="git took over 2 s"),
            Worktree("/wt/a", ("/wt/a",), 1, ("x",)),
            Worktree("/wt/b", ("/wt/b", "/wt/b/deep"), 4, tuple("opqr")),
        )
    )
    seen = shown(found, folders)
    assert [(tree.path, tree.agents, tree.agent, tree.files) for tree in seen.worktrees] == [
        ("/wt/b", 2, "the b", 4),
        ("/wt/a", 1, "the a", 1),
        ("/wt/d", 1, "the d", 0),
    ]
    assert (seen.files, seen.at_least, seen.left_out) == (5, True, 0)
    assert losses.uncommitted(seen) == "≥5 files in 3 worktrees"
    assert losses.unknown(seen) == "1 unknown: git took over 2 s"
    assert [losses.in_worktree(tree) for tree in seen.worktrees] == ["4", "1", "?"]


@pytest.mark.parametrize(
    ("trees", "left_out", "said"),
    [
        ((), 0, ""),
        ((Worktree("/w", ("/w",)),), 0, "nothing in 1 worktree"),
        ((Worktree("/w", ("/w",), 1, ("a",)),), 0, "1 file in 1 worktree"),
        ((Worktree("/w", ("/w",), 1_204, ("a",), at_least=True),), 0, "≥1,204 files in 1 worktree"),
        ((Worktree("/w", ("/w",), 1, ("a",)),), 7, "≥1 file in 1 worktree"),
        ((Worktree("/w", ("/w",), unknown="there is no git here"),), 0, "unknown: there is no git here"),
    ],
)
def test_what_is_uncommitted_in_words(trees: tuple[Worktree, ...], left_out: int, said: str):
    found = shown(permits.Uncommitted(trees, left_out), {"/w": ["one"]})
    assert losses.uncommitted(found) == said
    assert losses.unknown(found) == ""


def test_files_are_named_as_far_as_they_are_known():
    (tree,) = shown(
        permits.Uncommitted((Worktree("/w", ("/w",), 9, tuple("abcdefghi")),)), {"/w": ["x"]}
    ).worktrees
    assert losses.names(tree, 3) == "a, b, c, +6"
    assert losses.names(tree, 20) == "a, b, c, d, e, +4"


@pytest.mark.parametrize(
    "reply",
    [
        Done(seq=3, count=1, agents=["a"]),
        previewed(Story().registry()),
        UncommittedShown(worktrees=[], files=0),
        shown(permits.Uncommitted((Worktree("/w\udcff", ("/w",), 1, ("\udcff",)),), 2), {"/w": ["x"]}),
        KeysShown(),
    ],
    ids=lambda one: type(one).__name__,
)
def test_a_reply_is_read_as_what_it_was(reply: Reply):
    adapter: TypeAdapter[Reply] = TypeAdapter(Reply)
    assert adapter.validate_python(json.loads(reply.model_dump_json())) == reply


def test_live_figures_of_a_moment_ago_do_not_make_time_run_backwards():
    story = Story()
    story.chat("one")
    story.running("one", 5)
    registry = story.registry()
    registry.tell_live([("one", Live("writing", SCENE_NOW, since=SCENE_NOW + 3))])
    assert [one.seconds for one in previewed(registry).in_flight] == [0.0]
    assert InFlight.model_validate(previewed(registry).in_flight[0].model_dump()).kind is Flight.REQUEST
