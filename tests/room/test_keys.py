"""What the keys of the main screen do, and what they must never do."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest
from textual import events

from skep.control.verbs import Hurry, Keys, Pause, Stop, TakeBack, Unpause
from skep.errors import BadInput
from skep.model.holds import SWARM_SCOPE
from skep.room.keymap import ACTS, Act, Keymap, Place, bindings
from skep.room.screens.help import HelpScreen
from skep.room.screens.stop import StopDialog
from tests.room.chats import chats, keys_in_every_state
from tests.room.rooms import open_room


async def test_p_holds_the_branch_and_p_again_releases_it():
    async with open_room() as room:
        room.app.main.agents.go_to("integration")
        await room.settle()
        await room.press("p")
        assert room.verbs == [Pause(scope="integration")]
        assert "integration" in room.says
        assert "held, 3 wait" in room.says
        assert "p release" in room.row("#footer")
        await room.press("p")
        assert room.verbs[1:] == [Unpause(scope="integration")]
        assert "released: 3 will start, 8 at a time" in room.says


async def test_hold_sends_the_state_that_the_row_offered_even_if_somebody_else_was_quicker():
    async with open_room() as room:
        room.app.main.agents.go_to("unit")
        await room.settle()
        await room.press("f")
        await room.link.call(Pause(scope="unit"))
        room.link.calls.clear()
        await room.press("p")
        assert room.verbs == [Pause(scope="unit")]


async def test_capital_p_holds_the_whole_swarm():
    async with open_room() as room:
        await room.press("P")
        assert room.verbs == [Pause(scope=SWARM_SCOPE)]
        await room.press("P")
        assert room.verbs[1:] == [Unpause(scope=SWARM_SCOPE)]


async def test_a_hold_takes_effect_before_its_reason_is_asked_for():
    async with open_room() as room:
        room.app.main.agents.go_to("lint")
        await room.settle()
        await room.press("p", '"')
        await room.type("slow")
        assert room.verbs == [Pause(scope="lint"), Pause(scope="lint", reason="slow")]


async def test_verbs_act_on_marks_where_there_are_any():
    async with open_room() as room:
        room.app.main.agents.go_to("unit-pdf")
        await room.press("space", "space", "p")
        verbs = await room.asked(2)
        assert [verb.scope for verb in verbs if isinstance(verb, Pause)] == ["unit-ledger", "unit-pdf"]


async def test_x_on_a_leaf_asks_on_the_message_line_and_enter_is_yes():
    async with open_room() as room:
        room.app.main.agents.go_to("unit-pdf")
        await room.press("x")
        assert room.says.startswith("interrupt unit-pdf?")
        assert room.verbs == []
        await room.press("enter")
        assert await room.asked(1) == [Stop(agent="unit-pdf", window=5.0)]
        assert "interrupt in 5 s" in room.says


@pytest.mark.parametrize("key", ["escape", "j", "z", "space"])
async def test_every_other_key_is_no(key):
    async with open_room() as room:
        room.app.main.agents.go_to("unit-pdf")
        await room.press("x", key, "enter")
        assert room.verbs == []


async def test_u_takes_a_stop_back_within_its_window():
    async with open_room() as room:
        room.app.main.agents.go_to("unit-pdf")
        await room.press("x", "enter")
        await room.after(2)
        assert "in 3 s" in room.says
        await room.press("u")
        assert room.verbs[-1] == TakeBack(agent="unit-pdf")
        assert "taken back" in room.says
        with room.link.registry.read() as state:
            assert not state.shuts.get("unit-pdf")


async def test_after_the_window_there_is_nothing_to_take_back():
    async with open_room() as room:
        room.app.main.agents.go_to("unit-pdf")
        await room.press("x", "enter")
        await room.after(5.1)
        await room.press("u")
        assert not any(isinstance(verb, TakeBack) for verb in room.verbs)
        assert "nothing to take back" in room.says


async def test_enter_skips_the_rest_of_the_window():
    async with open_room() as room:
        room.app.main.agents.go_to("unit-pdf")
        await room.press("x", "enter")
        await room.press("enter")
        assert room.verbs[-1] == Hurry(agent="unit-pdf")


async def test_x_on_a_stopping_row_goes_one_rung_down_at_most_each_second():
    async with open_room() as room:
        room.app.main.agents.go_to("int-mail")
        await room.press("x", "x", "x")
        assert room.verbs == [Hurry(agent="int-mail")]
        await room.after(1.1)
        await room.press("x")
        assert room.verbs == [Hurry(agent="int-mail")] * 2


async def test_an_ended_agent_cannot_be_stopped_or_held():
    async with open_room() as room:
        room.app.main.agents.go_to("unit-core")
        await room.press("x", "enter", "p")
        assert room.verbs == []
        assert "has ended already" in room.says


async def test_a_stop_is_followed_until_it_is_effective():
    async with open_room() as room:
        room.app.main.agents.go_to("unit-export")
        await room.press("x", "enter")
        await room.link.call(Stop(agent="unit-export"))
        await room.settle()
        assert "interrupted after" in room.says
        await room.after(6.1)
        assert room.says.startswith("unit / unit-export")


@pytest.mark.parametrize("key", ["ctrl+q", "ctrl+c"])
async def test_keys_that_end_programs_elsewhere_only_say_what_does(key):
    async with open_room() as room:
        await room.press(key)
        assert room.says == "nothing stopped; q leaves, x interrupts, P holds all"
        assert room.app.is_running
        assert room.verbs == []


async def test_q_leaves_and_says_how_to_come_back():
    async with open_room() as room:
        await room.pilot.press("q")
        await room.pilot.pause()
        assert "check-billing runs on: 8 running, 14 queued" in room.app.farewell
        assert "skep attach check-billing" in room.app.farewell


async def test_q_in_the_foreground_asks_what_becomes_of_the_swarm():
    async with open_room(foreground=True) as room:
        await room.press("q")
        assert isinstance(room.app.screen, StopDialog)
        assert room.app.is_running


NOT_TRIED = {"leave", "suspend", "open", "back"}
"""Acts that end the room, or whose keys are pressed anyway after each of the others."""


@pytest.mark.parametrize("act", [act for act in ACTS if act.id not in NOT_TRIED], ids=lambda act: act.id)
async def test_in_a_read_only_room_no_key_acts_and_those_that_would_say_why(act: Act):
    async with open_room(read_only=True) as room:
        assert room.app.main.footer.refused
        room.app.main.agents.go_to("unit-pdf")
        await room.settle()
        await room.press(act.keys[0])
        if act.changes:
            assert "read-only: attach without --read-only to act" in room.says
            assert room.app.main.refused_because(act)
        await room.press("enter", "escape", "escape")
        assert room.verbs == []


@pytest.mark.parametrize("act", [act for act in ACTS if act.id not in NOT_TRIED], ids=lambda act: act.id)
async def test_a_key_that_asks_the_engine_to_change_something_is_known_for_it(act: Act):
    async with open_room() as room:
        room.app.main.agents.go_to("unit-pdf")
        await room.settle()
        await room.press(act.keys[0], "enter", "escape")
        assert act.changes or room.verbs == []


@pytest.mark.parametrize("line", ["pause", "unpause docs", "interrupt unit-pdf", "kill docs --branch"])
async def test_in_a_read_only_room_no_command_acts(line: str):
    async with open_room(read_only=True) as room:
        await room.press(":")
        await room.type(line)
        assert "read-only" in room.says
        await room.press("enter")
        assert room.verbs == []


async def test_in_a_read_only_room_keys_and_output_are_there():
    shown, tails = keys_in_every_state(), {"root": ["first line"]}
    async with open_room(registry=chats(), shown=shown, tails=tails, size=(160, 48), read_only=True) as room:
        await room.after(2)
        assert [line.strip() for line in room.app.main.tail.text()] == ["first line"]
        assert any(isinstance(call, Keys) for call in room.link.calls)
        assert "2 of 4 usable" in room.row("#rule-keys")


async def test_verbs_of_a_room_whose_engine_is_silent_say_so_and_are_not_sent():
    async with open_room() as room:
        room.link.picture = replace(room.link.picture, behind=12.0)
        await room.after(1)
        assert "the engine is silent   12s" in room.row("#banner")
        assert room.app.main.footer.refused
        for key in ("p", "P", "x", "X", "i"):
            await room.press(key)
            assert "nothing is sent: the engine has not said a word for 12s" in room.says
        assert room.link.calls == []
        room.link.picture = replace(room.link.picture, behind=0.1)
        await room.after(1)
        assert "the engine is back" in room.says
        assert "silent" not in room.row("#banner")
        assert not room.app.main.footer.refused
        await room.press("P")
        assert room.verbs == [Pause(scope=SWARM_SCOPE)]


async def test_a_room_whose_engine_died_comes_back_with_the_next_one_and_says_both():
    async with open_room() as room:
        room.link.picture = replace(room.link.picture, connected=False, gone=True, behind=5.0)
        await room.after(1)
        assert "its engine is gone   5s" in room.row("#banner")
        await room.press("P")
        assert "its engine is gone: nothing is sent" in room.says
        room.link.picture = replace(room.link.picture, connected=True, gone=False, behind=0.0)
        await room.after(1)
        assert "its engine is gone" not in room.row("#banner") + room.says
        assert room.verbs == []
        await room.press("P")
        assert room.verbs == [Pause(scope=SWARM_SCOPE)]


async def test_a_room_of_another_version_says_which_one_is_needed():
    async with open_room() as room:
        way = "use skep 0.9.0 for this swarm"
        room.link.picture = replace(room.link.picture, connected=False, foreign=way, behind=5.0, trouble="no")
        await room.after(1)
        assert "another version of skep runs it now" in room.row("#banner")
        assert way in room.row("#banner")
        await room.press("P")
        assert "nothing is sent" in room.says
        assert way in room.says
        assert room.verbs == []


async def test_pasted_text_is_dropped_whole():
    async with open_room() as room:
        for char in "ppPPxXqqnn":
            room.app.post_message(events.Key(char, char))
        room.app.post_message(events.Key("enter", "\r"))
        # The guard lets go after a few milliseconds; the next key can only be handled after that.
        async with asyncio.timeout(10):
            while "pasted" not in room.says:
                await room.pilot.pause(0)
        assert room.verbs == []
        assert room.app.is_running


async def test_typed_keys_keep_their_order_past_the_paste_guard():
    async with open_room() as room:
        await room.press("j", "j", "k")
        assert room.cursor == "unit"


async def test_escape_goes_back_step_by_step_and_never_leaves():
    async with open_room() as room:
        main = room.app.main
        await room.press("/")
        await room.type("pdf")
        await room.press("space", "z", "2")
        assert main.agents.hits is not None
        await room.press("escape")
        assert main.agents.hits is None
        await room.press("escape")
        assert not main.agents.marked
        await room.press("escape", "escape")
        assert room.app.focused is main.agents
        await room.press("escape", "escape")
        assert room.app.is_running


async def test_a_filter_that_means_nothing_says_so_and_stays_to_be_mended():
    async with open_room() as room:
        await room.press("/")
        await room.type("s:nonsense")
        assert room.app.main.message.prompting is not None
        await room.press("escape")
        assert room.app.main.agents.hits is None


async def test_enter_opens_the_output_and_tab_comes_back():
    async with open_room() as room:
        await room.press("enter")
        assert room.app.focused is room.app.main.tail
        await room.press("tab")
        assert room.app.focused is room.app.main.agents


@pytest.mark.parametrize(
    ("line", "verb"),
    [
        ("pause docs --reason quota --for 10m", Pause(scope="docs", reason="quota", seconds=600.0)),
        ("pause", Pause(scope=SWARM_SCOPE)),
        ("unpause check-billing/docs", Unpause(scope="docs")),
    ],
)
async def test_the_prompt_knows_the_grammar_of_the_shell(line, verb):
    async with open_room() as room:
        await room.press(":")
        await room.type(line)
        assert room.verbs == [verb]


async def test_a_command_that_is_wrong_stays_on_the_prompt():
    async with open_room() as room:
        await room.press(":")
        await room.type("pause nobody")
        assert room.app.main.message.prompting is not None
        assert room.verbs == []


async def test_freezing_stops_the_picture_and_not_the_swarm():
    async with open_room() as room:
        await room.press("f")
        assert "frozen" in room.row("#banner")
        await room.link.call(Pause(scope="unit"))
        await room.after(2)
        assert "spawns held" not in room.row("#tree", 2)
        await room.press("f")
        assert "frozen" not in room.row("#banner")
        assert "spawns held" in room.row("#tree", 2)


async def test_help_lists_every_act():
    async with open_room() as room:
        await room.press("?")
        assert isinstance(room.app.screen, HelpScreen)
        text = str(room.app.screen.query_one("HelpText").render())
        assert all(act.says in text for act in ACTS)


async def test_keys_can_be_given_to_other_acts():
    async with open_room(keys={"hold": ["h", "f2"], "leave": ["ctrl+x"]}) as room:
        room.app.main.agents.go_to("lint")
        await room.settle()
        await room.press("h", "p", "q")
        assert room.verbs == [Pause(scope="lint")]
        await room.press("f2")
        assert room.verbs[1:] == [Unpause(scope="lint")]
        assert "h hold" in room.row("#footer")


def test_a_key_that_is_taken_leaves_its_old_act():
    keymap = Keymap.of({"hold": ["h"]})
    assert keymap.act("tree.fold").keys == ("left",)
    assert keymap.act("hold").keys == ("h",)


def test_one_key_for_two_acts_is_refused():
    with pytest.raises(BadInput, match="given to both"):
        Keymap.of({"hold": ["h"], "stop": ["h"]})


def test_an_unknown_act_is_refused_with_the_nearest_name():
    with pytest.raises(BadInput) as refused:
        Keymap.of({"hold.swam": ["h"]})
    assert refused.value.mend == "did you mean hold.swarm?"


def test_no_two_acts_share_a_key_where_both_are_at_home():
    for at, act in enumerate(ACTS):
        for other in ACTS[at + 1 :]:
            if act.place.meets(other.place):
                assert not set(act.keys) & set(other.keys), (act.id, other.id)


def test_ids_are_unique_and_no_acting_key_has_priority():
    assert len({act.id for act in ACTS}) == len(ACTS)
    assert not any(binding.priority for binding in bindings(*Place))


async def test_the_mouse_selects_and_never_acts():
    async with open_room() as room:
        await room.pilot.click("#tree", offset=(10, 4))
        assert room.cursor == "unit-money"
        await room.pilot.click("#footer", offset=(2, 0))
        await room.pilot.click("#message", offset=(2, 0))
        assert room.verbs == []
