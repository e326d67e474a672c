"""What is shown is true of one moment: frozen, with a silent link, and after the engine has died."""

from __future__ import annotations

from dataclasses import replace

import pytest

from skep.control.link import LinkState
from skep.control.verbs import Pause
from skep.errors import Damaged, Unreachable
from skep.journal import Damage
from skep.model.agent import Face
from skep.model.events import ROOT, AgentEnded, Record
from skep.model.registry import Registry
from skep.model.states import State
from skep.room.cells import short_name
from skep.room.doing import Places, composition
from skep.room.here import look_at
from skep.room.look import UNICODE
from skep.room.still import still
from tests.room.rooms import Room, open_room
from tests.room.scenes import Story, scene


def end(registry: Registry, agent: str, at: float) -> None:
    with registry.read() as state:
        seq = state.seq + 1
    registry.fold([Record(seq, at, AgentEnded(agent, State.FAILED, exit_code=9, error="exit 9"))])


def row_of(room: Room, agent: str) -> str:
    """The row of an agent as it stands on the screen."""
    agents = room.app.main.agents
    line = agents.outline.rows.index[agent] + 1 - agents.scroll_offset.y
    return room.row("#tree", line)


async def test_rows_that_scroll_into_a_frozen_view_are_as_old_as_the_others():
    async with open_room(size=(120, 30)) as room:
        sums = room.row("#tree", 1)
        await room.press("f")
        assert room.row("#tree", 1) == sums
        end(room.link.registry, "pkg-wheel", room.clock.time())
        room.app.main.agents.go_to("pkg-wheel")
        await room.settle()
        assert "exit 9" not in row_of(room, "pkg-wheel")
        assert "exit 9" not in room.says
        await room.press("f")
        assert "exit 9" in row_of(room, "pkg-wheel")
        assert room.cursor == "pkg-wheel"


async def test_a_still_registry_equals_the_moment_and_hears_nothing_more():
    registry = scene(40)
    stands = still(registry)
    assert stands.pages() == registry.pages()
    assert stands.live("unit-pdf") == registry.live("unit-pdf")
    before = stands.pages()
    end(registry, "unit-pdf", 1_700_002_530.0)
    assert stands.pages() == before


async def test_a_frozen_screen_still_says_that_the_engine_is_gone():
    async with open_room() as room:
        await room.press("f")
        room.link.picture = replace(room.link.picture, connected=False, gone=True)
        await room.after(2)
        assert "its engine is gone" in room.row("#banner")


async def test_a_link_that_lags_is_amber_first_and_after_ten_seconds_nothing_is_known():
    async with open_room() as room:
        room.link.picture = LinkState(connected=False, live=True, read_only=False, behind=4.0, trouble="reset")
        await room.after(4)
        assert "link 4s behind" in room.row("#header")
        ticking = row_of(room, "unit-pdf")
        await room.after(1)
        assert row_of(room, "unit-pdf") != ticking
        room.link.picture = replace(room.link.picture, behind=10.0)
        await room.after(1)
        standing = row_of(room, "unit-pdf")
        room.link.picture = replace(room.link.picture, behind=30.0)
        await room.after(20)
        assert row_of(room, "unit-pdf") == standing


async def test_once_the_engine_is_gone_nothing_seems_to_run():
    async with open_room() as room:
        room.link.picture = replace(room.link.picture, connected=False, gone=True, trouble="Connection refused")
        await room.after(1)
        assert row_of(room, "unit-pdf").lstrip("▌ ").startswith("†")
        assert "its engine died" in row_of(room, "unit-pdf")
        assert "●" not in row_of(room, ROOT)
        assert "0/8 run" in room.row("#header")
        assert "8 lost" in room.row("#header")
        assert "its engine is gone" in room.row("#banner")
        assert "skep recover s-7f3a takes it up again" in room.row("#banner")
        assert "runs on" not in room.app.farewell
        standing = row_of(room, "unit-pdf")
        await room.after(30)
        assert row_of(room, "unit-pdf")[:60] == standing[:60]


async def test_output_that_a_lost_link_kept_back_is_asked_for_once_it_is_back():
    async with open_room(tails={"unit-pdf": ["first line"]}) as room:
        room.link.picture = replace(room.link.picture, connected=False)
        room.app.main.agents.go_to("unit-pdf")
        await room.settle()
        assert room.app.main.tail.text() == []
        room.link.picture = replace(room.link.picture, connected=True)
        await room.settle()
        await room.settle()
        assert room.app.main.tail.text() == ["first line"]


async def test_a_link_that_breaks_while_output_is_fetched_is_no_error_of_the_operator():
    async with open_room() as room:
        real = room.link.tail

        async def broken(agent: str, first: int = -500, limit: int = 500) -> object:
            room.link.picture = replace(room.link.picture, connected=False)
            raise Unreachable("the other side has left")

        room.link.tail = broken  # type: ignore[assignment,method-assign]
        room.app.main.agents.go_to("unit-pdf")
        await room.settle()
        assert "the other side" not in room.says
        room.link.tail = real  # type: ignore[method-assign]


@pytest.mark.parametrize(
    ("name", "shown"),
    [("src/skep/clock.py", "clock.py"), ("src/skep", "src/skep"), ("src/skepper.py", "src/skepper.py")],
)
def test_a_name_leaves_out_the_path_that_its_group_says(name: str, shown: str):
    story = Story()
    story.group("g", name="src/skep")
    story.queued("one", "g", name=name)
    with story.registry().read() as state:
        assert short_name(state, state.agents["one"]) == shown


def test_the_message_line_says_the_whole_name_once():
    story = Story()
    story.group("g", name="src/skep")
    story.queued("one", "g", name="src/skep/clock.py")
    here = look_at(story.registry(), "one", Places())
    assert here is not None
    said = "".join(part.text for part in here.line(UNICODE).parts)
    assert said.startswith("src/skep/clock.py  ")


def test_groups_are_not_counted_among_the_agents_of_a_branch():
    with scene(40).read() as state:
        leaves = sum(not agent.children for agent in state.agents.values())
        assert sum(count for _, count in composition(state, ROOT)) == leaves


async def test_a_hold_on_a_running_agent_does_not_hide_what_it_does():
    async with open_room() as room:
        await room.link.call(Pause(scope="unit-pdf"))
        await room.after(1)
        row = row_of(room, "unit-pdf")
        assert "spawns held; tests/unit-pdf" in row
        assert row.lstrip("▌ ").startswith(UNICODE.faces[Face.RUNNING])


@pytest.mark.parametrize("ended", [False, True])
async def test_a_damaged_journal_is_said_for_as_long_as_the_room_is_open(ended: bool):
    error = Damaged("the journal is damaged")
    damage = Damage(56, 4, is_lower_bound=False, unreadable=None, blocks=True, error=error)
    async with open_room() as room:
        room.link.picture = LinkState(
            connected=True, live=False, read_only=True, gone=not ended, trouble="damaged", damage=damage
        )
        await room.after(1)
        for _ in range(3):
            assert "its journal is damaged" in room.row("#banner")
            assert "from 57 on" in room.row("#banner")
            assert "--accept-loss" in room.row("#banner")
            await room.after(3_600)
