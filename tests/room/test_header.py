"""The header and the banner: what they say, and what gives way where there is little room."""

from __future__ import annotations

import pytest

from skep.control.link import LinkState
from skep.model.events import (
    LatchClosed,
)
from skep.model.states import Strength
from tests.room.panels import room
from tests.room.scenes import finished, scene


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
        app.link.picture = LinkState(
            connected=False, live=True, read_only=False, behind=75.0, trouble="connection reset"
        )
        app.tick(1.0)
        assert app.banner.render_line(0).text.startswith(" × link lost   1m15s   connection reset")
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
