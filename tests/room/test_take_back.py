"""The window in which a stop can be taken back: what it holds, how it ends, what the message line says of it."""

from __future__ import annotations

from skep.control.client import SocketLink
from skep.control.verbs import Hurry, Stop, TakeBack
from skep.model.events import AgentEnded, AgentStopping, BranchReopened, BranchShut
from skep.model.states import State
from tests.engine.hive import Hive, group, patient
from tests.room.live import LiveRoom, open_live_room
from tests.room.rooms import open_room

WINDOW_KEYS = "u take back   enter sooner"


async def begin(hive: Hive) -> None:
    """A branch with one that runs and two that wait, and another branch beside it."""
    await hive.launch(
        group("unit"),
        *(patient(name, "unit") for name in ("one", "two", "three")),
        group("docs"),
        *(patient(name, "docs") for name in ("api", "guide")),
        slots=2,
    )
    await hive.are(State.RUNNING, "one", "api")


async def interrupt_unit(room: LiveRoom) -> None:
    """The branch dialog, and its button; the window is open then."""
    room.app.main.agents.go_to("unit")
    await room.press("X")
    await room.until(lambda: room.app.screen is not room.app.main)
    await room.after(0.4)  # before that, enter does not count
    await room.press("tab", "enter")
    await room.until_it_says("interrupt in 5 s")


async def test_in_the_window_agents_are_held_and_none_is_ended(hive: Hive):
    await begin(hive)
    async with open_live_room(hive) as room:
        await interrupt_unit(room)
        assert room.says.startswith("↓ unit  interrupt in 5 s")
        assert room.says.endswith(WINDOW_KEYS)
        assert hive.held() == ["two", "three"]
        assert hive.states()["one"] == "running"
        await room.after(4.5)
        assert "interrupt in 1 s" in room.says
        assert hive.held() == ["two", "three"]
        assert hive.states()["one"] == "running"
        assert hive.events(AgentEnded, AgentStopping) == []
        assert len(hive.living()) == 2


async def test_u_takes_it_back_and_everything_goes_on(hive: Hive):
    await begin(hive)
    async with open_live_room(hive) as room:
        await interrupt_unit(room)
        await room.after(3)
        await room.press("u")
        await room.until_it_says("unit  taken back, it goes on")
        assert hive.held() == []
        assert [event.who for event in hive.events(BranchReopened)] == ["you"]
        await room.after(60)
        assert hive.states() | {"root": ""} == {
            "root": "",
            "unit": "waiting",
            "one": "running",
            "two": "queued",
            "three": "queued",
            "docs": "waiting",
            "api": "running",
            "guide": "queued",
        }
        assert hive.events(AgentEnded, AgentStopping) == []
        assert not hive.agent("one").asked_at
        await hive.kill("api")  # its slot goes to whom it would have gone to before
        await hive.until(lambda state: state.agents["two"].slot or state.agents["guide"].slot)
        assert "take back" not in room.says


async def test_enter_does_not_wait_for_its_end(hive: Hive):
    await begin(hive)
    async with open_live_room(hive) as room:
        await interrupt_unit(room)
        await room.press("enter")
        await room.until_it_says("unit  interrupted after 0s")
        assert [hive.states()[agent] for agent in ("unit", "one", "two", "three")] == ["interrupted"] * 4
        assert hive.states()["api"] == "running"


async def test_at_its_end_the_stop_goes_on_and_cannot_be_taken_back(hive: Hive):
    await begin(hive)
    async with open_live_room(hive) as room:
        await interrupt_unit(room)
        await room.after(5.0)
        await room.until_it_says("unit  interrupted after 5s")
        await room.press("u")
        assert room.says == "nothing to take back: no window is open"
        assert hive.events(BranchReopened) == []


async def test_a_u_that_comes_too_late_says_so_and_the_stop_is_followed():
    async with open_room() as room:
        room.app.main.agents.go_to("unit-pdf")
        await room.press("x", "enter")
        # The engine's clock is the one that counts: its window is over, and the room has not looked yet.
        await room.link.call(Stop(agent="unit-pdf"))
        await room.press("u")
        assert room.verbs[-1] == TakeBack(agent="unit-pdf")
        assert room.says == "unit-pdf: there is nothing to take back"
        await room.press("j")  # it has been read
        assert "unit-pdf  interrupt delivered" in room.says


async def test_x_in_the_window_goes_down_and_closes_it(hive: Hive):
    await hive.launch(patient("one"), patient("two"))
    await hive.are(State.RUNNING, "one", "two")
    async with open_live_room(hive) as room:
        room.app.main.agents.go_to("one")
        await room.press("x", "enter")
        await room.until_it_says("interrupt in 5 s")
        await room.press("x")
        assert hive.states()["one"] == "running"  # one rung a second
        await room.after(1.1)
        await room.press("x")
        await room.until_it_says("one  interrupted after 1s")
        assert not room.app.main.stopping.window_open


async def other_client(hive: Hive) -> SocketLink:
    return await SocketLink.connect(hive.folder, client="ana", clock=hive.clock)


async def test_what_somebody_else_takes_back_or_hurries_is_seen(hive: Hive):
    await begin(hive)
    async with open_live_room(hive) as room:
        other = await other_client(hive)
        await interrupt_unit(room)
        await other.call(TakeBack(agent="unit"))
        await room.until_it_says("unit  taken back elsewhere, it goes on")
        await room.after(6)
        await interrupt_unit(room)
        await other.call(Hurry(agent="unit", branch=True))
        await room.until_it_says("unit  interrupted after 0s")
        await other.close()
    assert [event.who for event in hive.events(BranchReopened)] == ["ana"]


async def test_the_newest_of_two_stops_is_taken_back_first(hive: Hive):
    await hive.launch(patient("one"), patient("two"))
    await hive.are(State.RUNNING, "one", "two")
    async with open_live_room(hive) as room:
        for agent in ("one", "two"):
            room.app.main.agents.go_to(agent)
            await room.press("x", "enter")
            await room.until_it_says(f"{agent}  interrupt in 5 s")
            await room.after(1)
        await room.press("u")
        await hive.until(lambda state: "two" not in state.shuts)
        await room.until_it_says("one  interrupt in 3 s")
        await room.press("u")
        await room.until_it_says("one  taken back, it goes on")
        await room.after(10)
        assert [hive.states()[agent] for agent in ("one", "two")] == ["running"] * 2


async def test_of_several_marks_one_that_has_ended_meanwhile_keeps_the_others_from_nothing(hive: Hive):
    await hive.launch(*(patient(agent) for agent in ("one", "two", "three")))
    await hive.are(State.RUNNING, "one", "two", "three")
    async with open_live_room(hive) as room:
        room.app.main.agents.go_to("one")
        await room.press("space", "space", "space", "x")
        await room.until(lambda: room.app.screen is not room.app.main)
        await room.after(0.4)
        await room.press("tab", "enter")
        await room.until_it_says("3 agents  interrupt in 5 s")
        await hive.kill("one")
        await hive.are(State.KILLED, "one")
        await room.until_it_knows(lambda state: state.agents["one"].ended)
        await room.press("u")
        await room.until_it_says("3 agents  taken back, it goes on")
        await room.after(10)
        assert [hive.states()[agent] for agent in ("two", "three")] == ["running"] * 2
        assert len(hive.events(BranchShut)) == 4  # three by the room, and the kill


async def test_the_keys_on_the_line_are_those_that_act():
    async with open_room(keys={"stop.take_back": ["f6"]}) as room:
        room.app.main.agents.go_to("unit-pdf")
        await room.press("x", "enter")
        assert room.app.main.message.render_line(0).text.rstrip().endswith("f6 take back   enter sooner")
        await room.press("f6")
        assert room.verbs == [Stop(agent="unit-pdf", window=5.0), TakeBack(agent="unit-pdf")]


async def test_nothing_is_called_delivered_before_it_is():
    async with open_room() as room:
        room.app.main.agents.go_to("unit-pdf")
        await room.press("x", "enter")
        await room.after(5.1)  # the scene's engine takes its time
        assert "interrupt asked, 5s" in room.says
        await room.link.call(Stop(agent="unit-pdf"))
        await room.settle()
        assert "interrupt delivered, 5s" in room.says
