"""The words on a row: what an agent does, what it waits for, how it ended."""

from __future__ import annotations

import pytest

from skep.model.agent import Face, Live
from skep.model.events import (
    AgentMarked,
    AgentStopping,
    AgentWaiting,
    BranchShut,
    LatchClosed,
)
from skep.model.registry import Registry
from skep.model.states import Mark, State, StopStep, StopVerb, Strength, WaitReason
from skep.room.cells import Cells, branch_totals, cells_of
from skep.room.doing import Doing, Places, doing
from skep.room.look import UNICODE, Number, Role
from skep.room.rows import View, build_rows, gathered_key
from skep.text import ordinal
from tests.room.scenes import SCENE_NOW, Story, scene


def doing_of(registry: Registry, agent: str) -> Doing:
    live = registry.live(agent)
    places = Places()
    with registry.read() as state:
        places.refresh(state)
        return doing(state, state.agents[agent], live, places)


def words_of(registry: Registry, agent: str) -> str:
    return doing_of(registry, agent).sentence(UNICODE)


def cells_at(registry: Registry, key: str, view: View | None = None) -> Cells:
    totals = branch_totals(registry)
    places = Places()
    with registry.read() as state:
        places.refresh(state)
        rows = build_rows(state, view or View(), SCENE_NOW)
        cells = cells_of(state, rows.rows[rows.index[key]], Live(), places, totals, UNICODE)
    assert cells is not None
    return cells


@pytest.mark.parametrize(
    ("agent", "words"),
    [
        ("unit-pdf", "tests/unit-pdf/test_total.py ......F.... [ 76%]"),
        ("unit-ledger", "$ python -m pytest -q tests/unit-ledger"),
        ("unit-core", "61 passed in 4m11s"),
        ("unit-tax", "exit 1: 2 failed, 209 passed"),
        ("int-api", "no output; waiting for port 8081"),
        ("int-mail", "stopping: soft"),
        ("int-billing-run", "timed out after 30m"),
        ("int-imports", "ended by SEGV"),
        ("lint-docs", "starting: $ make lint-docs"),
        ("doc-guide", "held by docs, 1st"),
        ("docs", "spawns held  ║4  ●1  ✓1"),
        ("pkg-image", "interrupted by you"),
        ("pkg-sign", "the engine died while it ran"),
        ("unit", "×1  ●2  ○1  ·5  ✓2"),
        ("root", "▲1  ×3  †1  ↓1  ║4  ●5  ~1  ○1  ·9  ✓8  ■1"),
    ],
)
def test_a_row_says_what_its_agent_does_or_why_it_waits(agent, words):
    assert words_of(scene(40), agent) == words


def test_whoever_waits_for_a_slot_names_its_place_in_the_order_of_service():
    registry = scene(40)
    with registry.read() as state:
        in_line = state.line.positions()
    assert len(in_line) == 10
    for place, agent in enumerate(in_line, 1):
        what = "try 2 of 3, " if agent == "unit-flaky" else ""
        assert words_of(registry, agent) == f"{what}{ordinal(place)} for a slot"


@pytest.mark.parametrize(
    ("agent", "role"),
    [
        ("unit-pdf", Role.TEXT),
        ("unit-core", Role.GREY),
        ("unit-tax", Role.RED),
        ("int-api", Role.AMBER),
        ("int-hooks", Role.AMBER_DIM),
        ("int-mail", Role.BLUE),
        ("docs", Role.BLUE),
        ("doc-guide", Role.GREY),
        ("pkg-image", Role.GREY),
        ("pkg-sign", Role.RED),
    ],
)
def test_only_trouble_and_acts_of_somebody_are_coloured(agent, role):
    assert doing_of(scene(40), agent).role is role


def running(*more: object) -> Registry:
    story = Story()
    story.queued("one", command="npm test")
    story.running("one", 60.0)
    for event in more:
        story.tell(5.0, event)
    return story.registry()


def test_an_asked_stop_is_said_before_it_is_carried_out():
    registry = running(BranchShut("one", False, StopVerb.INTERRUPT, "you", SCENE_NOW + 5))
    assert words_of(registry, "one") == "interrupt asked"
    cells = cells_at(registry, "one")
    assert (cells.glyph, cells.glyph_role) == ("↓", Role.BLUE)


@pytest.mark.parametrize(
    ("step", "words"), [(StopStep.CANCEL, "stopping: cancel"), (StopStep.KILL, "stopping: kill")]
)
def test_a_stop_names_its_rung(step, words):
    assert words_of(running(AgentStopping("one", step, StopVerb.KILL, "you")), "one") == words


def test_what_is_left_after_the_last_rung_is_named_in_red():
    registry = running(
        AgentStopping("one", StopStep.KILL, StopVerb.KILL, "you"),
        AgentMarked("one", Mark.UNSTOPPED, "pid 4121 (npm) in D state"),
    )
    assert words_of(registry, "one") == "not stopped: pid 4121 (npm) in D state"
    assert cells_at(registry, "one").glyph_role is Role.RED


def test_a_missing_heartbeat_turns_red_when_it_lasts():
    late = running(AgentMarked("one", Mark.LATE, "no heartbeat for 6s"))
    dead = running(AgentMarked("one", Mark.DEAD, "no heartbeat for 15s"))
    assert doing_of(late, "one") == Doing("no heartbeat for 6s", Role.AMBER)
    assert doing_of(dead, "one") == Doing("no heartbeat for 15s", Role.RED)
    assert cells_at(late, "one").glyph_role is Role.AMBER
    assert cells_at(dead, "one").glyph_role is Role.RED


def test_a_question_is_bold():
    registry = running(AgentWaiting("one", WaitReason.APPROVAL, "approve: rm -rf build"))
    assert doing_of(registry, "one") == Doing("approve: rm -rf build", Role.AMBER, bold=True)


def test_a_hold_over_the_swarm_names_who_holds():
    story = Story()
    story.queued("one")
    story.tell(9.0, LatchClosed("", Strength.SPAWNS, "", "ana"))
    assert words_of(story.registry(), "one") == "held by ana, 1st"


def test_escape_sequences_in_names_and_output_are_taken_out():
    story = Story()
    story.queued("one", name="a\x1b[31mred\x07\nname")
    story.running("one", 3.0, "50%\x1b[2J done")
    registry = story.registry()
    assert "\x1b" not in words_of(registry, "one")
    name = cells_at(registry, "one").name
    assert name.isprintable()
    assert name.startswith("a")


def test_places_are_counted_again_only_when_the_line_has_changed():
    registry = scene(40)
    places = Places()
    with registry.read() as state:
        assert places.refresh(state)
        assert not places.refresh(state)
        state.line.version += 1
        assert places.refresh(state)
        first = state.line.positions()[0]
    assert places.of(first) == "1st"
    assert places.of("unit-pdf") == ""


def test_output_of_a_branch_is_the_sum_of_what_is_below_it():
    registry = scene(40)
    totals = branch_totals(registry)
    assert totals["docs"] == (44 + 22, 2_100 + 1_800)
    branches = ("unit", "integration", "lint", "docs", "packages")
    assert totals["root"] == tuple(sum(column) for column in zip(*(totals[one] for one in branches), strict=True))


def test_numbers_that_nobody_knows_are_a_dash_and_those_that_do_not_apply_are_blank():
    registry = scene(40)
    assert dict(cells_at(registry, "unit-ledger").numbers) == {
        Number.TRY: "1",
        Number.LINES: "–",
        Number.OUTPUT: "–",
        Number.EXIT: "",
    }
    assert cells_at(registry, "unit-export").numbers == ()
    ended = dict(cells_at(registry, "int-billing-run").numbers)
    assert (ended[Number.EXIT], ended[Number.OUTPUT]) == ("TERM", "7.00k")
    assert dict(cells_at(registry, "unit-flaky").numbers)[Number.TRY] == "1/3"


def test_only_a_closed_branch_shows_the_worst_of_what_is_below_it():
    registry = scene(40)
    assert cells_at(registry, "integration").glyph == UNICODE.faces[Face.WAITING]
    closed = cells_at(registry, "integration", View(folded={"integration"}))
    assert (closed.glyph, closed.glyph_role) == (UNICODE.faces[Face.STALE], Role.AMBER)


def test_a_held_branch_marks_its_reach_and_counts_from_the_hold():
    registry = scene(40)
    docs = cells_at(registry, "docs")
    assert (docs.glyph, docs.since) == ("║", SCENE_NOW - 240)
    assert cells_at(registry, "doc-api").held_from == 1
    assert cells_at(registry, "unit-core").held_from is None


def test_a_gathering_row_is_held_when_those_that_it_stands_for_are():
    story = Story()
    story.group("a")
    for number in range(9):
        story.queued(f"a{number}", "a")
    assert cells_at(story.registry(), gathered_key("a")).glyph == "·"
    story.tell(9.0, LatchClosed("a", Strength.SPAWNS, "", "you"))
    held = cells_at(story.registry(), gathered_key("a"))
    assert (held.glyph, held.name) == ("║", "+6 more queued")


def test_names_of_broken_agents_stay_bright_and_those_of_ended_ones_do_not():
    registry = scene(40)
    roles = {agent: cells_at(registry, agent).name_role for agent in ("unit-tax", "unit-core", "unit-pdf")}
    assert roles == {"unit-tax": Role.TEXT, "unit-core": Role.GREY, "unit-pdf": Role.TEXT}


def test_a_clean_end_without_output_says_so():
    story = Story()
    story.queued("one")
    story.running("one", 9.0)
    story.ended("one", 1.0, State.DONE)
    assert words_of(story.registry(), "one") == "exit 0"
