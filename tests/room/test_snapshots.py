"""Pictures of the room at three sizes with 3, 40 and 10,000 agents; the clock stands still and nothing blinks."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest
from textual.app import App
from textual.pilot import Pilot

from skep.room.app import RoomApp
from tests.room.chats import TRANSCRIPT, chats, keys_in_every_state
from tests.room.rooms import make_room

SIZES = [(80, 24), (120, 36), (160, 48)]
OUTPUT = [
    "collected 214 items",
    "",
    "tests/test_total.py ...................................................... [ 38%]",
    "tests/test_lines.py .............F........................................ [ 76%]",
    "FAILED tests/test_total.py::test_half_cent_rounds_even - 10.13 != 10.12",
]

Compare = Callable[..., bool]


def after(*keys: str, agent: str | None = None) -> Callable[[Pilot[None]], Awaitable[None]]:
    """Put the cursor on an agent, press keys, and let the room settle."""

    async def run(pilot: Pilot[None]) -> None:
        app = pilot.app
        assert isinstance(app, RoomApp)
        await settle(app, pilot)
        if agent is not None:
            app.main.agents.go_to(agent)
            await settle(app, pilot)
        for key in keys:
            await pilot.press(key)
            await settle(app, pilot)

    return run


async def settle(app: RoomApp, pilot: Pilot[None]) -> None:
    for _ in range(3):
        app.tick()
        await pilot.pause(0)


def room(agents: int, **options: str) -> App[None]:
    app, _, _ = make_room(agents, tails={"unit-pdf": OUTPUT, "beta": OUTPUT}, **options)
    return app


@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
@pytest.mark.parametrize("agents", [3, 40, 10_000])
def test_the_main_screen(snap_compare: Compare, agents: int, size: tuple[int, int]):
    cursor = {3: "beta", 40: "unit-pdf", 10_000: "item-05000"}[agents]
    assert snap_compare(room(agents), terminal_size=size, run_before=after(agent=cursor))


@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
def test_the_stop_dialog(snap_compare: Compare, size: tuple[int, int]):
    assert snap_compare(room(40), terminal_size=size, run_before=after("X"))


def test_the_question_before_one_leaf_is_stopped(snap_compare: Compare):
    assert snap_compare(room(40), terminal_size=(120, 36), run_before=after("x", agent="unit-pdf"))


def test_the_tail_in_the_narrow_layout(snap_compare: Compare):
    assert snap_compare(room(40), terminal_size=(80, 24), run_before=after("enter", agent="unit-pdf"))


def test_a_frozen_screen(snap_compare: Compare):
    assert snap_compare(room(40), terminal_size=(160, 48), run_before=after("f"))


def test_a_filter(snap_compare: Compare):
    keys = ("/", *"s:failed", "enter")
    assert snap_compare(room(40), terminal_size=(120, 36), run_before=after(*keys))


def test_the_help(snap_compare: Compare):
    assert snap_compare(room(40), terminal_size=(80, 24), run_before=after("?"))


def test_the_light_theme(snap_compare: Compare):
    app = room(40, theme="skep-light")
    assert snap_compare(app, terminal_size=(120, 36), run_before=after(agent="unit-pdf"))


# -- conversations --------------------------------------------------------------------------------------------


def looks_as_before(
    compare: Compare,
    size: tuple[int, int],
    *keys: str,
    agent: str | None = None,
    theme: str = "skep-dark",
) -> bool:
    """The scene of conversations, nine seconds on: keys are known, and the first words have gone."""
    app, _, clock = make_room(
        registry=chats(), shown=keys_in_every_state(), tails={"inv-parser": TRANSCRIPT}, theme=theme
    )

    async def run(pilot: Pilot[None]) -> None:
        for seconds in (0.0, 1.0, 8.0):
            clock.advance(seconds)
            await settle(app, pilot)
        await after(*keys, agent=agent)(pilot)
        clock.advance(1.0)
        await settle(app, pilot)

    return compare(app, terminal_size=size, run_before=run)


@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
def test_conversations(snap_compare: Compare, size: tuple[int, int]):
    assert looks_as_before(snap_compare, size, agent="inv-parser")


def test_conversations_in_the_light_theme(snap_compare: Compare):
    assert looks_as_before(snap_compare, (120, 36), agent="inv-parser", theme="skep-light")


@pytest.mark.parametrize("size", SIZES[:2], ids=lambda size: f"{size[0]}x{size[1]}")
def test_the_keys(snap_compare: Compare, size: tuple[int, int]):
    assert looks_as_before(snap_compare, size, "3")


def test_a_conversation_in_the_narrow_layout(snap_compare: Compare):
    assert looks_as_before(snap_compare, (80, 24), "enter", agent="inv-parser")


@pytest.mark.parametrize("size", [(80, 18), (80, 24), (160, 48)], ids=lambda size: f"{size[0]}x{size[1]}")
def test_the_stop_dialog_over_conversations(snap_compare: Compare, size: tuple[int, int]):
    assert looks_as_before(snap_compare, size, "X", agent="root")


def test_the_question_before_a_conversation_is_stopped(snap_compare: Compare):
    assert looks_as_before(snap_compare, (80, 24), "x", agent="inv-parser")


@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
def test_the_approval_dialog(snap_compare: Compare, size: tuple[int, int]):
    assert looks_as_before(snap_compare, size, "i")
