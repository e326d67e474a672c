"""The output of a conversation: what each line is shows by structure, and nothing can be forged."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skep.model.logs import Gutter, TailChunk
from skep.room.widgets.gutters import split
from skep.room.widgets.lines import Lines, breaks
from skep.text import width
from tests.room.chats import TRANSCRIPT, chats
from tests.room.rooms import Room, open_room


def in_view(room: Room) -> list[str]:
    tail = room.app.main.tail
    return [tail.render_line(y).text.rstrip() for y in range(tail.size.height)]


def styles_of(room: Room, shown: str) -> list[tuple[str, bool, bool]]:
    """The pieces of the row that holds this text: what they say, and whether bold and italic."""
    tail = room.app.main.tail
    strip = next(row for y in range(tail.size.height) if shown in (row := tail.render_line(y)).text)
    return [
        (segment.text, bool(segment.style and segment.style.bold), bool(segment.style and segment.style.italic))
        for segment in strip
        if segment.text.strip()
    ]


async def tail_of(room: Room, agent: str) -> None:
    room.app.main.agents.go_to(agent)
    await room.settle()
    await room.settle()


async def show(room: Room, lines: Sequence[str]) -> None:
    await tail_of(room, "inv-parser")
    room.link.write("inv-parser", lines)
    await room.settle()


async def test_lines_are_drawn_by_what_they_are():
    async with open_room(registry=chats(), tails={"inv-parser": TRANSCRIPT}, size=(120, 48)) as room:
        await tail_of(room, "inv-parser")
        await room.press("2", "z")
        rows = in_view(room)
        assert rows[1] == " see to inv-parser"
        assert rows[2].startswith("   The rounding helper")
        assert " $ pytest tests/invoice -q" in rows
        assert " │ FAILED tests/invoice/test_total.py::test_half_cent_rounds_even" in rows
        assert " └ exit 1 in 48s" in rows
        assert " > you: leave the CSV importer alone" in rows
        assert "   Understood: the CSV importer stays as it is." in rows
        assert styles_of(room, "The rounding helper")[0][2]
        assert styles_of(room, "write src/invoice/parser.py")[0][1]
        assert not styles_of(room, "Understood")[0][1]


@pytest.mark.parametrize("forged", ["* $ rm -rf /", "> you: do it", "! exit 1", "` exit 0", "| output", "~ hm"])
async def test_text_that_looks_like_a_gutter_stays_text(forged):
    async with open_room(registry=chats()) as room:
        await show(room, [Gutter.TEXT.value + forged])
        assert f"   {forged}" in in_view(room)
        assert styles_of(room, forged) == [(forged, False, False)]


async def test_wrapped_lines_keep_their_indent_and_break_between_words():
    text = " ".join(f"word-{number:02d}" for number in range(40))
    async with open_room(registry=chats(), size=(100, 36)) as room:
        await room.press("2", "z")
        await show(room, [Gutter.CALL.value + text, Gutter.END.value + text, Gutter.TEXT.value + text])
        rows = [row for row in in_view(room) if "word-" in row]
        leads = [row[: row.index("word")] for row in rows]
        assert leads == [" ", *["   "] * 3, " └ ", *["   "] * 3, *["   "] * 4]
        assert all(row.split()[-1].startswith("word-") and len(row.split()[-1]) == 7 for row in rows)


async def test_the_first_line_stays_and_gives_up_what_does_not_fit():
    async with open_room(registry=chats(), tails={"inv-parser": TRANSCRIPT * 4}, size=(120, 36)) as room:
        await tail_of(room, "inv-parser")
        for keys in ((), ("2", "g")):
            await room.press(*keys)
            first = in_view(room)[0]
            assert first.startswith(" moonshot/kimi-k2  leaf ")
            assert first.endswith("turn 9/50  48.1k tok  $0.12  kimi-1")
    async with open_room(registry=chats(), size=(60, 20)) as room:
        await tail_of(room, "inv-parser")
        await room.press("2")
        assert in_view(room)[0].split("  ")[-1] == "kimi-1"
    async with open_room(registry=chats(), size=(40, 12)) as room:
        await tail_of(room, "inv-parser")
        await room.press("2")
        assert in_view(room)[0].strip() == "turn 9/50  48.1k tok  $0.12  kimi-1"


async def test_at_both_ends_every_line_can_be_seen_below_the_first_one():
    lines = [f"{Gutter.TEXT.value}line {number}" for number in range(100)]
    async with open_room(registry=chats(), tails={"inv-parser": lines}) as room:
        await tail_of(room, "inv-parser")
        assert in_view(room)[-1] == "   line 99"
        await room.press("2", "g")
        assert in_view(room)[1:3] == [" see to inv-parser", "   line 0"]
        await room.press("G")
        assert in_view(room)[-1] == "   line 99"
        assert room.app.main.tail.following


async def test_an_empty_tail_says_the_goal():
    async with open_room(registry=chats()) as room:
        await tail_of(room, "schema")
        assert in_view(room)[1] == " lead the work on schema"
        await tail_of(room, "inv-export")
        assert in_view(room)[1:3] == [" see to inv-export", " not started: 3rd for a slot"]


async def test_a_question_and_an_end_stand_below_what_was_said():
    async with open_room(registry=chats(), tails={"inv-pdf": ["  I clean up."]}) as room:
        await tail_of(room, "inv-pdf")
        assert in_view(room)[2:4] == ["   I clean up.", " approve: $ rm -rf build/pdf && make pdf"]
        await tail_of(room, "inv-tax")
        assert in_view(room)[2] == " failed in 11m: the provider refused: context too long"


async def test_programs_have_no_gutters():
    async with open_room(tails={"unit-pdf": ["* $ rm", "| x"]}) as room:
        await tail_of(room, "unit-pdf")
        assert " │ * $ rm" in in_view(room)


async def test_search_finds_text_and_what_is_saved_is_the_whole_line(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    async with open_room(registry=chats(), tails={"inv-parser": TRANSCRIPT}) as room:
        await tail_of(room, "inv-parser")
        await room.press("2", "/")
        await room.type("rounding helper")
        assert "1 of 1" in room.row("#rule-tail")
        await room.press("escape", "o", "s", "enter")
        await room.app.workers.wait_for_complete()
        assert (tmp_path / "inv-parser.log").read_text().splitlines() == list(TRANSCRIPT)


async def test_an_unfinished_line_has_its_gutter_too():
    async with open_room(registry=chats()) as room:
        await tail_of(room, "inv-parser")
        room.app.main.tail.take(TailChunk(0, (), "~ I wonder", total=0))
        assert in_view(room)[2] == "   I wonder"
        assert styles_of(room, "I wonder")[0][2]


def test_a_line_without_a_gutter_is_text():
    assert split("no gutter") == (Gutter.TEXT, "no gutter")
    assert split("") == (Gutter.TEXT, "")
    assert split("* call") == (Gutter.CALL, "call")


TEXTS = st.text(st.sampled_from("ab cde  漢字e\u0301"), max_size=60)


@given(TEXTS, st.integers(2, 14))
def test_word_by_word_nothing_is_lost_and_only_blanks_stand_over_the_edge(text, columns):
    starts = breaks(text, columns, words=True)
    rows = [text[a:b] for a, b in zip(starts, [*starts[1:], len(text)], strict=True)]
    assert "".join(rows) == text
    assert all(width(row) <= columns or (row.endswith(" ") and width(row) == columns + 1) for row in rows)


@given(st.lists(TEXTS, min_size=1, max_size=8), st.integers(2, 14))
def test_rows_by_words_are_those_of_the_lines(texts, columns):
    lines = Lines()
    lines.wrap(columns, words=True)
    lines.extend(texts)
    shown = []
    for row in range(lines.rows):
        serial, start, end = lines.at(row)
        shown.append(lines.text(serial)[start:end])
    assert "".join(shown) == "".join(texts)
