"""The output panel: what it keeps, how it wraps, follows and searches, and what it costs."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skep.model.events import AgentEnded, Record
from skep.model.states import State
from skep.room.widgets.lines import Lines, breaks, rows_of
from skep.text import width
from tests.room.rooms import Room, open_room
from tests.room.scenes import SCENE_NOW

HUNDRED = [f"line {number}" for number in range(100)]


def in_view(room: Room) -> list[str]:
    """What stands on the rows of the tail."""
    tail = room.app.main.tail
    return [tail.render_line(y).text.rstrip() for y in range(tail.size.height)]


async def tail_of(room: Room, agent: str) -> None:
    """Put the cursor on an agent and let its output come."""
    room.app.main.agents.go_to(agent)
    await room.settle()
    await room.settle()


async def test_it_shows_the_command_the_output_and_the_end():
    async with open_room(tails={"unit-tax": ["one", "two"]}) as room:
        await tail_of(room, "unit-tax")
        assert in_view(room)[:4] == [
            " $ python -m pytest -q tests/unit-tax",
            " │ one",
            " │ two",
            " └ exit 1 in 11m",
        ]


async def test_what_waits_in_line_says_so_instead_of_being_empty():
    async with open_room() as room:
        await tail_of(room, "unit-export")
        assert in_view(room)[1] == " not started: 3rd for a slot"


async def test_it_follows_what_comes():
    async with open_room(tails={"unit-pdf": HUNDRED}) as room:
        await tail_of(room, "unit-pdf")
        room.link.write("unit-pdf", ["the newest"])
        await room.settle()
        assert in_view(room)[-1] == " │ the newest"


async def test_scrolled_back_it_stays_where_it_is_and_counts_what_comes():
    async with open_room(tails={"unit-pdf": HUNDRED}) as room:
        await tail_of(room, "unit-pdf")
        await room.press("2", "g")
        before = in_view(room)[:-1]
        room.link.write("unit-pdf", ["a", "b", "c"])
        await room.settle()
        assert in_view(room)[:-1] == before
        assert "+3 new  G follow" in in_view(room)[-1]
        await room.press("G")
        assert in_view(room)[-1] == " │ c"


async def test_lines_that_never_came_are_counted_in_a_line_of_their_own():
    async with open_room(tails={"unit-pdf": ["first"]}) as room:
        await tail_of(room, "unit-pdf")
        room.link.write("unit-pdf", ["last"], dropped=12_480)
        await room.settle()
        assert "   12,480 lines dropped here" in in_view(room)


async def test_what_is_told_twice_is_shown_once():
    async with open_room(tails={"unit-pdf": ["one"]}) as room:
        room.app.main.agents.go_to("unit-pdf")
        await room.pilot.pause(0)
        room.link.write("unit-pdf", ["two"])
        await room.settle()
        await room.settle()
        assert room.app.main.tail.text() == ["one", "two"]


async def test_only_the_cursor_s_agent_is_followed():
    async with open_room(tails={"unit-pdf": ["pdf"], "unit-tax": ["tax"]}) as room:
        await tail_of(room, "unit-pdf")
        await tail_of(room, "unit-tax")
        assert room.link.followed[-2:] == ["unit-pdf", "unit-tax"]
        room.link.write("unit-pdf", ["too late"])
        await room.settle()
        assert room.app.main.tail.text() == ["tax"]


async def test_a_cursor_that_runs_past_asks_for_nothing():
    async with open_room() as room:
        followed = len(room.link.followed)
        for _ in range(10):
            room.app.main.agents.action_cursor_down()
            await room.pilot.pause(0)
            room.app.main.agents.action_cursor_down()
        await room.settle()
        assert len(room.link.followed) - followed < 10


async def test_the_end_of_an_agent_brings_its_last_lines():
    async with open_room(tails={"unit-pdf": ["one"]}) as room:
        await tail_of(room, "unit-pdf")
        room.link.write("unit-pdf", ["two"])
        room.link.take_output()  # lost on the way
        with room.link.registry.read() as state:
            seq = state.seq + 1
        room.link.registry.fold([Record(seq, SCENE_NOW, AgentEnded("unit-pdf", State.DONE, 0))])
        await room.settle()
        assert in_view(room)[1:4] == [" │ one", " │ two", " └ exit 0 in 2m13s"]


async def test_search_goes_to_the_newest_match_and_round_the_ends():
    async with open_room(tails={"unit-pdf": HUNDRED}) as room:
        await tail_of(room, "unit-pdf")
        await room.press("2", "/")
        await room.type("LINE 5")
        assert "11 of 11  /LINE 5" in room.row("#rule-tail")
        await room.press("n")
        assert "1 of 11" in room.row("#rule-tail")
        assert any(row == " │ line 5" for row in in_view(room))
        await room.press("N")
        assert "11 of 11" in room.row("#rule-tail")
        await room.press("escape")
        assert "/LINE" not in room.row("#rule-tail")


async def test_long_lines_wrap_and_can_be_let_run_out():
    long = "x" * 200 + "end"
    async with open_room(tails={"unit-pdf": [long]}, size=(100, 30)) as room:
        await tail_of(room, "unit-pdf")
        wrapped = [row for row in in_view(room) if row.startswith(" │ ")]
        assert "".join(row[3:] for row in wrapped) == long
        await room.press("2", "o", "w")
        assert len([row for row in in_view(room) if row.startswith(" │ ")]) == 1


async def test_saving_never_writes_over_a_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    async with open_room(tails={"unit-pdf": ["one", "two"]}) as room:
        await tail_of(room, "unit-pdf")
        for _ in range(2):
            await room.press("o", "s", "enter")
            await room.app.workers.wait_for_complete()
        assert (tmp_path / "unit-pdf.log").read_text() == "one\ntwo\n"
        assert "was not saved" in room.says


async def test_output_is_never_markup():
    async with open_room(tails={"unit-pdf": ["[bold]x[/bold] [@click=app.quit]y[/]"]}) as room:
        await tail_of(room, "unit-pdf")
        assert " │ [bold]x[/bold] [@click=app.quit]y[/]" in in_view(room)


# -- the ring of lines ------------------------------------------------------------------------------------------

TEXTS = st.text(st.sampled_from("ab cde\t漢字e\u0301"), max_size=40)


@given(st.lists(st.lists(TEXTS, max_size=8), max_size=8), st.integers(2, 20), st.integers(1, 20))
def test_rows_are_those_of_wrapping_the_newest_lines_by_hand(batches, columns, limit):
    lines = Lines(limit)
    lines.wrap(columns)
    dropped = sum(lines.extend(batch) for batch in batches)
    everything = [text.expandtabs(8) for batch in batches for text in batch]
    kept = everything[-limit:]
    expected = []
    for text in kept:
        starts = breaks(text, columns)
        expected += [text[a:b] for a, b in zip(starts, [*starts[1:], len(text)], strict=True)]
    shown = []
    for row in range(lines.rows):
        serial, start, end = lines.at(row)
        shown.append(lines.text(serial)[start:end])
        assert lines.row_of(serial) <= row
    assert shown == expected
    assert dropped == sum(rows_of(text, columns) for text in everything[: len(everything) - len(kept)])


@given(TEXTS, st.integers(2, 12))
def test_no_row_is_wider_than_the_panel(text, columns):
    text = text.expandtabs(8)
    starts = breaks(text, columns)
    assert all(width(text[a:b]) <= columns for a, b in zip(starts, [*starts[1:], len(text)], strict=True))


@given(st.lists(TEXTS, min_size=1, max_size=12), st.integers(2, 12), st.integers(2, 12))
def test_wrapping_anew_is_the_same_as_wrapping_from_the_start(texts, first, second):
    again, fresh = Lines(), Lines()
    again.wrap(first)
    again.extend(texts)
    again.wrap(second)
    fresh.wrap(second)
    fresh.extend(texts)
    assert [again.at(row) for row in range(again.rows)] == [fresh.at(row) for row in range(fresh.rows)]


@pytest.mark.parametrize("held", [100, 10_000])
def test_adding_a_line_measures_that_line_only(held):
    lines = Lines(limit=20_000)
    lines.wrap(60)
    lines.extend(["x" * 100] * held)

    class Counted(str):
        asked = 0

        def __len__(self) -> int:
            Counted.asked += 1
            return super().__len__()

    lines.extend([Counted("y" * 100)])
    assert 0 < Counted.asked < 10
    assert lines.rows == (held + 1) * 2
