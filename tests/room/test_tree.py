"""The tree, the header and the banner as widgets: driven by keys, drawn line by line."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from scenes import SCENE_NOW, SceneLink, Story, finished, scene, scene_clock
from textual.app import App, ComposeResult
from textual.pilot import Pilot
from textual.theme import BUILTIN_THEMES

from skep.control.link import LinkState
from skep.model.agent import Live
from skep.model.events import (
    AgentAdmitted,
    AgentMarked,
    AgentQueued,
    AgentRunning,
    Event,
    LatchClosed,
    LatchOpened,
    Record,
)
from skep.model.registry import Changes, Registry
from skep.model.states import DriverKind, Mark, Strength
from skep.room.look import ASCII, UNICODE, Look
from skep.room.themes import THEMES
from skep.room.widgets.banner import Banner
from skep.room.widgets.header import Header
from skep.room.widgets.tree import AgentTree
from skep.text import width


class Room(App[None]):
    """Only what is tested here, over a scene."""

    CSS = "AgentTree { height: 1fr; }"

    def __init__(self, registry: Registry, look: Look = UNICODE) -> None:
        super().__init__()
        self.clock = scene_clock()
        self.link = SceneLink(registry, clock=self.clock)
        self.watch = registry.watch()
        self.header = Header(registry, self.clock, look, lambda: self.link.state)
        self.banner = Banner(registry, self.clock, look, lambda: self.link.state)
        self.agents = AgentTree(registry, self.clock, look, id="tree")
        self.moved: list[str | None] = []
        self.opened: list[str] = []

    def compose(self) -> ComposeResult:
        yield self.header
        yield self.banner
        yield self.agents

    def on_mount(self) -> None:
        for theme in THEMES:
            self.register_theme(theme)
        self.theme = "skep-dark"
        self.agents.focus()

    def on_agent_tree_cursor_moved(self, event: AgentTree.CursorMoved) -> None:
        self.moved.append(event.agent)

    def on_agent_tree_opened(self, event: AgentTree.Opened) -> None:
        self.opened.append(event.agent)

    def happens(self, *events: Event) -> None:
        """Fold events and let the widgets take them in, as the tick of the room does."""
        seq = self.link.registry.seq
        self.link.registry.fold(Record(at, self.clock.time(), event) for at, event in enumerate(events, seq + 1))
        self.tick()

    def tick(self, seconds: float = 0.0) -> None:
        self.clock.advance(seconds)
        changes = self.watch.take()
        self.agents.refresh_changes(changes)
        self.agents.refresh_ages()
        self.header.refresh_from(changes)
        self.banner.refresh_from(changes)

    def lines(self) -> list[str]:
        """The tree as text, without the blanks at the right."""
        return [self.agents.render_line(y).text.rstrip() for y in range(self.agents.size.height)]

    def line_of(self, agent: str) -> str:
        """The row of an agent that is in sight."""
        name = self.link.registry.agent(agent)
        assert name is not None
        return next(line for line in self.lines() if f" {name.name} " in f"{line} ")


@asynccontextmanager
async def room(
    registry: Registry, size: tuple[int, int] = (120, 36), look: Look = UNICODE
) -> AsyncIterator[tuple[Room, Pilot[None]]]:
    app = Room(registry, look)
    async with app.run_test(size=size) as pilot:
        await pilot.pause()
        app.tick()
        yield app, pilot


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
        assert app.lines()[0] == (
            "   AGENT                          IN  DOING                                            TRY  LINES OUTPUT"
            " EXIT      AGE"
        )
        assert app.line_of("unit-pdf") == (
            " ●   │ unit-pdf                2m13s  tests/unit-pdf/test_total.py ......F.... [ 76%]    1     96  12.4k"
            "           42m"
        )
        assert app.line_of("int-billing-run") == (
            " ×   │ int-billing-run           30m  timed out after 30m                                1     90  7.00k"
            " TERM      42m"
        )


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
            before = line[: line.index(" 9s ")]
            assert width(before) == width(app.lines()[0][: app.lines()[0].index("IN")])
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
        assert app.moved == ["unit", "unit-core", "unit-money", "unit-core", "pkg-sign", "root"]


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
        assert app.agents.note == "4 of 40  s:held  esc clears"
        wrong = app.agents.set_filter("s:asleep")
        assert wrong is not None
        assert "s:asleep" in wrong
        assert app.agents.hits == (4, 40)
        assert app.agents.set_filter("") is None
        assert app.agents.note == "40"


async def test_a_filter_without_a_hit_says_so_below_the_tree():
    async with room(scene(40)) as (app, _):
        app.agents.set_filter("s:asks")
        assert any("nothing matches s:asks, 40 hidden   esc clears" in line for line in app.lines())


async def test_alerts_are_walked_through_and_can_be_shown_alone():
    async with room(scene(40)) as (app, _):
        assert app.agents.next_alert()
        assert app.agents.cursor == "unit-tax"
        app.agents.alerts_only = True
        assert app.agents.note == "5 of 40  alerts only  esc clears"
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
        assert app.agents.note == "2 marked  40"


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


async def test_the_header_counts_each_thing_once():
    async with room(scene(40), (160, 30)) as (app, _):
        left = " skep  check-billing  running 42m   8/8 run  10 queued  4 held   5 need you   1 stuck  4 failed"
        assert app.header.render_line(0).text == f"{left:<150}8/35 done "


@pytest.mark.parametrize(
    ("columns", "kept", "gone"),
    [
        (120, "skep  check-billing  running 42m", "never"),
        (100, "check-billing 42m", "skep"),
        (80, "4 held", "stuck"),
        (60, "5 need you", "queued"),
        (40, "5 need you", "42m"),
    ],
)
async def test_the_header_leaves_out_by_rank_and_never_what_needs_you(columns, kept, gone):
    async with room(scene(40), (columns, 20)) as (app, _):
        line = app.header.render_line(0)
        assert line.cell_length == columns
        assert kept in line.text
        assert gone not in line.text
        assert "8/35 done" in line.text


async def test_the_header_says_when_the_picture_is_old():
    async with room(scene(40)) as (app, _):
        app.link.picture = LinkState(connected=True, live=True, read_only=True, behind=4.0)
        app.tick(1.0)
        assert "link 4s behind" in app.header.render_line(0).text


async def test_the_banner_names_the_hold_its_age_and_the_true_way_out():
    async with room(scene(40)) as (app, _):
        text = app.banner.render_line(0).text
        assert text.startswith(" ║ new spawns held under docs   4 held   4m00s   by you, rate limits")
        assert text.endswith("p on docs releases ")
        app.happens(LatchClosed("", Strength.SPAWNS, "", "ana"))
        text = app.banner.render_line(0).text
        assert "new spawns held in the swarm   14 held   0s   by ana" in text
        assert text.endswith("+1   P release ")


async def test_the_banner_puts_what_is_broken_before_what_is_held():
    async with room(scene(40)) as (app, _):
        app.link.picture = LinkState(
            connected=True, live=True, read_only=False, trouble="disk full, paused itself"
        )
        app.tick(1.0)
        assert app.banner.render_line(0).text.startswith(" × disk full, paused itself")
        app.link.picture = LinkState(connected=False, live=True, read_only=False, trouble="connection reset")
        app.tick(1.0)
        assert app.banner.render_line(0).text.startswith(" × link lost   connection reset")
        assert not app.banner.quiet


async def test_a_quiet_banner_keeps_its_row_and_a_finished_swarm_says_how_it_went():
    async with room(scene(3), (80, 12)) as (app, _):
        assert app.banner.quiet
        assert app.banner.render_line(0).text.strip() == "nothing held, nothing waits for you"
        app.banner.frozen_at = app.clock.time()
        assert "screen frozen" in app.banner.render_line(0).text
        assert not app.banner.quiet
    async with room(finished(), (80, 12)) as (app, _):
        assert app.banner.render_line(0).text.strip() == "failed in 2h04m, 2 done, 1 failed"
        assert "failed 2h04m" in app.header.render_line(0).text


async def test_ten_thousand_agents_cost_only_what_is_in_sight():
    async with room(scene(10_000), (160, 48)) as (app, pilot):
        await pilot.press("end", "home", "pagedown")
        rows = app.agents.outline.rows
        app.agents.refresh_changes(Changes(agents=set(), live={"item-05001"}))
        assert app.agents.outline.rows is rows
        assert app.agents.render_line(5).cell_length == 160
