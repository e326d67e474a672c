"""The dialog that allows or denies what an agent asks."""

from __future__ import annotations

import pytest

from skep.control.verbs import Answer
from skep.model.events import ROOT, ApprovalAnswered, ApprovalAsked, Record
from skep.model.registry import Registry
from skep.room.screens.approve import ApproveDialog, Asked
from tests.room.chats import chats
from tests.room.rooms import Room, open_room
from tests.room.scenes import Story, scene


def asking(*commands: str) -> Registry:
    """One agent per command asks; the later ones asked earlier."""
    story = Story(goal="begin", slots=20)
    for number, command in enumerate(commands):
        story.chat(f"agent-{number}")
        story.running(f"agent-{number}", 500.0)
        story.asks(f"agent-{number}", 100.0 + number, command)
    return story.registry()


async def open_dialog(room: Room) -> ApproveDialog:
    """Press the key, and wait until ``enter`` counts."""
    await room.press("i")
    await room.after(0.4)
    assert isinstance(room.app.screen, ApproveDialog)
    return room.app.screen


def says(dialog: ApproveDialog) -> str:
    facts, script = dialog.query_one("#approve-facts"), dialog.query_one("#approve-script")
    lines = [facts.render_line(y).text.rstrip() for y in range(facts.size.height)]
    lines += [script.render_line(y).text.rstrip() for y in range(script.size.height)]
    return "\n".join(lines)


def hash_of(room: Room, agent: str) -> str:
    found = room.link.registry.agent(agent)
    assert found is not None
    assert found.question is not None
    return str(found.question["hash"])


def happens(room: Room, *events: object) -> None:
    seq = room.link.registry.seq
    room.link.registry.fold(Record(seq + at, room.clock.time(), event) for at, event in enumerate(events, 1))


async def test_it_shows_who_asks_what_where_and_how_long_it_waits():
    async with open_room(registry=chats()) as room:
        shown = says(await open_dialog(room))
        assert "migrate-billing / invoices / inv-pdf" in shown
        for label, value in (
            ("tool", "terminal"),
            ("folder", "/home/ana/billing"),
            ("at most", "2m00s"),
            ("answer", "8m19s left, then it is denied"),
        ):
            assert f"  {label:<13}{value}" in shown
        assert "  $ rm -rf build/pdf && make pdf" in shown
        await room.after(10.0)
        assert "8m09s left" in says(room.app.screen)


async def test_deny_has_the_focus_and_enter_sends_it_with_the_hash_that_was_shown():
    async with open_room(registry=chats()) as room:
        dialog = await open_dialog(room)
        hash = hash_of(room, "inv-pdf")
        assert dialog.focused is dialog.query_one("#deny")
        await room.press("enter")
        assert room.app.screen is room.app.main
        assert room.verbs == [Answer(agent="inv-pdf", hash=hash, allow=False)]
        assert "inv-pdf  denied" in room.says


async def test_allow():
    async with open_room(registry=chats()) as room:
        await open_dialog(room)
        hash = hash_of(room, "inv-pdf")
        await room.press("tab", "enter")
        assert room.verbs == [Answer(agent="inv-pdf", hash=hash, allow=True)]
        assert "inv-pdf  allowed" in room.says


async def test_escape_leaves_it_unanswered():
    async with open_room(registry=chats()) as room:
        await open_dialog(room)
        await room.press("escape")
        assert room.app.screen is room.app.main
        assert room.verbs == []


async def test_enter_is_dead_right_after_opening():
    async with open_room(registry=chats()) as room:
        await room.press("i", "enter")
        assert isinstance(room.app.screen, ApproveDialog)
        assert room.verbs == []


@pytest.mark.parametrize("key", ["y", "n", "a", "d", "x", "p", "P", "space", "i"])
async def test_no_letter_presses_a_button(key):
    async with open_room(registry=chats()) as room:
        await open_dialog(room)
        await room.press("tab", key)
        assert isinstance(room.app.screen, ApproveDialog)
        assert room.verbs == []


async def test_a_click_only_moves_the_focus():
    async with open_room(registry=chats()) as room:
        await open_dialog(room)
        await room.pilot.click("#allow")
        await room.settle()
        assert isinstance(room.app.screen, ApproveDialog)
        assert room.verbs == []


async def test_a_question_that_changes_is_not_answered():
    async with open_room(registry=chats()) as room:
        dialog = await open_dialog(room)
        happens(
            room,
            ApprovalAnswered("inv-pdf", hash_of(room, "inv-pdf"), True, "ana"),
            ApprovalAsked("inv-pdf", "other", "terminal", "$ rm -rf /", {"command": "rm -rf /"}, None),
        )
        # Pressed before the room has looked again.
        await room.pilot.press("tab", "enter")
        await room.settle()
        assert room.app.screen is dialog
        assert "it asks something else now: nothing was sent" in says(dialog)
        await room.press("enter")
        await room.after(2.1)
        assert room.app.screen is room.app.main
        assert room.verbs == []
        assert "nothing was sent" in room.says


async def test_a_question_that_is_answered_elsewhere_closes_it():
    async with open_room(registry=chats()) as room:
        await open_dialog(room)
        happens(room, ApprovalAnswered("inv-pdf", hash_of(room, "inv-pdf"), False, "its time limit"))
        await room.settle()
        await room.after(2.1)
        assert room.app.screen is room.app.main
        assert "answered or withdrawn meanwhile" in room.says


async def test_the_cursor_s_question_comes_first_and_then_the_oldest():
    async with open_room(registry=asking("one", "two", "three")) as room:
        room.app.main.agents.go_to("agent-1")
        assert "$ two" in says(await open_dialog(room))
        await room.press("escape")
        room.app.main.agents.go_to(ROOT)
        assert "$ three" in says(await open_dialog(room))


async def test_nothing_asks():
    async with open_room() as room:
        await room.press("i")
        assert room.says == "nothing asks"
        assert room.app.screen is room.app.main


async def test_where_nothing_can_change_it_says_why():
    async with open_room(registry=chats(), read_only=True) as room:
        await room.press("i")
        assert "read-only" in room.says


async def test_it_never_opens_by_itself_and_the_first_question_says_which_key():
    story = Story(goal="begin")
    story.running(ROOT, 50.0)
    async with open_room(registry=story.registry()) as room:
        detail = {"command": "ls", "cwd": "/tmp"}
        happens(room, ApprovalAsked(ROOT, "h1", "terminal", "$ ls", detail, None))
        await room.after(1.1)
        assert room.app.screen is room.app.main
        assert room.says == "check-billing asks: i answers it"
        await room.after(7.0)
        assert "approve: $ ls" in room.says
        happens(
            room,
            ApprovalAnswered(ROOT, "h1", True, "you"),
            ApprovalAsked(ROOT, "h2", "terminal", "$ ls", detail, None),
        )
        await room.after(2.0)
        assert "answers it" not in room.says


async def test_a_jumps_to_what_asks():
    async with open_room(registry=chats()) as room:
        await room.press("a")
        assert room.cursor == "inv-pdf"


async def test_a_long_command_has_to_be_read_to_its_end():
    command = "\n".join(f"echo {number}" for number in range(60)) + "\nrm -rf /"
    async with open_room(registry=asking(command)) as room:
        dialog = await open_dialog(room)
        allow = dialog.query_one("#allow")
        assert allow.disabled
        assert "of 61   pgup pgdn   read it to its end" in str(dialog.query_one("#approve-hint").render())
        await room.press(*["pagedown"] * 7)
        assert "rm -rf /" in says(dialog)
        assert not allow.disabled
        await room.press("tab", "enter")
        assert len(room.verbs) == 1


@pytest.mark.parametrize(
    "command",
    [
        "rm -rf /\rls",
        "rm -rf /\x1b[2K\x1b[1Gls",
        "ls \u202e# /fr- mr",
        "x" * 20_000 + "; rm -rf /",
        "[bold]x[/] $(y)",
    ],
)
def test_nothing_in_a_command_hides_another_part_of_it(command):
    with asking(command).read() as state:
        asked = Asked.of(state, "agent-0")
    assert asked is not None
    shown = "".join(asked.what)
    assert shown.isprintable()
    for part in ("rm -rf /", "x" * 20_000, "# /fr- mr", "[bold]x[/] $(y)"):
        assert (part in shown) is (part in command)


def test_what_is_no_command_is_shown_with_all_that_the_answer_covers():
    registry = asking("ls")
    registry.fold(
        [
            Record(
                registry.seq + at,
                1_700_002_520.0,
                event,
            )
            for at, event in enumerate(
                (
                    ApprovalAnswered("agent-0", str(registry.agent("agent-0").question["hash"]), True, "you"),
                    ApprovalAsked("agent-0", "h", "fetch", "fetch a page", {"url": "https://a\x1b[2J.b", "n": 2}),
                ),
                1,
            )
        ]
    )
    with registry.read() as state:
        asked = Asked.of(state, "agent-0")
    assert asked is not None
    assert asked.what[0] == "fetch a page"
    assert asked.what[1:] == ('url: "https://a\\u001b[2J.b"', "n: 2")
    assert (asked.folder, asked.timeout, asked.until) == ("", None, None)


@pytest.mark.parametrize("size", [(60, 16), (80, 18), (80, 24), (120, 36), (200, 50)])
async def test_it_fits_the_terminal(size):
    async with open_room(registry=asking("echo " + "x" * 3_000), size=size) as room:
        dialog = await open_dialog(room)
        assert dialog.query_one("#deny").region.bottom < size[1]
        assert dialog.query_one("#approve-frame").region.right <= size[0]


async def test_palette_and_help_list_it():
    async with open_room() as room:
        act = room.app.main.keymap.act("answer")
        assert (f"{act.area}: {act.says}", act.keys, act.offered) == ("approve: answer what asks", ("i",), True)


async def test_the_footer_offers_it_only_where_agents_can_ask():
    async with open_room(registry=chats()) as room:
        assert "i answer" in room.row("#footer")
    async with open_room(registry=scene(40)) as room:
        assert "i answer" not in room.row("#footer")
