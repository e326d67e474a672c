"""What scripts read, what logs give back, and what a launch may ask for."""

from __future__ import annotations

import itertools
import os
from pathlib import Path

import pytest
from pydantic import ValidationError

from skep.errors import BadInput
from skep.model.agent import Live
from skep.model.events import (
    ROOT,
    AgentEnded,
    AgentQueued,
    BranchShut,
    LatchClosed,
    SwarmEnded,
)
from skep.model.launch import AgentAsk, CommandSpec, Launch
from skep.model.logs import READ_BYTES, TailChunk, log_path, read_log, window
from skep.model.report import group_end, run_document, status_of, tree_document
from skep.model.states import DriverKind, State, StopVerb, Strength
from tests.model.telling import START, Story, done, group, queued, returned, started, stopping

ENDED = [state for state in State if state.ended]


def _ended_as(*states: State) -> Story:
    """A group of agents that ended so."""
    story = Story(group("g"), *(queued(f"a{n}", "g") for n in range(len(states))), slots=9)
    for number, state in enumerate(states):
        agent = f"a{number}"
        story.tell(*started(agent))
        if state in (State.TIMED_OUT, State.INTERRUPTED, State.KILLED):
            story.tell(stopping(agent))
        story.tell(AgentEnded(agent, state))
    return story


@pytest.mark.parametrize(
    ("states", "end"),
    [
        ((), State.DONE),
        ((State.DONE, State.DONE), State.DONE),
        ((State.DONE, State.INTERRUPTED), State.INTERRUPTED),
        ((State.KILLED, State.INTERRUPTED), State.KILLED),
        ((State.KILLED, State.TIMED_OUT), State.TIMED_OUT),
        ((State.TIMED_OUT, State.LOST), State.FAILED),
        ((State.OVER_LIMIT, State.DONE), State.FAILED),
        ((State.INTERRUPTED, State.FAILED), State.FAILED),
    ],
)
def test_a_group_ends_as_the_worst_of_its_children(states: tuple[State, ...], end: State):
    assert group_end(_ended_as(*states).state, "g") is end


@pytest.mark.parametrize("states", list(itertools.combinations_with_replacement(ENDED, 2)))
def test_a_swarm_is_failed_before_it_is_interrupted_before_it_is_done(states: tuple[State, ...]):
    story = _ended_as(*states)
    assert status_of(story.state) == "running"
    story.tell(AgentEnded("g", group_end(story.state, "g")), AgentEnded(ROOT, State.DONE))
    if set(states) & {State.FAILED, State.LOST, State.TIMED_OUT, State.OVER_LIMIT}:
        assert status_of(story.state) == "failed"
    elif set(states) & {State.INTERRUPTED, State.KILLED}:
        assert status_of(story.state) == "interrupted"
    else:
        assert status_of(story.state) == "done"


def _rows(story: Story, now: float = START + 100) -> dict[str, dict[str, object]]:
    rows = tree_document(story.state, now, lambda agent: Live(f"{agent} works"), lambda agent: f"/log/{agent.id}")
    return {str(row["id"]): dict(row) for row in rows}


def test_every_agent_that_waits_says_for_what_and_at_which_place():
    story = Story(group("g"), queued("h1", "g"), queued("h2", "g"), *(queued(f"a{n}") for n in range(4)), slots=1)
    story.tell(LatchClosed("g", Strength.SPAWNS, "lunch", "you"))
    story.tell(*started("a0"), returned("a0"), *started("a0"))
    waiting = {agent: row["waiting"] for agent, row in _rows(story).items()}
    slot = {"reason": "slot", "held_by": None, "detail": None}
    gate = {"reason": "gate", "held_by": "g", "detail": None}
    assert waiting["a0"] is None
    assert [waiting[f"a{n}"] for n in (1, 2, 3)] == [{**slot, "position": place} for place in (1, 2, 3)]
    assert [waiting[f"h{n}"] for n in (1, 2)] == [{**gate, "position": place} for place in (1, 2)]
    assert waiting["g"] == {"reason": "child", "position": None, "held_by": None, "detail": None}
    story.tell(returned("a0"))
    again = _rows(story)["a0"]["waiting"]
    assert again == {**slot, "position": 1, "detail": "try 2 of 3 after exit 1"}


def test_who_is_held_names_the_holder_be_it_the_swarm_a_branch_or_a_stop():
    story = Story(group("g"), queued("x", "g"))
    held = []
    for event in (
        BranchShut("g", True, StopVerb.KILL, "you", 5.0),
        LatchClosed("", Strength.SPAWNS, "", "you"),
        LatchClosed("x", Strength.TURNS, "", "you"),
    ):
        story.tell(event)
        held.append(_rows(story)["x"]["waiting"]["held_by"])
    assert held == ["g", ROOT, "x"]


def test_the_document_of_a_run_counts_agents_and_not_its_root():
    story = _ended_as(State.DONE, State.FAILED, State.DONE)
    story.tell(AgentEnded("g", State.FAILED), AgentEnded(ROOT, State.FAILED), SwarmEnded("failed"))
    document = run_document(story.state, START + 999, lambda agent: None)
    assert document["status"] == "failed"
    assert document["totals"]["agents"] == 4
    assert document["totals"]["states"] == {"done": 2, "failed": 2}
    assert [row["id"] for row in document["agents"]] == ["g", "a0", "a1", "a2"]
    assert document["seconds"] == story.state.ended_at - story.state.created_at


def test_seconds_run_from_the_start_to_the_end_or_to_now():
    story = Story(queued("a"), queued("b"), slots=1)
    story.tell(*started("a"))
    now = story.state.time + 30
    assert [_rows(story, now)[agent]["seconds"] for agent in ("a", "b")] == [31, None]
    story.tell(done("a"))
    assert _rows(story, now + 500)["a"]["seconds"] == 2


# -- logs --------------------------------------------------------------------------------------------------------


def test_a_log_lies_where_it_was_asked_for_else_in_the_folder_of_the_swarm():
    agents = Story(queued("x"), group("g")).state.agents
    assert log_path(Path("/swarm"), agents["x"]) == Path("/swarm/output/x.log")
    assert log_path(Path("/swarm"), agents["g"]) is None
    event = AgentQueued("y", ROOT, "y", DriverKind.COMMAND, "", {"log": "/logs/y.txt"})
    assert log_path(Path("/swarm"), Story(event).state.agents["y"]) == Path("/logs/y.txt")


@pytest.mark.parametrize(
    ("first", "limit", "lines"),
    [(0, 3, "0 1 2"), (-2, 9, "8 9"), (7, 99, "7 8 9"), (99, 5, ""), (-99, 2, "0 1"), (3, 0, "")],
)
def test_lines_of_a_log_are_asked_for_by_number_or_from_the_end(
    tmp_path: Path, first: int, limit: int, lines: str
):
    log = tmp_path / "a.log"
    log.write_text("".join(f"{n}\n" for n in range(10)))
    chunk = read_log(log, 10, first, limit)
    assert chunk.lines == tuple(lines.split())
    assert chunk.total == 10
    assert chunk.first == (int(lines[0]) if lines else chunk.first)


def test_of_a_large_log_only_the_end_is_read_and_its_lines_keep_their_numbers(tmp_path: Path):
    log = tmp_path / "a.log"
    count = READ_BYTES // 5
    log.write_text("".join(f"line {n}\n" for n in range(count)))
    chunk = read_log(log, count, -1, 10)
    assert chunk == TailChunk(count - 1, (f"line {count - 1}",), total=count)
    oldest = read_log(log, count, 0, 1)
    assert oldest.lines == (f"line {oldest.first}",)
    assert oldest.first > 0


def test_a_log_that_is_not_there_is_empty_and_one_that_cannot_be_read_says_so(tmp_path: Path):
    assert read_log(tmp_path / "none.log", 5, 0, 10) == TailChunk(0, ())
    with pytest.raises(BadInput, match="cannot be read"):
        read_log(tmp_path, 5, 0, 10)


def test_a_log_is_cleaned_before_anybody_sees_it(tmp_path: Path):
    log = tmp_path / "a.log"
    log.write_bytes(b"red \x1b[31mhot\x1b[0m\n\x1b]52;c;aGk=\x07copied\n\xff\xfe\n")
    shown = "".join(read_log(log, 3, 0, 10).lines)
    assert not set(shown) & {"\x1b", "\x07"}
    assert "hot" in shown


def test_a_window_never_reaches_beyond_what_is_at_hand():
    for total, kept, first, limit in itertools.product((0, 3, 9), (0, 2, 3), (-20, -1, 0, 5, 50), (0, 1, 50)):
        start, end = window(total, min(kept, total), first, limit)
        assert total - min(kept, total) <= start <= total
        assert start <= end or not limit
        assert end <= total


# -- launch ------------------------------------------------------------------------------------------------------

SPEC = CommandSpec(argv=("true",), cwd=os.sep)


def _launch(*agents: AgentAsk) -> Launch:
    return Launch(swarm="s1", name="n", cwd="/", agents=agents)


def test_a_launch_is_a_tree_of_groups_with_commands_as_leaves():
    launch = _launch(
        AgentAsk(id="g", name="g", driver=DriverKind.GROUP), AgentAsk(id="a", parent="g", name="a", command=SPEC)
    )
    assert [one.id for one in launch.agents] == ["g", "a"]


@pytest.mark.parametrize(
    "agents",
    [
        [],
        [{"id": "a", "name": "a"}],
        [{"id": "a", "name": "a", "driver": "group", "command": SPEC}],
        [{"id": "root", "name": "a", "command": SPEC}],
        [{"id": "a", "name": "a", "command": SPEC}, {"id": "a", "name": "b", "command": SPEC}],
        [{"id": "a", "name": "a", "parent": "g", "command": SPEC}, {"id": "g", "name": "g", "driver": "group"}],
        [{"id": "a", "name": "a", "command": SPEC}, {"id": "b", "name": "b", "parent": "a", "command": SPEC}],
        [{"id": "../a", "name": "a", "command": SPEC}],
        [{"id": "a/b", "name": "a", "command": SPEC}],
        [{"id": ".a", "name": "a", "command": SPEC}],
        [{"id": "a\n", "name": "a", "command": SPEC}],
        [{"id": "a" * 65, "name": "a", "command": SPEC}],
        [{"id": "a", "name": "", "command": SPEC}],
        [{"id": "a", "name": "a", "command": {"argv": [], "cwd": "/"}}],
        [{"id": "a", "name": "a", "command": {"argv": ["true"], "cwd": "/", "timeout": float("inf")}}],
        [{"id": "a", "name": "a", "command": {"argv": ["true"], "cwd": "/", "retries": -1}}],
        [{"id": "a", "name": "a", "command": {"argv": ["true"], "cwd": "/", "tries": 3}}],
    ],
)
def test_what_cannot_be_launched_is_refused_before_anything_starts(agents: list[dict[str, object]]):
    with pytest.raises(ValidationError):
        Launch.model_validate({"swarm": "s1", "name": "n", "cwd": "/", "agents": agents})
