"""Rows, columns, header and path line of a swarm whose agents hold conversations."""

from __future__ import annotations

from dataclasses import replace

import pytest

from skep.control.link import LinkState
from skep.model.agent import Face, Live, Spend
from skep.model.events import ROOT, AgentWaiting, TurnCompleted
from skep.model.registry import Registry
from skep.model.states import WaitReason
from skep.room.cells import Cells, cells_of, cost
from skep.room.doing import Doing, Places, doing
from skep.room.filter import needs_you
from skep.room.headline import headline
from skep.room.look import UNICODE, Number, Role, columns_for
from skep.room.rows import NO_ROWS, Sort, View, build_rows
from skep.room.still import still
from skep.room.widgets.header import header_parts
from skep.room.widgets.pace import Pace
from tests.room.chats import chats
from tests.room.panels import room
from tests.room.rooms import open_room
from tests.room.scenes import SCENE_NOW, Story, scene

LINK = LinkState(connected=True, live=True, read_only=False)


def doing_of(registry: Registry, agent: str) -> Doing:
    live, places = registry.live(agent), Places()
    with registry.read() as state:
        places.refresh(state)
        return doing(state, state.agents[agent], live, places)


def cells_at(registry: Registry, agent: str, view: View | None = None) -> Cells:
    live, places = registry.live(agent), Places()
    with registry.read() as state:
        places.refresh(state)
        rows = build_rows(state, view or View(), SCENE_NOW, NO_ROWS)
        cells = cells_of(state, rows.rows[rows.index[agent]], live, places, {}, UNICODE)
    assert cells is not None
    return cells


def numbers_of(registry: Registry, agent: str) -> list[str]:
    numbers = dict(cells_at(registry, agent).numbers)
    return [numbers.get(one, "") for one in (Number.TURN, Number.TOKENS, Number.COST, Number.KEY)]


# -- columns --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("width", "doing_at", "doing", "numbers"),
    [
        (120, 39, 47, "TURN TOKENS COST KEY AGE"),
        (119, 33, 58, "TURN TOKENS COST KEY"),
        (92, 33, 31, "TURN TOKENS COST KEY"),
        (88, 33, 27, "TURN TOKENS COST KEY"),
        (87, 31, 40, "COST KEY"),
        (80, 31, 33, "COST KEY"),
        (71, 29, 34, "COST"),
        (60, 29, 23, "COST"),
        (55, 27, 27, ""),
    ],
)
def test_key_outlives_tokens_and_cost_outlives_key(width, doing_at, doing, numbers):
    columns = columns_for(width, chat=True)
    assert (columns.doing_at, columns.doing) == (doing_at, doing)
    assert [number.value for number in columns.numbers] == numbers.split()


@pytest.mark.parametrize(("columns", "last"), [(120, "AGE"), (100, "KEY"), (80, "KEY"), (60, "COST")])
async def test_a_swarm_of_conversations_has_their_columns_at_every_width(columns, last):
    async with room(chats(), (columns, 40)) as (app, _):
        heads = app.lines()[0].split()
        assert heads[-1] == last
        assert "EXIT" not in heads
        assert all(len(line) <= columns for line in app.lines())


async def test_a_swarm_of_commands_keeps_its_own():
    async with room(scene(40)) as (app, _):
        assert app.lines()[0].split()[-2:] == ["EXIT", "AGE"]


async def test_a_mixed_swarm_shows_those_of_conversations():
    story = Story()
    story.queued("make")
    story.running("make", 30.0)
    story.chat("ask")
    async with room(story.registry()) as (app, _):
        assert "TOKENS" in app.lines()[0]
        assert app.line_of("make").split()[-1] == "42m"


async def test_the_first_conversation_brings_the_columns():
    async with room(scene(3)) as (app, _):
        story = Story()
        story.chat("late")
        queued = next(event for _, _, event in story._told if getattr(event, "agent", "") == "late")
        app.happens(queued)
        app.tick(1.0)
        assert "TOKENS" in app.lines()[0]


# -- figures --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("agent", "shown"),
    [
        ("inv-parser", ["9", "48.1k", "$0.12", "kimi-1"]),
        ("survey-tables", ["12", "81.2k", "$0.14", "kimi-1"]),
        ("hook-sign", ["50", "310k", "–", "kimi-2"]),
        ("webhooks", ["4", "616k", "≥$0.46", "kimi-2"]),
        ("inv-export", ["", "", "", ""]),
        ("reports", ["6", "218k", "$0.38", "kimi-1"]),
    ],
)
def test_the_turn_and_the_key_are_its_own_and_tokens_and_cost_those_of_its_branch(agent, shown):
    assert numbers_of(chats(), agent) == shown


def test_the_root_equals_the_header():
    registry = chats()
    _, tokens, dollars, _ = numbers_of(registry, ROOT)
    with registry.read() as state:
        total = headline(state)
    texts = [text for part in header_parts(total, LINK, SCENE_NOW)[1] for text, _ in part.pieces]
    assert f"{tokens} tok" in texts
    assert dollars in texts


@pytest.mark.parametrize(
    ("spend", "shown"),
    [
        (Spend(turns=1, cost=120_000), "$0.12"),
        (Spend(turns=2, cost=412_000_000), "$412"),
        (Spend(turns=2, cost=1_240_000_000), "$1.2k"),
        (Spend(turns=2, cost=120_000, unpriced=1), "≥$0.12"),
        (Spend(turns=2, unpriced=2), "–"),
    ],
)
def test_money_says_whether_it_is_known(spend, shown):
    assert cost(spend) == shown


def test_before_its_first_turn_nobody_knows_what_it_uses():
    story = Story(goal="begin")
    story.running(ROOT, 5.0)
    assert numbers_of(story.registry(), ROOT)[1:3] == ["–", "–"]


async def test_a_turn_of_a_leaf_is_drawn_on_every_row_above_it():
    async with room(chats(), (120, 40)) as (app, _):
        assert "562k" in app.line_of("invoices")
        said = TurnCompleted("inv-credit", 3, {}, "stop", "kimi-9", 99_000, 1_000, cost=1_000_000)
        app.happens(said)
        assert "662k" in app.line_of("invoices")
        assert "1.98M" in app.line_of(ROOT)
        assert "112k" in app.line_of("inv-credit")


def test_a_frozen_picture_keeps_its_figures():
    registry = chats()
    picture = still(registry)
    before = numbers_of(picture, "invoices")
    with registry.read() as state:
        state._spent(state.agents["inv-credit"], Spend(1, 99_000, 1_000, 1_000_000))
    assert numbers_of(picture, "invoices") == before
    assert numbers_of(registry, "invoices") != before


async def test_a_long_label_keeps_its_end_and_a_hostile_one_is_cleaned():
    story = Story(goal="begin")
    story.running(ROOT, 50.0)
    story.turns(ROOT, 1, 10, 10, "openrouter\x1b[2J-12", ago=5.0)
    async with room(story.registry()) as (app, _):
        row = app.line_of(ROOT)
        assert row.isprintable()
        assert "-12 " in row


def test_by_cost_the_dearest_branch_comes_first():
    with chats().read() as state:
        rows = build_rows(state, View(sort=Sort.COST), SCENE_NOW, NO_ROWS)
    assert next(row.agent for row in rows.rows if row.level == 1) == "invoices"


# -- doing ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("agent", "says"),
    [
        ("inv-parser", Doing("$ pytest tests/invoice -q")),
        ("check-nulls", Doing("thinking")),
        ("check-enums", Doing("key: kimi-2 cools", Role.GREY)),
        ("inv-pdf", Doing("approve: $ rm -rf build/pdf && make pdf", Role.AMBER, bold=True)),
        ("inv-tax", Doing("the provider refused: context too long", Role.RED)),
        ("hook-retry", Doing("no token; request open 8m02s, key kimi-2", Role.AMBER)),
        ("hook-verify", Doing("same read_file call 6 times", Role.AMBER)),
        ("hook-replay", Doing("no token", Role.AMBER_DIM)),
        ("hook-sign", Doing("max_turns 50 reached", Role.AMBER)),
        ("survey-tables", Doing("found 61 tables, 4 orphaned", Role.GREY)),
        ("reports", Doing("Both reports agree with the old system.", Role.GREY)),
        ("seed-data", Doing("2nd for a slot", Role.GREY)),
    ],
)
def test_a_row_says_what_its_conversation_does_or_waits_for(agent, says):
    assert doing_of(chats(), agent) == says


def test_a_parent_that_waits_is_the_composition_of_its_whole_branch():
    registry = chats()
    assert doing_of(registry, "invoices").sentence(UNICODE) == "?1  ×1  ↓1  ●3  ·2"
    assert doing_of(registry, ROOT).counts[0] == (Face.ASKS, 1)
    assert cells_at(registry, "invoices").glyph == UNICODE.faces[Face.WAITING]
    closed = cells_at(registry, "invoices", View(folded={"invoices"}))
    assert closed.glyph == UNICODE.faces[Face.ASKS]


def test_hostile_words_are_cleaned_wherever_they_come_from():
    story = Story(goal="be\x1b]0;gin\x07 \u202e")
    story.running(ROOT, 50.0)
    story.talks(ROOT, "$ ls\x1b[2J\u202ex", "k\x07ey")
    registry = story.registry()
    assert doing_of(registry, ROOT).words.isprintable()
    assert all(text.isprintable() for text in numbers_of(registry, ROOT))
    story.asks(ROOT, 4.0, "rm -rf /\r\x1b[2Kls")
    asks = doing_of(story.registry(), ROOT).words
    assert asks.isprintable()
    assert "rm -rf /" in asks
    story = Story(goal="begin")
    story.running(ROOT, 50.0)
    story.tell(3.0, AgentWaiting(ROOT, WaitReason.KEY, "k\x1b[31m-1 cools 0:42"))
    assert doing_of(story.registry(), ROOT).words.isprintable()


async def test_a_role_that_was_not_given_is_said_on_the_path_line():
    async with open_room(registry=chats()) as room:
        await room.after(7.0)  # the first question has been told
        room.app.main.agents.go_to("hook-sign")
        await room.settle()
        assert "hook-sign  leaf (asked for orchestrator)  max_turns 50 reached" in room.says
        room.app.main.agents.go_to("inv-parser")
        await room.settle()
        assert "leaf" not in room.says


# -- header ---------------------------------------------------------------------------------------------------


def test_who_asks_needs_you_and_is_counted_once():
    registry = chats()
    with registry.read() as state:
        total = headline(state)
        found = [agent.id for agent in state.agents.values() if needs_you(agent)]
    assert found == ["hook-retry", "hook-verify", "inv-pdf", "inv-tax"]
    assert (total.need_you, total.asking, total.stuck, total.failed) == (4, 1, 2, 1)


@pytest.mark.parametrize("columns", [60, 80, 120, 160])
async def test_simulated_money_and_what_needs_you_never_give_way(columns):
    async with room(chats(), (columns, 30)) as (app, _):
        line = app.header.render_line(0)
        assert line.cell_length == columns
        for shown in (" SIMULATED ", " 4 need you ", "≥$2.74"):
            assert shown in line.text
        assert ("1 ask  2 stuck" in line.text) is (columns >= 120)
        assert ("1.88M tok" in line.text) is (columns >= 160)


async def test_a_real_swarm_is_not_called_simulated():
    async with room(Story(goal="begin").registry(), (160, 30)) as (app, _):
        assert "SIMULATED" not in app.header.render_line(0).text


def test_the_rate_of_money_needs_two_samples_and_keeps_still_between_them():
    pace = Pace()

    def hourly(now: float, cost: int) -> int | None:
        pace.note(now, lambda: {ROOT: cost, "docs": cost // 2} if now else {ROOT: cost})
        return pace.hourly(ROOT)

    assert hourly(0.0, 1_000_000) is None
    assert hourly(29.0, 2_000_000) is None
    assert hourly(30.0, 2_000_000) == 120_000_000
    assert hourly(31.0, 9_000_000) == 120_000_000
    assert pace.hourly("docs") == 120_000_000
    assert pace.hourly("nobody") == 0
    assert hourly(60.0, 2_000_000) == 60_000_000


def test_the_rate_stands_beside_the_sum():
    with chats().read() as state:
        total = headline(state)
    shown = [text for part in header_parts(total, LINK, SCENE_NOW, 4_600_000)[1] for text, _ in part.pieces]
    assert "$4.60/h" in shown
    over = replace(total, status="done")
    assert "$4.60/h" not in [text for part in header_parts(over, LINK, SCENE_NOW)[1] for text, _ in part.pieces]


def test_the_live_turn_of_an_ended_agent_does_not_count():
    registry = chats()
    registry.tell_live([("survey-tables", Live("thinking", SCENE_NOW, turn=40, key="other"))])
    assert numbers_of(registry, "survey-tables") == ["12", "81.2k", "$0.14", "kimi-1"]
