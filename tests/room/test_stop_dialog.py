"""The dialog before a branch is stopped."""

from __future__ import annotations

import pytest
from textual.widgets import Input

from skep.control.verbs import Stop
from skep.model.events import AgentQueued, Record
from skep.model.states import DriverKind
from skep.room.screens.stop import StopDialog
from tests.room.rooms import Room, open_room


async def open_dialog(room: Room, agent: str, key: str = "X") -> StopDialog:
    """Ask to stop this branch, and wait until ``enter`` counts again."""
    room.app.main.agents.go_to(agent)
    await room.press(key)
    await room.after(0.4)
    assert isinstance(room.app.screen, StopDialog)
    return room.app.screen


def facts(dialog: StopDialog) -> str:
    """What the dialog says."""
    widget = dialog.query_one("#stop-facts")
    return "\n".join(widget.render_line(y).text.rstrip() for y in range(widget.size.height))


async def test_it_counts_what_goes_and_lists_programs_longest_first():
    async with open_room() as room:
        says = facts(await open_dialog(room, "unit"))
        assert "8 live  2 running  6 queued" in says
        assert says.index("unit-pdf") < says.index("unit-ledger")
        assert "2m13s" in says


async def test_more_than_three_programs_are_counted():
    async with open_room() as room:
        says = facts(await open_dialog(room, "root"))
        assert "8 programs, longest first" in says
        assert "+5" in says


async def test_enter_on_cancel_does_nothing():
    async with open_room() as room:
        dialog = await open_dialog(room, "unit")
        assert dialog.focused is dialog.query_one("#cancel")
        await room.press("enter")
        assert room.app.screen is room.app.main
        assert room.verbs == []


async def test_escape_cancels():
    async with open_room() as room:
        await open_dialog(room, "unit")
        await room.press("escape")
        assert room.app.screen is room.app.main
        assert room.verbs == []


async def test_interrupt_opens_the_take_back_window():
    async with open_room() as room:
        await open_dialog(room, "unit")
        await room.press("tab", "enter")
        assert room.verbs == [Stop(agent="unit", branch=True, window=5.0)]
        assert "interrupt in 5 s" in room.says


async def test_kill_at_once_has_no_window():
    async with open_room() as room:
        await open_dialog(room, "unit")
        await room.press("tab", "tab", "enter")
        assert room.verbs == [Stop(agent="unit", branch=True, how="kill", window=0.0)]
        assert "take back" not in room.says


async def test_enter_is_dead_right_after_opening():
    async with open_room() as room:
        room.app.main.agents.go_to("unit")
        await room.press("X", "tab", "enter")
        assert isinstance(room.app.screen, StopDialog)
        assert room.verbs == []
        await room.after(0.4)
        await room.press("enter")
        assert len(room.verbs) == 1


async def test_x_on_an_agent_with_live_children_opens_it_too():
    async with open_room() as room:
        await open_dialog(room, "unit", key="x")
        assert "Interrupt unit and all under it?" in str(room.app.screen.query_one("#stop-frame").border_title)


async def test_f9_offers_to_kill():
    async with open_room() as room:
        dialog = await open_dialog(room, "unit", key="f9")
        assert "Kill unit" in str(dialog.query_one("#stop-frame").border_title)
        assert dialog.focused is dialog.query_one("#cancel")


async def test_a_verb_on_several_marks_opens_it():
    async with open_room() as room:
        room.app.main.agents.go_to("unit-pdf")
        await room.press("space", "space", "x")
        await room.after(0.4)
        await room.press("tab", "enter")
        assert [verb.agent for verb in room.verbs if isinstance(verb, Stop)] == ["unit-ledger", "unit-pdf"]


async def test_over_ten_agents_the_number_has_to_be_typed():
    async with open_room() as room:
        dialog = await open_dialog(room, "root")
        assert dialog.focused is dialog.query_one("#stop-number")
        assert dialog.query_one("#interrupt").disabled
        await room.type("21")
        assert room.verbs == []
        await room.press("backspace", "2")
        assert not dialog.query_one("#interrupt").disabled
        await room.press("enter")
        assert room.verbs == [Stop(agent="root", branch=True, window=5.0)]


async def test_enter_with_nothing_typed_cancels():
    async with open_room() as room:
        await open_dialog(room, "root")
        await room.press("enter")
        assert room.app.screen is room.app.main
        assert room.verbs == []


async def test_a_branch_that_grew_has_to_be_counted_again():
    async with open_room() as room:
        dialog = await open_dialog(room, "root")
        await room.press("2", "2")
        with room.link.registry.read() as state:
            seq, now = state.seq, state.time
        room.link.registry.fold(
            Record(seq + at, now, AgentQueued(f"late-{at}", "unit", f"late-{at}", DriverKind.COMMAND, "", {}))
            for at in (1, 2)
        )
        await room.after(1.1)
        assert dialog.query_one("#stop-number", Input).value == ""
        assert "2 more since" in str(dialog.query_one("#stop-count-hint").render())
        await room.press("enter")
        assert room.verbs == []


@pytest.mark.parametrize("key", ["x", "p", "P", "u", "i", "k"])
async def test_no_key_of_the_room_comes_through_it(key):
    async with open_room() as room:
        await open_dialog(room, "unit")
        await room.press("tab", key)
        assert isinstance(room.app.screen, StopDialog)
        assert room.verbs == []


async def test_a_click_on_a_button_only_moves_the_focus():
    async with open_room() as room:
        dialog = await open_dialog(room, "unit")
        await room.pilot.click("#interrupt")
        await room.settle()
        assert room.verbs == []
        assert dialog.focused is dialog.query_one("#interrupt")


async def test_it_fits_a_small_terminal():
    async with open_room(size=(80, 18)) as room:
        dialog = await open_dialog(room, "root")
        assert dialog.query_one("#kill").region.bottom < 18
