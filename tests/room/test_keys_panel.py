"""The keys panel: what it says of each key, where it stands in each layout, and when it asks."""

from __future__ import annotations

import pytest

from skep.control.link import LinkState
from skep.control.verbs import Keys, KeyShown, KeysShown, PoolShown
from skep.errors import Refused
from skep.room.board import Board, board_of, countdown
from tests.room.chats import chats, keys_in_every_state
from tests.room.rooms import Room, open_room
from tests.room.scenes import SCENE_NOW

NAMES = {"invoices": "invoices", "schema": "schema", "docs": "docs", "root": "migrate-billing"}


def board(*keys: KeyShown, waiters: int = 0, oldest: float | None = None) -> Board:
    pool = PoolShown(
        provider="sim",
        endpoint="http://127.0.0.1",
        at=SCENE_NOW,
        keys=list(keys),
        waiters=waiters,
        oldest_wait=oldest,
    )
    return board_of(KeysShown(pools=[pool]), lambda branch: NAMES.get(branch, branch))


def key(label: str, state: str = "ok", **more: object) -> KeyShown:
    return KeyShown.model_validate({"label": label, "fingerprint": "f", "state": state, **more})


def panel(room: Room) -> list[str]:
    keys = room.app.main.keys
    return [keys.render_line(y).text.rstrip() for y in range(keys.size.height)]


def words(row: str) -> str:
    return " ".join(row.split())


def asked(room: Room) -> int:
    return sum(isinstance(call, Keys) for call in room.link.calls)


# -- what it says ---------------------------------------------------------------------------------------------


async def test_on_a_large_screen_all_of_it_stands_below_the_panels():
    async with open_room(registry=chats(), shown=keys_in_every_state(), size=(160, 48)) as room:
        await room.after(1.0)
        rule = room.row("#rule-keys")
        assert rule.startswith("─ 3 Keys ─")
        assert "2 of 4 usable   3 agents wait, oldest 0:32" in rule
        rows = panel(room)
        assert words(rows[0]) == "KEY STATE IN FLIGHT REQ/MIN TOK/MIN 429 TTFT COST USED BY"
        assert words(rows[1]) == "● kimi-1 ok ━━━━━━── 6/8 48 91.0k 0% 0.8s $2.24 invoices 4 schema 2 docs 1"
        assert words(rows[2]) == "● oai-1 ok 1 3 4.10k 2% 1.2s ≥$0.14 migrate-billing 1"
        assert words(rows[3]) == "○ kimi-2 cooling 0:41 ──────── 0/3 9 12.4k 31% 2.1s $0.83 429 kimi-k2"
        assert rows[4].startswith(" × kimi-3    quarantined")
        assert rows[4].endswith("refused twice (401): replace it, skep keys")


async def test_where_rows_are_scarce_its_rule_says_the_most_of_it():
    async with open_room(registry=chats(), shown=keys_in_every_state()) as room:
        await room.after(1.0)
        rule = room.row("#rule-keys")
        assert "3 Keys ─ ● kimi-1 6/8   ● oai-1 1   ○ kimi-2 0:41   × kimi-3 quarantined ─" in rule
        assert "3 agents wait, oldest 0:32" in rule
        assert room.app.main.keys.size.height == 0


async def test_3_unfolds_it_and_esc_folds_it_again():
    async with open_room(registry=chats(), shown=keys_in_every_state()) as room:
        await room.after(1.0)
        await room.press("3")
        assert room.app.focused is room.app.main.keys
        assert len(panel(room)) == 5
        assert "━ 3 Keys ━" in room.row("#rule-keys")
        await room.press("escape")
        assert room.app.focused is room.app.main.agents
        assert room.app.main.keys.size.height == 0


async def test_it_is_a_tab_where_one_panel_fits():
    async with open_room(registry=chats(), shown=keys_in_every_state(), size=(80, 24)) as room:
        await room.press("3")
        await room.after(1.0)
        assert "━ 3 Keys ━" in room.row("#tabs")
        assert room.app.main.agents.size.height == 0
        rows = panel(room)
        assert len(rows) > 10
        assert words(rows[0]) == "KEY STATE IN FLIGHT 429 COST USED BY"
        assert rows[1].startswith(" ● kimi-1    ok")


@pytest.mark.parametrize("columns", range(60, 200, 7))
async def test_no_row_is_wider_than_the_panel(columns):
    async with open_room(registry=chats(), shown=keys_in_every_state(), size=(columns, 45)) as room:
        await room.press("3")
        await room.after(1.0)
        keys = room.app.main.keys
        assert {keys.render_line(y).cell_length for y in range(keys.size.height)} == {columns}


async def test_zoomed_it_stands_alone():
    async with open_room(registry=chats(), shown=keys_in_every_state(), size=(160, 48)) as room:
        await room.after(1.0)
        await room.press("3", "z")
        assert room.app.main.keys.size.height > 40
        await room.press("z", "tab")
        assert room.app.focused is room.app.main.agents
        assert room.app.main.keys.size.height == 5


@pytest.mark.parametrize("size", [(80, 24), (120, 36), (160, 48)])
async def test_commands_need_none(size):
    async with open_room(size=size) as room:
        await room.press("3")
        assert room.says == "no keys: commands need none"
        assert room.app.focused is room.app.main.agents
        await room.after(5.0)
        assert asked(room) == 0
        assert not room.app.main.query_one("#below").display


async def test_no_key_at_all_says_where_to_look():
    async with open_room(registry=chats(), shown=KeysShown(), size=(160, 48)) as room:
        await room.after(1.0)
        assert panel(room)[1] == "   no key: skep keys says what is missing"


# -- when it asks ---------------------------------------------------------------------------------------------


async def test_it_asks_once_a_second_and_only_while_it_can_be_seen():
    async with open_room(registry=chats(), shown=keys_in_every_state(), size=(80, 24)) as room:
        await room.after(3.0)
        assert asked(room) == 0
        await room.press("3")
        for _ in range(4):
            await room.after(0.5)
        assert asked(room) == 2
        await room.press("1")
        await room.after(3.0)
        assert asked(room) == 2


@pytest.mark.parametrize(
    "picture",
    [
        LinkState(connected=False, live=True, read_only=False, trouble="reset"),
        LinkState(connected=True, live=False, read_only=True),
        LinkState(connected=True, live=True, read_only=False, gone=True),
    ],
)
async def test_it_asks_nobody_where_no_engine_answers(picture):
    async with open_room(registry=chats(), shown=keys_in_every_state(), size=(160, 48)) as room:
        await room.after(1.0)
        before = asked(room)
        room.link.picture = picture
        await room.after(3.0)
        assert asked(room) == before


async def test_an_engine_that_does_not_know_is_quoted_cleaned():
    async with open_room(registry=chats(), shown=keys_in_every_state(), size=(160, 48)) as room:
        await room.after(1.0)

        async def call(request: object) -> object:
            raise Refused("no such \x1b[2Jverb")

        room.link.call = call  # type: ignore[method-assign, assignment]
        await room.after(1.0)
        await room.after(1.0)
        assert "no such" in room.row("#rule-keys")
        assert "\x1b" not in room.row("#rule-keys")
        assert panel(room)[1].startswith(" ● kimi-1")


async def test_it_counts_down_between_answers():
    async with open_room(registry=chats(), shown=keys_in_every_state(), size=(160, 48)) as room:
        await room.after(1.0)
        assert "cooling 0:41" in panel(room)[3]
        await room.after(1.0)
        assert "cooling 0:40" in panel(room)[3]


async def test_rows_keep_their_places_while_no_key_changes_its_state():
    busy = [key("a", in_flight=4, cap=8), key("b", in_flight=1, cap=8)]
    async with open_room(registry=chats(), shown=KeysShown(), size=(160, 48)) as room:

        async def told(first: int, second: int, state: str = "ok") -> list[str]:
            keys = [key("a", state, in_flight=first, cap=8), key("b", in_flight=second, cap=8)]
            room.link.keys = KeysShown(pools=[PoolShown(provider="p", endpoint="e", at=SCENE_NOW, keys=keys)])
            await room.after(1.0)
            return [row.split()[1] for row in panel(room)[1:]]

        assert busy[0].label == "a"
        assert await told(4, 1) == ["a", "b"]
        assert await told(1, 4) == ["a", "b"]
        assert await told(1, 4, "cooling") == ["b", "a"]
        for _ in range(6):
            order = await told(4, 1)
        assert order == ["a", "b"]


# -- the board ------------------------------------------------------------------------------------------------


def test_usable_keys_come_first_by_load_and_then_those_that_come_back():
    rows = board(
        key("dead", "quarantined"),
        key("later", "cooling", until=SCENE_NOW + 90),
        key("soon", "cooling", until=SCENE_NOW + 9),
        key("idle", cap=4),
        key("full", in_flight=4, cap=4),
    ).rows
    assert [row.label for row in rows] == ["full", "idle", "soon", "later", "dead"]


def test_labels_names_and_reasons_are_cleaned():
    rows = board(
        key("k\x1b[2J\u202e1", holders={"x\x07\ny": 2}),
        key("q", "quarantined", reason="no\x1b]0;t\x07\nmore"),
        key("w", "we\x1bird", reason="r"),
    ).rows
    for row in rows:
        said = (row.label, row.used_by, row.words(SCENE_NOW), row.brief(SCENE_NOW), row.cost)
        assert all(text.isprintable() for text in said)


def test_what_nobody_knows_is_a_dash():
    row = board(key("k", cost_is_lower_bound=True)).rows[0]
    assert (row.limited, row.first_token, row.cost) == (None, None, "–")


def test_who_waits_is_summed_over_the_providers():
    assert board(key("k"), waiters=1, oldest=3.0).note(SCENE_NOW) == "1 of 1 usable   1 agent waits, oldest 0:03"
    assert board(key("k")).note(SCENE_NOW) == "1 of 1 usable"


@pytest.mark.parametrize(
    ("seconds", "shown"), [(-3, "0:00"), (0.2, "0:01"), (42, "0:42"), (725, "12:05"), (3_900, "1h05m")]
)
def test_a_countdown(seconds, shown):
    assert countdown(seconds) == shown
