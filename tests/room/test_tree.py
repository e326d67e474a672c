"""The tree as a widget: driven by keys and news, drawn line by line."""

from __future__ import annotations

import pytest
from textual.theme import BUILTIN_THEMES

from skep.model.agent import Live
from skep.model.events import (
    AgentAdmitted,
    AgentMarked,
    AgentQueued,
    AgentRunning,
    LatchClosed,
    LatchOpened,
)
from skep.model.registry import Changes, Registry
from skep.model.states import DriverKind, Mark, Strength
from skep.room.look import ASCII, columns_for
from skep.room.widgets.tree import AgentTree
from skep.text import width
from tests.room.panels import room
from tests.room.scenes import SCENE_NOW, Story, scene


def children(count: int) -> Registry:
    story = Story(slots=4)
    story.group("a")
    for number in range(count):
        story.queued(f"a{number:02d}", "a")
    for number in range(count):
        story.queued(f"b{number:02d}")
    return story.registry()


async def test_a_row_reads_from_state_over_name_time_and_doing_to_the_numbers():
    async with room(scene(40)) as (app, _):
        heads, rows = app.lines()[0], [app.line_of(agent) for agent in ("unit-pdf", "int-billing-run")]
        columns = columns_for(120)
        parts = (slice(1, 2), slice(3, 31), slice(32, 37), slice(39, 86), slice(86, 120))
        assert columns.doing_at == 39
        assert [[" ".join(line[part].split()) for part in parts] for line in (heads, *rows)] == [
            ["", "AGENT", "IN", "DOING", "TRY LINES OUTPUT EXIT AGE"],
            ["●", "│ unit-pdf", "2m13s", "tests/unit-pdf/test_total.py ......F.... [ 76%]", "1 96 12.4k 42m"],
            ["×", "│ int-billing-run", "30m", "timed out after 30m", "1 90 7.00k TERM 42m"],
        ]


@pytest.mark.parametrize("size", [(200, 50), (160, 48), (120, 36), (92, 30), (80, 24), (60, 16), (40, 8)])
async def test_every_line_is_exactly_as_wide_as_the_tree(size):
    async with room(scene(40), size) as (app, _):
        for y in range(app.agents.size.height):
            assert app.agents.render_line(y).cell_length == size[0]


def hostile() -> Registry:
    """Names and output that want to break a table."""
    story = Story()
    story.group("深い枝の名前はとても長くて幅が広い", name="深い枝の名前はとても長くて幅が広い")
    parent = "深い枝の名前はとても長くて幅が広い"
    for at, name in enumerate(
        (
            "漢字の名前漢字の名前漢字の名前漢字の名前",
            "x" * 400,
            "\x1b[31mred\x1b[0m\x1b]0;title\x07",
            "e" + "\u0301" * 40,
            "[bold]markup[/bold] [@click=app.quit]x[/]",
            "two\nlines\tand a tab",
            "\u202eright to left",
        )
    ):
        story.queued(f"h{at}", parent, name=name)
        story.running(f"h{at}", 9.0, f"{name} 100%", at, at)
    return story.registry()


@pytest.mark.parametrize("columns", [120, 92, 80, 60])
async def test_hostile_names_neither_break_the_columns_nor_act(columns):
    async with room(hostile(), (columns, 24)) as (app, _):
        rows = [line for line in app.lines()[3:] if line]
        assert len(rows) == 7
        for line in rows:
            assert line.isprintable()
            before = line[: line.index("9s  ")]
            assert width(before) == columns_for(columns).in_at + 3
        assert any("[bold]" in line for line in rows)


async def test_a_deep_agent_keeps_half_of_its_field_for_its_name():
    story = Story()
    parent = "root"
    for level in range(30):
        story.group(f"level-{level:02d}", parent)
        parent = f"level-{level:02d}"
    async with room(story.registry(), (120, 40)) as (app, _):
        deep = app.lines()[31]
        assert "+" in deep
        assert "level-29" in deep


async def test_keys_move_the_cursor_and_say_where_it_is():
    async with room(scene(40)) as (app, pilot):
        await pilot.press("down", "j", "j")
        assert app.agents.cursor == "unit-money"
        await pilot.press("k", "end")
        assert app.agents.cursor == "pkg-sign"
        await pilot.press("home")
        assert app.moved == ["root", "unit", "unit-core", "unit-money", "unit-core", "pkg-sign", "root"]


async def test_the_cursor_row_is_always_in_sight():
    async with room(scene(40), (80, 12)) as (app, pilot):
        for key in ("end", "pageup", "pageup", "home", "pagedown", "up"):
            await pilot.press(key)
            agent = app.agents.cursor
            assert agent is not None
            assert any(line.startswith("▌") for line in app.lines())


async def test_folding_and_unfolding_by_keys():
    async with room(scene(40)) as (app, pilot):
        app.agents.cursor = "unit-pdf"
        await pilot.press("left")
        assert app.agents.cursor == "unit"
        await pilot.press("left")
        assert app.line_of("unit").startswith("▌× ")
        assert "►" in app.line_of("unit")
        await pilot.press("right", "right")
        assert app.agents.cursor == "unit-core"
        await pilot.press("minus")
        assert len(app.agents.outline) == 6
        await pilot.press("equals_sign")
        assert len(app.agents.outline) > 30


async def test_enter_on_a_gathering_row_opens_it_and_on_an_agent_asks_for_its_output():
    async with room(children(9)) as (app, pilot):
        app.agents.cursor = "a02"
        await pilot.press("down")
        assert app.agents.cursor is None
        app.agents.action_open()
        assert app.agents.outline.rows.rows[5].agent == "a03"
        app.agents.cursor = "a04"
        app.agents.action_open()
        await pilot.pause()
        assert app.opened == ["a04"]


async def test_the_cursor_keeps_its_line_of_the_screen_when_rows_appear_above():
    async with room(children(9), (80, 12)) as (app, pilot):
        app.agents.cursor = "b02"
        await pilot.pause()
        line = next(y for y, text in enumerate(app.lines()) if text.startswith("▌"))
        app.happens(AgentQueued("early", "a", "early", DriverKind.GROUP, "", {}))
        app.tick(1.0)
        await pilot.pause()
        assert app.agents.cursor == "b02"
        assert app.lines()[line].startswith("▌")


async def test_a_resize_keeps_the_agent_under_the_cursor_in_sight():
    async with room(scene(40), (120, 40)) as (app, pilot):
        app.agents.cursor = "pkg-sign"
        await pilot.resize_terminal(60, 16)
        await pilot.pause()
        assert app.agents.cursor == "pkg-sign"
        assert any(line.startswith("▌") for line in app.lines())


async def test_a_change_is_seen_on_its_row_and_nowhere_else():
    async with room(scene(40)) as (app, _):
        before = app.lines()
        app.happens(AgentMarked("unit-pdf", Mark.STALE, "no output"))
        after = app.lines()
        changed = [one for one, other in zip(before, after, strict=True) if one != other]
        assert len(changed) == 3, "the agent, its branch and the root"
        assert app.line_of("unit-pdf").startswith(" ▲")


async def test_news_without_change_of_structure_makes_no_new_rows():
    async with room(scene(40)) as (app, _):
        app.tick(1.0)
        rows = app.agents.outline.rows
        app.link.registry.tell_live([("unit-pdf", Live("next line", SCENE_NOW, 97, 12_500))])
        app.tick(1.0)
        assert "next line" in app.line_of("unit-pdf")
        assert app.agents.outline.rows is rows


async def test_an_activity_line_stands_for_half_a_second_and_the_newest_wins():
    async with room(scene(40)) as (app, _):
        app.tick(1.0)
        for number in range(5):
            app.link.registry.tell_live([("unit-pdf", Live(f"line {number}", SCENE_NOW, number, number))])
            app.tick(0.05)
            assert "line 0" in app.line_of("unit-pdf")
        app.tick(0.5)
        assert "line 4" in app.line_of("unit-pdf")


async def test_structure_changes_four_times_a_second_at_most():
    async with room(children(9)) as (app, _):
        app.tick(1.0)
        app.happens(AgentAdmitted("a00"), AgentRunning("a00"))
        first = app.agents.outline.rows
        for agent in ("a01", "a02"):
            app.happens(AgentAdmitted(agent), AgentRunning(agent))
        assert app.agents.outline.rows is first
        app.tick(0.25)
        assert app.agents.outline.rows is not first


async def test_ages_tick_and_a_frozen_picture_does_not():
    async with room(scene(40)) as (app, _):
        app.tick(10.0)
        assert " 2m23s " in app.line_of("unit-pdf")
        app.agents.set_picture(app.clock.time(), pale=True)
        app.tick(30.0)
        assert " 2m23s " in app.line_of("unit-pdf")
        app.agents.set_picture(None)
        assert " 2m53s " in app.line_of("unit-pdf")


async def test_places_in_the_line_move_up_without_an_event_of_those_who_wait():
    async with room(children(9), (120, 40)) as (app, _):
        before = app.line_of("a02")
        app.happens(AgentAdmitted("a00"), AgentRunning("a00"))
        app.tick(1.0)
        assert app.line_of("a02") != before


async def test_a_hold_shows_its_reach_and_its_release_takes_it_away():
    async with room(children(2)) as (app, _):
        app.happens(LatchClosed("a", Strength.SPAWNS, "rate limits", "you"))
        app.tick(1.0)
        assert "spawns held  ║2" in app.line_of("a")
        assert app.line_of("a00").startswith(" ║   ║ a00")
        app.happens(LatchOpened("a", Strength.SPAWNS, "you"))
        app.tick(1.0)
        assert app.line_of("a00").startswith(" ·   │ a00")


async def test_a_filter_says_how_many_fit_and_an_error_leaves_all_as_it_was():
    async with room(scene(40)) as (app, _):
        assert app.agents.set_filter("s:held") is None
        assert app.agents.note == "4 of 35  s:held  esc clears"
        wrong = app.agents.set_filter("s:asleep")
        assert wrong is not None
        assert "s:asleep" in wrong
        assert app.agents.hits == (4, 35)
        assert app.agents.set_filter("") is None
        assert app.agents.note == "35"


async def test_a_filter_without_a_hit_says_so_below_the_tree():
    async with room(scene(40)) as (app, _):
        app.agents.set_filter("s:asks")
        assert any("nothing matches s:asks, 35 hidden   esc clears" in line for line in app.lines())


async def test_alerts_are_walked_through_and_can_be_shown_alone():
    async with room(scene(40)) as (app, _):
        assert app.agents.next_alert()
        assert app.agents.cursor == "unit-tax"
        app.agents.alerts_only = True
        assert app.agents.note == "5 of 35  alerts only  esc clears"
        assert app.agents.cursor == "unit-tax"
        app.agents.alerts_only = False
    async with room(scene(3)) as (app, _):
        assert not app.agents.next_alert()


async def test_orders_go_round_and_are_named():
    async with room(scene(40)) as (app, pilot):
        names = []
        for _ in range(5):
            names.append(app.agents.sort_name)
            await pilot.press("s")
        assert names == ["asked", "state", "name", "in", "exit"]
        await pilot.press("less_than_sign")
        assert app.agents.sort_name == "asked reversed"
        assert "by asked reversed" in app.agents.note


async def test_marks_are_seen_on_rows_and_in_the_rule():
    async with room(scene(40)) as (app, pilot):
        app.agents.cursor = "unit-core"
        await pilot.press("space", "space")
        assert app.agents.marked == {"unit-core", "unit-money"}
        assert app.line_of("unit-core").startswith("+✓")
        assert app.agents.note == "2 marked  35"


async def test_a_click_selects_and_two_clicks_open():
    async with room(scene(40)) as (app, pilot):
        await pilot.click(AgentTree, offset=(10, 4))
        assert app.agents.cursor == "unit-money"
        assert not app.opened
        await pilot.click(AgentTree, offset=(10, 4), times=2)
        assert app.opened == ["unit-money"]


async def test_hints_stand_below_a_short_tree_and_never_over_rows():
    async with room(scene(3), (80, 14)) as (app, _):
        app.agents.set_hints(("enter  its output",))
        assert app.lines()[6] == "   enter  its output"
    async with room(scene(40), (80, 14)) as (app, _):
        app.agents.set_hints(("enter  its output",))
        assert not any("enter  its output" in line for line in app.lines())


async def test_another_registry_keeps_the_cursor_by_id():
    async with room(scene(40)) as (app, _):
        app.agents.cursor = "int-api"
        app.agents.set_registry(scene(40))
        assert app.agents.cursor == "int-api"
        app.agents.set_registry(scene(3))
        assert app.agents.cursor is not None


async def test_the_ascii_look_draws_nothing_else():
    async with room(scene(40), look=ASCII) as (app, _):
        assert all(line.isascii() for line in app.lines())
        assert app.header.render_line(0).text.isascii()
        assert app.banner.render_line(0).text.isascii()


async def test_every_theme_of_textual_gives_every_role_a_colour():
    async with room(scene(40), (80, 24)) as (app, pilot):
        for theme in ("skep-light", *sorted(BUILTIN_THEMES)):
            app.theme = theme
            await pilot.pause()
            for y in range(app.agents.size.height):
                assert all(segment.style is not None for segment in app.agents.render_line(y))
            styles = {segment.style.color for segment in app.agents.render_line(9) if segment.style is not None}
            assert None not in styles


async def test_ten_thousand_agents_cost_only_what_is_in_sight():
    async with room(scene(10_000), (160, 48)) as (app, pilot):
        await pilot.press("end", "home", "pagedown")
        rows = app.agents.outline.rows
        app.agents.refresh_changes(Changes(agents=set(), live={"item-05001"}))
        assert app.agents.outline.rows is rows
        assert app.agents.render_line(5).cell_length == 160
