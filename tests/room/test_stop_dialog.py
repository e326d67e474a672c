"""The dialog before a branch is stopped."""

from __future__ import annotations

import pytest
from textual.widgets import Input

from skep.control.link import LinkState
from skep.control.verbs import Stop, Uncommitted
from skep.model import permits
from skep.model.events import AgentEnded, AgentQueued, Event, Record, TurnCompleted
from skep.model.states import DriverKind, State
from skep.room.screens.stop import StopDialog
from tests.room.chats import chats
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


def rows(says: str, label: str, count: int) -> list[str]:
    """So many rows from the one with this label on: what they say, without it."""
    lines = says.split("\n")
    at = next(at for at, line in enumerate(lines) if line.strip().startswith(label))
    return [line.strip().removeprefix(label).strip() for line in lines[at : at + count]]


def happens(room: Room, event: Event) -> None:
    """Something happens in the swarm."""
    with room.link.registry.read() as state:
        seq = state.seq
    room.link.registry.fold([Record(seq + 1, room.clock.time(), event)])


def count_of_files(room: Room) -> int:
    return sum(isinstance(call, Uncommitted) for call in room.link.calls)


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


async def test_tools_are_listed_and_calls_of_models_only_counted():
    async with open_room(registry=chats()) as room:
        says = facts(await open_dialog(room, "root"))
        agents = ["24 live  9 running  1 ask  6 wait  1 stopping  4 queued", "3 held"]
        assert rows(says, "agents", 2) == agents
        assert "4 tools, 5 model requests; partial text is kept" in says
        assert rows(says, "in flight", 4)[1:] == [
            "inv-parser     $ pytest tests/invoice -q           2m13s",
            "doc-api        write docs/api.md                      9s",
            "+2",
        ]
        assert "thinking" not in says


async def test_what_the_branch_has_spent_and_spends_in_an_hour():
    registry = chats()
    async with open_room(registry=registry, size=(160, 48)) as room:
        assert "≥$2.74   1.88M tok in 295 turns" in facts(await open_dialog(room, "root"))
        assert "burning" not in facts(room.app.screen)
        await room.press("escape")
        with registry.read() as state:
            seq, turn = state.seq, state.agents["inv-parser"].turns + 1
        said = {"role": "assistant", "content": ""}
        dear = TurnCompleted("inv-parser", turn, said, "tool_calls", "kimi-1", 1_000, 10, cost=40_000)
        registry.fold([Record(seq + 1, room.clock.time(), dear)])
        await room.after(29.6)
        hourly = room.app.main.header.hourly
        assert (hourly("root"), hourly("invoices"), hourly("docs")) == (4_800_000, 4_800_000, 0)
        says = facts(await open_dialog(room, "invoices"))
        assert ", burning $4.80/h" in says
        assert "$4.80/h" in room.row("#header")
        await room.press("escape")
        assert "burning $0.00/h" in facts(await open_dialog(room, "docs"))


# -- files -----------------------------------------------------------------------------------------------------


async def test_it_opens_at_once_and_what_is_uncommitted_is_filled_in_without_a_jump():
    async with open_room(size=(80, 24)) as room:
        room.link.looked.clear()
        dialog = await open_dialog(room, "unit")
        before = facts(dialog)
        assert rows(before, "uncommitted", 2) == ["looking", ""]
        frame = dialog.query_one("#stop-frame").region
        room.link.looked.set()
        await room.settle()
        after = facts(dialog)
        assert rows(after, "uncommitted", 2) == [
            "4 files in 1 worktree, all kept",
            "src/tax/rates.py, src/tax/vat.py, src/total.py, NOTES",
        ]
        assert dialog.query_one("#stop-frame").region == frame
        changed = [
            at for at, (a, b) in enumerate(zip(before.split("\n"), after.split("\n"), strict=True)) if a != b
        ]
        assert len(changed) == 2


async def test_an_answer_is_not_waited_for():
    async with open_room() as room:
        room.link.looked.clear()
        await open_dialog(room, "unit")
        await room.press("tab", "enter")
        assert room.verbs == [Stop(agent="unit", branch=True, window=5.0)]


async def test_files_are_counted_by_worktree_which_an_agent_of_its_own_gives_its_name():
    async with open_room() as room:
        room.link.files = permits.Uncommitted(
            (
                permits.Worktree("/wt/billing", ("/home/ana/billing",), 1, ("a",)),
                *(permits.Worktree(f"/wt/{at}", (f"/wt/{at}",), at, ("a",)) for at in range(2, 30)),
                permits.Worktree("/wt/slow", ("/wt/slow",), unknown="git took over 2 s"),
            )
        )
        for at, folder in enumerate(["/wt/slow", *(f"/wt/{at}" for at in range(2, 30))]):
            happens(room, AgentQueued(f"own-{at}", "unit", f"own-{at}", DriverKind.COMMAND, "", {"cwd": folder}))
        says = rows(facts(await open_dialog(room, "unit")), "uncommitted", 2)
        assert says[0] == "≥435 files in 30 worktrees, all kept"
        assert says[1] == "1 unknown: git took over 2 s, own-28 29, own-27 28, +27"


@pytest.mark.parametrize(
    ("found", "says"),
    [
        (permits.Uncommitted(), "no folder is under git"),
        (permits.Uncommitted((permits.Worktree("/w", ("/home/ana/billing",)),)), "nothing in 1 worktree"),
        (
            permits.Uncommitted((permits.Worktree("/w", ("/home/ana/billing",), unknown="git took over 2 s"),)),
            "unknown: git took over 2 s",
        ),
    ],
)
async def test_what_is_not_known_is_said_and_so_is_nothing(found: permits.Uncommitted, says: str):
    async with open_room() as room:
        room.link.files = found
        assert rows(facts(await open_dialog(room, "unit")), "uncommitted", 2) == [says, ""]


async def test_an_engine_that_cannot_say_it_leaves_the_rest_of_the_dialog_as_it_is():
    async with open_room() as room:
        dialog = await open_dialog(room, "unit")
        room.link.picture = LinkState(connected=True, live=False, read_only=False)
        await room.after(5.1)
        assert rows(facts(dialog), "uncommitted", 1) == ["unknown: nothing can be changed here"]
        assert "8 live" in facts(dialog)


async def test_files_are_asked_for_again_while_it_stands_and_once_at_a_time():
    async with open_room() as room:
        dialog = await open_dialog(room, "unit")
        asked = count_of_files(room)
        room.link.looked.clear()
        await room.after(5.1)
        await room.after(5.1)
        assert count_of_files(room) == asked + 1
        assert rows(facts(dialog), "uncommitted", 1) == ["4 files in 1 worktree, all kept"]
        room.link.files = permits.Uncommitted()
        room.link.looked.set()
        await room.settle()
        assert rows(facts(dialog), "uncommitted", 1) == ["no folder is under git"]


async def test_odd_names_are_shown_cleaned():
    async with open_room() as room:
        tree = permits.Worktree("/w\x1b[2J", ("/home/ana/billing",), 2, ("two\nlines\x07", "\udcff\u202e.py"))
        room.link.files = permits.Uncommitted((tree,))
        says = rows(facts(await open_dialog(room, "unit")), "uncommitted", 2)
        assert says[1] == "two lines\N{REPLACEMENT CHARACTER}, \N{REPLACEMENT CHARACTER}.py"


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


async def test_a_branch_that_grows_over_ten_asks_for_its_number():
    async with open_room() as room:
        dialog = await open_dialog(room, "unit")
        await room.press("tab")
        assert dialog.focused is dialog.query_one("#interrupt")
        for at in range(3):
            happens(room, AgentQueued(f"late-{at}", "unit", f"late-{at}", DriverKind.COMMAND, "", {}))
        await room.after(1.1)
        assert dialog.focused is dialog.query_one("#stop-number")
        await room.type("11")
        assert room.verbs == [Stop(agent="unit", branch=True, window=5.0)]


@pytest.mark.parametrize("height", range(14, 25))
async def test_under_24_rows_the_lists_shrink_first_and_the_buttons_stay(height: int):
    async with open_room(registry=chats(), size=(80, height)) as room:
        dialog = await open_dialog(room, "root")
        says = facts(dialog)
        frame = dialog.query_one("#stop-frame").region
        assert frame.width <= 76
        assert frame.height <= min(22, height)
        for button in dialog.query("#stop-choices Choice"):
            assert button.region.bottom < frame.bottom
        for label in ("agents", "in flight", "uncommitted"):
            assert label in says
        kept = {"take back": 14, "how": 16, "src/total.py": 21, "inv-parser": 22, "doc-api": 24}
        assert {part: part in says for part in kept} == {part: height >= least for part, least in kept.items()}


async def test_counts_that_fall_do_not_make_it_jump():
    async with open_room() as room:
        dialog = await open_dialog(room, "unit")
        frame = dialog.query_one("#stop-frame").region
        happens(room, AgentEnded("unit-pdf", State.DONE, 0))
        await room.after(1.1)
        assert "7 live  1 running" in facts(dialog)
        assert dialog.query_one("#stop-frame").region == frame
