"""The one-line question before a leaf is stopped: asked at once, and filled in as the answers come."""

from __future__ import annotations

import pytest

from skep.control.link import LinkState
from skep.control.verbs import Stop, Uncommitted
from skep.model import permits
from tests.room.chats import chats
from tests.room.rooms import Room, open_room
from tests.room.scenes import BILLING

KEYS = "   enter yes   esc no"


def line(room: Room) -> str:
    """The message line as it stands on the screen."""
    return room.app.main.message.render_line(0).text.strip()


async def ask(room: Room, agent: str) -> None:
    room.app.main.agents.go_to(agent)
    await room.press("x")


async def test_it_says_what_is_in_flight_since_when_and_what_is_uncommitted():
    async with open_room(registry=chats()) as room:
        await ask(room, "inv-parser")
        says = "interrupt inv-parser?  $ pytest tests/invoice -q 2m13s in flight, 4 files uncommitted"
        assert room.says == says
        assert line(room).endswith(KEYS)
        assert [call.agents for call in room.link.calls if isinstance(call, Uncommitted)] == [("inv-parser",)]


async def test_it_is_asked_before_anything_is_looked_up():
    async with open_room() as room:
        room.link.looked.clear()
        await ask(room, "unit-pdf")
        assert room.says == "interrupt unit-pdf?  $ python -m pytest -q tests/unit-pdf 2m13s in flight"
        room.link.looked.set()
        await room.settle()
        assert room.says.endswith("2m13s in flight, 4 files uncommitted")
        await room.press("enter")
        assert await room.asked(1) == [Stop(agent="unit-pdf", window=5.0)]


async def test_yes_need_not_wait_for_the_files_and_no_is_not_undone_by_them():
    async with open_room() as room:
        room.link.looked.clear()
        await ask(room, "unit-pdf")
        await room.press("escape")
        room.link.looked.set()
        await room.settle()
        assert "interrupt" not in room.says
        assert room.app.main.message.question is None
        room.link.looked.clear()
        await ask(room, "unit-ledger")
        await room.press("enter")
        assert await room.asked(1) == [Stop(agent="unit-ledger", window=5.0)]
        room.link.looked.set()
        await room.settle()
        assert "interrupt in 5 s" in room.says


@pytest.mark.parametrize(
    ("tree", "says"),
    [
        (permits.Worktree(BILLING, (BILLING,)), ""),
        (permits.Worktree(BILLING, (BILLING,), 1, ("a",)), ", 1 file uncommitted"),
        (permits.Worktree(BILLING, (BILLING,), 9_000, ("a",), at_least=True), ", ≥9,000 files uncommitted"),
        (
            permits.Worktree(BILLING, (BILLING,), unknown="git took over 2 s"),
            ", uncommitted files unknown: git took over 2 s",
        ),
    ],
)
async def test_what_is_not_known_is_said_and_nothing_is_not(tree: permits.Worktree, says: str):
    async with open_room(size=(160, 48)) as room:
        room.link.files = permits.Uncommitted((tree,))
        await ask(room, "unit-pdf")
        assert room.says == f"interrupt unit-pdf?  $ python -m pytest -q tests/unit-pdf 2m13s in flight{says}"


@pytest.mark.parametrize(
    ("agent", "says"),
    [
        ("inv-pdf", "waits for approval, nothing runs"),
        ("inv-export", "queued, nothing runs"),
        ("inv-rounding", "writing"),
        ("check-enums", "waits for key, nothing runs"),
    ],
)
async def test_what_an_agent_does_that_runs_no_tool(agent: str, says: str):
    async with open_room(registry=chats()) as room:
        await ask(room, agent)
        assert room.says.startswith(f"interrupt {agent}?  {says}")


@pytest.mark.parametrize(
    ("columns", "says"),
    [
        (120, "interrupt inv-parser?  $ pytest tests/invoice -q 2m13s in flight, 4 files uncommitted"),
        (100, "interrupt inv-parser?  $ pytest tests/invoice -q 2m13s, 4 files uncommitted"),
        (80, "interrupt inv-parser?  $ pyte… 2m13s, 4 files uncommitted"),
    ],
)
async def test_where_it_is_too_long_words_give_way_before_numbers(columns: int, says: str):
    async with open_room(registry=chats(), size=(columns, 24)) as room:
        await ask(room, "inv-parser")
        assert line(room).removesuffix(KEYS).rstrip() == says


async def test_an_engine_that_does_not_answer_leaves_the_question_as_it_is():
    async with open_room() as room:
        await ask(room, "unit-pdf")
        await room.press("escape")
        room.link.looked.clear()
        await ask(room, "unit-ledger")
        room.link.picture = LinkState(connected=False, live=True, read_only=False)
        room.link.looked.set()
        await room.settle()
        assert room.says.startswith("interrupt unit-ledger?")
