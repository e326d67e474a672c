"""Which rows the tree has, where the cursor goes, and what a filter lets through."""

from __future__ import annotations

import pytest

from skep.errors import BadInput
from skep.model.events import AgentAdmitted, AgentMarked, AgentQueued, Record
from skep.model.registry import Changes, Registry
from skep.model.states import DriverKind, Mark
from skep.room.filter import STATE_WORDS, parse_filter
from skep.room.outline import FILTER_EVERY, SORT_EVERY, STRUCTURE_EVERY, Outline
from skep.room.rows import Fold, Row, Sort, View, build_rows, gathered_key
from tests.model import telling
from tests.room.chats import chats
from tests.room.scenes import SCENE_NOW, Story, scene


def rows_of(registry: Registry, view: View | None = None) -> tuple[Row, ...]:
    with registry.read() as state:
        return build_rows(state, view or View(), SCENE_NOW).rows


def names(registry: Registry, view: View | None = None) -> list[str]:
    return [f"+{row.more}" if row.more else row.agent for row in rows_of(registry, view)]


def outline_of(registry: Registry) -> Outline:
    outline = Outline()
    rebuild(outline, registry)
    return outline


def rebuild(outline: Outline, registry: Registry, now: float = 0.0) -> None:
    with registry.read() as state:
        outline.rebuild(state, SCENE_NOW, now)


def branches(*children: int) -> Registry:
    """Branches a, b, c … with so many queued children each."""
    story = Story(slots=4)
    for branch, count in zip("abcdefgh", children, strict=False):
        story.group(branch)
        for number in range(count):
            story.queued(f"{branch}{number}", branch)
    return story.registry()


def test_children_stand_below_their_parents_in_the_order_asked():
    assert names(branches(2, 1)) == ["root", "a", "a0", "a1", "b", "b0"]
    assert [row.level for row in rows_of(branches(2, 1))] == [0, 1, 2, 2, 1, 2]


def test_queued_siblings_beyond_the_third_share_one_row():
    assert names(branches(100)) == ["root", "a", "a0", "a1", "a2", "+97"]


def test_a_single_one_beyond_the_third_keeps_its_own_row():
    assert names(branches(4)) == ["root", "a", "a0", "a1", "a2", "a3"]


def test_the_gathering_row_stays_between_the_queued_and_what_was_asked_for_after_them():
    story = Story(slots=4)
    for number in range(8):
        story.queued(f"q{number}")
    story.queued("late")
    story.running("late", 5.0)
    assert names(story.registry()) == ["root", "q0", "q1", "q2", "+5", "late"]


def test_the_first_in_line_are_shown_whatever_the_order_of_the_rows():
    view = View(sort=Sort.NAME, reverse=True)
    assert names(branches(6), view) == ["root", "a", "a2", "a1", "a0", "+3"]


def test_the_gathering_row_opens_and_the_branch_closes():
    registry = branches(6)
    outline = outline_of(registry)
    assert outline.go_to(gathered_key("a"))
    assert outline.cursor is None
    assert outline.unfold()
    rebuild(outline, registry)
    assert len(outline) == 8
    assert outline.go_to("a")
    assert outline.fold()
    rebuild(outline, registry)
    assert [row.fold for row in outline.rows.rows] == [Fold.OPEN, Fold.CLOSED]


def test_a_closed_branch_hides_what_is_below_it_and_only_that():
    assert names(branches(2, 2), View(folded={"a"})) == ["root", "a", "b", "b0", "b1"]


def test_left_on_a_leaf_goes_to_the_parent_and_right_on_an_open_parent_to_the_first_child():
    outline = outline_of(branches(2))
    outline.go_to("a1")
    assert not outline.fold()
    assert outline.cursor == "a"
    assert not outline.unfold()
    assert outline.cursor == "a0"


def test_a_tree_of_a_thousand_levels_needs_no_recursion():
    story = Story()
    parent = "root"
    for level in range(1_500):
        story.tell(100.0, AgentQueued(f"g{level}", parent, f"g{level}", DriverKind.GROUP, "", {}))
        parent = f"g{level}"
    assert rows_of(story.registry())[-1].level == 1_500


def test_ten_thousand_agents_all_get_their_rows():
    registry = scene(10_000)
    with registry.read() as state:
        everywhere = View(all_queued={agent.id for agent in state.agents.values() if agent.children})
        assert len(build_rows(state, everywhere, SCENE_NOW).rows) == 10_001


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("s:stale", ["int-api"]),
        ("s:lost", ["pkg-sign"]),
        ("s:stopping", ["int-mail"]),
        ("s:stuck", ["int-api"]),
        ("s:held", ["doc-guide", "doc-setup", "doc-images", "doc-links"]),
        ("wheel", ["pkg-wheel"]),
        ("WHEEL -s:done", ["pkg-wheel"]),
        ("s:running <10s", ["unit-ledger", "lint-docs"]),
        ("s:running -lint >30s int", ["int-api", "int-hooks"]),
        ("s:done doc", ["doc-faq"]),
        ("s:timed_out", ["int-billing-run"]),
    ],
)
def test_a_filter_shows_what_fits_with_the_branches_above(text, expected):
    rows = rows_of(scene(40), View(filter=parse_filter(text)))
    assert [row.agent for row in rows if not row.pale] == expected
    above = {row.agent for row in rows if row.pale}
    assert "root" in above
    assert all(row.fold is Fold.OPEN for row in rows if row.pale)


def test_a_filter_opens_closed_branches_and_gathers_nobody():
    view = View(filter=parse_filter("s:queued"), folded={"a"})
    assert names(branches(6), view) == ["root", "a", *(f"a{number}" for number in range(6))]


def test_hits_are_counted_without_groups():
    registry = branches(6)
    with registry.read() as state:
        assert build_rows(state, View(filter=parse_filter("-nothing")), SCENE_NOW).hits == (6, 6)
        assert build_rows(state, View(filter=parse_filter("a3")), SCENE_NOW).hits == (1, 6)


def test_only_what_needs_the_operator_and_never_a_group_for_its_members():
    rows = rows_of(scene(40), View(alerts_only=True))
    assert [row.agent for row in rows if not row.pale] == [
        "unit-tax",
        "int-api",
        "int-billing-run",
        "int-imports",
        "pkg-sign",
    ]


@pytest.mark.parametrize("text", ["s:", "s:sleeping", ">soon", ">", "-s:nope", "k:", "m:", "q:what"])
def test_a_term_that_means_nothing_is_refused_with_its_mend(text):
    with pytest.raises(BadInput) as refused:
        parse_filter(text)
    assert refused.value.mend


def test_a_blank_filter_is_none_and_every_state_word_is_known():
    assert parse_filter("   ") is None
    for word in STATE_WORDS:
        assert parse_filter(f"s:{word}") is not None


def test_the_worst_come_first_when_sorted_by_state():
    rows = rows_of(scene(40), View(sort=Sort.STATE))
    assert [row.agent for row in rows if row.level == 1] == ["integration", "unit", "packages", "docs", "lint"]
    assert [row.agent for row in rows if row.level == 2][:2] == ["int-api", "int-billing-run"]


def test_signals_and_high_codes_come_first_when_sorted_by_exit():
    rows = rows_of(scene(40), View(sort=Sort.EXIT))
    below = [row.agent for row in rows if row.level == 2]
    assert below.index("int-billing-run") < below.index("int-imports") < below.index("int-api")


def test_only_those_that_ended_a_while_ago_are_left_out():
    shown = names(scene(40), View(hide_ended=True))
    assert "unit-tax" in shown
    assert "unit-core" not in shown


def test_the_cursor_stays_with_its_agent_when_rows_come_and_go():
    registry = branches(2, 2)
    outline = outline_of(registry)
    outline.go_to("b1")
    outline.view.folded.add("a")
    rebuild(outline, registry)
    assert outline.cursor == "b1"


def test_the_cursor_of_an_agent_that_is_hidden_goes_to_the_branch_that_hides_it():
    registry = branches(2, 2)
    outline = outline_of(registry)
    outline.go_to("a1")
    outline.view.folded.add("a")
    rebuild(outline, registry)
    assert outline.cursor == "a"


def test_the_cursor_of_an_agent_that_is_gathered_goes_to_the_gathering_row():
    registry = branches(6)
    outline = outline_of(registry)
    outline.view.all_queued.add("a")
    rebuild(outline, registry)
    outline.go_to("a5")
    outline.view.all_queued.clear()
    rebuild(outline, registry)
    assert outline.here is not None
    assert outline.here.key == gathered_key("a")


def test_revealing_an_agent_opens_all_that_hides_it():
    registry = branches(2, 9)
    outline = outline_of(registry)
    outline.view.folded |= {"a", "b"}
    outline.set_filter("a0")
    rebuild(outline, registry)
    with registry.read() as state:
        outline.reveal(state, "b8")
    rebuild(outline, registry)
    assert outline.go_to("b8")
    assert "a" in outline.view.folded


def test_the_next_alert_goes_round_and_into_closed_branches():
    registry = scene(40)
    outline = outline_of(registry)
    outline.view.folded.add("integration")
    rebuild(outline, registry)
    found = []
    for _ in range(6):
        with registry.read() as state:
            agent = outline.next_alert(state)
            assert agent is not None
            outline.reveal(state, agent)
        rebuild(outline, registry)
        outline.go_to(agent)
        found.append(agent)
    assert found == ["unit-tax", "int-api", "int-billing-run", "int-imports", "pkg-sign", "unit-tax"]


def test_no_alert_where_nothing_needs_anybody():
    with scene(3).read() as state:
        assert Outline().next_alert(state) is None


def test_matches_are_walked_in_a_circle_past_the_branches_above_them():
    registry = scene(40)
    outline = outline_of(registry)
    outline.set_filter("s:held")
    rebuild(outline, registry)
    walked = []
    for _ in range(5):
        assert outline.next_match(1)
        walked.append(outline.cursor)
    assert walked == ["doc-guide", "doc-setup", "doc-images", "doc-links", "doc-guide"]
    assert outline.next_match(-1)
    assert outline.cursor == "doc-links"


def test_marks_go_by_agent_and_a_range_reaches_from_the_last_mark():
    registry = branches(3, 2)
    outline = outline_of(registry)
    outline.go_to("a1")
    outline.mark()
    assert outline.cursor == "a2"
    outline.go_to("b0")
    outline.mark_range()
    assert outline.marked == {"a1", "a2", "b", "b0"}
    assert outline.note.startswith("4 marked")
    outline.clear_marks()
    assert not outline.marked


def test_a_change_that_moves_no_row_leaves_the_rows_alone():
    registry = scene(40)
    outline = outline_of(registry)
    with registry.read() as state:
        outline.notice(state, Changes(agents={"unit-pdf", "unit"}, live={"unit-pdf"}))
    assert not outline.due(1e9)


def test_an_agent_that_starts_leaves_the_queue_and_the_rows_are_made_anew_in_their_time():
    registry = branches(6)
    outline = outline_of(registry)
    watch = registry.watch()
    watch.take()
    registry.fold([Record(registry.seq + 1, SCENE_NOW, AgentAdmitted("a0"))])
    changes = watch.take()
    with registry.read() as state:
        outline.notice(state, changes)
    assert not outline.due(STRUCTURE_EVERY / 2)
    assert outline.due(STRUCTURE_EVERY)
    rebuild(outline, registry, STRUCTURE_EVERY)
    assert [f"+{row.more}" if row.more else row.agent for row in outline.rows.rows] == [
        "root",
        "a",
        "a0",
        "a1",
        "a2",
        "a3",
        "+2",
    ]


def test_a_live_order_waits_until_the_operator_has_not_pressed_a_key_for_a_while():
    outline = outline_of(scene(40))
    outline.view.sort = Sort.STATE
    outline.outdate()
    outline.touch(SORT_EVERY)
    assert not outline.due(SORT_EVERY + 1.0)
    assert outline.due(2 * SORT_EVERY)


def test_a_filter_looks_at_all_agents_once_a_second_at_most():
    outline = outline_of(scene(40))
    outline.set_filter("s:running")
    outline.outdate()
    assert not outline.due(STRUCTURE_EVERY)
    assert outline.due(FILTER_EVERY)


def test_a_key_and_a_model_find_their_agents():
    registry = chats()

    def hits(text):
        found = parse_filter(text)
        with registry.read() as state:
            return {agent.id for agent in state.agents.values() if found.fits(state, agent, SCENE_NOW)}

    with registry.read() as state:
        everybody = set(state.agents)
        burning = {agent.id for agent in state.agents.values() if agent.key == "kimi-1"}
        model = next(agent.model for agent in state.agents.values() if agent.model)
    assert burning
    assert hits("k:KIMI-1") == burning
    assert hits("-k:kimi-1") == everybody - burning
    assert hits(f"m:{model.upper()}")
    assert hits("m:nobody-has-this") == set()


def test_where_nobody_needs_the_operator_the_next_quiet_agent_is_found():
    agents = ("fine", "silent")
    story = telling.Story(*map(telling.queued, agents), *(e for one in agents for e in telling.started(one)))
    story.tell(AgentMarked("silent", Mark.QUIET, "no output"))
    outline = Outline()
    assert outline.next_alert(story.state) == "silent"
    story.tell(AgentMarked("fine", Mark.STALE, "no output"))
    assert outline.next_alert(story.state) == "fine", "what needs the operator goes first"
